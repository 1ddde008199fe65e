"""Lets searches that would only wait for the threads of a worker of this process run as one.

As many searches of one kind run at a time as the worker has threads for them, each at once. Others wait until one of
these ends, and then run together. There are no timers. Each caller leaves at its own deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from shoal.core.deadline import Deadline
from shoal.core.points import Matrix
from shoal.core.topk import HitColumns
from shoal.router.logic.joining import batches, hits_of_queries
from shoal.router.shards.metrics import UNMETERED, ShardCallMeter

Run = Callable[[Matrix, Deadline], Awaitable[HitColumns | None]]
"""Searches for queries (n, dim), and returns their hits; None if each of them has to be searched in another way."""


@dataclass(frozen=True, slots=True, eq=False)
class _PoolWaiter:
    """A search that waits. most: queries that may run together; outcome: None if it has to be searched alone."""

    queries: Matrix
    deadline: Deadline
    run: Run
    most: int
    outcome: asyncio.Future[HitColumns | None]


@dataclass(slots=True, eq=False)
class _PoolKind:
    """Searches that differ only in their queries. under_way: calls that run; waiting: those that wait for an end."""

    under_way: int = 0
    waiting: list[_PoolWaiter] = field(default_factory=list)


class PooledSearches:
    """Runs searches, several as one. Used from one event loop."""

    def __init__(self, meter: ShardCallMeter = UNMETERED) -> None:
        self._meter = meter
        self._alike: dict[Hashable, _PoolKind] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def search(
        self,
        key: Hashable,
        queries: Matrix,
        deadline: Deadline,
        now: Callable[[], Awaitable[HitColumns | None]],
        run: Run,
        *,
        threads: int,
        most: int,
    ) -> HitColumns | None:
        """Return the hits of the queries (n, dim); None if they have to be searched in another way.

        key: what searches have in common that may run as one; now: runs this search in this moment; run: runs it
        together with others; threads: of the worker; most: queries that may run together.
        """
        alike = self._alike.setdefault(key, _PoolKind())
        if alike.under_way < threads or most <= len(queries):
            alike.under_way += 1
            try:
                return await now()
            finally:
                self._ended(key, alike)
        mine = _PoolWaiter(queries, deadline, run, most, asyncio.get_running_loop().create_future())
        alike.waiting.append(mine)
        try:
            await asyncio.wait((mine.outcome,), timeout=deadline.left_s)
        finally:
            mine.outcome.cancel()
        return None if mine.outcome.cancelled() else mine.outcome.result()

    def _ended(self, key: Hashable, alike: _PoolKind) -> None:
        """Begin with those that wait, in place of the call that has ended."""
        alike.under_way -= 1
        waiting = [each for each in alike.waiting if not each.outcome.done()]
        if not waiting:
            alike.waiting = []
            if not alike.under_way and self._alike.get(key) is alike:
                del self._alike[key]
            return
        first = batches([len(each.queries) for each in waiting], min(each.most for each in waiting))[0]
        batch, alike.waiting = waiting[first], waiting[first.stop :]
        alike.under_way += 1
        task = asyncio.get_running_loop().create_task(self._together(key, alike, batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        for each in batch:
            each.outcome.add_done_callback(partial(_leave, task, batch))

    async def _together(self, key: Hashable, alike: _PoolKind, batch: Sequence[_PoolWaiter]) -> None:
        """Run searches as one, and give each its hits."""
        last = max(batch, key=lambda each: each.deadline.ends_at)
        if len(batch) > 1:
            self._meter.joined(len(batch))
        outcomes: list[HitColumns | None] = [None] * len(batch)
        try:
            hits = await last.run(np.concatenate([each.queries for each in batch]), last.deadline)
            if hits is not None:
                ends = np.cumsum([len(each.queries) for each in batch]).tolist()
                outcomes = [hits_of_queries(hits, end - len(each.queries), end) for each, end in zip(batch, ends, strict=True)]
        finally:
            # After an error, each search goes another way, and raises its own.
            for each, outcome in zip(batch, outcomes, strict=True):
                if not each.outcome.done():
                    each.outcome.set_result(outcome)
            self._ended(key, alike)


def _leave(task: asyncio.Task[None], batch: Sequence[_PoolWaiter], _: asyncio.Future[HitColumns | None]) -> None:
    """Cancel a common call for which nobody waits any more."""
    if all(each.outcome.done() for each in batch):
        task.cancel()
