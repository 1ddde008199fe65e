from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import Sequence
from typing import cast

import pytest

from shoal.coordinator.act import Actor
from shoal.coordinator.logic.steps import Step
from shoal.coordinator.loop import LOOK_AT_MOVES_S, Loop
from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import CollectionSpec, CollectionState
from shoal.core.ids import Revision, Seq, ShardId, Term, WorkerId
from shoal.core.rebalance import ItemState, PlanState, RebalanceEntry
from shoal.core.recovery import LogEnd
from shoal.core.shard_config import ShardState
from shoal.runtime.change_signal import ChangeSignal
from shoal.store.codecs import encode_shard
from shoal.store.interface import DeleteKey, Put, Transaction
from shoal.store.observe import MapObserver
from shoal.store.rebalance_codecs import encode_rebalance
from tests.twins.coordinator.bare_coordinator import BareCoordinator, ManualClock, ModelWorkers, ScriptedReports, eventually, running
from tests.twins.coordinator.plans import plan_entry
from tests.twins.coordinator.world import KEYS, REPLACE_AFTER_S, shard_config
from tests.twins.store.client import CommitFault, MemoryStore
from tests.twins.store.cluster import MemoryCluster

SPEC = CollectionSpec(name="fashion", dim=4, shards=20)


def is_whole(candidate: BareCoordinator, name: str) -> bool:
    cluster = candidate.observer.map
    found = cluster.by_name.get(name)
    return found is not None and found.state is CollectionState.ACTIVE and len(cluster.shards_of(found.id)) == found.spec.shards


