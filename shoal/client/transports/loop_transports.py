"""One transport for each event loop that asks, closed with its loop: connections belong to the loop that opened them.

Notebooks, frameworks and programs call one client from many loops, such as those of `asyncio.run` in turn or of several
threads, and do not close it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any

from shoal.client.async_driver import AsyncBytesTransport
from shoal.core.errors import PreconditionFailed
from shoal.core.requests import Request


@dataclass(frozen=True, slots=True)
class _Kept:
    transport: AsyncBytesTransport
    closer: AsyncGenerator[None, None]


class LoopTransports:
    """Makes a transport at the first use in an event loop, and sends requests with that of the running loop.

    A transport is closed when its loop ends: `asyncio.run` and `asyncio.Runner` close the asynchronous generators of
    their loop, and each transport has one. It is closed, too, when this object is no longer used and its loop is still
    open. Thread-safe.
    """

    def __init__(self, make: Callable[[], AsyncBytesTransport]) -> None:
        """make: returns a new transport; called in the loop that it is for."""
        self._make = make
        self._kept: dict[asyncio.AbstractEventLoop, _Kept] = {}
        self._closed = False

    async def send(self, address: str, request: Request, timeout_s: float) -> Any:
        """See AsyncTransport."""
        return await (await self._here()).send(address, request, timeout_s)

    async def exchange(self, address: str, kind: type[Request], data: bytes, timeout_s: float) -> bytes:
        """See AsyncBytesTransport."""
        return await (await self._here()).exchange(address, kind, data, timeout_s)

    async def close(self) -> None:
        """End running calls and refuse new ones, in every loop."""
        self._closed = True
        here = self._kept.pop(asyncio.get_running_loop(), None)
        # Another loop closes its transport itself, once the generator is dropped.
        self._kept.clear()
        if here is not None:
            await here.closer.aclose()

    def __len__(self) -> int:
        """Return the number of loops that have a transport."""
        return len(self._kept)

    async def _here(self) -> AsyncBytesTransport:
        loop = asyncio.get_running_loop()
        kept = self._kept.get(loop)
        if kept is None:
            if self._closed:
                raise PreconditionFailed("this client is closed")
            # A loop that was closed without its generators has no use for its transport, and cannot close it.
            for other in [each for each in list(self._kept) if each.is_closed()]:
                self._kept.pop(other, None)
            transport = self._make()
            kept = self._kept[loop] = _Kept(transport, _close_at_the_end(transport))
            await anext(kept.closer)
        return kept.transport


async def _close_at_the_end(transport: AsyncBytesTransport) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await transport.close()
