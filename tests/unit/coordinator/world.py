"""A cluster as plain data: the state of the twin store, and workers that do what a real one does about its shards.

Every commit of the coordinator is checked here against the rules that hold whatever the decider thinks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from coordinator.act import transaction_of
from coordinator.logic.reconcile import reconcile
from coordinator.logic.snapshot import Snapshot
from coordinator.logic.steps import (
    ActivateCollection,
    CreateCluster,
    CreateShard,
    DeleteCollection,
    DeleteShard,
    ElectPrimary,
    PlaceShardAnew,
    Step,
)
from shoal.core.cluster_map import ClusterMap, WorkerEntry
from shoal.core.collection import Collection, CollectionSpec, CollectionState
from shoal.core.ids import CollectionId, ReplicaId, Revision, ShardId, Term, WorkerId
from shoal.core.shard_config import ShardConfig, ShardEntry, ShardState, leads, replica_on
from shoal.core.slots import SLOTS, SlotRange
from shoal.store.cluster_view import cluster_map_of
from shoal.store.codec import encode_collection, encode_leader, encode_shard, encode_worker
from shoal.store.interface import Committed, Delete, Listed, Operation, Put, Rejected, Transaction
from shoal.store.keys import Keys
from shoal.store.memory_state import MemoryState

KEYS = Keys("test")
SLOTS_ALL = (SlotRange(0, SLOTS),)


def worker_entry(name: str, registration: int = 1) -> WorkerEntry:
    return WorkerEntry(
        id=WorkerId(name), address=f"{name}:1", incarnation="i", pid=1, node="n", zone="z", registration=Revision(registration)
    )


def shard_config(
    shard: ShardId,
    homes: Mapping[str, str],
    *,
    isr: Iterable[str],
    elr: Iterable[str] = (),
    primary: str | None = None,
    primary_reg: int = 1,
    min_isr: int = 1,
    state: ShardState = ShardState.ACTIVE,
    term: int = 1,
) -> ShardConfig:
    """A configuration; homes: worker by replica. The primary is the first of the isr unless said otherwise."""
    members = tuple(ReplicaId(each) for each in isr)
    return ShardConfig(
        shard=shard,
        term=Term(term),
        primary=ReplicaId(primary) if primary else members[0],
        primary_reg=Revision(primary_reg),
        isr=members,
        elr=tuple(ReplicaId(each) for each in elr),
        learners=(),
        worker_of={ReplicaId(replica): WorkerId(worker) for replica, worker in homes.items()},
        min_isr=min_isr,
        rf=max(1, len(homes)),
        state=state,
        slots=SLOTS_ALL,
    )


def collection_of(
    name: str, *, shards: int = 1, state: CollectionState = CollectionState.CREATING, revision: int = 1, replicas: int = 1
) -> Collection:
    spec = CollectionSpec(name=name, dim=4, shards=shards, replicas=replicas)
    return Collection(id=CollectionId(f"id-{name}"), spec=spec, state=state, request_id=f"r-{name}", revision=Revision(revision))


def map_of(
    collections: Iterable[Collection] = (), configs: Iterable[ShardConfig] = (), workers: Iterable[WorkerEntry] = (), cluster: str = "c"
) -> ClusterMap:
    return ClusterMap(
        revision=Revision(100),
        cluster=cluster or None,  # type: ignore[arg-type]
        workers={each.id: each for each in workers},
        collections={each.id: each for each in collections},
        shards={each.shard: ShardEntry(config=each, epoch=Revision(50)) for each in configs},
    )


class World:
    """Store state, live workers, and one leading coordinator without memory."""

    def __init__(self) -> None:
        self.state = MemoryState()
        self.put(Put(key=KEYS.leader, value=encode_leader("here:1")))
        self.reign = self.state.revision
        self._seeds = 0

    def put(self, *operations: Operation) -> None:
        assert isinstance(self.state.commit(Transaction(then=operations)), Committed)

    @property
    def map(self) -> ClusterMap:
        listing = self.state.list(KEYS.prefix)
        return cluster_map_of(KEYS, Listed(revision=listing.revision, entries=listing.entries))

    def register(self, name: str) -> None:
        """The worker starts, or starts again: a new registration either way."""
        self.put(Put(key=KEYS.worker(WorkerId(name)), value=encode_worker(worker_entry(name))))

    def vanish(self, name: str) -> None:
        self.state.commit(Transaction(then=(Delete(key=KEYS.worker(WorkerId(name))),)))

    def put_collection(self, collection: Collection) -> None:
        self.put(Put(key=KEYS.collection(collection.id), value=encode_collection(collection)))

    def put_shard(self, config: ShardConfig) -> None:
        self.put(Put(key=KEYS.shard(config.shard), value=encode_shard(config)))

    def drop(self, collection: CollectionId) -> None:
        found = self.map.collections.get(collection)
        if found is not None:
            self.put_collection(dataclasses.replace(found, state=CollectionState.DROPPING))

    def decide(self, seen: ClusterMap, limit: int = 10_000) -> tuple[Step, ...]:
        self._seeds += 1
        return reconcile(Snapshot(map=seen, seed=f"seed {self._seeds}"), limit)

    def act(self, step: Step) -> Committed | Rejected:
        """Commit one step, after checking that it would be right now if it is committed now."""
        before = self.map
        answer = self.state.commit(transaction_of(step, KEYS, self.reign))
        if isinstance(answer, Committed):
            check_step(step, before)
        return answer

    def round(self, seen: ClusterMap | None = None, limit: int = 10_000) -> tuple[Step, ...]:
        steps = self.decide(seen or self.map, limit)
        for step in steps:
            self.act(step)
        return steps

    def work(self) -> None:
        """Each live worker does its part: opens what was placed on it, lets go of what is being dropped."""
        cluster = self.map
        for shard in sorted(cluster.shards):
            config = cluster.shards[shard].config
            for worker in sorted(cluster.workers):
                after = worked(config, cluster, worker)
                if after != config:
                    config = after
                    self.put_shard(config)

    def settle(self, rounds: int = 30) -> None:
        """Coordinator and workers take turns until the coordinator has nothing to do and the workers change nothing."""
        for _ in range(rounds):
            before = self.state.revision
            steps = self.round()
            self.work()
            if not steps and self.state.revision == before:
                return
        raise AssertionError(f"not quiet after {rounds} rounds, still wanted: {self.decide(self.map)}")


def worked(config: ShardConfig, cluster: ClusterMap, worker: WorkerId) -> ShardConfig:
    """What one live worker makes of a shard."""
    mine = replica_on(config, worker)
    collection = cluster.collections.get(config.shard.collection)
    if mine is None or collection is None:
        return config
    if collection.state is CollectionState.DROPPING:
        return dataclasses.replace(config, worker_of={r: w for r, w in config.worker_of.items() if r != mine})
    if config.state is ShardState.CREATING and leads(config, mine, cluster.workers[worker].registration):
        return dataclasses.replace(config, state=ShardState.ACTIVE)
    return config


def check_step(step: Step, now: ClusterMap) -> None:
    """The rules of every committed step, against the cluster as it was right before."""
    match step:
        case CreateCluster():
            assert now.cluster is None
        case CreateShard(config=config):
            assert config.shard not in now.shards
            _check_birth(config, now)
        case PlaceShardAnew(config=config):
            old = now.shards[config.shard].config
            assert old.state is ShardState.CREATING, "an ACTIVE shard was begun anew: its data would be lost"
            assert config.term > old.term
            assert config.primary not in old.worker_of
            _check_birth(config, now)
        case ElectPrimary(config=config):
            _check_election(config, now.shards[config.shard].config, now)
        case DeleteShard(entry=entry):
            assert not now.shards[entry.config.shard].config.worker_of
            assert now.collections[entry.config.shard.collection].state is CollectionState.DROPPING
        case ActivateCollection(collection=collection):
            entries = now.shards_of(collection.id)
            assert [entry.config.shard.number for entry in entries] == list(range(collection.spec.shards))
            assert all(entry.config.state is ShardState.ACTIVE for entry in entries)
        case DeleteCollection(collection=collection):
            assert now.collections[collection.id].state is CollectionState.DROPPING
            assert not now.shards_of(collection.id)


def _check_birth(config: ShardConfig, now: ClusterMap) -> None:
    assert now.collections[config.shard.collection].state is CollectionState.CREATING
    assert set(config.worker_of.values()) <= set(now.workers)
    assert (config.isr, config.elr, config.learners) == ((config.primary,), (), ())
    assert now.workers[config.worker_of[config.primary]].registration == config.primary_reg


def _check_election(config: ShardConfig, old: ShardConfig, now: ClusterMap) -> None:
    assert config.primary in {*old.isr, *old.elr}, "somebody was elected who may miss committed records"
    assert config.term == old.term + 1
    assert config.primary in config.isr
    assert {*config.isr, *config.elr} <= {*old.isr, *old.elr}, "a replica was promoted that may miss committed records"
    assert not config.elr or len(config.isr) < config.min_isr, "elr outlives the next commit"
    assert not {*config.isr} & {*config.elr}
    home = now.workers[config.worker_of[config.primary]]
    assert config.primary_reg == home.registration
    assert dict(config.worker_of) == dict(old.worker_of)
    assert config.state is old.state
    old_home = old.primary_worker
    assert old_home not in now.workers or now.workers[old_home].registration != old.primary_reg, "a living reign was ended"
