from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter

import pytest

from shoal.coordinator import bundles
from shoal.coordinator.act import DONE, IN_DOUBT, REJECTED, Actor, story_of, transaction_of
from shoal.coordinator.logic.steps import (
    ActivateCollection,
    AddLearners,
    AskSuccessor,
    BeginMove,
    CancelMove,
    CreateCluster,
    CreateShard,
    DeleteCollection,
    DeleteShard,
    ElectPrimary,
    EndPlan,
    ForgetReplicas,
    GiveUpItems,
    PlaceShardAnew,
    RetireReplica,
    SetReplication,
    Step,
    WithdrawMove,
)
from shoal.coordinator.metrics import StepMeter
from shoal.core.collection import CollectionState
from shoal.core.errors import PreconditionFailed
from shoal.core.ids import ClusterId, ReplicaId, Revision, ShardId, WorkerId
from shoal.core.rebalance import ItemState, PlanState
from shoal.core.shard_config import ShardEntry
from shoal.runtime.metrics import Measure, MetricSpec, NoMetrics
from shoal.store.codecs import encode_leader, encode_shard
from shoal.store.interface import Absent, Changed, Committed, Compare, Created, DeleteKey, Put, Rejected, Transaction, Unchanged
from shoal.store.rebalance_codecs import decode_rebalance, encode_rebalance
from tests.twins.coordinator.bare_coordinator import ManualClock
from tests.twins.coordinator.plans import plan_entry
from tests.twins.coordinator.world import KEYS, collection_of, shard_config
from tests.twins.store.client import CommitFault, MemoryStore
from tests.twins.store.cluster import MemoryCluster

COLLECTION = collection_of("c", revision=30)
SHARD = ShardId(COLLECTION.id, 0)
OLD = ShardEntry(config=shard_config(SHARD, {"r0": "w0"}, isr=["r0"], primary_reg=5), epoch=Revision(40))
NEW = shard_config(SHARD, {"r1": "w1"}, isr=["r1"], primary_reg=6, term=2)
RESIGNED = ShardEntry(config=dataclasses.replace(OLD.config, primary_reg=Revision(0), isr=(ReplicaId("r1"),)), epoch=Revision(40))
LIVE = {WorkerId("w1"): Revision(6), WorkerId("w2"): Revision(8)}
HOMELESS = ShardEntry(config=shard_config(SHARD, {}, isr=["r0"], primary_reg=5), epoch=Revision(41))

MINE = Created(key=KEYS.leader, create_revision=Revision(7))
AS_IS = Unchanged(key=KEYS.collection(COLLECTION.id), mod_revision=Revision(30))
EPOCH = Unchanged(key=KEYS.shard(SHARD), mod_revision=Revision(40))
OLD_TERM_OVER = Changed(key=KEYS.worker("w0"), mod_revision=Revision(5))  # type: ignore[arg-type]
LEARNER_LIVES = Unchanged(key=KEYS.worker(WorkerId("w2")), mod_revision=Revision(8))
NEW_HOME_LIVES = Unchanged(key=KEYS.worker("w1"), mod_revision=Revision(6))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("step", "compares", "key"),
    [
        (CreateCluster(cluster=ClusterId("x")), {Absent(key=KEYS.cluster)}, KEYS.cluster),
        (
            CreateShard(collection=COLLECTION, config=NEW, registrations=LIVE),
            {Absent(key=KEYS.shard(SHARD)), AS_IS, NEW_HOME_LIVES, LEARNER_LIVES},
            KEYS.shard(SHARD),
        ),
        (
            PlaceShardAnew(collection=COLLECTION, before=OLD, config=NEW, registrations=LIVE),
            {EPOCH, OLD_TERM_OVER, AS_IS, NEW_HOME_LIVES, LEARNER_LIVES},
            KEYS.shard(SHARD),
        ),
        (ElectPrimary(before=OLD, config=NEW), {EPOCH, OLD_TERM_OVER, NEW_HOME_LIVES}, KEYS.shard(SHARD)),
        (ElectPrimary(before=RESIGNED, config=NEW), {EPOCH, NEW_HOME_LIVES}, KEYS.shard(SHARD)),
        (SetReplication(collection=COLLECTION, before=OLD, config=NEW), {EPOCH, AS_IS}, KEYS.shard(SHARD)),
        (
            AddLearners(collection=COLLECTION, before=OLD, config=NEW, registrations=LIVE, replaced=(ReplicaId("r0"),)),
            {EPOCH, AS_IS, NEW_HOME_LIVES, LEARNER_LIVES},
            KEYS.shard(SHARD),
        ),
        (
            RetireReplica(collection=COLLECTION, before=OLD, config=NEW, replica=ReplicaId("r0"), registrations=LIVE),
            {EPOCH, AS_IS, NEW_HOME_LIVES, LEARNER_LIVES},
            KEYS.shard(SHARD),
        ),
        (
            ForgetReplicas(before=OLD, config=NEW, homes={ReplicaId("r0"): WorkerId("w0"), ReplicaId("r9"): WorkerId("w9")}),
            {EPOCH, Absent(key=KEYS.worker(WorkerId("w0"))), Absent(key=KEYS.worker(WorkerId("w9")))},
            KEYS.shard(SHARD),
        ),
        (ActivateCollection(collection=COLLECTION), {AS_IS}, KEYS.collection(COLLECTION.id)),
        (DeleteShard(entry=HOMELESS), {Unchanged(key=KEYS.shard(SHARD), mod_revision=Revision(41))}, KEYS.shard(SHARD)),
        (DeleteCollection(collection=COLLECTION), {AS_IS}, KEYS.collection(COLLECTION.id)),
    ],
)
def test_each_step_compares_leadership_and_all_that_it_relies_on(step: Step, compares: set[Compare], key: str) -> None:
    transaction = transaction_of(step, KEYS, Revision(7))
    assert set(transaction.compares) == {MINE, *compares}
    assert [operation.key for operation in transaction.then] == [key]
    assert story_of(step)


