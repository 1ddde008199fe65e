"""The files of one replica: opened for reads of its store, closed when nobody has used them for a while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from shoal.shard_worker.replica.engine import Engine
from shoal.shard_worker.replica.room import ReplicaRoom
from shoal.shard_worker.replica.writer import Writer
from shoal.shard_worker.resources.open_stores import StoreUse

T = TypeVar("T")


class ReplicaFiles:
    """Opens and closes the files of one replica. Used on the event loop."""

    def __init__(self, *, use: StoreUse, engine: Engine, writer: Writer, room: ReplicaRoom) -> None:
        self._use, self._engine, self._writer, self._room = use, engine, writer, room
        use.begin(self._rest)

    def open_now(self) -> bool:
        """Return whether the store can be read at once, in the caller's next synchronous steps. Counts as a use."""
        if not self._use.is_open or self._engine.at_rest:
            return False
        self._use.touch()
        return True

    async def during(self, read: Callable[[], Awaitable[T]]) -> T:
        """Open the files if needed, and return the result of `read`, during which they stay open.

        Raises Unavailable when the replica closes, the error with which opening them failed, and what `read` raises.
        """
        async with self.kept_open():
            return await read()

    @asynccontextmanager
    async def kept_open(self) -> AsyncIterator[None]:
        """Open the files if needed, and keep them open in this context. Raises as `during`."""
        async with self._use:
            if self._engine.at_rest:
                await self._writer.between_writes(_nothing)
            yield

    async def close(self) -> None:
        """Close the engine. Nothing uses the files any more. Raises what Engine.close raises."""
        try:
            await asyncio.to_thread(self._engine.close)
        finally:
            self._use.end()

    async def _rest(self) -> bool:
        # Without room on the disk, a replica that cannot write what is left would fail. It answers reads as it is.
        rested = await self._writer.rest(may_write=self._room.has_disk)
        self._room.account()
        return rested


def _nothing() -> None:
    """Do nothing: the writer opens the files before any work."""
