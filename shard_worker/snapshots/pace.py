"""Keeps what a worker sends of its snapshots at a rate that may change at any time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from shoal.runtime.clock import boot_s

PIECE_S = 0.5
"""A piece takes at most so long at the present rate, so that a call for it ends in time at any rate."""

LEAST_PIECE_BYTES = 16 * 1024

LOOK_S = 0.25
"""A new rate counts after so long, also for those that wait."""


class SendingPace:
    """One rate, shared by all who wait at it. bytes_per_s: returns the present rate, above 0. For one event loop."""

    def __init__(self, bytes_per_s: Callable[[], float]) -> None:
        self._bytes_per_s = bytes_per_s
        self._ahead_bytes, self._at = 0.0, boot_s()

    def most_bytes(self, wanted: int) -> int:
        """Return how large a piece may be at this rate, at most `wanted` bytes."""
        return min(wanted, max(LEAST_PIECE_BYTES, int(PIECE_S * self._bytes_per_s())))

    async def wait(self, size_bytes: int) -> None:
        """Wait until these bytes may be sent: those before them took their time."""
        # Nothing tells when the rate changes, so it is looked at now and then.
        while (wait_s := self._ahead_s()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(wait_s, LOOK_S))
        self._ahead_bytes += size_bytes

    def _ahead_s(self) -> float:
        """Return for how many seconds what was sent is enough at the present rate."""
        now, rate = boot_s(), self._bytes_per_s()
        self._ahead_bytes, self._at = max(0.0, self._ahead_bytes - (now - self._at) * rate), now
        return self._ahead_bytes / rate