PLAN = plan_entry([(SHARD, "w0", "w1")], revision=Revision(60))
AS_PLANNED = Unchanged(key=KEYS.rebalance, mod_revision=Revision(60))
HISTORY = KEYS.ended_plan(PLAN.started_ms, PLAN.plan.id)
W1 = WorkerId("w1")


@pytest.mark.parametrize(
    ("step", "compares", "keys"),
    [
        (
            BeginMove(plan=PLAN, number=1, collection=COLLECTION, before=OLD, config=NEW, target=W1, registrations=LIVE),
            {EPOCH, AS_PLANNED, AS_IS, Absent(key=KEYS.drain(W1)), NEW_HOME_LIVES, LEARNER_LIVES},
            [KEYS.shard(SHARD)],
        ),
        (AskSuccessor(before=OLD, config=NEW, registrations={W1: Revision(6)}), {EPOCH, NEW_HOME_LIVES}, [KEYS.shard(SHARD)]),
        (
            AskSuccessor(before=OLD, config=NEW, registrations={W1: Revision(6)}, plan=PLAN),
            {EPOCH, NEW_HOME_LIVES, AS_PLANNED},
            [KEYS.shard(SHARD)],
        ),
        (WithdrawMove(before=OLD, config=NEW), {EPOCH}, [KEYS.shard(SHARD)]),
        (
            CancelMove(collection=COLLECTION, before=OLD, config=NEW, replica=ReplicaId("r0"), registrations=LIVE),
            {EPOCH, AS_IS, NEW_HOME_LIVES, LEARNER_LIVES},
            [KEYS.shard(SHARD)],
        ),
        (GiveUpItems(before=PLAN, after=dataclasses.replace(PLAN, given_up={1: "gone"})), {AS_PLANNED}, [KEYS.rebalance]),
        (EndPlan(before=PLAN, after=dataclasses.replace(PLAN, state=PlanState.DONE)), {AS_PLANNED}, [KEYS.rebalance, HISTORY]),
    ],
)
def test_each_step_of_a_move_or_a_plan_compares_leadership_and_all_that_it_relies_on(
    step: Step, compares: set[Compare], keys: list[str]
) -> None:
    transaction = transaction_of(step, KEYS, Revision(7))
    assert set(transaction.compares) == {MINE, *compares}
    assert [operation.key for operation in transaction.then] == keys
    assert story_of(step)


async def put(store: MemoryStore, key: str, value: bytes) -> Revision:
    answer = await store.commit(Transaction(then=(Put(key=key, value=value),)), 1.0)
    assert isinstance(answer, Committed)
    return answer.revision


@pytest.mark.parametrize("changed", ["", "shard", "plan", "collection", "worker", "drain", "leader"])
def test_a_move_begins_only_if_nothing_that_it_relies_on_has_changed(changed: str) -> None:
    async def scenario() -> None:
        store = MemoryStore(MemoryCluster(ManualClock()))
        leadership = await leading(store)
        collection = dataclasses.replace(COLLECTION, revision=await put(store, KEYS.collection(COLLECTION.id), b"c"))
        before = dataclasses.replace(OLD, epoch=await put(store, KEYS.shard(SHARD), encode_shard(OLD.config)))
        plan = dataclasses.replace(PLAN, revision=await put(store, KEYS.rebalance, b"p"))
        live = {W1: await put(store, KEYS.worker(W1), b"w")}
        keys = {
            "shard": KEYS.shard(SHARD),
            "plan": KEYS.rebalance,
            "collection": KEYS.collection(COLLECTION.id),
            "worker": KEYS.worker(W1),
            "drain": KEYS.drain(W1),
        }
        if changed in keys:
            await put(store, keys[changed], b"changed")
        if changed == "leader":
            await store.commit(Transaction(then=(DeleteKey(key=KEYS.leader),)), 1.0)
        step = BeginMove(plan=plan, number=1, collection=collection, before=before, config=NEW, target=W1, registrations=live)
        actor = Actor(store=store, keys=KEYS, leadership=lambda: leadership, at_once=1, timeout_s=1.0)
        assert (await actor.carry_out([step]) > 0) == (changed == "")
        found = await store.get(KEYS.shard(SHARD), 1.0)
        assert found is not None
        assert (found.value == encode_shard(NEW)) == (changed == "")

    asyncio.run(scenario())


