"""Lets searches that come at the same moment travel to the workers as one.

A search that meets no other under way goes at once. Another one waits until the event loop has looked at everything
that has come, and no longer: there are no timers. Each caller leaves at its own deadline. If the common call fails for
a reason that is not one of a shard, each search is carried out alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import Collection
from shoal.core.deadline import Clock
from shoal.core.ids import CollectionId
from shoal.core.shard_calls import ShardsFound, ShardsSearch
from shoal.router.logic.joining import batches, is_of_shards, join_key, joined, most_queries, query_s_after, taken_apart
from shoal.router.logic.outcomes import Covered
from shoal.router.logic.retry import RetryPatience
from shoal.router.shards.group_reads import GroupReads
from shoal.router.shards.metrics import UNMETERED, ShardCallMeter

T = TypeVar("T")

_Vector = tuple[CollectionId, str]
"""A collection, and the name of its vector that is compared."""


@dataclass(frozen=True, slots=True, eq=False)
class _Joining:
    """One search that waits to travel with others. outcome: None if it has to be carried out alone."""

    collection: Collection
    call: ShardsSearch
    patience: RetryPatience
    outcome: asyncio.Future[Covered[ShardsFound] | None]


@dataclass(slots=True, eq=False)
class _Alike:
    """Searches with one join_key. under_way: calls to the workers; waiting: searches that have come in this moment."""

    under_way: int = 0
    waiting: list[_Joining] = field(default_factory=list)


class JoinedSearches:
    """Passes searches on to GroupReads, several as one. Used from one event loop."""

    def __init__(self, *, groups: GroupReads, clock: Clock, meter: ShardCallMeter = UNMETERED) -> None:
        self._groups, self._clock, self._meter = groups, clock, meter
        self._alike: dict[Hashable, _Alike] = {}
        self._query_s: dict[_Vector, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def search(self, collection: Collection, call: ShardsSearch, patience: RetryPatience) -> Covered[ShardsFound]:
        """Return the outcome of a search, see GroupReads.search."""
        key = join_key(call) if self._groups.has_hop(collection, call.consistency) else None
        if key is None or patience.deadline.passed:
            return await self._groups.search(collection, call, patience)
        alike = self._alike.setdefault(key, _Alike())
        if self.goes_now(key, collection.id, call):
            return await self._searched(key, alike, collection, call, patience)
        mine = _Joining(collection, call, patience, asyncio.get_running_loop().create_future())
        alike.waiting.append(mine)
        if len(alike.waiting) == 1:
            asyncio.get_running_loop().call_soon(self._send, key, alike)
        try:
            await asyncio.wait((mine.outcome,), timeout=patience.deadline.left_s)
        finally:
            mine.outcome.cancel()
        found = None if mine.outcome.cancelled() else mine.outcome.result()
        # Without an outcome, the common call has failed or the time is over. This search alone tells which.
        return await self._groups.search(collection, call, patience) if found is None else found

    def goes_now(self, key: Hashable, collection: CollectionId, call: ShardsSearch) -> bool:
        """Return whether a search goes at once, and does not wait for others. key: join_key of the call."""
        alike = self._alike.get(key)
        if alike is None or not alike.under_way:
            return True
        return most_queries(call.groups[0].k, self._query_s.get((collection, call.vector))) <= len(call.queries)

    async def beside(
        self,
        key: Hashable,
        collection: CollectionId,
        call: ShardsSearch,
        queries: int,
        search: Awaitable[T],
        learns: Callable[[T], bool],
    ) -> T:
        """Return the outcome of a search that goes now. Other searches may wait beside it meanwhile.

        call: the search, but for its queries; learns: returns whether the outcome tells how long a query takes.
        """
        return await self._timed(key, self._alike.setdefault(key, _Alike()), (collection, call.vector), queries, search, learns)

    async def keep(self, cluster: ClusterMap) -> None:
        """Forget the times of vectors whose collections are gone."""
        self._query_s = {vector: each for vector, each in self._query_s.items() if vector[0] in cluster.collections}

    def _send(self, key: Hashable, alike: _Alike) -> None:
        """Send all that waits, in batches."""
        waiting, alike.waiting = [each for each in alike.waiting if not each.outcome.done()], []
        if not waiting:
            return
        most = most_queries(waiting[0].call.groups[0].k, self._query_s.get((waiting[0].collection.id, waiting[0].call.vector)))
        for batch in batches([len(each.call.queries) for each in waiting], most):
            task = asyncio.get_running_loop().create_task(self._carry_out(key, alike, waiting[batch]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            for each in waiting[batch]:
                each.outcome.add_done_callback(partial(_leave, task, waiting[batch]))

    async def _carry_out(self, key: Hashable, alike: _Alike, batch: Sequence[_Joining]) -> None:
        """Carry out searches as one, and give each its outcome."""
        first, last = batch[0], max(batch, key=lambda each: each.patience.deadline.ends_at)
        if len(batch) > 1:
            self._meter.joined(len(batch))
        outcomes: Sequence[Covered[ShardsFound] | None] = [None] * len(batch)
        try:
            covered = await self._searched(key, alike, first.collection, joined([each.call for each in batch]), last.patience)
            if is_of_shards(covered):
                outcomes = taken_apart(covered, [len(each.call.queries) for each in batch])
        finally:
            # After an error, each search is carried out alone, and raises its own.
            for each, outcome in zip(batch, outcomes, strict=True):
                if not each.outcome.done():
                    each.outcome.set_result(outcome)

    async def _searched(
        self, key: Hashable, alike: _Alike, collection: Collection, call: ShardsSearch, patience: RetryPatience
    ) -> Covered[ShardsFound]:
        """Pass a call on, and learn how long a query takes."""
        search = self._groups.search(collection, call, patience)
        return await self._timed(key, alike, (collection.id, call.vector), len(call.queries), search, lambda covered: not covered.missed)

    async def _timed(
        self, key: Hashable, alike: _Alike, vector: _Vector, queries: int, search: Awaitable[T], learns: Callable[[T], bool]
    ) -> T:
        began = self._clock()
        alike.under_way += 1
        try:
            found = await search
        finally:
            alike.under_way -= 1
            if not alike.under_way and not alike.waiting and self._alike.get(key) is alike:
                del self._alike[key]
        if learns(found):
            self._query_s[vector] = query_s_after(self._query_s.get(vector), self._clock() - began, queries)
        return found


def _leave(task: asyncio.Task[None], batch: Sequence[_Joining], _: asyncio.Future[Covered[ShardsFound] | None]) -> None:
    """Cancel a common call for which nobody waits any more."""
    if all(each.outcome.done() for each in batch):
        task.cancel()
