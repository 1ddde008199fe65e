from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.errors import DataLoss
from shoal.core.points import PointId, id_array
from shoal.wire.records import delete_body, exact_delete_body, exact_delete_of_body, ids_of_body
from tests.unit.shoal.wire.strategies import id_lists, same_ids


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


def test_the_bytes_of_a_record_are_pinned() -> None:
    """Records are kept on disk. If these bytes change, the format of the log changes."""
    assert delete_body(id_array([1, "a", -1])).hex() == "0a0202011201611a0101"
    body = exact_delete_body(id_array([1, "a", -1]), np.array([7, 2**40, 0], dtype=np.int64))
    assert body.hex() == "0a000000" + "0a0202011201611a0101" + "0700000000000000" + "0000000000010000" + "0000000000000000"
