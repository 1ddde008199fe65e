from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.errors import DataLoss, InvalidArgument
from shoal.core.filter import Exists, Filter, filter_key
from shoal.core.point_change import DeletePayload, PointChange, PointUpdate, ReplacePayload, SetPayload, UpdatePacked, UpdateVectors
from shoal.core.points import PointId, id_array
from shoal.wire.records import delete_body, exact_delete_body, exact_delete_of_body, ids_of_body, update_body, update_of_body
from tests.support.examples.filters import filters
from tests.unit.shoal.wire.strategies import changes, id_lists, same_change, same_ids


@settings(deadline=None)
@given(id_lists)
def test_ids_come_back_from_a_record(ids: list[PointId]) -> None:
    assert same_ids(ids_of_body(delete_body(id_array(ids))), id_array(ids))


exact_deletes = id_lists.flatmap(
    lambda ids: st.tuples(st.just(ids), st.lists(st.integers(0, 2**63 - 1), min_size=len(ids), max_size=len(ids)))
)


@settings(deadline=None)
@given(exact_deletes)
def test_ids_and_rows_come_back_from_a_record(deleted: tuple[list[PointId], list[int]]) -> None:
    ids, rows = deleted
    got_ids, got_rows = exact_delete_of_body(exact_delete_body(id_array(ids), np.array(rows, dtype=np.int64)))
    assert same_ids(got_ids, id_array(ids))
    assert (got_rows.dtype, got_rows.tolist()) == (np.int64, rows)


@settings(deadline=None)
@given(exact_deletes, st.integers(0, 200), st.booleans())
def test_a_body_that_was_cut_or_grew_is_damage(deleted: tuple[list[PointId], list[int]], at: int, grown: bool) -> None:
    body = exact_delete_body(id_array(deleted[0]), np.array(deleted[1], dtype=np.int64))
    other = body + b"x" if grown else body[: at % len(body)]
    with pytest.raises(DataLoss, match="exact delete record"):
        exact_delete_of_body(other)


def test_ids_without_rows_are_no_record() -> None:
    with pytest.raises(ValueError, match="2 ids are given for 1 rows"):
        exact_delete_body(id_array([1, 2]), np.array([7], dtype=np.int64))


@settings(deadline=None)
@given(id_lists, st.none() | filters(), changes)
def test_an_update_comes_back_from_a_record(ids: list[PointId], filter: Filter | None, change: PointChange) -> None:
    got = update_of_body(update_body(PointUpdate(ids=id_array(ids), change=change, filter=filter)))
    assert same_ids(got.ids, id_array(ids))
    assert same_change(got.change, change)
    assert (got.filter and filter_key(got.filter)) == (filter and filter_key(filter))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"\xff", "the update cannot be read"),
        (b"", "needs one of set_payload, replace_payload, delete_payload, vectors"),
        (bytes.fromhex("1a0722050803120100"), "1 bytes are not float32 numbers"),
    ],
)
def test_bytes_that_are_no_update_are_refused(body: bytes, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        update_of_body(body)


@pytest.mark.parametrize(
    ("change", "written"),
    [
        (SetPayload(b'{"a":1}'), "1a090a077b2261223a317d"),
        (ReplacePayload(b"{}"), "1a0412027b7d"),
        (DeletePayload((("a", "b"), ("c",))), "1a0f1a0d0a060a01610a01620a030a0163"),
        (UpdateVectors(np.array([[1.0], [2.0]], dtype=np.float32)), "1a0e220c080112080000803f00000040"),
        (UpdatePacked(np.array([[2, 0, 5]], dtype=np.float32), (1, 1)), "1a1832160a100803120c00000040000000000000a04012020101"),
    ],
)
def test_the_bytes_of_an_update_are_pinned(change: PointChange, written: str) -> None:
    body = update_body(PointUpdate(ids=id_array([1, "a"]), change=change, filter=Exists(("a",))))
    assert body.hex() == "0a090a01021201611a0101" + "120722050a01612001" + written
    assert same_change(update_of_body(body).change, change)


def test_the_bytes_of_a_record_are_pinned() -> None:
    """Records are kept on disk. If these bytes change, the format of the log changes."""
    assert delete_body(id_array([1, "a", -1])).hex() == "0a0202011201611a0101"
    body = exact_delete_body(id_array([1, "a", -1]), np.array([7, 2**40, 0], dtype=np.int64))
    assert body.hex() == "0a000000" + "0a0202011201611a0101" + "0700000000000000" + "0000000000010000" + "0000000000000000"
