import enum

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.errors import InvalidArgument
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.points import (
    check_unique,
    id_array,
    id_order,
    id_ranks,
    ids_from_input,
)

IDS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8))


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


@pytest.mark.parametrize(
    "values",
    [
        [1.0],
        [True],
        [None],
        [2**63],
        [-(2**63) - 1],
        [""],
        ["x" * 513],
        ["\ud800"],
        [b"x"],
        [np.timedelta64(5, "ns")],
        [np.datetime64(5, "ns")],
        [np.bool_(True)],
        [np.ma.masked],
    ],
)
def test_what_is_no_id_is_refused_by_index(values):
    with pytest.raises(InvalidArgument, match=r"ids\[1\]") as caught:
        ids_from_input([1, *values], DEFAULT_LIMITS)
    assert caught.value.details.index == 1


@pytest.mark.parametrize(
    "values",
    ["abc", b"abc", 7, None, np.array(5), np.ones((2, 2), dtype=int), {"a": 1}, np.ma.array(5), memoryview(b"abcd").cast("B", (2, 2))],
)
def test_what_is_no_list_of_ids_is_refused(values):
    with pytest.raises(InvalidArgument, match="ids must be a list"):
        ids_from_input(values, DEFAULT_LIMITS)


class Colour(str, enum.Enum):  # noqa: UP042 (its str() is "Colour.RED", unlike that of a StrEnum)
    RED = "red"


class Day(enum.StrEnum):
    FRIDAY = "friday"


class Number(enum.IntEnum):
    TWO = 2


class Shouted(str):
    def __str__(self) -> str:
        return self.upper()


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Colour.RED, "red"),
        (Day.FRIDAY, "friday"),
        (Number.TWO, 2),
        (np.str_("x"), "x"),
        (np.int8(3), 3),
        (np.uint64(4), 4),
        (Shouted("a"), "a"),
    ],
)
def test_an_id_is_the_text_or_number_that_it_equals(value, plain):
    (found,) = ids_from_input([value], DEFAULT_LIMITS).tolist()
    assert (found, type(found)) == (plain, type(plain))


@pytest.mark.parametrize("kind", [set, frozenset])
def test_a_set_is_refused_where_ids_have_to_be_in_an_order(kind):
    assert sorted(ids_from_input(kind([3, 1]), DEFAULT_LIMITS).tolist()) == [1, 3]
    with pytest.raises(InvalidArgument, match=f"not {kind.__name__}, which has no order"):
        ids_from_input(kind([3, 1]), DEFAULT_LIMITS, ordered=True)


def test_a_masked_id_is_named_and_a_mask_that_hides_nothing_is_no_matter():
    with pytest.raises(InvalidArgument, match=r"ids\[1\] is masked") as caught:
        ids_from_input(np.ma.array([1, 2, 3], mask=[0, 1, 0]), DEFAULT_LIMITS)
    assert caught.value.details.index == 1
    assert ids_from_input(np.ma.array([1, 2, 3]), DEFAULT_LIMITS).tolist() == [1, 2, 3]


def test_one_and_the_text_one_are_different_ids():
    check_unique(id_array([1, "1"]))
    with pytest.raises(InvalidArgument, match=r"ids\[2\]: '1' is given twice"):
        check_unique(id_array([1, "1", "1"]))
