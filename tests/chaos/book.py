"""The possible states of a point, from the writes to it and their outcomes: the model for judging a cluster under
faults.

Each point has one writer, which waits for the outcome of one write before it begins the next, so its writes have an
order. An acknowledged write is in force. A failed write that was not "surely not applied" may or may not be in force,
but never again after a later one was acknowledged: a client that goes on after a failure must not see old state return.

States that no running read can depend on are forgotten, so that a book of hours stays small. For `was_ever` to stay
right, later versions of a point must be greater.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable
from dataclasses import dataclass

FORGET_AFTER_S = 120.0
"""Longer than any read lasts."""

_MOST_OPS = 64

Version = int | None
"""Number of a written value; None: the point does not exist."""


@dataclass(slots=True)
class _Op:
    version: Version
    began: float
    ended: float | None = None
    acknowledged: bool = False
    void: bool = False


class Book:
    """The states of all points. Times are of one monotonic clock. Thread-safe.

    marks, moves: the marks of the points that exist, and the moves of their named vectors, None for no mark or move. A
    point that is written or deleted loses both.
    """

    def __init__(self, marks: Book | None = None, moves: Book | None = None) -> None:
        self.marks, self.moves = marks, moves
        self._ops: dict[int, list[_Op]] = {}
        self._forgotten: dict[int, int] = {}
        self._forgotten_acknowledged = 0
        self._lock = threading.Lock()

    def begin(self, ids: Collection[int], version: Version, now: float) -> list[_Op]:
        """Note that a write of these points is about to be sent. Return the operations to report its outcome with."""
        begun = []
        with self._lock:
            for point in ids:
                before = self._ops.setdefault(point, [])
                assert not before or before[-1].ended is not None, f"point {point} has two writes at once"
                self._forget(point, now)
                before.append(_Op(version=version, began=now))
                begun.append(before[-1])
        return begun + [op for lost in (self.marks, self.moves) if lost is not None for op in lost.begin(ids, None, now)]

    def acknowledge(self, ops: Iterable[_Op], now: float) -> None:
        """Note that the cluster has acknowledged the write."""
        with self._lock:
            for op in ops:
                op.ended, op.acknowledged = now, True

    def fail(self, ops: Iterable[_Op], now: float, *, surely_not_applied: bool) -> None:
        """Note that the write failed."""
        with self._lock:
            for op in ops:
                op.ended, op.void = now, surely_not_applied

    def possible(self, point: int, asked: float, answered: float) -> set[Version]:
        """Return every state of the point that a read from `asked` to `answered` may have seen."""
        with self._lock:
            ops = self._ops.get(point, [])
            settled = [at for at, op in enumerate(ops) if op.acknowledged and op.ended is not None and op.ended <= asked]
            last = settled[-1] if settled else None
            first: set[Version] = {None} if last is None else {ops[last].version}
            later = ops[0 if last is None else last + 1 :]
            return first | {op.version for op in later if op.began <= answered and not op.void}

    def was_ever(self, point: int, version: Version) -> bool:
        """Return whether the point may have had that version at some time until now."""
        if version is None:
            return True
        with self._lock:
            known = any(op.version == version and not op.void for op in self._ops.get(point, []))
            return known or version <= self._forgotten.get(point, 0)

    def points(self) -> list[int]:
        """Return every point that was ever written."""
        with self._lock:
            return sorted(self._ops)

    def acknowledged(self) -> int:
        """Return the number of acknowledged writes of single points."""
        with self._lock:
            return self._forgotten_acknowledged + sum(op.acknowledged for ops in self._ops.values() for op in ops)

    def _forget(self, point: int, now: float) -> None:
        """Forget what precedes the last write that was acknowledged long ago. The caller holds the lock."""
        ops = self._ops[point]
        if len(ops) < _MOST_OPS:
            return
        old = [at for at, op in enumerate(ops) if op.acknowledged and op.ended is not None and op.ended < now - FORGET_AFTER_S]
        gone = ops[: old[-1]] if old else []
        self._forgotten[point] = max((op.version or 0 for op in gone), default=0) or self._forgotten.get(point, 0)
        self._forgotten_acknowledged += sum(op.acknowledged for op in gone)
        del ops[: len(gone)]
