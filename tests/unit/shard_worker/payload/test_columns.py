"""Test that columns compare exactly: at 2^53, at 2^63, at the largest float and beyond."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.filter import Range
from shoal.shard_worker.payload.columns import NO_INTS, Column, float_operands, int_operands, merge_columns, sorted_column, within
from shoal.shard_worker.payload.sealed import row_mapping

EDGES = (2**53, 2**62, 2**63, 2**64, 2**1023, 2**1024)
ints = st.one_of(
    st.sampled_from([sign * (edge + step) for edge in EDGES for step in (-2, -1, 0, 1, 2) for sign in (-1, 1)]), st.integers(-4, 4)
)
floats = st.one_of(
    st.sampled_from([sign * math.ldexp(1.0, power) for power in (53, 62, 63, 64, 1023) for sign in (-1.0, 1.0)]),
    st.sampled_from([math.nextafter(2.0**power, way) for power in (53, 63) for way in (0.0, math.inf)]),
    st.sampled_from([0.0, -0.0, 0.5, -0.5, 1e308, -1e308, 5e-324, 1.7976931348623157e308, math.inf, -math.inf]),
    st.floats(-4, 4),
)
numbers = st.one_of(ints, floats)
small_ints = ints.filter(lambda value: -(2**63) <= value < 2**63)


def column(values: list[int] | list[float], dtype: type[np.generic]) -> Column:
    return sorted_column(np.array(values, dtype=dtype), np.arange(len(values), dtype=np.uint32))


@given(values=st.lists(small_ints, max_size=8), operands=st.lists(numbers, max_size=4))
@settings(max_examples=200, deadline=None)
def test_integers_equal_exactly(values: list[int], operands: list[int | float]) -> None:
    found = column(values, np.int64).equal(int_operands(operands))
    assert sorted(found.tolist()) == [at for at, value in enumerate(values) if any(value == operand for operand in operands)]


@given(values=st.lists(floats, max_size=8), operands=st.lists(numbers, max_size=4))
@settings(max_examples=200, deadline=None)
def test_floats_equal_exactly(values: list[float], operands: list[int | float]) -> None:
    found = column(values, np.float64).equal(float_operands(operands))
    assert sorted(found.tolist()) == [at for at, value in enumerate(values) if any(value == operand for operand in operands)]


@given(ints=st.lists(small_ints, max_size=8), floats=st.lists(floats, max_size=8), bounds=st.tuples(*[st.one_of(st.none(), numbers)] * 4))
@settings(max_examples=300, deadline=None)
def test_ranges_are_exact(ints: list[int], floats: list[float], bounds: tuple[int | float | None, ...]) -> None:
    gt, gte, lt, lte = bounds
    test = Range(path=("a",), gt=gt, gte=gte, lt=lt, lte=lte)

    def passes(value: int | float) -> bool:
        return (gt is None or value > gt) and (gte is None or value >= gte) and (lt is None or value < lt) and (lte is None or value <= lte)

    assert sorted(within(column(ints, np.int64), test).tolist()) == [at for at, value in enumerate(ints) if passes(value)]
    assert sorted(within(column(floats, np.float64), test).tolist()) == [at for at, value in enumerate(floats) if passes(value)]


@pytest.mark.parametrize(
    ("value", "bound", "above"),
    [
        (2**53 + 1, float(2**53), True),
        (2**53, float(2**53), False),
        (2**63 - 1, float(2**63), False),
        (-(2**63), -float(2**63), False),
        (2**63 - 1, 1e308, False),
        (-(2**63), -1e308, True),
        (2**63 - 1, 10**400, False),
        (0, -(10**400), True),
        (2**63 - 1, 2**63 - 2, True),
    ],
)
def test_an_integer_is_above_a_bound_only_when_it_is(value: int, bound: int | float, above: bool) -> None:
    assert (len(within(column([value], np.int64), Range(path=("a",), gt=bound))) == 1) is above


@pytest.mark.parametrize(
    ("value", "bound", "above"),
    [
        (float(2**53), 2**53 - 1, True),
        (float(2**53), 2**53 + 1, False),
        (float(2**53 + 2), 2**53 + 1, True),
        (float(2**63), 2**63 - 1, True),
        (float(2**63), 2**63 + 1, False),
        (1e308, 10**308, int(1e308) > 10**308),
        (1.7976931348623157e308, 10**400, False),
        (-1.7976931348623157e308, -(10**400), True),
    ],
)
def test_a_float_is_above_a_bound_only_when_it_is(value: float, bound: int, above: bool) -> None:
    assert (len(within(column([value], np.float64), Range(path=("a",), gt=bound))) == 1) is above


@pytest.mark.parametrize(
    ("value", "bound", "reached"),
    [
        (float(2**53), 2**53 + 1, False),
        (float(2**53), 2**53, True),
        (float(2**53 + 4), 2**53 + 3, True),
        (float(2**63), 2**63 + 1, False),
        (-float(2**63), -(2**63) - 1, True),
        (1.7976931348623157e308, 10**400, False),
    ],
)
def test_a_float_reaches_a_bound_only_when_it_does(value: float, bound: int, reached: bool) -> None:
    held = column([value], np.float64)
    assert (len(within(held, Range(path=("a",), gte=bound))) == 1) is reached
    assert (len(within(held, Range(path=("a",), lt=bound))) == 0) is reached


def test_merging_drops_rows_and_keeps_order() -> None:
    first, second = column([5, 1, 3], np.int64), column([2, 3], np.int64)
    merged = merge_columns(
        [(first, row_mapping(3, np.array([2, 0]), 0)), (second, row_mapping(2, np.array([0, 1]), 2))],
        NO_INTS,
    )
    assert list(zip(merged.values.tolist(), merged.positions.tolist(), strict=True)) == [(2, 2), (3, 0), (3, 3), (5, 1)]
    assert merge_columns([(first, row_mapping(3, np.empty(0, dtype=np.int64), 0))], NO_INTS) is NO_INTS