def test_a_collection_is_created_and_dropped_without_a_trace(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    async def scenario() -> None:
        clock = ManualClock()
        cluster = MemoryCluster(clock)
        one = BareCoordinator(cluster, clock)
        async with running(one), ModelWorkers(MemoryStore(cluster), "w0", "w1", "w2").running():
            await one.leading()
            await eventually(lambda: len(one.observer.map.workers) == 3)
            collection = await one.administrator.create(SPEC, "r", 10.0)
            assert is_whole(one, "fashion")
            assert one.observer.map.cluster is not None
            held = [entry.config.primary_worker for entry in one.observer.map.shards_of(collection)]
            assert sorted(held.count(WorkerId(name)) for name in ("w0", "w1", "w2")) == [6, 7, 7]
            await one.administrator.drop("fashion", None, 10.0)
            await eventually(lambda: not one.observer.map.collections and not one.observer.map.shards)
            left = await one.store.list(KEYS.prefix, 1.0)
            assert [entry.key.removeprefix(KEYS.prefix) for entry in left.entries] == [
                "cluster",
                "leader",
                "workers/w0",
                "workers/w1",
                "workers/w2",
            ]

    asyncio.run(scenario())
    assert caplog.text.count("step_done step=CreateShard") == 20
    assert "step_rejected" not in caplog.text


@pytest.mark.parametrize("fault", list(CommitFault))
def test_lost_answers_delay_but_neither_double_nor_lose_a_shard(fault: CommitFault) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        cluster = MemoryCluster(clock)
        one = BareCoordinator(cluster, clock)
        async with running(one), ModelWorkers(MemoryStore(cluster), "w0", "w1").running():
            await one.leading()
            await eventually(lambda: len(one.observer.map.workers) == 2)
            creating = asyncio.create_task(one.administrator.create(SPEC, "r", 20.0))
            await eventually(lambda: len(one.observer.map.collections) == 1)
            for _ in range(12):
                one.store.fail_next_commit(fault)
            collection = await creating
            entries = one.observer.map.shards_of(collection)
            assert [entry.config.shard.number for entry in entries] == list(range(20))
            assert all(entry.config.term == 1 for entry in entries)

    asyncio.run(scenario())


def test_a_worker_that_registers_again_is_elected_again() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        cluster = MemoryCluster(clock)
        one, workers = BareCoordinator(cluster, clock), ModelWorkers(MemoryStore(cluster), "w0")
        async with running(one), workers.running():
            await one.leading()
            await eventually(lambda: bool(one.observer.map.workers))
            collection = await one.administrator.create(CollectionSpec(name="c", dim=4), "r", 10.0)
            shard = ShardId(collection, 0)
            before = one.observer.map.shards[shard].config
            await workers.register()
            await eventually(lambda: one.observer.map.shards[shard].config.term == before.term + 1)
            after = one.observer.map.shards[shard].config
            assert after.primary == before.primary
            assert after.primary_reg == one.observer.map.workers[WorkerId("w0")].registration > before.primary_reg
            assert after.state is ShardState.ACTIVE

    asyncio.run(scenario())


def test_the_standby_finishes_what_a_vanished_leader_began() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        cluster = MemoryCluster(clock)
        one, two = BareCoordinator(cluster, clock, "one:1"), BareCoordinator(cluster, clock, "two:1")
        workers = ModelWorkers(MemoryStore(cluster), "w0", "w1")
        async with running(two):
            await two.leading()
            async with running(one), workers.running():
                await eventually(lambda: len(two.observer.map.workers) == 2)
                creating = asyncio.create_task(two.administrator.create(SPEC, "r", 20.0))
                await eventually(lambda: len(two.observer.map.shards) >= 8)
                two.store.cut()
                clock.advance(5.1)
                cluster.expire()
                await one.leading()
                await eventually(lambda: is_whole(one, "fashion"))
                assert not two.leads
                two.store.restore()
                # The call to the old leader still returns the collection: it sees it in the map, although the new
                # leader made it.
                collection = await creating
                assert collection == one.observer.map.by_name["fashion"].id
                assert {entry.config.term for entry in one.observer.map.shards_of(collection)} == {Term(1)}

    asyncio.run(scenario())


def test_a_leader_that_does_not_know_of_its_end_commits_nothing() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        cluster = MemoryCluster(clock)
        one, other = BareCoordinator(cluster, clock), MemoryStore(cluster)
        one.start(acting=False)
        try:
            await one.leading()
            await eventually(lambda: one.observer.map.leader is not None)
            # The key is deleted, but the leader does not know: its watch is late, and its lease still holds.
            stale = one.observer.map
            await other.commit(Transaction(then=(DeleteKey(key=KEYS.leader),)), 1.0)
            assert one.election.leadership() is not None
            assert stale.cluster is None
            assert await one.loop.round() == 0
            assert await other.get(KEYS.cluster, 1.0) is None
        finally:
            await one.stop()

    asyncio.run(scenario())


@dataclasses.dataclass
class Late:
    """Observer whose map the test sets."""

    map: ClusterMap


@dataclasses.dataclass
class Busy:
    """Actor that always answers that it committed revision 50. Counts its calls."""

    rounds: int = 0

    async def carry_out(self, steps: Sequence[Step]) -> Revision:
        self.rounds += 1
        return Revision(50)


def test_the_next_round_waits_for_a_map_with_the_commits_of_the_last() -> None:
    async def scenario() -> None:
        changes, late, busy = ChangeSignal(), Late(map=ClusterMap(revision=Revision(10))), Busy()
        loop = Loop(
            observer=cast(MapObserver, late),
            changes=changes,
            actor=cast(Actor, busy),
            reports=ScriptedReports(),
            leads=lambda: True,
            new_seed=lambda: "s",
            clock=lambda: 0.0,
            every_s=60.0,
            replace_after_s=600.0,
            steps_per_round=8,
            statuses=dict,
            wall_ms=lambda: 0,
        )
        running = asyncio.create_task(loop.run())
        try:
            await eventually(lambda: busy.rounds == 1)
            for revision in range(11, 50):
                late.map = ClusterMap(revision=Revision(revision))
                changes.notify()
                for _ in range(5):
                    await asyncio.sleep(0)
                assert busy.rounds == 1
            late.map = ClusterMap(revision=Revision(50))
            changes.notify()
            await eventually(lambda: busy.rounds == 2)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scenario())


