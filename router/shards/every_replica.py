"""Calls every replica of a collection's shards: to read figures, or for work that each replica does for itself."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import Collection
from shoal.core.errors import ShoalError
from shoal.core.ids import ReplicaId, ShardId, WorkerId
from shoal.core.shard_calls import ShardService, ShardStats
from shoal.router.cluster.view import ClusterView
from shoal.router.cluster.workers import Workers
from shoal.router.logic.gather import shard_figures
from shoal.router.logic.outcomes import Answered, Missed, Outcome, deadline_passed, named, values_of_all
from shoal.router.logic.read_plan import is_in_sync, shard_name, shards_of
from shoal.router.logic.retry import RetryPatience, wait_before_retry
from shoal.router.shards.scatter import Scatter, ShardTask
from shoal.router.shards.under_way import UnderWay

T = TypeVar("T")

Ask = Callable[[ShardService, ShardId, float], Awaitable[T]]
"""A call on a shard: takes the service of a worker, the shard and the seconds that the call may take."""


@dataclass(frozen=True, kw_only=True)
class EveryReplica:
    """Calls every replica. stats_timeout_s: longest time for one of several replicas to return its figures."""

    view: ClusterView
    workers: Workers
    scatter: Scatter
    under_way: UnderWay
    stats_timeout_s: float

    async def stats(self, collection: Collection, patience: RetryPatience) -> list[ShardStats]:
        """Return the figures of each shard, by number, from the answers of all its replicas.

        A replica that is down or silent is left out. Raises if no replica in sync of a shard answers, and its primary
        does not answer before the patience ends either.
        """
        shards = shards_of(collection)
        async with asyncio.TaskGroup() as group:
            asked = {shard: group.create_task(self._figures(shard, patience)) for shard in shards}
        told = {shard: figures for shard, task in asked.items() if (figures := task.result()) is not None}
        rest = [shard for shard in shards if shard not in told]
        answers = values_of_all(await self.scatter.each(collection, [_task(shard, _stats) for shard in rest], patience))
        told |= dict(zip(rest, answers, strict=True))
        return [told[shard] for shard in shards]

    async def do(self, collection: Collection, ask: Ask[T], patience: RetryPatience) -> list[T]:
        """Return the primaries' answers, by number, once every other replica in sync on a live worker has answered.

        A replica that leaves the isr or the map in the meantime is left out. Raises the worst of all errors.
        """
        shards = shards_of(collection)
        others = [(shard, replica) for shard in shards for replica in self._others(shard)]
        async with asyncio.TaskGroup() as group:
            primaries = group.create_task(self.scatter.each(collection, [_task(shard, ask) for shard in shards], patience))
            beside = [group.create_task(self._beside(collection, shard, replica, ask, patience)) for shard, replica in others]
        done = primaries.result()
        values_of_all([*done, *(outcome for task in beside if (outcome := task.result()) is not None)])
        return values_of_all(done)

    async def _figures(self, shard: ShardId, patience: RetryPatience) -> ShardStats | None:
        """Return the figures of a shard; None if it has only one replica or no replica in sync answers."""
        cluster = self.view.current
        entry = cluster.shards.get(shard)
        if entry is None or len(entry.config.worker_of) < 2:
            return None
        timeout_s = min(self.stats_timeout_s, patience.deadline.left_s)
        async with asyncio.TaskGroup() as group:
            asked = {
                replica: group.create_task(self._stats_of(cluster, worker, shard, timeout_s))
                for replica, worker in entry.config.worker_of.items()
            }
        return shard_figures(entry.config, {replica: told for replica, task in asked.items() if (told := task.result()) is not None})

    async def _stats_of(self, cluster: ClusterMap, worker: WorkerId, shard: ShardId, timeout_s: float) -> ShardStats | None:
        """Return the figures of one replica, None if it does not answer."""
        try:
            return await self.workers.service(cluster, worker).stats(shard, timeout_s)
        except ShoalError:
            return None

    def _others(self, shard: ShardId) -> list[ReplicaId]:
        entry = self.view.current.shards.get(shard)
        return [] if entry is None else [each for each in entry.config.isr if each != entry.config.primary]

    async def _beside(
        self, collection: Collection, shard: ShardId, replica: ReplicaId, ask: Ask[T], patience: RetryPatience
    ) -> Outcome[T] | None:
        """Return the outcome of the call on a replica that is not the primary.

        Returns None if the replica is left out, or has become the primary, which `do` calls itself.
        """
        name = shard_name(collection, shard.number)
        for attempt in itertools.count():
            seen = self.view.current
            worker = self._home(seen, shard, replica)
            if worker is None:
                return None
            if patience.deadline.passed:
                return Missed(shard=name, number=shard.number, error=deadline_passed(name), applied="maybe")
            try:
                call = ask(self.workers.service(seen, worker), shard, patience.deadline.left_s)
                value = await self.under_way.run(shard, partial(is_in_sync, replica), call)
                return Answered(shard=name, number=shard.number, value=value)
            except ShoalError as error:
                wait_s = wait_before_retry(attempt, patience.attempts.left_s) if error.retryable else None
                if wait_s is None:
                    return Missed(shard=name, number=shard.number, error=named(error, name, str(shard)), applied="maybe")
            await self.view.wait_for_change(seen, wait_s)
        raise AssertionError("unreachable: attempts end by return")

    def _home(self, cluster: ClusterMap, shard: ShardId, replica: ReplicaId) -> WorkerId | None:
        """Return the live worker of a replica that is in sync and not the primary, else None."""
        entry = cluster.shards.get(shard)
        if entry is None or replica not in entry.config.isr or replica == entry.config.primary:
            return None
        worker = entry.config.worker_of.get(replica)
        return worker if worker in cluster.workers or worker in self.workers.here else None


async def _stats(service: ShardService, shard: ShardId, left_s: float) -> ShardStats:
    return await service.stats(shard, left_s)


def _task(shard: ShardId, ask: Ask[T]) -> ShardTask[T]:
    return ShardTask(shard.number, lambda service, left_s: ask(service, shard, left_s))
