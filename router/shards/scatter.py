"""Calls several shards at once. Each is called again until it answers, the patience ends, or a retry cannot help."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import Collection
from shoal.core.deadline import Deadline
from shoal.core.errors import Applied, ShoalError
from shoal.core.ids import ShardId
from shoal.core.shard_calls import Consistency, ShardService
from shoal.core.shard_config import ShardConfig, ShardEntry
from shoal.router.cluster.view import ClusterView, wait_until
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
    """A call on one shard.

    call: takes the service of a worker and the seconds that the call may take.
    read: the kind of a read; any replica that its consistency allows may answer. None: only the primary answers.
    """

    number: int
    call: Callable[[ShardService, float], Awaitable[T]]
    read: ReadKind | None = None

    @property
    def at_primary(self) -> bool:
        """Whether only the primary may answer."""
        return self.read is None or self.read.consistency is Consistency.PRIMARY


class Scatter:
    """Calls shards. Each attempt uses the newest map."""

    def __init__(
        self,
        *,
        view: ClusterView,
        workers: Workers,
        replicas: ReplicaReads,
        under_way: UnderWay,
        meter: ShardCallMeter = UNMETERED,
    ) -> None:
        self._view, self._workers, self._meter = view, workers, meter
        self._replicas, self._under_way = replicas, under_way

    async def each(self, collection: Collection, tasks: Sequence[ShardTask[T]], patience: RetryPatience) -> list[Outcome[T]]:
        """Return the outcome of each task, in order. An error of a shard is an outcome; it is not raised."""
        if len(tasks) == 1:
            return [await self._one(collection, tasks[0], patience)]
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(self._one(collection, task, patience)) for task in tasks]
        return [each.result() for each in running]

    async def _one(self, collection: Collection, task: ShardTask[T], patience: RetryPatience) -> Outcome[T]:
        name, shard = shard_name(collection, task.number), ShardId(collection.id, task.number)
        applied: Applied = "no"
        error: ShoalError = deadline_passed(name)
        attempt = 0
        while True:
            seen, reached = self._view.current, False
            config: ShardConfig | None = None
            if patience.deadline.passed:
                break
            try:
                entry = shard_entry(seen, collection, task.number)
                config = entry.config
                if task.read is None:
                    service = self._workers.service(seen, primary_worker(entry, name))
                    reached = True
                    value = await self._at_primary(task, entry, service, patience.deadline.left_s)
                else:
                    read = ReplicaRead(seen=seen, entry=entry, shard=name, kind=task.read, call=task.call, deadline=patience.deadline)
                    value = await self._replicas.first_answer(read)
                return Answered(shard=name, number=task.number, value=value)
            except ShoalError as failure:
                error = failure
            applied = applied_after(applied, reached, error)
            if not may_pass(error, config, at_primary=task.at_primary):
                break
            wait_s = wait_before_retry(attempt, patience.attempts.left_s)
            if wait_s is not None:
                attempt = attempt + 1 if await self._waited(shard, seen, patience.deadline.sooner(wait_s)) else 0
            elif self._view.current.shards.get(shard) == seen.shards.get(shard):
                break
            # After the patience has ended, there is one more attempt if the shard has a new configuration: it may have
            # a new primary.
            self._meter.retried()
        return Missed(shard=name, number=task.number, error=named(error, name, str(shard)), applied=applied)

    async def _waited(self, shard: ShardId, seen: ClusterMap, until: Deadline) -> bool:
        """Wait for a change of the shard or of the workers. Return False if the shard has another configuration.

        Changes of other shards end no wait: while many primaries change, they would use up the short ones, and a call
        would wait for long after its own primary serves.
        """
        before = seen.shards.get(shard)
        await wait_until(self._view, lambda now: now.shards.get(shard) != before or now.workers != seen.workers, until)
        return self._view.current.shards.get(shard) == before

    async def _at_primary(self, task: ShardTask[T], entry: ShardEntry, service: ShardService, left_s: float) -> T:
        """Call the primary. Give up when the map shows another primary."""
        config = entry.config
        try:
            value = await self._under_way.run(config.shard, partial(is_still_led, config), task.call(service, left_s))
        except ShoalError as error:
            self._meter.ended(error.status)
            raise
        self._meter.ended("ok")
        return value
