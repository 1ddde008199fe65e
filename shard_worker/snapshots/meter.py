"""Measures how far the fetch of a snapshot is, and how fast it was lately."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from shoal.core.shard_calls import SnapshotProgress

RECENT_S = 5.0
"""The rate is that of so many seconds."""


class SnapshotMeter:
    """Progress of one fetch. clock: seconds. Until `begins`, the source is still making the snapshot."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._done, self._total = clock, 0, 0
        self._since = clock()
        self._recent: deque[tuple[float, int]] = deque()

    def begins(self, *, total_bytes: int, done_bytes: int) -> None:
        """Take the size of the snapshot, and how much of it an earlier try has fetched."""
        self._total, self._done, self._since = total_bytes, done_bytes, self._clock()

    def adds(self, size_bytes: int) -> None:
        """Take that a piece has come; a negative size takes back what came damaged."""
        self._done += size_bytes
        self._recent.append((self._clock(), size_bytes))
        self._forget()

    def progress(self) -> SnapshotProgress:
        """Return how far it is. The rate is 0 if nothing came lately."""
        self._forget()
        span_s = max(1e-3, min(RECENT_S, self._clock() - self._since))
        recent = sum(size for _, size in self._recent)
        return SnapshotProgress(done_bytes=self._done, total_bytes=self._total, bytes_per_s=max(0.0, recent / span_s))

    def _forget(self) -> None:
        before = self._clock() - RECENT_S
        while self._recent and self._recent[0][0] < before:
            self._recent.popleft()
