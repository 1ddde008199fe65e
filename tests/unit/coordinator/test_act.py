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
    CreateCluster,
    CreateShard,
    DeleteCollection,
    DeleteShard,
    ElectPrimary,
    ForgetReplicas,
    PlaceShardAnew,
    RetireReplica,
    SetReplication,
    Step,
)
from shoal.coordinator.metrics import StepMeter
from shoal.core.collection import CollectionState
from shoal.core.errors import PreconditionFailed
from shoal.core.ids import ClusterId, ReplicaId, Revision, ShardId, WorkerId
from shoal.core.shard_config import ShardEntry
from shoal.runtime.metrics import Measure, MetricSpec, NoMetrics
from shoal.store.codecs import encode_leader
from shoal.store.interface import Absent, Changed, Committed, Compare, Created, Put, Rejected, Transaction, Unchanged
from tests.twins.coordinator.bare_coordinator import ManualClock
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
