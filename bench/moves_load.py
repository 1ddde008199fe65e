"""Searches and writes beside moves, each answer judged: how long calls took, and what failed or was wrong.

Every loop ends with the block it was begun for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

import shoal

FIRST_WRITTEN = 10_000_000
"""The first id of points that writers write. They lie far from all others."""

_FAR = 10_000.0
_CALL_S = 30.0


@dataclass
class CallTimes:
    """Calls of one kind. times: when each began, on the monotonic clock, and its seconds."""

    times: list[tuple[float, float]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def add(self, other: CallTimes) -> None:
        self.times += other.times
        self.failed += other.failed
        self.wrong += other.wrong

    def seconds(self) -> npt.NDArray[np.float64]:
        """Return (n,) seconds of each call."""
        return np.array([seconds for _, seconds in self.times], dtype=np.float64)

    def percentile_ms(self, percent: float) -> float:
        """Return a percentile in milliseconds; 0.0 without calls."""
        return float(np.percentile(self.seconds(), percent) * 1e3) if self.times else 0.0

    def longest_since(self, moment: float) -> float:
        """Return the longest call that ended after a moment, in seconds."""
        return max((seconds for began, seconds in self.times if began + seconds > moment), default=0.0)


Step = Callable[[shoal.Client, int], str | None]
"""Makes call number n and returns what was wrong with its answer."""


@contextmanager
def calling(address: str, steps: Sequence[Step], *, pause_s: float = 0.0) -> Iterator[list[CallTimes]]:
    """Run each step again and again, in a thread and a client of its own, until the block ends."""
    ended, found = threading.Event(), [CallTimes() for _ in steps]

    def work(step: Step, calls: CallTimes) -> None:
        with shoal.connect(address, timeout=_CALL_S) as client:
            number = 0
            while not ended.is_set():
                began = time.monotonic()
                try:
                    wrong = step(client, number)
                except shoal.ShoalError as error:
                    calls.failed.append(repr(error))
                else:
                    calls.wrong += [] if wrong is None else [wrong]
                calls.times.append((began, time.monotonic() - began))
                number += 1
                ended.wait(pause_s)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(steps, found, strict=True)]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def searching(name: str, base: npt.NDArray[np.uint8], first: int) -> Step:
    """Search as users do: ten different points must be found, and none of those that lie far away."""

    def step(client: shoal.Client, number: int) -> str | None:
        row = (first + number * 7919) % len(base)
        hits = client.search(name, base[row], k=10, with_payload=False)
        ids = {int(hit.id) for hit in hits}
        return None if len(ids) == 10 and max(ids) < FIRST_WRITTEN else f"row {row} was searched for, and found were {sorted(ids)}"

    return step


def checking(name: str, base: npt.NDArray[np.uint8], first: int) -> Step:
    """Search exactly by rows of the collection: each must be found at distance 0."""

    def step(client: shoal.Client, number: int) -> str | None:
        row = (first + number * 7919) % len(base)
        hits = client.search(name, base[row], k=1, exact=True, with_payload=False)
        if len(hits) == 1 and hits[0].score == 0:
            return None
        return f"row {row} was searched for exactly, and found was {[(hit.id, hit.score) for hit in hits]}"

    return step


def writing(name: str, dim: int, first: int, batch: int) -> Step:
    """Write points, each batch under ids of its own, and from the hundredth on again. See check_written."""

    def step(client: shoal.Client, number: int) -> str | None:
        ids = [first + batch * (number % 100) + at for at in range(batch)]
        vectors = np.full((batch, dim), _FAR + number, dtype=np.float32)
        client.upsert(name, ids, vectors)
        return None

    return step


def check_written(client: shoal.Client, name: str, first: int, batch: int, steps: int) -> list[str]:
    """Return which points of a writer do not have the vector that was written last, after so many steps."""
    latest = {first + batch * (number % 100) + at: _FAR + number for number in range(steps) for at in range(batch)}
    wrong: list[str] = []
    ids = list(latest)
    for start in range(0, len(ids), 500):
        part = ids[start : start + 500]
        found = {point.id: point.vector for point in client.get(name, part, with_vectors=True, consistency="primary")}
        for point in part:
            vector = found.get(point)
            if vector is None or float(vector[0]) != latest[point]:
                wrong.append(f"point {point} is {'missing' if vector is None else vector[0]}, {latest[point]} was acknowledged")
    return wrong
