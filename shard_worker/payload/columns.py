"""Sorted columns of numbers with the rows that hold them, and exact comparison of 64-bit columns with any number.

Owns the arithmetic at 2^53, 2^63 and beyond: where a bound is rounded to the column's type, the comparison allows for
the rounding. NaN does not occur: no column holds it, and no filter has it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from shoal.core.filter import Range
from shoal.core.points import INT64_MAX, INT64_MIN
from shoal.shard_worker.payload.positions import NO_POSITIONS, Mapping, Positions, ranges

Number = int | float
Side = Literal["left", "right"]
"""left: count the values below a bound; right: count the values at or below it."""

Values = npt.NDArray[Any]
"""int64, float64 or uint64."""

ARRAY_BYTES = 112
"""Size of a numpy array in addition to its data."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Column:
    """Values (m,), ascending, and the positions (m,) of the rows that hold them. A row may occur many times."""

    values: Values
    positions: Positions

    def __len__(self) -> int:
        return len(self.values)

    def equal(self, operands: Values) -> Positions:
        """Return the rows with a value among `operands` (p,), which have the column's type."""
        if not len(self.values) or not len(operands):
            return NO_POSITIONS
        starts = self.values.searchsorted(operands, "left")
        ends = self.values.searchsorted(operands, "right")
        if len(operands) == 1:
            return self.positions[starts[0] : ends[0]]
        return self.positions[ranges(starts, ends)]

    def memory_bytes(self) -> int:
        """Return the memory it holds."""
        return int(self.values.nbytes) + self.positions.nbytes + 2 * ARRAY_BYTES


NO_INTS = Column(values=np.empty(0, dtype=np.int64), positions=NO_POSITIONS)
NO_FLOATS = Column(values=np.empty(0, dtype=np.float64), positions=NO_POSITIONS)
NO_HASHES = Column(values=np.empty(0, dtype=np.uint64), positions=NO_POSITIONS)


def sorted_column(values: Values, positions: Positions) -> Column:
    """Return the column of values (m,) given in any order. Equal values keep their order."""
    order = np.argsort(values, kind="stable")
    return Column(values=values[order], positions=positions[order])


def merge_columns(pieces: Sequence[tuple[Column, Mapping]], empty: Column) -> Column:
    """Merge columns, each with the new positions of its rows. Return `empty` when no value is left."""
    pieces = [(column, mapping) for column, mapping in pieces if len(column)]
    if not pieces:
        return empty
    positions = np.concatenate([mapping[column.positions] for column, mapping in pieces])
    stays = positions >= 0
    if not stays.any():
        return empty
    values = np.concatenate([column.values for column, _ in pieces])
    return sorted_column(values[stays], positions[stays].astype(np.uint32))


def int_operands(numbers: Sequence[Number]) -> npt.NDArray[np.int64]:
    """Return those of `numbers` that an int64 can equal. (p,), ascending, without repetition."""
    whole = [int(number) for number in numbers if isinstance(number, int) or number.is_integer()]
    return np.unique(np.array([number for number in whole if INT64_MIN <= number <= INT64_MAX], dtype=np.int64))


def float_operands(numbers: Sequence[Number]) -> npt.NDArray[np.float64]:
    """Return those of `numbers` that a float64 can equal. (p,), ascending, without repetition."""
    return np.unique(np.array([rounded for number in numbers if (rounded := _to_float(number)) == number], dtype=np.float64))


def within(column: Column, bounds: Range) -> Positions:
    """Return the rows with a value within all the bounds, which are numbers; the column is of int64 or of float64."""
    if not len(column):
        return NO_POSITIONS
    rank = _rank_in_ints if column.values.dtype == np.int64 else _rank_in_floats
    start, end = 0, len(column)
    if isinstance(bounds.gt, (int, float)):
        start = max(start, rank(column.values, bounds.gt, "right"))
    if isinstance(bounds.gte, (int, float)):
        start = max(start, rank(column.values, bounds.gte, "left"))
    if isinstance(bounds.lt, (int, float)):
        end = min(end, rank(column.values, bounds.lt, "left"))
    if isinstance(bounds.lte, (int, float)):
        end = min(end, rank(column.values, bounds.lte, "right"))
    return column.positions[start : max(start, end)]


def _rank_in_ints(values: Values, bound: Number, side: Side) -> int:
    """Count the int64 `values` below `bound` (left), or at or below it (right). Exact."""
    if isinstance(bound, float):
        if math.isinf(bound):
            return len(values) if bound > 0 else 0
        # The integers below 2.5 are the integers at or below 2.
        floor = math.floor(bound)
        side = side if floor == bound else "right"
        bound = floor
    if bound > INT64_MAX:
        return len(values)
    if bound < INT64_MIN:
        return 0
    return int(values.searchsorted(np.int64(bound), side))


def _rank_in_floats(values: Values, bound: Number, side: Side) -> int:
    """Count the float64 `values` below `bound` (left), or at or below it (right). Exact."""
    nearest = _to_float(bound)
    # No float lies between two neighbouring floats. So if the bound was rounded up, the floats below it are those below
    # the rounded bound.
    if nearest > bound:
        side = "left"
    elif nearest < bound:
        side = "right"
    return int(values.searchsorted(np.float64(nearest), side))


def _to_float(number: Number) -> float:
    """Return the nearest float64, infinite beyond the largest. Python compares it with `number` exactly."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf
