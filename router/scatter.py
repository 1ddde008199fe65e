"""Asks several shards at once, each until it answers, its patience ends, or the error is one that waiting does not cure."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from router.logic.outcomes import Answered, Missed, Outcome, applied_after, deadline_passed, named
from router.logic.read_plan import primary_worker, shard_entry, shard_name
from router.logic.retry import Patience, wait_before_retry
from router.metrics import UNMETERED, ShardCallMeter
from router.view import Clock, View
from router.workers import Workers
from shoal.core.collection import Collection
from shoal.core.errors import Applied, ShoalError
from shoal.core.ids import ShardId
from shoal.core.shard_calls import ShardService
from shoal.core.shard_config import ShardEntry

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ShardTask(Generic[T]):
    """One shard and the call on it, given who answers, the shard's configuration now and the seconds it may take."""

    number: int
    call: Callable[[ShardService, ShardEntry, float], Awaitable[T]]


class Scatter:
    """Calls on shards. Each attempt asks the primary of the newest map."""

    def __init__(self, *, view: View, workers: Workers, clock: Clock, meter: ShardCallMeter = UNMETERED) -> None:
        self._view, self._workers, self._clock, self._meter = view, workers, clock, meter

    async def each(self, collection: Collection, tasks: Sequence[ShardTask[T]], patience: Patience) -> list[Outcome[T]]:
        """What became of each task, in their order. Raises nothing that a shard answered."""
        if len(tasks) == 1:
            return [await self._one(collection, tasks[0], patience)]
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(self._one(collection, task, patience)) for task in tasks]
        return [each.result() for each in running]

    async def _one(self, collection: Collection, task: ShardTask[T], patience: Patience) -> Outcome[T]:
        name = shard_name(collection, task.number)
        applied: Applied = "no"
        error: ShoalError = deadline_passed(name)
        for attempt in itertools.count():
            seen, reached, left_s = self._view.current, False, patience.deadline - self._clock()
            if left_s <= 0:
                break
            try:
                entry = shard_entry(seen, collection, task.number)
                service = self._workers.service(seen, primary_worker(entry, name))
                reached = True
                value = await task.call(service, entry, left_s)
                self._meter.ended("ok")
                return Answered(shard=name, number=task.number, value=value)
            except ShoalError as failure:
                error = failure
                self._meter.ended(error.status)
            applied = applied_after(applied, reached, error)
            wait_s = wait_before_retry(error, attempt, self._clock(), patience)
            if wait_s is None:
                break
            self._meter.retried()
            await self._view.wait_for_change(seen, wait_s)
        return Missed(shard=name, number=task.number, error=named(error, name, str(ShardId(collection.id, task.number))), applied=applied)
