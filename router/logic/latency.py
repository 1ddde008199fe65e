"""How fast workers and reads have been lately. Pure: times come in as numbers."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

HALF_LIFE_S = 1.0
"""A worker that was not asked is forgotten at this pace, so that one that was slow once is tried again."""

_LEAST_WEIGHT = 0.2

KEPT = 500
NEEDED = 50
_EVERY = 16


@dataclass(frozen=True, slots=True)
class Smoothed:
    """A mean of recent times that fades when nothing new comes. seconds: as of `at`."""

    seconds: float
    at: float

    def now(self, now: float) -> float:
        """What is left of it."""
        return self.seconds * float(0.5 ** (max(0.0, now - self.at) / HALF_LIFE_S))

    def after(self, seconds: float, now: float) -> Smoothed:
        """With a further time; it weighs the more, the longer none had come."""
        weight = max(_LEAST_WEIGHT, 1.0 - float(0.5 ** (max(0.0, now - self.at) / HALF_LIFE_S)))
        before = self.now(now)
        return Smoothed(before + weight * (seconds - before), now)


class RecentTimes:
    """The last KEPT times of reads of one kind."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=KEPT)
        self._added = 0
        self._p95: float | None = None

    def add(self, seconds: float) -> None:
        """Take one more time."""
        self._times.append(seconds)
        self._added += 1
        if len(self._times) >= NEEDED and (self._p95 is None or self._added >= _EVERY):
            self._added = 0
            self._p95 = sorted(self._times)[math.ceil(0.95 * len(self._times)) - 1]

    @property
    def p95(self) -> float | None:
        """The time within which 95 of 100 were done, a few reads old; None before there were NEEDED."""
        return self._p95