def test_a_plan_ends_and_is_kept_in_one_transaction_and_of_two_changes_of_a_plan_one_is_left_to_the_next_round() -> None:
    async def scenario() -> None:
        store = MemoryStore(MemoryCluster(ManualClock()))
        leadership = await leading(store)
        plan = dataclasses.replace(PLAN, revision=await put(store, KEYS.rebalance, encode_rebalance(PLAN)))
        outcomes: list[str] = []
        actor = Actor(
            store=store,
            keys=KEYS,
            leadership=lambda: leadership,
            at_once=1,
            timeout_s=1.0,
            told=lambda _, outcome: outcomes.append(outcome),
        )
        given_up = dataclasses.replace(plan, given_up={1: "gone"})
        ended = dataclasses.replace(plan, state=PlanState.DONE, ended_ms=9, outcomes={1: ItemState.DONE})
        await actor.carry_out([GiveUpItems(before=plan, after=given_up), EndPlan(before=plan, after=ended)])
        assert outcomes == [DONE, REJECTED]
        assert (await store.list(KEYS.plans, 1.0)).entries == ()
        found = await store.get(KEYS.rebalance, 1.0)
        assert found is not None
        now = decode_rebalance(found.key, found.value, found.mod_revision)
        assert now.given_up == {1: "gone"}
        await actor.carry_out([EndPlan(before=now, after=dataclasses.replace(ended, given_up={1: "gone"}))])
        (kept,) = (await store.list(KEYS.plans, 1.0)).entries
        newest = await store.get(KEYS.rebalance, 1.0)
        assert newest is not None
        assert (kept.value, kept.mod_revision) == (newest.value, newest.mod_revision)

    asyncio.run(scenario())


def test_activation_changes_the_state_and_nothing_else() -> None:
    (put,) = transaction_of(ActivateCollection(collection=COLLECTION), KEYS, Revision(7)).then
    assert isinstance(put, Put)
    assert CollectionState.ACTIVE.value.encode() in put.value
    assert b'"request_id": "r-c"' in put.value


async def leading(store: MemoryStore) -> Revision:
    answer = await store.commit(Transaction(then=(Put(key=KEYS.leader, value=encode_leader("here:1")),)), 1.0)
    assert isinstance(answer, Committed)
    return answer.revision


def deletions(count: int) -> list[Step]:
    """Return steps that can be committed together. Revision 0 stands for a key that is absent, so their conditions
    hold.
    """
    collections = [collection_of(f"c{number}", revision=0) for number in range(count)]
    return [DeleteCollection(collection=collection) for collection in collections]


class Counting(MemoryStore):
    """Counts how many commits run at the same time."""

    def __init__(self, cluster: MemoryCluster) -> None:
        super().__init__(cluster)
        self.running = self.most = self.commits = 0

    async def commit(self, transaction: Transaction, timeout_s: float) -> Committed | Rejected:
        self.running += 1
        self.commits += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0)
        try:
            return await super().commit(transaction, timeout_s)
        finally:
            self.running -= 1


def test_commits_run_beside_each_other_up_to_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "STEPS_AT_ONCE", 1)

    async def scenario() -> None:
        store = Counting(MemoryCluster(ManualClock()))
        leadership = await leading(store)
        actor = Actor(store=store, keys=KEYS, leadership=lambda: leadership, at_once=3, timeout_s=1.0)
        await actor.carry_out(deletions(10))
        assert (store.most, store.commits) == (3, 11)

    asyncio.run(scenario())


def test_nothing_more_is_tried_once_leadership_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "STEPS_AT_ONCE", 1)

    async def scenario() -> None:
        store = Counting(MemoryCluster(ManualClock()))
        leadership = await leading(store)
        actor = Actor(store=store, keys=KEYS, leadership=lambda: leadership if store.commits < 4 else None, at_once=1, timeout_s=1.0)
        assert await actor.carry_out(deletions(10)) > 0
        assert store.commits == 4

    asyncio.run(scenario())


