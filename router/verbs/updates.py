"""Updates of points: check the call, plan it, and change the points of all shards at the same time.

An update by ids is one write of each shard. An update by a filter alone is turned into pages of ids, one write each,
with the filter as the condition: it is evaluated again when the write is applied.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable

from shoal.core.collection import Collection
from shoal.core.deadline import Clock
from shoal.core.filter import Filter, are_long
from shoal.core.ids import RequestId, Seq, ShardId
from shoal.core.limits import Limits
from shoal.core.point_change import PointChange, UpdatePacked, UpdateVectors
from shoal.core.points import IdArray, PointId, StoredColumns, without_repeats
from shoal.core.replies import Written
from shoal.core.requests import Update
from shoal.core.shard_calls import Consistency, ReadTerms, ShardScroll, ShardUpdate, WriteAck
from shoal.core.turns import Asker
from shoal.router.cluster.finder import Finder
from shoal.router.cluster.view import ClusterView
from shoal.router.logic.checks import check_update
from shoal.router.logic.named_points import packed_change
from shoal.router.logic.outcomes import Answered, Missed, Outcome, after_earlier
from shoal.router.logic.read_plan import shards_of
from shoal.router.logic.retry import RetryPatience, patience_of
from shoal.router.logic.write_plan import ShardPart, parts_of
from shoal.router.shards.replica_reads import ReadKind
from shoal.router.shards.scatter import Scatter, ShardTask
from shoal.router.verbs.writes import write_task, written_of
from shoal.runtime.fair_pool import FairPool

PAGE_IDS = 1_000
"""Most ids in one write of an update by a filter."""

_NOTHING = WriteAck(seq=Seq(0), affected=0)
"""Stands for a shard in which nothing matched: nothing was written."""

_TOO_MUCH = frozenset(("update_bytes", "update_time"))
"""Bounds of a worker on one write, which fewer points keep."""


class Updates:
    """Changes points. next_id: returns a request id that was never used before; conversions: pool that checks long
    filters. timeout_s bounds the whole of each call.
    """

    def __init__(
        self,
        *,
        view: ClusterView,
        finder: Finder,
        scatter: Scatter,
        clock: Clock,
        limits: Limits,
        next_id: Callable[[], RequestId],
        conversions: FairPool,
    ) -> None:
        self._view, self._finder, self._scatter = view, finder, scatter
        self._clock, self._limits, self._next_id, self._conversions = clock, limits, next_id, conversions

    async def update(self, order: Update, timeout_s: float) -> Written:
        """Change the points. An id without a point is no error, nor is one whose point does not match.

        If an update by a filter alone fails or runs out of time, the error says of which shards a part may be changed.
        A point that is written meanwhile may be changed or not.
        """
        until_deadline = patience_of(clock=self._clock, timeout_s=timeout_s)
        request_id = order.request_id or self._next_id()

        async def write(collection: Collection) -> Written:
            await self._conversions.aside(
                lambda _: check_update(order, collection.spec, self._limits),
                Asker(caller=request_id.client),
                until_deadline.deadline,
                long=are_long([order.filter]),
            )
            stored = dataclasses.replace(order, change=packed_change(order.change, order.ids, collection.spec))
            if order.ids is not None:
                return await self._by_ids(collection, stored, order.ids, request_id, until_deadline)
            assert order.filter is not None, "the check wants ids or a filter"
            return await self._by_filter(collection, stored, order.filter, request_id.client, until_deadline)

        return await self._finder.with_usable(order.collection, until_deadline, write)

    async def _by_ids(
        self, collection: Collection, order: Update, ids: IdArray, request_id: RequestId, until_deadline: RetryPatience
    ) -> Written:
        """Send one write with request_id to each shard that owns some of the ids."""
        once = without_repeats(ids)

        def shard_write(part: ShardPart) -> ShardUpdate:
            return ShardUpdate(
                shard=ShardId(collection.id, part.number),
                request_id=request_id,
                ids=part.of_ids(once),
                change=_of_part(order.change, part),
                filter=order.filter,
            )

        parts = parts_of(once, self._view.current.shards_of(collection.id), collection.spec.name)
        tasks = [write_task(shard_write(part)) for part in parts]
        return written_of(collection, await self._scatter.each(collection, tasks, until_deadline))

    async def _by_filter(
        self, collection: Collection, order: Update, filter: Filter, caller: str, until_deadline: RetryPatience
    ) -> Written:
        async with asyncio.TaskGroup() as group:
            running = [
                group.create_task(self._pages(collection, shard, order.change, filter, caller, until_deadline))
                for shard in shards_of(collection)
            ]
        written = written_of(collection, [each.result() for each in running])
        return dataclasses.replace(written, tokens=tuple(token for token in written.tokens if token.seq))

    async def _pages(
        self, collection: Collection, shard: ShardId, change: PointChange, filter: Filter, caller: str, until_deadline: RetryPatience
    ) -> Outcome[WriteAck]:
        """Change the matching points of one shard, page after page in the order of ids. A page that is too much for one
        write is read again with half of its points.
        """
        so_far: WriteAck | None = None
        after: PointId | None = None
        count = PAGE_IDS
        while True:
            page = await self._matching(collection, shard, filter, after, count, caller, until_deadline)
            if isinstance(page, Missed):
                return dataclasses.replace(page, applied="no" if so_far is None else "maybe")
            ids = page.value.ids
            if not len(ids):
                return Answered(shard=page.shard, number=page.number, value=so_far or _NOTHING)
            write = ShardUpdate(shard=shard, request_id=self._next_id(), ids=ids, change=change, filter=filter)
            (latest,) = await self._scatter.each(collection, [write_task(write)], until_deadline)
            if isinstance(latest, Missed) and latest.error.details.limit in _TOO_MUCH and len(ids) > 1:
                count = len(ids) // 2
                continue
            outcome = after_earlier(so_far, latest)
            if isinstance(outcome, Missed) or len(ids) < count:
                return outcome
            so_far, after = outcome.value, ids.tolist()[-1]

    async def _matching(
        self,
        collection: Collection,
        shard: ShardId,
        filter: Filter,
        after: PointId | None,
        count: int,
        caller: str,
        until_deadline: RetryPatience,
    ) -> Outcome[StoredColumns]:
        """Return the next ids of one shard whose points match, as its primary sees them."""
        terms = ReadTerms(consistency=Consistency.PRIMARY, caller=caller)
        call = ShardScroll(shard=shard, after=after, limit=count, filter=filter, with_payload=False, terms=terms)
        kind = ReadKind("scroll", Consistency.PRIMARY)
        task = ShardTask(shard.number, lambda service, left_s: service.scroll(call, left_s), kind)
        (page,) = await self._scatter.each(collection, [task], until_deadline)
        return page


def _of_part(change: PointChange, part: ShardPart) -> PointChange:
    """Return the change of the points of one shard."""
    if part.positions is None:
        return change
    match change:
        case UpdateVectors(vectors):
            return UpdateVectors(vectors[part.positions])
        case UpdatePacked(rows, dims):
            return UpdatePacked(rows[part.positions], dims)
        case _:
            return change
