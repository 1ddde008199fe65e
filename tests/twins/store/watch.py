"""A watch over the store in memory. It pulls from the history when it is read, so it needs no task and no queue of its
own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Self

from shoal.core.ids import Revision
from shoal.store.interface import Delta, Listed
from tests.twins.store.link import MemoryLink


class MemoryWatch:
    """Watch over a MemoryCluster."""

    def __init__(self, *, prefix: str, link: MemoryLink, on_close: Callable[[MemoryWatch], None]) -> None:
        self._prefix = prefix
        self._link = link
        self._on_close = on_close
        self._position: Revision | None = None
        self._ready: deque[Delta] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        self._closed = False

    @property
    def connected(self) -> bool:
        """See Watch."""
        return self.problem is None

    @property
    def problem(self) -> str | None:
        """See Watch."""
        if self._closed or self._link.closed:
            return "the watch is closed"
        if self._link.cut:
            return "the store in memory is cut off"
        return None if self._position is not None else "the watch has not listed yet"

    def wake(self) -> None:
        """Look at the history again. May be called from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._woken.set)

    def __aiter__(self) -> AsyncIterator[Listed | Delta]:
        return self

    async def __anext__(self) -> Listed | Delta:
        self._start()
        while not self._closed:
            self._woken.clear()
            found = self._look()
            if found is not None:
                return found
            await self._woken.wait()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """See Watch."""
        self._closed = True
        self._link.cluster.unsubscribe(self.wake)
        self._on_close(self)
        self.wake()

    async def __aenter__(self) -> Self:
        self._start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

    def _start(self) -> None:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._link.cluster.subscribe(self.wake)

    def _look(self) -> Listed | Delta | None:
        if self._ready:
            return self._advance(self._ready.popleft())
        if self._link.cut:
            return None
        with self._link.touch() as (state, _):
            changes = None if self._position is None else state.changes_after(self._position, self._prefix)
            if changes is None:
                listing = state.list(self._prefix)
                self._position = listing.revision
                return Listed(revision=listing.revision, entries=listing.entries)
        self._ready.extend(changes)
        return self._advance(self._ready.popleft()) if self._ready else None

    def _advance(self, delta: Delta) -> Delta:
        self._position = delta.revision
        return delta
