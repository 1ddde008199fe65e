"""Wakes all that wait for a change. It says that something changed, never what."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class ChangeSignal:
    """A signal that something changed. count: changes so far. Used from one event loop."""

    def __init__(self) -> None:
        self.count = 0
        self._next = asyncio.Event()

    def notify(self) -> None:
        """Count a change and wake all that wait."""
        self.count += 1
        changed, self._next = self._next, asyncio.Event()
        changed.set()

    async def wait(self, heard: int, timeout_s: float) -> bool:
        """Wait until there was a change since `count` was `heard`. Returns whether it has within timeout_s seconds."""
        return await self.until(lambda: self.count != heard, timeout_s)

    async def until(self, met: Callable[[], bool], timeout_s: float | None) -> bool:
        """Wait until `met()`, asked now and at each change.

        Returns whether it was within timeout_s seconds (None: no bound).
        """
        try:
            async with asyncio.timeout(timeout_s):
                while not met():
                    await self._next.wait()
        except TimeoutError:
            return met()
        return True
