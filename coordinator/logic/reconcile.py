"""Decides the ordered steps from the present state of the cluster to the wanted one, from one snapshot.

Nothing is carried out and nothing is remembered here. The same snapshot gives the same steps; a cluster in the wanted
state gives none. Data is deleted only after a tombstone (a collection that is DROPPING, a replica that is leaving),
never because something is absent.
"""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterator, Mapping, Sequence
from types import MappingProxyType

from shoal.coordinator.logic.failover import election_of, has_primary, to_be_asked
from shoal.coordinator.logic.initial_placement import beginnings
from shoal.coordinator.logic.placement import Placement
from shoal.coordinator.logic.replica_count import forgetting_of_dropped, has_too_many, replication_step
from shoal.coordinator.logic.snapshot import Shards, Snapshot, new_cluster_id
from shoal.coordinator.logic.steps import (
    ActivateCollection,
    CreateCluster,
    DeleteCollection,
    DeleteShard,
    ElectPrimary,
    ForgetReplicas,
    Step,
)
from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import Collection, CollectionState
from shoal.core.ids import ShardId, WorkerId
from shoal.core.shard_config import ShardConfig, ShardEntry, ShardState, may_commit

Questions = Mapping[WorkerId, Sequence[ShardId]]
NO_QUESTIONS: Questions = MappingProxyType({})


def reconcile(snapshot: Snapshot, limit: int) -> tuple[Step, ...]:
    """Return the first `limit` steps, most urgent first: elections, then new shards and replicas, then removals."""
    return tuple(itertools.islice(_steps(snapshot), limit))


def questions(cluster: ClusterMap, again: Questions = NO_QUESTIONS, shards: Shards = None) -> Questions:
    """Return which workers to ask for the ends of which shards' logs, before `reconcile` elects primaries or gives a
    replica its tombstone. again: more questions, see Answers.to_ask_again. shards: see Snapshot."""
    asked = {worker: list(candidates) for worker, candidates in _candidates(cluster, shards).items()}
    for worker, repeated in again.items():
        asked.setdefault(worker, []).extend(repeated)
    for collection, entry in _live_shards(cluster, shards):
        config = entry.config
        if has_primary(config, cluster.workers) and has_too_many(config, collection.spec):
            homes = dict.fromkeys(config.worker_of[member] for member in config.isr)
            for home in homes.keys() & cluster.workers.keys():
                asked.setdefault(home, []).append(config.shard)
    return {worker: tuple(dict.fromkeys(asked[worker])) for worker in sorted(asked)}


def unled(cluster: ClusterMap, shards: Shards = None) -> frozenset[ShardId]:
    """Return the shards that need an election, and for which workers are asked first. shards: see Snapshot."""
    return frozenset(shard for candidates in _candidates(cluster, shards).values() for shard in candidates)


def _candidates(cluster: ClusterMap, shards: Shards) -> Mapping[WorkerId, tuple[ShardId, ...]]:
    return to_be_asked((entry for _, entry in _live_shards(cluster, shards)), cluster.workers)


JOIN_WITHIN_S = 10.0
"""Longest time in seconds that a new collection, which could be written already, waits for its last replicas."""


def is_usable(config: ShardConfig) -> bool:
    """Return whether a new shard can be written: its primary has created it, and enough replicas are in sync."""
    return config.state is ShardState.ACTIVE and may_commit(config)


def still_joins(config: ShardConfig, workers: Container[WorkerId]) -> bool:
    """Return whether a replica on a live worker is still a learner, without a tombstone."""
    return any(config.worker_of.get(learner) in workers for learner in config.learners if learner not in config.leaving)


def joining(cluster: ClusterMap) -> frozenset[ShardId]:
    """Return the shards of new collections that can be written already and wait for their last replicas."""
    creating = (entry.config for each in _in_state(cluster, CollectionState.CREATING) for entry in cluster.shards_of(each.id))
    return frozenset(config.shard for config in creating if is_usable(config) and still_joins(config, cluster.workers))


def _steps(snapshot: Snapshot) -> Iterator[Step]:
    cluster = snapshot.map
    if cluster.cluster is None:
        yield CreateCluster(cluster=new_cluster_id(snapshot.seed))
    yield from _elections(snapshot)
    placement = Placement.of(cluster)
    for collection in _in_state(cluster, CollectionState.CREATING):
        yield from beginnings(snapshot, collection, placement)
    yield from _activations(snapshot)
    yield from _replication(snapshot, placement)
    yield from _removals(snapshot)


def _in_state(cluster: ClusterMap, state: CollectionState) -> list[Collection]:
    return [collection for _, collection in sorted(cluster.collections.in_state(state).items())]


def _live_shards(cluster: ClusterMap, shards: Shards) -> Iterator[tuple[Collection, ShardEntry]]:
    """Yield these shards of collections that are not being dropped, those in use before those in creation."""
    ordered = sorted(cluster.shards if shards is None else shards)
    for state in (CollectionState.ACTIVE, CollectionState.CREATING):
        live = cluster.collections.in_state(state)
        yield from ((live[shard.collection], cluster.shards[shard]) for shard in ordered if shard.collection in live)


def _elections(snapshot: Snapshot) -> Iterator[ElectPrimary]:
    for _, entry in _live_shards(snapshot.map, snapshot.shards):
        election = election_of(entry, snapshot.map.workers, snapshot.told, unled_s=snapshot.unled_s.get(entry.config.shard, 0.0))
        if election is not None:
            yield election


def _activations(snapshot: Snapshot) -> Iterator[ActivateCollection]:
    cluster = snapshot.map
    waited_for = {shard for shard in joining(cluster) if snapshot.joining_s.get(shard, 0.0) < JOIN_WITHIN_S}
    for collection in _in_state(cluster, CollectionState.CREATING):
        configs = [entry.config for entry in cluster.shards_of(collection.id)]
        ready = [config for config in configs if is_usable(config) and config.shard not in waited_for]
        if len(ready) == collection.spec.shards:
            yield ActivateCollection(collection=collection)


def _replication(snapshot: Snapshot, placement: Placement) -> Iterator[Step]:
    for collection, entry in _live_shards(snapshot.map, snapshot.shards):
        step = replication_step(entry, collection, snapshot, placement)
        if step is not None:
            yield step


def _removals(snapshot: Snapshot) -> Iterator[DeleteShard | DeleteCollection | ForgetReplicas]:
    for collection in _in_state(snapshot.map, CollectionState.DROPPING):
        entries = snapshot.map.shards_of(collection.id)
        for entry in entries:
            forgetting = forgetting_of_dropped(entry, snapshot)
            if forgetting is not None:
                yield forgetting
            elif not entry.config.worker_of:
                yield DeleteShard(entry=entry)
        if not entries:
            yield DeleteCollection(collection=collection)
