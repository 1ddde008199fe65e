"""Several vectors of one point, each with a name, and the packed row that log and store keep of them (ADR 36).

    packed row = number 0, then the numbers of each vector in the order of the specification, zeros where it has none
    number 0   = the sum of 2**i over the vectors i that the point has

The packed row is a part of the log format.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.index_spec import index_from_input
from shoal.core.limits import Limits
from shoal.core.metric import Metric, metric_from_input
from shoal.core.points import Matrix, check_finite
from shoal.core.shown import shown

MOST_NAMED_VECTORS = 16
"""Number 0 of a packed row is exact for as many."""

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedVector:
    """One of the vectors of each point. index: see shoal.core.index_spec."""

    name: str
    dim: int
    metric: Metric = Metric.L2
    index: str = "auto"

    @property
    def summary(self) -> str:
        """Return the vector in a few words, such as "image (512, cosine, auto)"."""
        return f"{self.name} ({self.dim}, {self.metric.value}, {self.index})"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class VectorColumn:
    """The vectors of one name of n points. vectors: (m, dim) float32; positions: (m,) ascending, of the points that
    have one, None if each has one."""

    vectors: Matrix
    positions: npt.NDArray[np.intp] | None = None

    def take(self, points: npt.NDArray[np.intp]) -> VectorColumn:
        """Return the vectors of the points at `points`, in that order."""
        if self.positions is None:
            return VectorColumn(vectors=self.vectors[points])
        rows = np.searchsorted(self.positions, points)
        have = rows < len(self.positions)
        have[have] = self.positions[rows[have]] == points[have]
        positions = None if have.all() else np.flatnonzero(have)
        return VectorColumn(vectors=self.vectors[rows[have]], positions=positions)

    def check(self, name: str, count: int) -> None:
        """Raise InvalidArgument unless there is one vector for each of `count` points, or for each position."""
        given = len(self.vectors)
        if self.positions is None:
            if given != count:
                _refuse(f"vector {name!r}: {given} are given for {count} points, without positions")
            return
        if len(self.positions) != given:
            _refuse(f"vector {name!r}: {len(self.positions)} positions are given for {given} vectors")
        if given and ((np.diff(self.positions) <= 0).any() or self.positions[0] < 0 or self.positions[-1] >= count):
            _refuse(f"positions of vector {name!r} must be ascending, from 0 to {count - 1}, the points of this call")


def named_vectors_from_input(given: object, *, metric: str, index: str, limits: Limits) -> tuple[NamedVector, ...]:
    """Return validated named vectors: of a mapping from name to dim or to a mapping with dim, metric and index, or of a
    sequence of NamedVector. Empty means none. metric, index: of a vector that gives none.

    Raises InvalidArgument that names the vector.
    """
    if isinstance(given, Mapping):
        named = [_from_input(name, each, metric, index) for name, each in given.items()]
    elif isinstance(given, Sequence) and all(isinstance(each, NamedVector) for each in given):
        named = list(given)
    else:
        _refuse(f"vectors is {shown(given)}, it must map names to dimensions, or to dim, metric and index")
    if len(named) > MOST_NAMED_VECTORS:
        _refuse(f"{len(named)} vectors are named, at most {MOST_NAMED_VECTORS} are allowed")
    checked = tuple(_checked(each, limits) for each in named)
    if len({each.name for each in checked}) < len(checked):
        _refuse("two vectors have the same name")
    if (total := sum(each.dim for each in checked)) > limits.dim:
        _refuse(f"the named vectors have {total} dimensions together, at most {limits.dim} are allowed")
    return checked


def _from_input(name: Any, given: Any, metric: str, index: str) -> NamedVector:
    if isinstance(given, NamedVector):
        return NamedVector(name=name, dim=given.dim, metric=given.metric, index=given.index)
    if not isinstance(given, Mapping):
        return NamedVector(name=name, dim=given, metric=metric_from_input(metric), index=index)
    unknown = [key for key in given if key not in ("dim", "metric", "index")]
    if unknown or "dim" not in given:
        _refuse(f"vector {shown(name)} is {shown(given)}, it must have a dim, and may have a metric and an index")
    return NamedVector(
        name=name,
        dim=given["dim"],
        metric=metric_from_input(given.get("metric", metric), f"metric of vector {name!r}"),
        index=given.get("index", index),
    )


def _checked(each: NamedVector, limits: Limits) -> NamedVector:
    if not isinstance(each.name, str) or not _NAME.fullmatch(each.name):
        _refuse(f"the name of a vector is {shown(each.name)}, it must match {_NAME.pattern}")
    if isinstance(each.dim, bool) or not isinstance(each.dim, int) or not 1 <= each.dim <= limits.dim:
        _refuse(f"dim of vector {each.name!r} is {shown(each.dim)}, it must be an integer from 1 to {limits.dim}")
    return NamedVector(name=each.name, dim=each.dim, metric=each.metric, index=index_from_input(each.index, dim=each.dim))


def _refuse(message: str) -> Any:
    raise InvalidArgument(message, ErrorDetails(field="vectors"))


def packed_dim(vectors: Sequence[NamedVector]) -> int:
    """Return the length of a packed row."""
    return 1 + sum(each.dim for each in vectors)


def packed(dims: Sequence[int], columns: Sequence[VectorColumn | None], count: int) -> Matrix:
    """Return the packed rows of `count` points: (count, 1 + sum(dims)) float32.

    dims: of all named vectors; columns: one for each of them, checked, None or without vectors if no point has it.
    """
    rows: Matrix = np.zeros((count, 1 + sum(dims)), dtype=np.float32)
    for bit, (part, column) in enumerate(zip(slices(dims), columns, strict=True)):
        if column is not None and len(column.vectors):
            points = slice(None) if column.positions is None else column.positions
            rows[points, 0] += 1 << bit
            rows[points, part] = column.vectors
    return rows


def check_packed(dims: Sequence[int], rows: Matrix) -> None:
    """Raise InvalidArgument unless rows (n, d) are packed rows of vectors of these dims, with finite numbers."""
    if not 1 <= len(dims) <= MOST_NAMED_VECTORS or min(dims) < 1 or rows.shape[1] != 1 + sum(dims):
        _refuse(f"packed rows have {rows.shape[1]} numbers, which are not those of {len(dims)} vectors of {sum(dims)} dimensions together")
    check_finite(rows)
    given = rows[:, 0]
    if not ((given >= 0) & (given < 1 << len(dims)) & (given == np.trunc(given))).all():
        _refuse(f"number 0 of a packed row must be a whole number below {1 << len(dims)}")


def slices(dims: Sequence[int]) -> list[slice]:
    """Return where each vector lies in a packed row."""
    ends = list(itertools.accumulate(dims, initial=1))
    return [slice(*both) for both in itertools.pairwise(ends)]


def having(rows: Matrix, bit: int) -> npt.NDArray[np.bool_]:
    """Return which packed rows have vector number `bit`: (n,) bool."""
    have: npt.NDArray[np.bool_] = (rows[:, 0].astype(np.int64) >> bit & 1).astype(bool)
    return have


def unpacked(dims: Sequence[int], rows: Matrix) -> list[VectorColumn]:
    """Return the column of each named vector of packed rows (n, 1 + sum(dims)), as a view where each point has it."""
    columns = []
    for bit, part in enumerate(slices(dims)):
        have = having(rows, bit)
        if have.all():
            columns.append(VectorColumn(vectors=rows[:, part]))
        else:
            positions = np.flatnonzero(have)
            columns.append(VectorColumn(vectors=rows[positions, part], positions=positions))
    return columns


def replaced(dims: Sequence[int], rows: Matrix, changes: Matrix) -> Matrix:
    """Return packed rows (n, d) in which the vectors that `changes`, packed rows (n, d), have are replaced by these."""
    after = rows.copy()
    had, given = rows[:, 0].astype(np.int64), changes[:, 0].astype(np.int64)
    after[:, 0] = had | given
    for bit, part in enumerate(slices(dims)):
        have = having(changes, bit)
        after[have, part] = changes[have, part]
    return after
