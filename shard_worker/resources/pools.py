"""The thread pools that all replicas of a worker share: writes, searches too long for the event loop, reads, and index
builds.

Reads take turns, so that one collection or caller does not delay the others, and a read ends when nobody waits for it
(ADR 13). Bounded: a search is refused when too many others wait.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

from shoal.core.deadline import Deadline
from shoal.core.turns import Asker, Turn
from shoal.runtime.fair_pool import FairPool
from shoal.runtime.handed_over import HandedOver
from shoal.runtime.logs import event
from shoal.shard_worker.index.native.threads import build_thread_init, search_thread_init
from shoal.shard_worker.index.search.sketches import Chore
from shoal.shard_worker.resources.allocator import give_back_free_memory, give_back_own_heap
from shoal.shard_worker.resources.builders import BUILD_HERE, Builder
from shoal.shard_worker.resources.rounds import BackgroundRounds
from shoal.shard_worker.resources.ticks import Ticks
from shoal.shard_worker.resources.writer_pool import WriterPool

T = TypeVar("T")

log = logging.getLogger("shoal.worker.pools")

GIVE_BACK_S = 1.0
"""How long after a replica has closed its memory is given back once more."""

CHORES = 8
"""Chores that may wait; further ones are refused, and asked for again by later searches."""


def _untold(outcome: str, seconds: float) -> None:
    """Do nothing: the default for `built`."""


class Pools:
    """The pools. The worker's role makes them; `close` ends the threads."""

    def __init__(
        self, *, search_threads: int, build_threads: int, built: Callable[[str, float], None] = _untold, builder: Builder = BUILD_HERE
    ) -> None:
        """Make the pools.

        built: called with the outcome (done, stopped, failed) and the seconds of every build that ended; builder:
        builds segments.
        """
        self.built = built
        self.builder = builder
        self.builds_running = 0
        self.search_threads = search_threads
        """Number of searches and reads that run at the same time."""
        self._reads = FairPool(
            search_threads, name="search", what="searches and reads", limit="waiting_reads", initializer=search_thread_init
        )
        self.conversions = FairPool(1, name="convert", what="requests with long filters", limit="waiting_conversions")
        """Reads requests with long filters."""
        self.writers = WriterPool()
        """Write for the replicas."""
        self._encodes = ThreadPoolExecutor(1, thread_name_prefix="encode")
        self._build_threads = build_threads
        self._builds = ThreadPoolExecutor(1, thread_name_prefix="build", initializer=self._begin_builds)
        self._measures = ThreadPoolExecutor(1, thread_name_prefix="measure", initializer=partial(build_thread_init, threads=1))
        self._chores = ThreadPoolExecutor(1, thread_name_prefix="chore", initializer=partial(build_thread_init, threads=1))
        self._waiting_chores = threading.BoundedSemaphore(CHORES)
        self._gives_back_soon = False
        self._turn = asyncio.Lock()
        self.rounds = BackgroundRounds()
        """Background work of the replicas. They leave it before `close`."""
        self.ticks = Ticks()
        """The clock of the replicas. The worker's role runs it."""
        self.stopping = threading.Event()
        """Set when the worker ends: builds check it and stop."""

    @property
    def reads_under_way(self) -> int:
        """Return how many searches and reads run or wait for their turn."""
        return len(self._reads)

    async def read(self, work: Callable[[Turn], T], asker: Asker, deadline: Deadline | None = None) -> T:
        """Run a search or a read in the pool. See FairPool.run."""
        return await self._reads.run(work, asker, deadline)

    async def encode(self, work: Callable[[], T]) -> T:
        """Turn a large write into bytes, in a thread of its own: long searches must not delay writes."""
        call = HandedOver(work)
        try:
            await asyncio.get_running_loop().run_in_executor(self._encodes, call)
            return call.outcome()
        finally:
            call.forget()

    @asynccontextmanager
    async def build_turn(self, withdrawn: asyncio.Event) -> AsyncIterator[bool]:
        """Wait for the worker's only turn to build, first come first served. It lasts from the reservation of memory to
        the swap.

        Yields False, without the turn, when `withdrawn` was set before the turn came.
        """
        taken = asyncio.create_task(self._turn.acquire())
        withdrawal = asyncio.create_task(withdrawn.wait())
        try:
            await asyncio.wait({taken, withdrawal}, return_when=asyncio.FIRST_COMPLETED)
            yield taken.done() and not withdrawn.is_set()
        finally:
            withdrawal.cancel()
            if not taken.cancel() and not taken.cancelled():
                self._turn.release()

    async def build(self, work: Callable[[], T], withdrawn: asyncio.Event) -> T | None:
        """Run a build in the build thread: one at a time for the worker, at low priority.

        Return None when `withdrawn` was set before its turn came. A build that runs is waited for.
        """
        return await self._run_unless(self._builds, work, withdrawn)

    async def measure(self, work: Callable[[], T], withdrawn: asyncio.Event) -> T | None:
        """Run short work in another thread, so that it does not wait for a long build: at low priority, on one core.

        Otherwise as build.
        """
        return await self._run_unless(self._measures, work, withdrawn)

    def chore(self, chore: Chore) -> bool:
        """Do a chore later, at low priority, on one core. Return False when CHORES wait, or the worker ends.

        Any thread may call it. An error of the chore is only a line in the log: nothing depends on it.
        """
        if self.stopping.is_set() or not self._waiting_chores.acquire(blocking=False):
            return False
        try:
            done = self._chores.submit(self._do, chore)
        except RuntimeError:
            # The threads have ended meanwhile.
            self._waiting_chores.release()
            return False
        done.add_done_callback(lambda _: self._waiting_chores.release())
        return True

    def _do(self, chore: Chore) -> None:
        try:
            chore(self.stopping.is_set)
        except Exception:
            log.exception(event("chore_failed"))

    def give_back_soon(self) -> None:
        """Return free memory to the system in a moment, once for all calls until then. Call it on the event loop.

        What a replica gives back when it closes is what is free then. Threads that have just worked for it let go of
        its rows a moment later, and nothing else would give these back before the next build.
        """
        if not self._gives_back_soon and not self.stopping.is_set():
            self._gives_back_soon = True
            asyncio.get_running_loop().call_later(GIVE_BACK_S, self._give_back)

    def _give_back(self) -> None:
        self._gives_back_soon = False
        if not self.chore(lambda _: give_back_free_memory()) and not self.stopping.is_set():
            self.give_back_soon()

    async def _run_unless(self, pool: ThreadPoolExecutor, work: Callable[[], T], withdrawn: asyncio.Event) -> T | None:
        call = HandedOver(work)
        future = pool.submit(_made, call)
        ended = asyncio.wrap_future(future)
        withdrawal = asyncio.create_task(withdrawn.wait())
        either: set[asyncio.Future[Any]] = {ended, withdrawal}
        # The caller's own reference, or an error that refers to this frame, would keep the data of the work alive.
        del work
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done() and future.cancel():
                return None
            await ended
            return call.outcome()
        finally:
            withdrawal.cancel()
            call.forget()

    def close(self) -> None:
        """Stop builds and end the threads."""
        self.stopping.set()
        self._builds.shutdown(cancel_futures=True)
        self._measures.shutdown(cancel_futures=True)
        self._chores.shutdown(cancel_futures=True)
        self._reads.close()
        self.conversions.close()
        self._encodes.shutdown(cancel_futures=True)
        self.writers.close()

    def _begin_builds(self) -> None:
        build_thread_init(threads=self._build_threads)


def _made(call: HandedOver[Any]) -> None:
    """Make the call, and keep none of the memory that it worked in."""
    call()
    give_back_own_heap()
