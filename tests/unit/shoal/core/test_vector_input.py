"""Test vectors that users give: they are taken, or refused with the index of the first bad row."""

import decimal
import fractions

import numpy as np
import pytest

from shoal.core.errors import InvalidArgument
from shoal.core.vector_input import query_from_input, row_fault, vectors_from_input

GOOD = [[1.0, 2, 3]] * 700


class Tensor:
    """Turns into an array as tensors of other libraries do, or raises `error` instead."""

    def __init__(self, array, error=None):
        self._array, self._error = np.asarray(array), error

    def __array__(self, dtype=None, copy=None):
        if self._error is not None:
            raise self._error
        return self._array


def object_rows(*rows):
    """Return an array of objects, as a column of lists in a pandas table gives it."""
    made = np.empty(len(rows), dtype=object)
    made[:] = rows
    return made


def refused(values, call=vectors_from_input):
    with pytest.raises(InvalidArgument) as caught:
        call(values)
    return caught.value


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.uint8, np.int64, np.uint64, np.longdouble])
def test_vectors_of_every_real_dtype_are_rounded_to_float32(dtype):
    matrix = vectors_from_input(np.array([[1, 2], [3, 4]], dtype=dtype))
    assert matrix.dtype == np.float32
    assert matrix.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert query_from_input(np.array([1, 2], dtype=dtype)).tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    "values",
    [
        [[1, 2.5], (3, 4)],
        ((1, 2.5), [np.float32(3), np.int8(4)]),
        [np.array([1, 2.5]), [3, 4]],
        [Tensor([1, 2.5]), Tensor([3, 4])],
        Tensor([[1, 2.5], [3, 4]]),
        np.ma.array([[1, 2.5], [3, 4]]),
        [np.ma.array([1, 2.5]), np.ma.array([3, 4], mask=False)],
        [[np.array(1), 2.5], [3, 4]],
    ],
)
def test_lists_and_what_turns_into_an_array_are_vectors(values):
    assert vectors_from_input(values).tolist() == [[1.0, 2.5], [3.0, 4.0]]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ([1.0, 2], "has 2 numbers, the first vector has 3"),
        ([], "has 0 numbers"),
        (None, "is None"),
        (5, "is a number"),
        ("abc", "is a text"),
        ({1, 2, 3}, "is a set"),
        ([1.0, None, 3], "holds None at position 1"),
        ([1.0, "2", 3], "holds a text at position 1"),
        ([1.0, decimal.Decimal(1), 3], "holds a Decimal at position 1"),
        ([1.0, fractions.Fraction(1, 2), 3], "holds a Fraction at position 1"),
        ([2**70, 1, 1], "holds an integer of more than 64 bits at position 0"),
        ([True, 0.5, False], "holds the boolean True at position 0"),
        ([0.5, 0.5, False], "holds the boolean False at position 2"),
        ([0.5, np.bool_(True), 2], "holds the boolean True at position 1"),
        (np.array([True, False, True]), "holds values of dtype bool"),
        ([1.0, [2.0], 3], "holds a list at position 1"),
        ([1.0, 2j, 3], "holds a complex at position 1"),
        ([np.timedelta64(1, "ns"), 1, 1], "holds a timedelta64 at position 0"),
        (np.ma.array([1.0, -999.0, 3.0], mask=[0, 1, 0]), "is masked at position 1"),
        (np.array([1.0, None, 3.0]), "holds None at position 1"),
        ([1.0, float("nan"), 3.0], "holds NaN or infinity"),
        ([1.0, 1e39, 3.0], "holds NaN or infinity"),
        (np.ones((2, 3)), r"has the shape (2, 3)"),
    ],
)
def test_the_first_bad_row_of_a_list_is_named(bad, said):
    for rows in ([*GOOD, bad], [*GOOD, bad, *GOOD[:2], None], (*GOOD, bad), [*map(np.array, GOOD), bad]):
        error = refused(rows)
        assert error.message.startswith(f"vectors[700] {said}")
        assert (error.details.field, error.details.index) == ("vectors", 700)


