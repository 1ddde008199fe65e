"""Reads of one replica that run in threads, until their callers leave, their deadline passes, or the replica closes.

Leaves no thread behind: closing the replica waits for all of them, and each ends when it next checks its turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, TypeVar

from shoal.core.deadline import Deadline
from shoal.core.errors import DeadlineExceeded, ErrorDetails, Unavailable
from shoal.core.ids import ShardId
from shoal.core.turns import Asker, Turn
from shoal.runtime.fair_pool import UntilTurn
from shoal.shard_worker.replica.files import ReplicaFiles
from shoal.shard_worker.resources.pools import Pools

T = TypeVar("T")


class ReadsUnderWay:
    """The running reads of one replica. Created on its event loop."""

    def __init__(self, *, shard: ShardId, pools: Pools, files: ReplicaFiles) -> None:
        self._shard, self._pools, self._files = shard, pools, files
        self._running: dict[asyncio.Task[Any], None] = {}
        self._closing = False

    async def in_pool(self, work: Callable[[Turn], T], caller: str, deadline: Deadline, *, stored: bool) -> T:
        """Run the work in a thread of the pool when its turn comes, and return its result.

        stored: it reads the store, whose files stay open meanwhile. Raises DeadlineExceeded, Unavailable when closing,
        the error of a store that cannot be opened, and what the work raises.
        """
        read = partial(self._pools.read, work, Asker(self._shard.collection, caller), deadline)
        return await self._until(self._files.during(read) if stored else read(), deadline)

    async def in_writer(self, work: Callable[[Turn], T], run: Callable[[Callable[[], T]], Coroutine[Any, Any, T]], deadline: Deadline) -> T:
        """Do the same in the writer thread, in which `run` runs the work."""
        turn = UntilTurn(deadline)
        try:
            return await self._until(run(lambda: work(turn)), deadline)
        finally:
            turn.leave()

    @property
    def closing(self) -> bool:
        """Return whether no read may begin any more."""
        return self._closing

    @property
    def files(self) -> ReplicaFiles:
        """Return the files of the replica."""
        return self._files

    def join(self, running: asyncio.Task[Any]) -> None:
        """Count a task that reads this replica beside others: closing cancels it and waits for its end."""
        self._running[running] = None
        running.add_done_callback(self._running.pop)

    async def close(self) -> None:
        """End all reads."""
        self._closing = True
        # Cancel the newest first, so that waiting reads are gone before running ones make room for them.
        for each in reversed(self._running):
            each.cancel()
        while self._running:
            await asyncio.wait(list(self._running))

    async def _until(self, work: Coroutine[Any, Any, T], deadline: Deadline) -> T:
        """Wait until the deadline. Work whose caller has left ends soon, and `close` waits for it."""
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
            del running  # Otherwise the task's error, this frame and the task form a cycle that keeps the result alive.

    def _closing_error(self) -> Unavailable:
        return Unavailable(f"the replica of shard {self._shard} is closing", self._details())

    def _details(self) -> ErrorDetails:
        return ErrorDetails(shard=str(self._shard))


async def read_several(
    replicas: Sequence[ReadsUnderWay], works: Sequence[Callable[[], Awaitable[T]]], deadline: Deadline, *, stored: bool
) -> list[T] | None:
    """Return the results of works of which each reads all these replicas; None if one of them closes, or if the
    deadline passes.

    stored: they read the stores, whose files stay open meanwhile. Raises what a work raises, and Unavailable if the
    files of a store are not open now. Works whose caller has left end soon, and closing a replica waits for them.
    """
    if any(each.closing for each in replicas):
        return None
    running = [asyncio.create_task(_carried_out(replicas if stored else (), work)) for work in works]
    for task in running:
        task.add_done_callback(_look_at)
        for each in replicas:
            each.join(task)
    try:
        await asyncio.wait(running, timeout=deadline.left_s, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in running:
            task.cancel()
    ended = [task for task in running if task.done() and not task.cancelled()]
    results = [task.result() for task in ended]
    return results if len(ended) == len(running) else None


async def _carried_out(replicas: Sequence[ReadsUnderWay], work: Callable[[], Awaitable[T]]) -> T:
    """Do a work while the files of these replicas are open.

    It waits for no file while it keeps others open: works that wait for each other's files would never end.
    """
    if not all(each.files.open_now() for each in replicas):
        raise Unavailable("the files of a replica are being closed, since nobody has used them for a while")
    async with AsyncExitStack() as stack:
        for each in replicas:
            await stack.enter_async_context(each.files.kept_open())
        return await work()


def _look_at(running: asyncio.Task[Any]) -> None:
    """Retrieve the outcome of work whose caller may have left."""
    if not running.cancelled():
        running.exception()