def test_rounds_do_not_spin_when_nothing_can_be_done() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        cluster = MemoryCluster(clock)
        one = BareCoordinator(cluster, clock, every_s=0.2)
        rounds = itertools.count()
        latest = [0]

        async def counted() -> object:
            latest[0] = next(rounds)
            return await original()

        original = one.loop.round
        one.loop.round = counted  # type: ignore[method-assign, assignment]
        async with running(one):
            await one.leading()
            await eventually(lambda: one.observer.map.cluster is not None)
            # The only replica of this shard is on a worker that is gone. No collection wants the shard, and no replica
            # can be elected.
            config = shard_config(ShardId("gone", 0), {"r0": "gone"}, isr=["r0"])  # type: ignore[arg-type]
            await one.store.commit(Transaction(then=(Put(key=KEYS.shard(config.shard), value=encode_shard(config)),)), 1.0)
            await eventually(lambda: bool(one.observer.map.shards))
            before = latest[0]
            await one.changes.wait(one.changes.count, 1.0)
            assert 1 <= latest[0] - before <= 8

    asyncio.run(scenario())


def test_before_an_election_the_candidates_are_asked_and_the_longest_log_wins() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        cluster = MemoryCluster(clock)
        one = BareCoordinator(cluster, clock)
        workers = ModelWorkers(MemoryStore(cluster), "w0", "w1", "w2")
        async with running(one), workers.running():
            await one.leading()
            await eventually(lambda: len(one.observer.map.workers) == 3)
            made = await one.administrator.create(CollectionSpec(name="c", dim=4, replicas=3), "r", 10.0)
            shard = ShardId(made, 0)
            await eventually(lambda: len(one.observer.map.shards[shard].config.isr) == 3)
            before = one.observer.map.shards[shard].config
            assert one.reports.asked == []
            longest = before.isr[-1]
            one.reports.ends = {longest: LogEnd(term=Term(1), seq=Seq(9))}
            assert before.primary_worker is not None
            await one.store.commit(Transaction(then=(DeleteKey(key=KEYS.worker(before.primary_worker)),)), 1.0)
            await eventually(lambda: one.observer.map.shards[shard].config.term == before.term + 1)
            after = one.observer.map.shards[shard].config
            assert after.primary == longest
            assert before.primary not in after.isr
            left = {before.worker_of[each] for each in before.isr[1:]}
            assert [(set(asked), set(asked.values())) for asked in one.reports.asked[:1]] == [(left, {(shard,)})]

    asyncio.run(scenario())


def test_a_lost_replica_is_replaced_when_that_is_due_and_not_before() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        cluster = MemoryCluster(clock)
        one = BareCoordinator(cluster, clock)
        one.reports.all_open = True
        workers = ModelWorkers(MemoryStore(cluster), "w0", "w1", "w2")
        async with running(one), workers.running():
            await one.leading()
            await eventually(lambda: len(one.observer.map.workers) == 3)
            made = await one.administrator.create(CollectionSpec(name="c", dim=4, replicas=2), "r", 10.0)
            shard = ShardId(made, 0)
            await eventually(lambda: len(one.observer.map.shards[shard].config.isr) == 2)
            before = one.observer.map.shards[shard].config
            lost = before.isr[1]
            await one.store.commit(Transaction(then=(DeleteKey(key=KEYS.worker(before.worker_of[lost])),)), 1.0)
            await eventually(lambda: one.observer.map.shards[shard].config.learners == (lost,))
            one.loop_clock.advance(REPLACE_AFTER_S - 1.0)
            await one.loop.round()
            assert one.observer.map.shards[shard].config.learners == (lost,)
            one.loop_clock.advance(1.0)
            await eventually(lambda: len(one.observer.map.shards[shard].config.isr) == 2)
            await eventually(lambda: lost not in one.observer.map.shards[shard].config.members)
            after = one.observer.map.shards[shard].config
            assert lost not in after.members
            assert before.worker_of[lost] not in {after.worker_of[each] for each in after.isr}

    asyncio.run(scenario())


