"""Write points that come in batches: gather batches into writes of bounded size, and name the batch in errors.

Small batches are joined, so that several messages travel at a time. A write ends before the next one begins; if an id
comes again later, the later point replaces the earlier one.
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from shoal.client.cutting import MESSAGE_BYTES, point_sizes
from shoal.client.flow import Flow
from shoal.client.inputs import points_from_input
from shoal.client.named_columns import dims_of, joined
from shoal.client.writes import MESSAGES_AT_ONCE, Write
from shoal.core.errors import ErrorDetails, InvalidArgument, ShoalError
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.points import PointColumns

GATHERED_BYTES = MESSAGES_AT_ONCE * MESSAGE_BYTES
GATHERED_POINTS = MESSAGES_AT_ONCE * DEFAULT_LIMITS.upsert_points
"""With GATHERED_BYTES: most that is gathered; it fills all messages that are sent at the same time."""

_NO_DIMS: Mapping[str, int] = {}

MakeWrite = Callable[[PointColumns], tuple[Write, Flow[None] | None]]


@dataclass(frozen=True, kw_only=True)
class BatchWrite:
    """Some batches as one write.

    before: flow to run first, if any; numbers: of the batches, from 0; starts: for each batch, the position in the
    write of its first point; told: number of points in all batches up to here.
    """

    write: Write
    before: Flow[None] | None
    numbers: tuple[int, ...]
    starts: tuple[int, ...]
    told: int


class Batches:
    """Joins batches, taken one after the other, into writes.

    make: returns the write for checked points; written: points written so far.
    """

    def __init__(self, make: MakeWrite) -> None:
        self.written = 0
        self._make, self._number, self._told = make, 0, 0
        self._waiting: list[tuple[int, PointColumns]] = []
        self._bytes, self._dims = 0, _NO_DIMS

    def take(self, batch: Any) -> Iterator[BatchWrite]:
        """Take a batch; yield the writes to carry out before the next batch is requested.

        Raises InvalidArgument for a bad batch, after it has yielded the batches before: these are then written.
        """
        try:
            points = _points(batch)
            self._check_same_dims(points)
        except InvalidArgument as error:
            yield from self.rest()
            raise self._of_batch(self._number, error) from None
        size = int(point_sizes(points).sum())
        if self._waiting and not self._fits(points, size):
            yield from self.rest()
        self._waiting.append((self._number, points))
        self._dims = {**self._dims, **_dims(points)}
        self._number, self._bytes, self._told = self._number + 1, self._bytes + size, self._told + len(points)
        if self._bytes >= GATHERED_BYTES:
            yield from self.rest()

    def rest(self) -> Iterator[BatchWrite]:
        """Yield the last write, if batches are waiting."""
        if not self._waiting:
            return
        gathered, self._waiting, self._bytes, self._dims = self._waiting, [], 0, _NO_DIMS
        lengths = [len(points) for _, points in gathered]
        write, before = self._make(_together([points for _, points in gathered]))
        numbers = tuple(number for number, _ in gathered)
        yield BatchWrite(
            write=write, before=before, numbers=numbers, starts=tuple(itertools.accumulate(lengths[:-1], initial=0)), told=self._told
        )

    @contextmanager
    def naming(self, part: BatchWrite) -> Iterator[None]:
        """Convert errors within the block: they name the batch, the position in the batch, and the points written
        before.
        """
        try:
            yield
        except ShoalError as error:
            index = error.details.index
            at = 0 if index is None else bisect.bisect_right(part.starts, index) - 1
            raise self._of_batch(part.numbers[at], error, None if index is None else index - part.starts[at]) from None

    def _of_batch(self, number: int, error: ShoalError, index: int | None = None) -> ShoalError:
        message, details = error.message, error.details
        if index is not None:
            message = message.replace(f"[{details.index}]", f"[{index}]", 1)
            details = dataclasses.replace(details, index=index)
        place = f"batch {number}: " if details.index is not None or isinstance(error, InvalidArgument) else ""
        done = f"; {self.written} points of the batches before are written" if self.written else ""
        return type(error)(f"{place}{message}{done}", details)

    def _check_same_dims(self, points: PointColumns) -> None:
        """Raise InvalidArgument unless the points can be written together with those that wait."""
        if self._waiting and (points.named is None) != (self._waiting[-1][1].named is None):
            given, others = ("a matrix", "by name") if points.named is None else ("by name", "a matrix")
            raise InvalidArgument(f"vectors are {given}, those of the batch before are {others}", ErrorDetails(field="vectors"))
        for name, dim in _dims(points).items():
            before, field = self._dims.get(name, dim), f"vectors[{name!r}]" if name else "vectors"
            if dim != before:
                raise InvalidArgument(f"{field} have dimension {dim}, those before have {before}", ErrorDetails(field=field, index=0))

    def _fits(self, points: PointColumns, size: int) -> bool:
        count = sum(len(waiting) for _, waiting in self._waiting)
        return self._bytes + size <= GATHERED_BYTES and count + len(points) <= GATHERED_POINTS


def iterated(batches: Any) -> Iterator[Any]:
    """Return an iterator over the caller's batches. Raises InvalidArgument if `batches` is not iterable."""
    if isinstance(batches, (str, bytes)) or not isinstance(batches, Iterable):
        kind = type(batches).__name__
        raise InvalidArgument(f"batches must be an iterable of (ids, vectors, payloads), not {kind}", ErrorDetails(field="batches"))
    return iter(batches)


def _points(batch: Any) -> PointColumns:
    if not isinstance(batch, (tuple, list)) or not 2 <= len(batch) <= 3:
        given = f"{len(batch)} values" if isinstance(batch, (tuple, list)) else type(batch).__name__
        raise InvalidArgument(f"a batch must be (ids, vectors) or (ids, vectors, payloads), not {given}", ErrorDetails(field="batches"))
    ids, vectors, payloads = (*batch, None)[:3]
    return points_from_input(ids, vectors, payloads)


def _dims(points: PointColumns) -> dict[str, int]:
    """Return the dimension of the vectors by name; "" of those without one."""
    return {"": points.vectors.shape[1]} if points.named is None else dims_of(points.named)


def _together(parts: list[PointColumns]) -> PointColumns:
    if len(parts) == 1:
        return parts[0]
    payloads = tuple(itertools.chain.from_iterable(part.payloads or (None,) * len(part) for part in parts))
    return PointColumns(
        ids=np.concatenate([part.ids for part in parts]),
        vectors=np.concatenate([part.vectors for part in parts]),
        payloads=None if all(part.payloads is None for part in parts) else payloads,
        named=None if parts[0].named is None else joined([(len(part), part.named or {}) for part in parts]),
    )
