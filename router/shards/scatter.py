"""Asks several shards at once, each until it answers, its patience ends, or the error is one that waiting does not
cure.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from shoal.core.collection import Collection
from shoal.core.errors import Applied, ShoalError
from shoal.core.ids import ShardId
from shoal.core.shard_calls import Consistency, ShardService
from shoal.core.shard_config import ShardConfig, ShardEntry
from shoal.router.cluster.view import Clock, ClusterView
from shoal.router.cluster.workers import Workers
from shoal.router.logic.outcomes import Answered, Missed, Outcome, applied_after, deadline_passed, named
from shoal.router.logic.read_plan import is_still_led, primary_worker, shard_entry, shard_name
from shoal.router.logic.retry import RetryPatience, may_pass, wait_before_retry
from shoal.router.shards.metrics import UNMETERED, ShardCallMeter
from shoal.router.shards.replica_reads import ReadKind, ReplicaRead, ReplicaReads
from shoal.router.shards.under_way import UnderWay

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ShardTask(Generic[T]):
    """One shard and the call on it. call: takes the service that answers and the seconds that it may take; read: the
    kind of a read, which any replica that its consistency allows may answer; None: the primary answers."""

    number: int
    call: Callable[[ShardService, float], Awaitable[T]]
    read: ReadKind | None = None

    @property
    def at_primary(self) -> bool:
        """Whether only the primary may answer."""
        return self.read is None or self.read.consistency is Consistency.PRIMARY


class Scatter:
    """Calls on shards. Each attempt goes by the newest map."""

    def __init__(
        self,
        *,
        view: ClusterView,
        workers: Workers,
        replicas: ReplicaReads,
        under_way: UnderWay,
        clock: Clock,
        meter: ShardCallMeter = UNMETERED,
    ) -> None:
        self._view, self._workers, self._clock, self._meter = view, workers, clock, meter
        self._replicas, self._under_way = replicas, under_way

    async def each(self, collection: Collection, tasks: Sequence[ShardTask[T]], patience: RetryPatience) -> list[Outcome[T]]:
        """What became of each task, in their order. Raises nothing that a shard answered."""
        if len(tasks) == 1:
            return [await self._one(collection, tasks[0], patience)]
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(self._one(collection, task, patience)) for task in tasks]
        return [each.result() for each in running]

    async def _one(self, collection: Collection, task: ShardTask[T], patience: RetryPatience) -> Outcome[T]:
        name, shard = shard_name(collection, task.number), ShardId(collection.id, task.number)
        applied: Applied = "no"
        error: ShoalError = deadline_passed(name)
        for attempt in itertools.count():
            seen, reached, left_s = self._view.current, False, patience.deadline - self._clock()
            config: ShardConfig | None = None
            if left_s <= 0:
                break
            try:
                entry = shard_entry(seen, collection, task.number)
                config = entry.config
                if task.read is None:
                    service = self._workers.service(seen, primary_worker(entry, name))
                    reached = True
                    value = await self._at_primary(task, entry, service, left_s)
                else:
                    read = ReplicaRead(seen=seen, entry=entry, shard=name, kind=task.read, call=task.call, deadline=patience.deadline)
                    value = await self._replicas.first_answer(read)
                return Answered(shard=name, number=task.number, value=value)
            except ShoalError as failure:
                error = failure
            applied = applied_after(applied, reached, error)
            if not may_pass(error, config, at_primary=task.at_primary):
                break
            wait_s = wait_before_retry(attempt, self._clock(), patience)
            if wait_s is not None:
                await self._view.wait_for_change(seen, wait_s)
            elif self._view.current.shards.get(shard) == seen.shards.get(shard):
                break
            # Patience that ended while the shard got a new configuration, a new primary perhaps, has one more attempt.
            self._meter.retried()
        return Missed(shard=name, number=task.number, error=named(error, name, str(shard)), applied=applied)

    async def _at_primary(self, task: ShardTask[T], entry: ShardEntry, service: ShardService, left_s: float) -> T:
        """Ask the primary, as long as the map says that it leads."""
        config = entry.config
        try:
            value = await self._under_way.run(config.shard, partial(is_still_led, config), task.call(service, left_s))
        except ShoalError as error:
            self._meter.ended(error.status)
            raise
        self._meter.ended("ok")
        return value
