"""Test what a point is after a change."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.errors import InvalidArgument
from shoal.core.filter import Exists, Filter, HasId, In, Not
from shoal.core.filter_truth import matches
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.named_vectors import VectorColumn
from shoal.core.payload import payload_from_json
from shoal.core.point_change import (
    CHANGED_PAYLOADS,
    DeletePayload,
    PayloadChange,
    PointChange,
    PointUpdate,
    ReplacePayload,
    SetPayload,
    UpdateNamed,
    UpdatePacked,
    UpdateVectors,
    changed_payload,
    changed_points,
    check_change,
    check_update,
)
from shoal.core.points import StoredColumns, id_array
from tests.twins.point_changes import payload_after, text

KEYS = st.sampled_from(["a", "b", "c", "ä", ""])
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(KEYS, JSON, max_size=4)
PATHS = st.lists(st.lists(KEYS, min_size=1, max_size=3).map(tuple), min_size=1, max_size=3).map(tuple)
TOO_LONG = b'{"text":"%s"}' % (b"x" * (CHANGED_PAYLOADS.payload_bytes - 11))


def changes() -> st.SearchStrategy[PayloadChange]:
    return OBJECTS.map(text).map(SetPayload) | OBJECTS.map(text).map(ReplacePayload) | PATHS.map(DeletePayload)


@given(st.none() | OBJECTS.map(text), changes())
def test_a_change_agrees_with_the_payload_after(payload, change):
    assert changed_payload(payload, change) == payload_after(payload, change)


@given(OBJECTS.map(text), changes())
def test_a_change_made_twice_is_the_change_made_once(payload, change):
    once = changed_payload(payload, change)
    assert changed_payload(once, change) == once


@pytest.mark.parametrize(
    ("payload", "change", "after"),
    [
        (b'{ "b": 1, "a": 2.0 }', SetPayload(b'{"c":3,"b":"\xc3\xa4"}'), '{"b":"ä","a":2.0,"c":3}'),
        (b'{"a":{"x":1,"y":2}}', SetPayload(b'{"a":{"x":3}}'), '{"a":{"x":3}}'),
        (b'{"a":1e2,"b":18446744073709551617}', SetPayload(b"{}"), '{"a":100.0,"b":18446744073709551617}'),
        (b'{"a":"\\u00e4\\/"}', SetPayload(b"{}"), '{"a":"ä/"}'),
        (None, DeletePayload((("a",),)), "{}"),
        (None, SetPayload(b'{"a":null}'), '{"a":null}'),
        (b'{"a":{"b":{"c":1,"d":2}}}', DeletePayload((("a", "b", "c"), ("a", "x"), ("z",))), '{"a":{"b":{"d":2}}}'),
        (b'{"a":[{"b":1}],"c":1}', DeletePayload((("a", "b"), ("c", "d"))), '{"a":[{"b":1}],"c":1}'),
        (b'{"a":1}', ReplacePayload(b'{ "b" : 1 }'), '{ "b" : 1 }'),
    ],
)
def test_examples(payload, change, after):
    assert changed_payload(payload, change).decode() == after


def test_the_deepest_payload_gets_the_same_bytes_as_a_flat_one():
    deep = '{"a":' * 99 + '{"x":1}' + "}" * 99
    assert changed_payload(deep.encode(), DeletePayload((("y",),))).decode() == deep


@pytest.mark.parametrize(
    ("payload", "change", "said"),
    [
        (TOO_LONG, SetPayload(b'{"a":1}'), "payload has 1048582 bytes, at most 1048576 are allowed"),
        (b'{"a":NaN}', SetPayload(b'{"b":1}'), "payload.a is nan: numbers must be finite"),
        (b'{"a":"\\ud800"}', DeletePayload((("b",),)), "payload.a is not valid Unicode"),
        (b'{"a":' * 100 + b"{}" + b"}" * 100, SetPayload(b'{"b":1}'), "is deeper than the 100 levels"),
        (b"no json", SetPayload(b"{}"), "payload cannot be changed: a payload that was stored is no JSON object"),
    ],
)
def test_a_payload_that_would_not_be_legal_is_refused(payload, change, said):
    with pytest.raises(InvalidArgument) as caught:
        changed_payload(payload, change)
    assert said in caught.value.message
    assert changed_payload(payload, ReplacePayload(b"{}")) == b"{}"


def test_a_fault_that_the_change_removes_is_none():
    assert changed_payload(b'{"a":NaN,"b":1}', DeletePayload((("a",),))) == b'{"b":1}'
    assert changed_payload(TOO_LONG, SetPayload(b'{"text":1}')) == b'{"text":1}'


def stored(payloads: list[bytes | None]) -> StoredColumns:
    ids = id_array([7, "seven", *range(100, 98 + len(payloads))][: len(payloads)])
    return StoredColumns(ids=ids, vectors=np.arange(2 * len(payloads), dtype=np.float32).reshape(-1, 2), payloads=tuple(payloads))


FILTERS = st.sampled_from([None, Exists(("a",)), Not(Exists(("a",))), In(("a",), (1, "x")), HasId((7, "none")), HasId(("seven",))])


@given(st.lists(st.none() | OBJECTS.map(text), max_size=5), FILTERS, changes())
def test_exactly_the_points_that_match_are_changed(payloads: list[bytes | None], filter: Filter | None, change: PayloadChange):
    current = stored(payloads)
    got = changed_points(current, PointUpdate(ids=current.ids, change=change, filter=filter))
    match = [at for at, each in enumerate(payloads) if filter is None or matches(filter, payload_from_json(each), current.ids[at])]
    assert got.ids.tolist() == current.ids[match].tolist()
    assert got.ids.dtype == current.ids.dtype
    assert got.vectors.tobytes() == current.vectors[match].tobytes()
    assert got.payloads == tuple(payload_after(payloads[at], change) for at in match)


def test_vectors_go_to_their_ids_and_payloads_stay_as_they_are():
    current = stored([b'{ "a": 1 }', None, b'{"a":2}'])
    given = np.array([[1, 1], [2, 2], [3, 3], [4, 4]], dtype=np.float32)
    update = PointUpdate(ids=id_array([100, 5, "seven", 7]), change=UpdateVectors(given))
    found = StoredColumns(ids=id_array([100, "seven", 7]), vectors=current.vectors[[2, 1, 0]], payloads=(b'{"a":2}', None, b'{ "a": 1 }'))
    got = changed_points(found, update)
    assert (got.ids.tolist(), got.vectors[:, 0].tolist()) == ([100, "seven", 7], [1, 3, 4])
    assert got.payloads == (b'{"a":2}', None, b'{ "a": 1 }')


def test_vectors_of_other_names_stay():
    stored_rows = np.array([[1, 5, 0], [3, 6, 7], [0, 0, 0]], dtype=np.float32)
    given = np.array([[2, 0, 1], [1, 2, 0], [3, 3, 4], [0, 0, 0]], dtype=np.float32)
    found = StoredColumns(ids=id_array([100, "seven", 7]), vectors=stored_rows, payloads=(b"{}", None, b'{"a":1}'))
    got = changed_points(found, PointUpdate(ids=id_array([100, "seven", 7, 8]), change=UpdatePacked(given, (1, 1))))
    assert got.ids.tolist() == [100, "seven", 7]
    assert got.vectors.tolist() == [[3, 5, 1], [3, 2, 7], [3, 3, 4]]
    assert got.payloads == (b"{}", None, b'{"a":1}')
    some = PointUpdate(ids=id_array([7, "seven"]), change=UpdatePacked(given[:2], (1, 1)), filter=Exists(("a",)))
    assert changed_points(found, some).vectors.tolist() == [[2, 0, 1]]


def test_a_point_whose_payload_would_not_be_legal_stays_as_it_is():
    got = changed_points(stored([b"{}", TOO_LONG, None]), PointUpdate(ids=id_array([7, "seven", 100]), change=SetPayload(b'{"a":1}')))
    assert (got.ids.tolist(), got.payloads) == ([7, 100], (b'{"a":1}', b'{"a":1}'))


def test_a_payload_that_is_no_json_counts_as_none_in_a_filter():
    update = PointUpdate(ids=id_array([7, "seven"]), change=ReplacePayload(b"{}"), filter=Not(Exists(("a",))))
    assert changed_points(stored([b"no json", b'{"a":1}']), update).ids.tolist() == [7]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (SetPayload(b"[1]"), "payload is not a JSON object"),
        (SetPayload(b'{"a":1,"a":2}'), "payload gives the key 'a' twice"),
        (ReplacePayload(b'{"a":Infinity}'), "payload.a is inf: numbers must be finite"),
        (ReplacePayload(b" " * CHANGED_PAYLOADS.payload_bytes + b"{}"), "payload has 1048578 bytes"),
        (DeletePayload(()), "0 paths are given, 1-1024 are allowed"),
        (DeletePayload((("a",), ())), "paths[1] has 0 keys, 1-128 are allowed"),
        (DeletePayload((("a",) * 129,)), "paths[0] has 129 keys"),
        (UpdateVectors(np.array([[1, 2], [np.nan, 0]], dtype=np.float32)), "vectors[1] holds NaN or infinity"),
        (UpdateNamed({"image": VectorColumn(vectors=np.array([[1, np.inf]], dtype=np.float32))}), "image[0] holds NaN or infinity"),
        (UpdatePacked(np.array([[1, np.nan]], dtype=np.float32), (1,)), "vectors[0] holds NaN or infinity"),
        (UpdatePacked(np.array([[2, 0]], dtype=np.float32), (1,)), "number 0 of a packed row must be a whole number below 2"),
        (UpdatePacked(np.array([[1, 0]], dtype=np.float32), (1, 1)), "not those of 2 vectors of 2 dimensions"),
        (UpdatePacked(np.array([[1, 0]], dtype=np.float32), ()), "not those of 0 vectors"),
    ],
)
def test_a_change_that_cannot_be_made_is_refused(change: PointChange, said: str):
    with pytest.raises(InvalidArgument) as caught:
        check_change(change, DEFAULT_LIMITS)
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("ids", "rows", "dim", "said"),
    [
        ([1, 2, 1], 3, 2, "ids[2]: 1 is given twice"),
        ([1, "x" * 513], 2, 2, "ids[1] has 513 bytes"),
        ([1, 2], 2, 3, "vectors have dimension 3, the collection has 2"),
        ([1, 2], 1, 2, "1 vectors are given for 2 ids"),
    ],
)
def test_an_update_whose_parts_do_not_fit_is_refused(ids, rows, dim, said):
    update = PointUpdate(ids=id_array(ids), change=UpdateVectors(np.zeros((rows, dim), dtype=np.float32)))
    with pytest.raises(InvalidArgument) as caught:
        check_update(update, 2, DEFAULT_LIMITS)
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (UpdatePacked(np.zeros((2, 3), dtype=np.float32), (2,)), "vectors have dimension 3, the collection has 4"),
        (UpdatePacked(np.zeros((1, 4), dtype=np.float32), (2, 1)), "1 vectors are given for 2 ids"),
        (UpdatePacked(np.zeros((2, 4), dtype=np.float32), (2, 2)), "not those of 2 vectors of 4 dimensions"),
        (UpdateNamed({"a": VectorColumn(vectors=np.zeros((2, 4), dtype=np.float32))}), "must be packed before it is written"),
    ],
)
def test_an_update_of_named_vectors_that_no_replica_could_apply_is_refused(change: PointChange, said: str):
    with pytest.raises(InvalidArgument, match=said):
        check_update(PointUpdate(ids=id_array([1, 2]), change=change), 4, DEFAULT_LIMITS)


def test_the_bounds_of_new_payloads_are_those_that_the_log_was_written_with():
    """Replicas of all versions apply the same records. Whoever changes these bounds needs a new kind of record."""
    bounds = (CHANGED_PAYLOADS.payload_bytes, CHANGED_PAYLOADS.payload_depth, CHANGED_PAYLOADS.payload_integer_bits)
    assert bounds == (1_048_576, 100, 8_192)