def plan_of(candidate: BareCoordinator) -> RebalanceEntry:
    plan = candidate.observer.map.rebalance
    assert plan is not None
    return plan


@pytest.mark.parametrize("fault", [None, *CommitFault])
def test_the_standby_goes_on_with_a_plan_and_lost_answers_do_not_repeat_it(fault: CommitFault | None) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        cluster = MemoryCluster(clock)
        one, two = BareCoordinator(cluster, clock, "one:1"), BareCoordinator(cluster, clock, "two:1")
        one.reports.all_open = two.reports.all_open = True
        workers = ModelWorkers(MemoryStore(cluster), "w0", "w1", "w2")
        spec = CollectionSpec(name="c", dim=4, shards=6, replicas=2)
        async with running(two):
            await two.leading()
            async with running(one), workers.running():
                await eventually(lambda: len(two.observer.map.workers) == 3)
                made = await two.administrator.create(spec, "r", 10.0)
                await eventually(lambda: all(len(each.config.isr) == 2 for each in two.observer.map.shards_of(made)))
                before = {entry.config.shard: entry.config for entry in two.observer.map.shards_of(made)}
                spare = {shard: {"w0", "w1", "w2"} - set(config.worker_of.values()) for shard, config in before.items()}
                ways = [(shard, str(config.primary_worker), *spare[shard]) for shard, config in before.items()]
                plan = plan_entry([(shard, source, target) for shard, source, target in ways])
                await two.store.commit(Transaction(then=(Put(key=KEYS.rebalance, value=encode_rebalance(plan)),)), 1.0)
                await eventually(lambda: any(each.config.move for each in two.observer.map.shards_of(made)))
                if fault is None:
                    two.store.cut()
                    clock.advance(5.1)
                    cluster.expire()
                    await one.leading()
                for _ in range(6 if fault is not None else 0):
                    two.store.fail_next_commit(fault)
                    await two.changes.wait(two.changes.count, 0.2)
                await eventually(lambda: plan_of(one).ended)
                ended = plan_of(one)
                assert (ended.state, ended.given_up) == (PlanState.DONE, {})
                assert set(ended.outcomes.values()) == {ItemState.DONE}
                for item in ended.plan.moves:
                    config = one.observer.map.shards[item.shard].config
                    assert sorted(config.worker_of.values()) == sorted(
                        {*before[item.shard].worker_of.values(), item.target} - {item.source}
                    )
                    assert (len(config.isr), config.move, config.successor, config.leaving) == (2, None, None, ())
                assert len((await one.store.list(KEYS.plans, 1.0)).entries) == 1

    asyncio.run(scenario())


def test_rounds_come_often_while_a_plan_runs_and_seldom_when_it_has_ended() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        cluster = MemoryCluster(clock)
        one = BareCoordinator(cluster, clock, every_s=60.0)
        async with running(one, acting=False):
            await one.leading()
            assert one.loop._pause_s() == 60.0
            plan = plan_entry([(ShardId("c", 0), "w0", "w1")])  # type: ignore[arg-type]
            await one.store.commit(Transaction(then=(Put(key=KEYS.rebalance, value=encode_rebalance(plan)),)), 1.0)
            await eventually(lambda: one.observer.map.rebalance is not None)
            await one.loop.round()
            assert one.loop._pause_s() == LOOK_AT_MOVES_S
            await eventually(lambda: plan_of(one).ended)
            await one.loop.round()
            assert one.loop._pause_s() == 60.0

    asyncio.run(scenario())
