"""Waits until the primary of every shard of a collection serves, a moment after the collection was created."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from shoal.core.collection import Collection
from shoal.core.deadline import Clock
from shoal.core.errors import DeadlineExceeded, ErrorDetails, NotFound
from shoal.core.ids import ShardId
from shoal.core.shard_calls import Consistency, ReadTerms, ShardCount, ShardService
from shoal.router.cluster.view import ClusterView, wait_until
from shoal.router.logic.outcomes import Missed
from shoal.router.logic.read_plan import shards_of
from shoal.router.logic.retry import RetryPatience, patience_of, wait_before_retry
from shoal.router.shards.scatter import Scatter, ShardTask

ATTEMPT_S = 2.0
"""Longest time in seconds that one worker may take to say whether its shards serve."""


@dataclass(frozen=True, kw_only=True)
class Serving:
    """Asks primaries until they serve. Each attempt asks only those that did not serve before."""

    view: ClusterView
    scatter: Scatter
    clock: Clock

    async def of_all(self, collection: Collection, patience: RetryPatience) -> None:
        """Return once the primary of each shard answers a read that needs a serving primary.

        Raises DeadlineExceeded with the number of shards that serve when the time is over first, NotFound if the
        collection was dropped meanwhile.
        """
        left = shards_of(collection)
        for attempt in itertools.count():
            missed = await self._missed(collection, left, patience)
            if not missed:
                return
            wait_s = wait_before_retry(attempt, patience.attempts.left_s)
            if wait_s is None:
                raise _too_late(collection, missed)
            left = tuple(ShardId(collection.id, each.number) for each in missed)
            # A new map does not end the pause: while many shards begin to serve, every one of them changes the map.
            await wait_until(self.view, lambda _: False, patience.deadline.sooner(wait_s))

    async def _missed(self, collection: Collection, shards: tuple[ShardId, ...], patience: RetryPatience) -> list[Missed]:
        once = patience_of(clock=self.clock, timeout_s=min(ATTEMPT_S, patience.deadline.left_s), patience_s=0.0)
        outcomes = await self.scatter.each(collection, [_question(shard) for shard in shards], once)
        missed = [each for each in outcomes if isinstance(each, Missed)]
        for each in missed:
            if isinstance(each.error, NotFound):
                raise each.error
        return missed


def _question(shard: ShardId) -> ShardTask[int]:
    """Return a read that costs next to nothing, and that only a primary answers which serves."""
    call = ShardCount(shard=shard, terms=ReadTerms(consistency=Consistency.PRIMARY))

    async def ask(service: ShardService, left_s: float) -> int:
        return await service.count(call, left_s)

    return ShardTask(shard.number, ask)


def _too_late(collection: Collection, missed: list[Missed]) -> DeadlineExceeded:
    shards, first = collection.spec.shards, missed[0]
    serve = f"{shards - len(missed)} of its {shards} shards serve yet"
    message = f"collection {collection.spec.name!r} exists, but only {serve}; the others follow: {first.error.message}"
    return DeadlineExceeded(message, ErrorDetails(field="name", shard=first.shard))
