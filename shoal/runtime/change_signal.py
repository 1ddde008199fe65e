"""Wakes everyone who waits for a change of what is observed: the map, or who leads.

Says that something changed, never what.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Bell:
    """Rung by observer and election. Used from one event loop."""

    def __init__(self) -> None:
        self.rings = 0
        self._next = asyncio.Event()

    def ring(self) -> None:
        """Wake all who wait."""
        self.rings += 1
        rung, self._next = self._next, asyncio.Event()
        rung.set()

    async def wait(self, heard: int, timeout_s: float) -> bool:
        """Wait until the bell has rung since `rings` was `heard`. Returns whether it has within timeout_s seconds."""
        return await self.until(lambda: self.rings != heard, timeout_s)

    async def until(self, met: Callable[[], bool], timeout_s: float | None) -> bool:
        """Wait until `met()`, asked now and at each ring.

        Returns whether it was within timeout_s seconds (None: no bound).
        """
        try:
            async with asyncio.timeout(timeout_s):
                while not met():
                    await self._next.wait()
        except TimeoutError:
            return met()
        return True