@pytest.mark.parametrize(
    "bad", [[1.0, None], [1.0, "2"], [True, 0.5], [1.0, decimal.Decimal(1)], [2**70, 1], [1.0, [2.0]], np.ma.array([1, 2], mask=[1, 0])]
)
def test_a_query_is_held_to_the_same(bad):
    assert refused(bad, query_from_input).details.field == "vector"
    assert row_fault(bad)


@pytest.mark.parametrize("values", [[], [[1, 2]], 5, np.ones((1, 2)), np.empty(0)])
def test_a_query_has_one_dimension(values):
    assert "shape (dim,)" in refused(values, query_from_input).message


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([1, 2], "shape"),
        ([[[1]]], "shape"),
        (np.ones(3), "shape"),
        (5, "shape"),
        ("abc", "an array or a list of vectors, not a text"),
        ({1: 2}, "an array or a list of vectors, not a dict"),
        (None, "an array or a list of vectors, not None"),
        (iter([[1, 2]]), "an array or a list of vectors, not a list_iterator"),
        (np.ones((2, 2), dtype=complex), r"vectors\[0\] holds values of dtype complex"),
        (np.ones((2, 2), dtype=bool), r"vectors\[0\] holds values of dtype bool"),
        (np.ones((2, 2), dtype="M8[ns]"), r"vectors\[0\] holds values of dtype datetime64"),
        (np.ma.masked_equal([[1.0, 2.0, 3.0], [1.0, -999.0, 3.0]], -999.0), r"vectors\[1\] is masked"),
        (np.array([[1.0, 2.0], [1.0, None]], dtype=object), r"vectors\[1\] holds None at position 1"),
        (np.array([[1.0, 2.0]], dtype=object), "not of objects: give a list, as of .tolist()"),
        (Tensor(np.array([[1.0, 2.0], [3.0, True]], dtype=object)), r"vectors\[1\] holds the boolean True at position 1"),
        (Tensor(object_rows([1.0, 2.0], [3.0, None])), r"vectors\[1\] holds None at position 1"),
        (Tensor(object_rows([1.0, 2.0], [3.0, 4.0])), r"not of objects: give a list, as of .tolist\(\)"),
        (Tensor(np.ones((2, 2), dtype=bool)), r"vectors\[0\] holds values of dtype bool"),
    ],
)
def test_what_are_no_vectors_is_refused(values, said):
    with pytest.raises(InvalidArgument, match=said):
        vectors_from_input(values)


@pytest.mark.parametrize(
    "error",
    [
        TypeError("Got unsupported ScalarType BFloat16"),
        ValueError("cannot convert"),
        RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."),
    ],
)
def test_what_an_object_says_when_it_turns_into_no_array_is_told(error):
    for call, values in (
        (vectors_from_input, Tensor([[1.0]], error)),
        (query_from_input, Tensor([1.0], error)),
        (vectors_from_input, [[1.0], Tensor([1.0], error)]),
    ):
        found = refused(values, call)
        assert str(error) in found.message
        assert found.details.index == (1 if isinstance(values, list) else None)


@pytest.mark.parametrize("dtype", ["uint8", "int16", ">i4", "int64", "uint64"])
def test_integers_that_stay_are_later_the_same_floats(dtype):
    given = np.array([[0, 1, 127], [np.iinfo(dtype).max, np.iinfo(dtype).min, 3]], dtype=dtype)
    kept = vectors_from_input(given, integers_stay=True)
    assert kept is given
    np.testing.assert_array_equal(kept.astype(np.float32), vectors_from_input(given))


@pytest.mark.parametrize("given", [[[0.5, 1]], np.array([[0.5, 1]]), np.array([[0.5, 1]], dtype=np.float16), [[1.0, 2.0]]])
def test_only_integers_stay(given):
    assert vectors_from_input(given, integers_stay=True).dtype == np.float32
    with pytest.raises(InvalidArgument):
        vectors_from_input([[float("nan"), 1]], integers_stay=True)
