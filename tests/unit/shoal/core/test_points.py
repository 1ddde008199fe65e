import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.errors import InvalidArgument
from shoal.core.limits import DEFAULT_LIMITS, Limits
from shoal.core.points import (
    check_payloads,
    check_unique,
    id_array,
    id_order,
    id_ranks,
    ids_from_input,
    payload_from_json,
    payload_to_json,
    vectors_from_input,
)

IDS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(IDS, max_size=20))
def test_ids_come_back_as_given(values):
    column = ids_from_input(values, DEFAULT_LIMITS)
    assert column.tolist() == values
    assert [type(value) for value in column.tolist()] == [type(value) for value in values]


@given(st.lists(IDS, max_size=20))
def test_ranks_sort_as_ids_do(values):
    ranks = id_ranks(id_array(values)).tolist()
    assert [value for _, value in sorted(zip(ranks, values, strict=True), key=lambda pair: pair[0])] == sorted(values, key=id_order)


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, np.uint8])
def test_arrays_of_integers_are_ids(dtype):
    assert ids_from_input(np.array([1, 2, 3], dtype=dtype), DEFAULT_LIMITS).tolist() == [1, 2, 3]


def test_an_integer_too_long_to_be_written_is_refused_by_its_length() -> None:
    for value, shown in ((2**63, f"{2**63} does"), (10**5_000, "an integer of 16610 bits does"), (-(10**5_000), "of 16610 bits")):
        with pytest.raises(InvalidArgument, match=shown):
            ids_from_input([value], DEFAULT_LIMITS)


@pytest.mark.parametrize("values", [[1.0], [True], [None], [2**63], [-(2**63) - 1], [""], ["x" * 513], ["\ud800"], [b"x"]])
def test_what_is_no_id_is_refused_by_index(values):
    with pytest.raises(InvalidArgument, match=r"ids\[1\]") as caught:
        ids_from_input([1, *values], DEFAULT_LIMITS)
    assert caught.value.details.index == 1


@pytest.mark.parametrize("values", ["abc", 7, None])
def test_what_is_no_list_of_ids_is_refused(values):
    with pytest.raises(InvalidArgument, match="ids must be a list"):
        ids_from_input(values, DEFAULT_LIMITS)


def test_one_and_the_text_one_are_different_ids():
    check_unique(id_array([1, "1"]))
    with pytest.raises(InvalidArgument, match=r"ids\[2\]: '1' is given twice"):
        check_unique(id_array([1, "1", "1"]))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.uint8, np.int64, np.longdouble])
def test_vectors_of_every_real_dtype_are_rounded_to_float32(dtype):
    matrix = vectors_from_input(np.array([[1, 2], [3, 4]], dtype=dtype))
    assert matrix.dtype == np.float32
    assert matrix.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert vectors_from_input([[1, 2.5], (3, 4)]).tolist() == [[1.0, 2.5], [3.0, 4.0]]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([[1, 2], [3]], "matrix"),
        ([1, 2], "shape"),
        ([[[1]]], "shape"),
        (np.ones((2, 2), dtype=complex), "dtype complex"),
        (np.ones((2, 2), dtype=bool), "dtype bool"),
        ([["a", "b"]], "dtype"),
        ([[None, 1]], "dtype object"),
        ([[1, 2], [1, 1e39]], r"vectors\[1\]"),
        ([[1, 2], [float("nan"), 1]], r"vectors\[1\]"),
        ([[1, 2], [1, -float("inf")]], r"vectors\[1\]"),
    ],
)
def test_what_are_no_vectors_is_refused(values, said):
    with pytest.raises(InvalidArgument, match=said):
        vectors_from_input(values)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), JSON, max_size=4))
def test_payloads_come_back_as_given(payload):
    text = payload_to_json(payload, 0)
    assert payload_from_json(text) == payload
    check_payloads([text], DEFAULT_LIMITS)


def test_no_payload_and_an_empty_one_differ():
    assert payload_to_json(None, 0) is None
    assert payload_from_json(payload_to_json({}, 0)) == {}


@pytest.mark.parametrize("text", [b"", b"[1]", b"nope", b'{"a": NaN}', b'{"a": Infinity}', b"\xff", b'{"a":1} x', b"7"])
def test_texts_that_are_no_json_object_are_refused_by_index(text):
    with pytest.raises(InvalidArgument, match=r"payloads\[1\]"):
        check_payloads([None, text], DEFAULT_LIMITS)


def test_payloads_have_a_size():
    text = json.dumps({"a": "x" * 100}).encode()
    check_payloads([text], Limits(payload_bytes=len(text)))
    with pytest.raises(InvalidArgument, match=f"{len(text)} bytes, at most {len(text) - 1}"):
        check_payloads([text], Limits(payload_bytes=len(text) - 1))
