"""A coordinator with all its parts and workers that do their share: plans, drains and balancing come to their end."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from shoal.coordinator.logic.balance_turn import STEADY_S
from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import CollectionSpec
from shoal.core.errors import PreconditionFailed
from shoal.core.ids import ClusterId, CollectionId, WorkerId
from shoal.core.operations import (
    ApplyRebalance,
    DescribeRebalance,
    DrainWorker,
    ForgetWorker,
    ListRebalances,
    ListWorkers,
    PlanRebalance,
    SetBalance,
)
from shoal.core.rebalance import ItemState, PlanKind, PlanState
from shoal.store.codecs import encode_worker
from shoal.store.interface import DeleteKey, Put, Transaction
from tests.twins.coordinator.bare_coordinator import BareCoordinator, ManualClock, ModelWorkers, eventually, running
from tests.twins.coordinator.bare_operator import BareOperator
from tests.twins.coordinator.operated import able_worker
from tests.twins.coordinator.world import KEYS
from tests.twins.store.client import MemoryStore
from tests.twins.store.cluster import MemoryCluster

SPEC = CollectionSpec(name="books", dim=4, shards=6, replicas=2)


class Whole:
    """One coordinator that runs its rounds and its turns, and workers that register, hold and lead what they should."""

    def __init__(self, cluster: MemoryCluster, clock: ManualClock) -> None:
        self.cluster, self.one = cluster, BareCoordinator(cluster, clock)
        self.one.reports.all_open = True
        self.op = BareOperator(self.one, real=True)
        self.operator = self.op.operator

    @property
    def map(self) -> ClusterMap:
        return self.one.observer.map

    async def register(self, *names: str, zone: str = "z") -> None:
        puts = tuple(Put(key=KEYS.worker(WorkerId(name)), value=encode_worker(able_worker(name, zone=zone))) for name in names)
        await self.one.store.commit(Transaction(then=puts), 1.0)
        await eventually(lambda: all(WorkerId(name) in self.map.workers for name in names))

    async def vanish(self, name: str) -> None:
        await self.one.store.commit(Transaction(then=(DeleteKey(key=KEYS.worker(WorkerId(name))),)), 1.0)
        await eventually(lambda: WorkerId(name) not in self.map.workers)

    async def create(self) -> CollectionId:
        made = await self.one.administrator.create(SPEC, "r", 20.0)
        await eventually(self.is_whole)
        return made

    def is_whole(self) -> bool:
        configs = [entry.config for entry in self.map.shards.values()]
        return all(len(config.isr) == config.rf == len(config.worker_of) and config.move is None for config in configs)

    def held(self) -> dict[str, int]:
        return {worker: len(self.map.shards.of_worker(worker)) for worker in self.map.workers}

    def led(self) -> Counter[str]:
        return Counter(str(entry.config.primary_worker) for entry in self.map.shards.values())

    def has_ended(self) -> bool:
        return self.map.rebalance is not None and self.map.rebalance.ended

    @asynccontextmanager
    async def open(self, *names: str) -> AsyncIterator[None]:
        turns = asyncio.create_task(self.op.balancing.run())
        async with running(self.one), ModelWorkers(MemoryStore(self.cluster)).running():
            await self.one.leading()
            await self.register(*names)
            try:
                yield
                assert not turns.done()
            finally:
                turns.cancel()
                await asyncio.gather(turns, return_exceptions=True)


def whole(scenario: Callable[[Whole], Awaitable[None]]) -> None:
    async def run() -> None:
        clock = ManualClock()
        await scenario(Whole(MemoryCluster(clock), clock))

    asyncio.run(run())


def test_a_new_worker_gets_its_share_by_an_applied_plan_and_an_undo_takes_it_back() -> None:
    async def scenario(it: Whole) -> None:
        async with it.open("w0", "w1", "w2"):
            await it.create()
            await it.register("w3")
            before = {shard: set(entry.config.worker_of.values()) for shard, entry in it.map.shards.items()}
            plan = await it.operator.plan(PlanRebalance(), 10.0)
            assert len(plan.moves) == 3
            await it.operator.apply(ApplyRebalance(plan_id=plan.id, plan=plan, asked_by="me"), 10.0)
            await eventually(it.has_ended)
            assert it.held() == dict.fromkeys(("w0", "w1", "w2", "w3"), 3)
            assert max(it.led().values()) <= 2
            progress = await it.operator.describe(DescribeRebalance(), 10.0)
            assert {item.state for item in progress.items} == {ItemState.DONE}
            assert (await it.operator.plan(PlanRebalance(), 10.0)).empty
            undo = await it.operator.plan(PlanRebalance(undo="last"), 10.0)
            await it.operator.apply(ApplyRebalance(plan_id=undo.id), 10.0)
            await eventually(lambda: it.has_ended() and it.map.rebalance is not None and it.map.rebalance.plan.id == undo.id)
            assert {shard: set(entry.config.worker_of.values()) for shard, entry in it.map.shards.items()} == before
            kinds = [(each.kind, each.state) for each in (await it.operator.history(ListRebalances(), 10.0)).plans]
            assert kinds == [(PlanKind.UNDO, PlanState.DONE), (PlanKind.BALANCE, PlanState.DONE)]

    whole(scenario)


def test_a_drained_worker_ends_with_nothing_and_another_one_cannot_follow() -> None:
    async def scenario(it: Whole) -> None:
        async with it.open("w0", "w1", "w2"):
            await it.create()
            await it.operator.drain(DrainWorker(worker="w0", asked_by="me"), 10.0)
            await eventually(lambda: not it.map.shards.of_worker(WorkerId("w0")))
            await eventually(it.has_ended)
            assert (it.held(), it.is_whole()) == ({"w0": 0, "w1": 6, "w2": 6}, True)
            assert it.led().keys() == {"w1", "w2"}
            assert it.map.rebalance is not None
            assert (it.map.rebalance.plan.kind, it.map.rebalance.plan.subject) == (PlanKind.DRAIN, "w0")
            (w0, *_) = (await it.operator.workers(ListWorkers(), 10.0)).workers
            assert (w0.replicas, w0.left, w0.primaries) == (0, 0, 0)
            with pytest.raises(PreconditionFailed, match="1 worker would be left"):
                await it.operator.drain(DrainWorker(worker="w1"), 10.0)

    whole(scenario)


def test_a_worker_drained_of_its_primaries_leads_nothing_and_keeps_its_replicas() -> None:
    async def scenario(it: Whole) -> None:
        async with it.open("w0", "w1", "w2"):
            await it.create()
            held = it.held()
            await it.operator.drain(DrainWorker(worker="w0", primaries_only=True), 10.0)
            await eventually(lambda: it.led()["w0"] == 0)
            assert (it.held(), it.map.rebalance) == (held, None)

    whole(scenario)


def test_automatic_balancing_fills_a_new_worker() -> None:
    async def scenario(it: Whole) -> None:
        async with it.open("w0", "w1", "w2"):
            await it.create()
            await it.operator.set_balance(SetBalance(auto=True), 10.0)
            await it.register("w3")
            for _ in range(3):
                it.one.changes.notify()
                await asyncio.sleep(0)
            it.op.clock.advance(STEADY_S + 1.0)
            it.one.changes.notify()
            await eventually(it.has_ended)
            assert it.map.rebalance is not None
            assert it.map.rebalance.plan.kind is PlanKind.AUTO
            assert it.held() == dict.fromkeys(("w0", "w1", "w2", "w3"), 3)

    whole(scenario)


def test_the_replicas_of_a_forgotten_worker_are_replaced_at_once() -> None:
    async def scenario(it: Whole) -> None:
        async with it.open("w0", "w1", "w2", "w3"):
            await it.create()
            await it.vanish("w0")
            told = await it.operator.forget(ForgetWorker(worker="w0", confirmed=True), 10.0)
            assert (told.done, told.copies) == (True, 3)
            await eventually(lambda: it.is_whole() and not it.map.shards.of_worker(WorkerId("w0")))
            assert set(it.held()) == {"w1", "w2", "w3"}

    whole(scenario)


def test_a_plan_that_was_made_before_a_worker_went_down_is_refused() -> None:
    async def scenario(it: Whole) -> None:
        async with it.open("w0", "w1", "w2", "w3"):
            await it.create()
            await it.register("w4")
            plan = await it.operator.plan(PlanRebalance(), 10.0)
            await it.vanish("w3")
            for given in (plan, None):
                with pytest.raises(PreconditionFailed, match="worker w3 is down"):
                    await it.operator.apply(ApplyRebalance(plan_id=plan.id, plan=given), 10.0)
            other = dataclasses.replace(plan, cluster=ClusterId("another"))
            with pytest.raises(PreconditionFailed, match="is for cluster 'another'"):
                await it.operator.apply(ApplyRebalance(plan_id=plan.id, plan=other), 10.0)
            assert it.map.rebalance is None

    whole(scenario)
