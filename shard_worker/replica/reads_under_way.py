"""Reads of one replica that go on in threads: until their callers leave, their deadline is over, or the replica closes.

Refuses to leave a thread behind: whoever closes the replica waits for all of them, and each ends at its next look at
its turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from shoal.core.deadline import Deadline
from shoal.core.errors import DeadlineExceeded, ErrorDetails, Unavailable
from shoal.core.ids import ShardId
from shoal.core.turns import Asker, Turn
from shoal.runtime.fair_pool import UntilTurn
from shoal.shard_worker.resources.pools import Pools

T = TypeVar("T")


class ReadsUnderWay:
    """Made on the event loop of its replica."""

    def __init__(self, *, shard: ShardId, pools: Pools) -> None:
        self._shard, self._pools = shard, pools
        self._running: dict[asyncio.Task[Any], None] = {}
        self._closing = False

    async def in_pool(self, work: Callable[[Turn], T], caller: str, deadline: Deadline) -> T:
        """What the work finds, in a thread of the pool, when its turn comes. Raises DeadlineExceeded, Unavailable when
        closing, and what the work raises."""
        asker = Asker(self._shard.collection, caller)
        return await self._until(self._pools.read(work, asker, deadline), deadline)

    async def in_writer(self, work: Callable[[Turn], T], run: Callable[[Callable[[], T]], Coroutine[Any, Any, T]], deadline: Deadline) -> T:
        """The same in the thread that writes, where `run` runs it."""
        turn = UntilTurn(deadline)
        try:
            return await self._until(run(lambda: work(turn)), deadline)
        finally:
            turn.leave()

    async def close(self) -> None:
        """End them all."""
        self._closing = True
        # The newest first: those that wait are gone before those that run make room for them.
        for each in reversed(self._running):
            each.cancel()
        while self._running:
            await asyncio.wait(list(self._running))

    async def _until(self, work: Coroutine[Any, Any, T], deadline: Deadline) -> T:
        """Wait until the deadline. What goes on behind a caller who has left ends soon, and `close` waits for it."""
        if self._closing:
            work.close()
            raise self._closing_error()
        running = asyncio.create_task(work)
        self._running[running] = None
        running.add_done_callback(self._running.pop)
        running.add_done_callback(_look_at)
        try:
            await asyncio.wait({running}, timeout=deadline.left_s)
        finally:
            running.cancel()
        try:
            if self._closing and (not running.done() or running.cancelled()):
                raise self._closing_error()
            if not running.done() or isinstance(running.exception(), DeadlineExceeded):
                raise DeadlineExceeded(f"shard {self._shard} did not answer in time; ask for less, or give it longer", self._details())
            return running.result()
        finally:
            del running  # Its error would hold this frame, this frame the task: as a cycle, with all that was read.

    def _closing_error(self) -> Unavailable:
        return Unavailable(f"the replica of shard {self._shard} is closing", self._details())

    def _details(self) -> ErrorDetails:
        return ErrorDetails(shard=str(self._shard))


def _look_at(running: asyncio.Task[Any]) -> None:
    """Take the outcome of work, whose caller may have left."""
    if not running.cancelled():
        running.exception()
