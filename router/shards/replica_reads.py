"""Reads a shard at one of its replicas: picks the replicas that may answer and runs a race between them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from shoal.core.cluster_map import ClusterMap
from shoal.core.deadline import Clock, Deadline
from shoal.core.errors import ShoalError, Unavailable
from shoal.core.shard_calls import Consistency, ShardService
from shoal.core.shard_config import ShardConfig, ShardEntry, may_lead
from shoal.router.cluster.workers import Workers
from shoal.router.logic.read_plan import is_still_led
from shoal.router.logic.replica_choice import ReplicaChoice, homes_of, replicas_to_ask
from shoal.router.logic.shard_places import nobody_may_answer
from shoal.router.shards.metrics import UNMETERED, ShardCallMeter
from shoal.router.shards.race import Race
from shoal.router.shards.traffic import Traffic
from shoal.router.shards.under_way import UnderWay

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ReadKind:
    """The kind of a read. name: the same for reads that usually take about the same time."""

    name: str
    consistency: Consistency


@dataclass(frozen=True, kw_only=True)
class ReplicaRead(Generic[T]):
    """A read of one shard.

    shard: its name, for messages. call: takes the service of a worker and the seconds that the read may take.
    """

    seen: ClusterMap
    entry: ShardEntry
    shard: str
    kind: ReadKind
    call: Callable[[ShardService, float], Awaitable[T]]
    deadline: Deadline


class ReplicaReads:
    """Reads at any replica that may answer. Used from one event loop."""

    def __init__(self, *, workers: Workers, under_way: UnderWay, traffic: Traffic, clock: Clock, meter: ShardCallMeter = UNMETERED) -> None:
        self._workers, self._under_way, self._traffic, self._clock, self._meter = workers, under_way, traffic, clock, meter

    async def first_answer(self, read: ReplicaRead[T]) -> T:
        """Return the first good answer.

        Raises the error of the replicas, or Unavailable if none of them has a live worker.
        """
        choices = self._choices(read)
        if not choices:
            self._meter.ended(Unavailable.status)
            raise nobody_may_answer(read.entry.config, read.kind.consistency, read.shard)
        if len(choices) == 1:
            return await self._only_answer(read, choices[0])
        self._traffic.hedges.earn()
        race = Race(
            shard=read.entry.config.shard,
            choices=choices,
            ask=partial(self._ask, read),
            kind=read.kind.name,
            traffic=self._traffic,
            clock=self._clock,
            meter=self._meter,
        )
        return await race.run()

    def _choices(self, read: ReplicaRead[T]) -> tuple[ReplicaChoice, ...]:
        config, consistency, here = read.entry.config, read.kind.consistency, self._workers.here
        live = {worker for worker in config.worker_of.values() if worker in read.seen.workers or worker in here}
        homes = homes_of(config, consistency, live)
        loads = self._traffic.loads(config.shard, {home.worker for home in homes}, here) if len(homes) > 1 else {}
        return replicas_to_ask(homes, loads) if homes else ()

    async def _only_answer(self, read: ReplicaRead[T], choice: ReplicaChoice) -> T:
        """Ask the only replica that may answer. Its speed is not recorded, because there is nothing to choose."""
        try:
            value = await self._ask(read, choice)
        except ShoalError as error:
            self._meter.ended(error.status)
            raise
        self._traffic.heard(choice.worker)
        self._meter.ended("ok")
        return value

    async def _ask(self, read: ReplicaRead[T], choice: ReplicaChoice) -> T:
        config = read.entry.config
        service = self._workers.service(read.seen, choice.worker)
        holds = partial(is_still_led, config) if read.kind.consistency is Consistency.PRIMARY else partial(_may_answer, choice)
        return await self._under_way.run(config.shard, holds, read.call(service, read.deadline.left_s))


def _may_answer(choice: ReplicaChoice, newest: ShardConfig | None) -> bool:
    return newest is not None and may_lead(newest, choice.replica)
