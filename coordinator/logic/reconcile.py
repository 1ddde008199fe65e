"""From what is to what should be: one snapshot of the cluster -> the ordered steps that lead there.

Nothing is done here and nothing is remembered: the same snapshot gives the same steps, and a cluster that is as it should be
gives none. Data is given up only on a tombstone (a collection that is DROPPING), never because something is absent.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

from coordinator.logic.failover import election_of, heir_of
from coordinator.logic.placement import Placement
from coordinator.logic.snapshot import Snapshot, new_cluster_id, new_replica_id
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
from shoal.core.collection import Collection, CollectionState
from shoal.core.ids import ShardId, Term
from shoal.core.shard_config import ShardConfig, ShardEntry, ShardState
from shoal.core.slots import SlotRange, split_evenly


def reconcile(snapshot: Snapshot, limit: int) -> tuple[Step, ...]:
    """The first `limit` steps, most urgent first: what is unavailable, then what is asked for, then what is to be forgotten."""
    return tuple(itertools.islice(_steps(snapshot), limit))


def _steps(snapshot: Snapshot) -> Iterator[Step]:
    cluster = snapshot.map
    if cluster.cluster is None:
        yield CreateCluster(cluster=new_cluster_id(snapshot.seed))
    yield from _elections(cluster)
    yield from _placements(snapshot)
    yield from _activations(cluster)
    yield from _removals(cluster)


def _in_state(cluster: ClusterMap, state: CollectionState) -> list[Collection]:
    return [cluster.collections[each] for each in sorted(cluster.collections) if cluster.collections[each].state is state]


def _elections(cluster: ClusterMap) -> Iterator[ElectPrimary]:
    for state in (CollectionState.ACTIVE, CollectionState.CREATING):
        for collection in _in_state(cluster, state):
            for entry in cluster.shards_of(collection.id):
                election = election_of(entry, cluster.workers)
                if election is not None:
                    yield election


def _placements(snapshot: Snapshot) -> Iterator[CreateShard | PlaceShardAnew]:
    cluster = snapshot.map
    placement = Placement.of(cluster)
    for collection in _in_state(cluster, CollectionState.CREATING):
        for number, slots in enumerate(split_evenly(collection.spec.shards)):
            shard = ShardId(collection.id, number)
            before = cluster.shards.get(shard)
            if before is not None and not _is_lost_at_birth(before, cluster):
                continue
            worker = placement.choose(collection.id, taken=())
            if worker is None:
                return
            placement.add(collection.id, worker)
            first = _first_reign(snapshot.seed, collection, shard, slots, cluster.workers[worker])
            yield _beginning(collection, first, before)


def _is_lost_at_birth(entry: ShardEntry, cluster: ClusterMap) -> bool:
    """Whether a shard never became ACTIVE and its worker is gone: nothing can have been acknowledged, so it may begin elsewhere."""
    return entry.config.state is ShardState.CREATING and heir_of(entry.config, cluster.workers) is None


def _first_reign(seed: str, collection: Collection, shard: ShardId, slots: SlotRange, worker: WorkerEntry) -> ShardConfig:
    replica = new_replica_id(seed, shard, worker.id)
    return ShardConfig(
        shard=shard,
        term=Term(1),
        primary=replica,
        primary_reg=worker.registration,
        isr=(replica,),
        elr=(),
        learners=(),
        worker_of={replica: worker.id},
        min_isr=collection.spec.min_isr,
        rf=collection.spec.replicas,
        state=ShardState.CREATING,
        slots=(slots,),
    )


def _beginning(collection: Collection, first: ShardConfig, before: ShardEntry | None) -> CreateShard | PlaceShardAnew:
    if before is None:
        return CreateShard(collection=collection, config=first)
    later = dataclasses.replace(first, term=Term(before.config.term + 1))
    return PlaceShardAnew(collection=collection, before=before, config=later)


def _activations(cluster: ClusterMap) -> Iterator[ActivateCollection]:
    for collection in _in_state(cluster, CollectionState.CREATING):
        active = [entry for entry in cluster.shards_of(collection.id) if entry.config.state is ShardState.ACTIVE]
        if len(active) == collection.spec.shards:
            yield ActivateCollection(collection=collection)


def _removals(cluster: ClusterMap) -> Iterator[DeleteShard | DeleteCollection]:
    for collection in _in_state(cluster, CollectionState.DROPPING):
        entries = cluster.shards_of(collection.id)
        yield from (DeleteShard(entry=entry) for entry in entries if not entry.config.worker_of)
        if not entries:
            yield DeleteCollection(collection=collection)
