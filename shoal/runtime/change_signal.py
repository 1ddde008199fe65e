"""Wakes all tasks that wait for a change. It signals that something changed, not what changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class ChangeSignal:
    """A signal that something changed. count: number of changes so far. Used from one event loop."""

    def __init__(self) -> None:
        self.count = 0
        self._waiting: dict[asyncio.Future[bool], None] = {}

    def notify(self) -> None:
        """Count a change and wake all waiting tasks."""
        self.count += 1
        for each in self._waiting:
            _wake(each, True)

    async def wait(self, heard: int, timeout_s: float) -> bool:
        """Wait until `count` differs from `heard`. Returns whether it did within timeout_s seconds."""
        return await self.until(lambda: self.count != heard, timeout_s)

    async def until(self, met: Callable[[], bool], timeout_s: float | None) -> bool:
        """Wait until `met()` is true. It is called now and at each change.

        Returns whether it became true within timeout_s seconds (None: no bound).
        """
        loop = asyncio.get_running_loop()
        end = None if timeout_s is None else loop.time() + timeout_s
        while not met():
            if not await self._changes_before(end, loop):
                return met()
        return True

    async def _changes_before(self, end: float | None, loop: asyncio.AbstractEventLoop) -> bool:
        # Not asyncio.timeout: a timer that ends the wait costs much less than cancelling a task.
        woken: asyncio.Future[bool] = loop.create_future()
        self._waiting[woken] = None
        timer = None if end is None else loop.call_at(end, _wake, woken, False)
        try:
            return await woken
        finally:
            del self._waiting[woken]
            if timer is not None:
                timer.cancel()


def _wake(waiting: asyncio.Future[bool], changed: bool) -> None:
    if not waiting.done():
        waiting.set_result(changed)
