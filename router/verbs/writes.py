"""Upsert and delete: check the call, plan it, and write all shards at the same time. A failed write of a shard is tried
again with the same request id until the deadline.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence

from shoal.core.collection import Collection
from shoal.core.deadline import Clock
from shoal.core.filter import Filter, is_long
from shoal.core.ids import RequestId, ShardId
from shoal.core.limits import Limits
from shoal.core.points import IdArray, without_repeats
from shoal.core.replies import Written
from shoal.core.requests import Delete, DeleteMatching, ShardToken, Upsert
from shoal.core.shard_calls import ShardDelete, ShardDeleteMatching, ShardUpsert, ShardWrite, WriteAck
from shoal.core.turns import Asker
from shoal.router.cluster.finder import Finder
from shoal.router.cluster.view import ClusterView
from shoal.router.logic.checks import check_delete, check_delete_matching, check_upsert
from shoal.router.logic.named_points import packed_points
from shoal.router.logic.outcomes import Missed, Outcome, after_earlier, values_of_write
from shoal.router.logic.read_plan import shards_of
from shoal.router.logic.retry import RetryPatience, patience_of
from shoal.router.logic.write_plan import ShardPart, parts_of
from shoal.router.shards.scatter import Scatter, ShardTask
from shoal.runtime.fair_pool import FairPool


class Writes:
    """Writes points. client: a unique name, for writes that come without a request id. conversions: pool that checks
    long filters. timeout_s bounds the whole of each call.
    """

    def __init__(
        self, *, view: ClusterView, finder: Finder, scatter: Scatter, clock: Clock, limits: Limits, client: str, conversions: FairPool
    ) -> None:
        self._view, self._finder, self._scatter = view, finder, scatter
        self._clock, self._limits, self._client, self._conversions = clock, limits, client, conversions
        self._numbers = itertools.count(1)

    async def upsert(self, order: Upsert, timeout_s: float) -> Written:
        """Write points. Returns when every shard has acknowledged. An error says whether each shard was written."""
        until_deadline = patience_of(clock=self._clock, timeout_s=timeout_s)
        request_id = order.request_id or self.next_id()

        async def write(collection: Collection) -> Written:
            check_upsert(order.points, collection.spec, self._limits)
            points = packed_points(order.points, collection.spec)

            def shard_write(part: ShardPart) -> ShardWrite:
                shard = ShardId(collection.id, part.number)
                return ShardUpsert(shard=shard, request_id=request_id, points=part.of_points(points))

            return await self._write(collection, order.points.ids, shard_write, until_deadline)

        return await self._finder.with_usable(order.collection, until_deadline, write)

    async def delete(self, order: Delete, timeout_s: float) -> Written:
        """Remove points by id. An id without a point is no error."""
        until_deadline = patience_of(clock=self._clock, timeout_s=timeout_s)
        request_id = order.request_id or self.next_id()

        async def write(collection: Collection) -> Written:
            check_delete(order.ids, self._limits)
            ids = without_repeats(order.ids)

            def shard_write(part: ShardPart) -> ShardWrite:
                return ShardDelete(shard=ShardId(collection.id, part.number), request_id=request_id, ids=part.of_ids(ids))

            return await self._write(collection, ids, shard_write, until_deadline)

        return await self._finder.with_usable(order.collection, until_deadline, write)

    async def delete_matching(self, order: DeleteMatching, timeout_s: float) -> Written:
        """Remove the points that match. Each shard is called again, with a new request id, until no match is left.

        If time runs out before that, the error says that a part may be removed. Another call removes the rest.
        """
        until_deadline = patience_of(clock=self._clock, timeout_s=timeout_s)
        request_id = order.request_id or self.next_id()

        async def write(collection: Collection) -> Written:
            await self._conversions.aside(
                lambda _: check_delete_matching(order.filter, self._limits),
                Asker(caller=request_id.client),
                until_deadline.deadline,
                long=is_long(order.filter),
            )
            async with asyncio.TaskGroup() as group:
                running = [
                    group.create_task(self._delete_rest(collection, shard, order.filter, request_id, until_deadline))
                    for shard in shards_of(collection)
                ]
            return written_of(collection, [each.result() for each in running])

        return await self._finder.with_usable(order.collection, until_deadline, write)

    async def _delete_rest(
        self, collection: Collection, shard: ShardId, filter: Filter, request_id: RequestId, until_deadline: RetryPatience
    ) -> Outcome[WriteAck]:
        """Delete the matching points of one shard, call after call. The first call has request_id."""
        so_far: WriteAck | None = None
        while True:
            task = write_task(ShardDeleteMatching(shard=shard, request_id=request_id, filter=filter))
            (latest,) = await self._scatter.each(collection, [task], until_deadline)
            outcome = after_earlier(so_far, latest)
            if isinstance(outcome, Missed) or not outcome.value.more:
                return outcome
            so_far, request_id = outcome.value, self.next_id()

    async def _write(
        self,
        collection: Collection,
        ids: IdArray,
        shard_write: Callable[[ShardPart], ShardWrite],
        until_deadline: RetryPatience,
    ) -> Written:
        parts = parts_of(ids, self._view.current.shards_of(collection.id), collection.spec.name)
        tasks = [write_task(shard_write(part)) for part in parts]
        return written_of(collection, await self._scatter.each(collection, tasks, until_deadline))

    def next_id(self) -> RequestId:
        """Return a request id that was never used before."""
        return RequestId(self._client, next(self._numbers))


def written_of(collection: Collection, outcomes: Sequence[Outcome[WriteAck]]) -> Written:
    """Return what the shards acknowledged together. Raises as values_of_write."""
    acks = values_of_write(outcomes)
    tokens = (ShardToken(collection.id, each.number, ack.seq) for each, ack in zip(outcomes, acks, strict=True))
    return Written(tokens=tuple(sorted(tokens, key=lambda token: token.shard)), affected=sum(ack.affected for ack in acks))


def write_task(write: ShardWrite) -> ShardTask[WriteAck]:
    """Return the call of one shard's primary."""
    return ShardTask(write.shard.number, lambda service, left_s: service.write(write, left_s))