@pytest.mark.parametrize("stale", [[], [3], [0, 9], list(range(10))])
def test_steps_are_committed_together_and_one_that_does_not_hold_stops_no_other(stale: list[int], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    steps = deletions(10)

    async def scenario() -> None:
        store = Counting(MemoryCluster(ManualClock()))
        leadership = await leading(store)
        for each in stale:
            key = KEYS.collection(steps[each].collection.id)  # type: ignore[union-attr]
            await store.commit(Transaction(then=(Put(key=key, value=b"changed"),)), 1.0)
        before = store.commits
        await Actor(store=store, keys=KEYS, leadership=lambda: leadership, at_once=3, timeout_s=1.0).carry_out(steps)
        assert store.commits - before == (11 if stale else 1)
        assert len((await store.list(KEYS.prefix + "collections/", 1.0)).entries) == len(stale)

    asyncio.run(scenario())
    assert caplog.text.count("step_done step=DeleteCollection") == 10 - len(stale)
    assert caplog.text.count("step_rejected step=DeleteCollection") == len(stale)


def test_all_steps_of_a_bundle_in_doubt_are_in_doubt(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        store = Counting(MemoryCluster(ManualClock()))
        leadership = await leading(store)
        store.fail_next_commit(CommitFault.LOST_AFTER)
        actor = Actor(store=store, keys=KEYS, leadership=lambda: leadership, at_once=1, timeout_s=1.0)
        assert await actor.carry_out(deletions(5)) == 0
        assert store.commits == 2, "one that set the leader, and one for all five"

    asyncio.run(scenario())
    assert caplog.text.count("step_in_doubt step=DeleteCollection") == 5


@pytest.mark.parametrize("fault", list(CommitFault))
def test_a_step_in_doubt_is_told_and_left_to_the_next_round(fault: CommitFault, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        store = Counting(MemoryCluster(ManualClock()))
        leadership = await leading(store)
        store.fail_next_commit(fault)
        actor = Actor(store=store, keys=KEYS, leadership=lambda: leadership, at_once=1, timeout_s=1.0)
        assert await actor.carry_out([CreateCluster(cluster=ClusterId("x"))]) == 0
        assert store.commits == 2
        found = await store.get(KEYS.cluster, 1.0)
        assert (found is not None) == (fault is CommitFault.LOST_AFTER)

    asyncio.run(scenario())
    assert "step_in_doubt step=CreateCluster cluster=x" in caplog.text


def test_done_and_rejected_steps_are_told_with_their_revision(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    async def scenario() -> None:
        store = MemoryStore(MemoryCluster(ManualClock()))
        leadership = await leading(store)
        actor = Actor(store=store, keys=KEYS, leadership=lambda: leadership, at_once=1, timeout_s=1.0)
        revision = await actor.carry_out([CreateCluster(cluster=ClusterId("x"))])
        assert revision == leadership + 1
        assert await actor.carry_out([CreateCluster(cluster=ClusterId("y"))]) == 0

    asyncio.run(scenario())
    assert "step_done step=CreateCluster cluster=x revision=3" in caplog.text
    assert "step_rejected step=CreateCluster cluster=y revision=3" in caplog.text


def test_what_is_no_matter_of_availability_is_raised() -> None:
    async def scenario() -> None:
        store = MemoryStore(MemoryCluster(ManualClock()))
        await store.close()
        actor = Actor(store=store, keys=KEYS, leadership=lambda: Revision(1), at_once=2, timeout_s=1.0)
        with pytest.raises(PreconditionFailed, match="closed"):
            await actor.carry_out(deletions(3))

    asyncio.run(scenario())


def test_what_is_done_counts_as_elections_and_replacements() -> None:
    told = Told()
    meter = StepMeter(told)
    election = ElectPrimary(before=OLD, config=NEW)
    for outcome in (DONE, DONE, REJECTED, IN_DOUBT):
        meter(election, outcome)
    replaced = (ReplicaId("r0"), ReplicaId("r9"))
    for stand_in in (replaced, ()):
        meter(AddLearners(collection=COLLECTION, before=OLD, config=NEW, registrations=LIVE, replaced=stand_in), DONE)
    assert told.counts == {
        ("shoal_steps_total", "ElectPrimary", "done"): 2,
        ("shoal_steps_total", "ElectPrimary", "rejected"): 1,
        ("shoal_steps_total", "ElectPrimary", "in_doubt"): 1,
        ("shoal_steps_total", "AddLearners", "done"): 2,
        ("shoal_elections_total",): 2,
        ("shoal_replicas_replaced_total",): 2,
    }


class Told(NoMetrics):
    """Counts the values of each metric."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, ...]] = Counter()

    def measure(self, metric: MetricSpec, *labels: str) -> Measure:
        def count(value: float) -> None:
            self.counts[metric.name, *labels] += int(value)

        return count
