"""What a point may look like, from what its writer did and was told: the model that a cluster under faults is judged by.

Each point has one writer, which waits for the outcome of one write before it begins the next, so its writes have an order.
A write that was acknowledged is in force; one that failed without "surely not applied" may or may not be, but never again
once a later one was acknowledged: a client that goes on after a failure must not see the past return.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

Version = int | None
"""Number of what was written; None: the point does not exist."""


@dataclass(slots=True)
class _Op:
    version: Version
    began: float
    ended: float | None = None
    acknowledged: bool = False
    void: bool = False


class Book:
    """Of all points. Times are of one monotonic clock. Thread-safe."""

    def __init__(self) -> None:
        self._ops: dict[int, list[_Op]] = {}
        self._lock = threading.Lock()

    def begin(self, ids: Iterable[int], version: Version, now: float) -> list[_Op]:
        """A write of these points is about to be sent. Returns what to tell the outcome with."""
        begun = []
        with self._lock:
            for point in ids:
                before = self._ops.setdefault(point, [])
                assert not before or before[-1].ended is not None, f"point {point} has two writes at once"
                before.append(_Op(version=version, began=now))
                begun.append(before[-1])
        return begun

    def acknowledge(self, ops: Iterable[_Op], now: float) -> None:
        """The cluster has acknowledged it."""
        with self._lock:
            for op in ops:
                op.ended, op.acknowledged = now, True

    def fail(self, ops: Iterable[_Op], now: float, *, surely_not_applied: bool) -> None:
        """The write failed."""
        with self._lock:
            for op in ops:
                op.ended, op.void = now, surely_not_applied

    def possible(self, point: int, asked: float, answered: float) -> set[Version]:
        """Every state in which a read that lasted from `asked` to `answered` may have seen the point."""
        with self._lock:
            ops = self._ops.get(point, [])
            settled = [at for at, op in enumerate(ops) if op.acknowledged and op.ended is not None and op.ended <= asked]
            last = settled[-1] if settled else None
            first: set[Version] = {None} if last is None else {ops[last].version}
            later = ops[0 if last is None else last + 1 :]
            return first | {op.version for op in later if op.began <= answered and not op.void}

    def points(self) -> list[int]:
        """Every point that was ever written."""
        with self._lock:
            return sorted(self._ops)

    def acknowledged(self) -> int:
        """Writes of single points that were acknowledged."""
        with self._lock:
            return sum(op.acknowledged for ops in self._ops.values() for op in ops)
