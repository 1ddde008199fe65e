"""Decides when a read of a shard is also sent to another replica, from the times of recent reads. Pure.

There are two reasons. A hedge: the read takes longer than 95 of 100 reads of its kind. There is at most 1 hedge in
READS_A_HEDGE reads, so that a cluster in which all reads are slow does not get twice the work. Silence: the worker has
answered nothing at all since the read was sent. That is rare, needs no bound, and counts against the worker.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

READS_A_HEDGE = 20
MOST_SAVED = 10
LEAST_HEDGE_S = 0.005
PROBE_HEDGE_S = 0.05
"""After this time a probe is hedged even when no p95 is known yet. Breakers let few probes through."""

SILENT_S = 0.5
_SILENT_P95S = 2.0
_LONGER_EACH = 4

HALF_LIFE_S = 1.0
"""A worker's measured time halves after each such interval without a read, so that a slow worker is tried again."""

_LEAST_WEIGHT = 0.2

KEPT = 500
NEEDED = 50
_EVERY = 16


class HedgeBudget:
    """Allows one hedge for every READS_A_HEDGE reads, and at most MOST_SAVED at once."""

    def __init__(self) -> None:
        self._reads = 0

    def earn(self) -> None:
        """Count a read that begins."""
        self._reads = min(self._reads + 1, MOST_SAVED * READS_A_HEDGE)

    def spend(self) -> bool:
        """Return whether a hedge may be sent, and count it if so."""
        if self._reads < READS_A_HEDGE:
            return False
        self._reads -= READS_A_HEDGE
        return True


def hedge_at(*, sent_at: float, p95: float | None, probe: bool) -> float:
    """Return when a read that was sent at sent_at has to be hedged; infinity for never."""
    if p95 is not None:
        return sent_at + max(LEAST_HEDGE_S, p95)
    return sent_at + PROBE_HEDGE_S if probe else math.inf


def silent_at(*, sent_at: float, heard_at: float, p95: float | None, copies: int = 1) -> float:
    """Return the time from which a worker counts as silent.

    heard_at: when it last answered anything. copies: how many replicas have the read now. With each copy the time gets
    longer: if several workers are silent, the read probably takes long.
    """
    return max(sent_at, heard_at) + max(SILENT_S, _SILENT_P95S * (p95 or 0.0)) * float(_LONGER_EACH ** (copies - 1))


@dataclass(frozen=True, slots=True)
class Smoothed:
    """A mean of recent times, which falls while no new time is added. seconds: its value at the time `at`."""

    seconds: float
    at: float

    def now(self, now: float) -> float:
        """Return its value now."""
        return self.seconds * float(0.5 ** (max(0.0, now - self.at) / HALF_LIFE_S))

    def after(self, seconds: float, now: float) -> Smoothed:
        """Return the mean with a further time. Its weight grows with the interval since the last one."""
        weight = max(_LEAST_WEIGHT, 1.0 - float(0.5 ** (max(0.0, now - self.at) / HALF_LIFE_S)))
        before = self.now(now)
        return Smoothed(before + weight * (seconds - before), now)


class RecentTimes:
    """The last KEPT times of the reads of one kind."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=KEPT)
        self._added = 0
        self._p95: float | None = None

    def add(self, seconds: float) -> None:
        """Add the time of one read, in seconds."""
        self._times.append(seconds)
        self._added += 1
        if len(self._times) >= NEEDED and (self._p95 is None or self._added >= _EVERY):
            self._added = 0
            self._p95 = sorted(self._times)[math.ceil(0.95 * len(self._times)) - 1]

    @property
    def p95(self) -> float | None:
        """Time in seconds within which 95 of 100 reads were done; None before NEEDED reads. Up to _EVERY reads old."""
        return self._p95
