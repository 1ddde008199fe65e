"""Decides the ordered steps from the present state of the cluster to the wanted one, from one snapshot.

Nothing is carried out and nothing is remembered here. The same snapshot gives the same steps; a cluster in the wanted
state gives none. Data is deleted only after a tombstone (a collection that is DROPPING, a replica that is leaving),
never because something is absent.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from shoal.coordinator.logic.failover import election_of, has_primary, to_be_asked
from shoal.coordinator.logic.initial_placement import beginnings
from shoal.coordinator.logic.moves import PrimaryLoads, drained_step
from shoal.coordinator.logic.placement import Placement
from shoal.coordinator.logic.plan_run import plan_steps
from shoal.coordinator.logic.replica_count import forgetting_of_dropped, has_too_many, replication_step
from shoal.coordinator.logic.snapshot import Snapshot, new_cluster_id
from shoal.coordinator.logic.steps import (
    ActivateCollection,
    CreateCluster,
    CreateShard,
    DeleteCollection,
    DeleteShard,
    ElectPrimary,
    ForgetReplicas,
    PlaceShardAnew,
    Step,
)
from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import Collection, CollectionState
from shoal.core.ids import CollectionId, ShardId, WorkerId
from shoal.core.shard_config import ShardEntry

Questions = Mapping[WorkerId, Sequence[ShardId]]
NO_QUESTIONS: Questions = MappingProxyType({})


def reconcile(snapshot: Snapshot, limit: int) -> tuple[Step, ...]:
    """Return the first `limit` steps, most urgent first: elections, then new shards and replicas, then what a plan
    begins, then removals."""
    return tuple(itertools.islice(_steps(snapshot), limit))


def questions(cluster: ClusterMap, shards: Iterable[ShardId], again: Questions = NO_QUESTIONS) -> Questions:
    """Return which workers to ask for the ends of which shards' logs, before `reconcile` elects primaries or gives a
    replica its tombstone. shards: those that are not settled. again: more questions, see Answers.to_ask_again."""
    looked_at = list(_live_shards(cluster, shards))
    asked = {worker: list(candidates) for worker, candidates in _candidates(cluster, looked_at).items()}
    for worker, repeated in again.items():
        asked.setdefault(worker, []).extend(repeated)
    for collection, entry in looked_at:
        config = entry.config
        if has_primary(config, cluster.workers) and has_too_many(config, collection.spec):
            homes = dict.fromkeys(config.worker_of[member] for member in config.isr)
            for home in homes.keys() & cluster.workers.keys():
                asked.setdefault(home, []).append(config.shard)
    return {worker: tuple(dict.fromkeys(asked[worker])) for worker in sorted(asked)}


def unled(cluster: ClusterMap, shards: Iterable[ShardId]) -> frozenset[ShardId]:
    """Return the shards that need an election, and for which workers are asked first. shards: those not settled."""
    candidates = _candidates(cluster, _live_shards(cluster, shards))
    return frozenset(shard for found in candidates.values() for shard in found)


def _candidates(cluster: ClusterMap, looked_at: Iterable[tuple[Collection, ShardEntry]]) -> Mapping[WorkerId, tuple[ShardId, ...]]:
    return to_be_asked((entry for _, entry in looked_at), cluster.workers)


JOIN_WITHIN_S = 10.0
"""Longest time in seconds that a new collection, which could be written already, waits for its last replicas."""


def _steps(snapshot: Snapshot) -> Iterator[Step]:
    cluster = snapshot.map
    if cluster.cluster is None:
        yield CreateCluster(cluster=new_cluster_id(snapshot.seed))
    yield from _elections(snapshot)
    placement = Placement.of(cluster)
    yield from _first_placements(snapshot, placement)
    yield from _activations(snapshot)
    changed = set[ShardId]()
    yield from _replication(snapshot, placement, changed)
    yield from plan_steps(snapshot, changed)
    yield from _removals(snapshot)


def _in_state(cluster: ClusterMap, state: CollectionState) -> list[Collection]:
    return [collection for _, collection in sorted(cluster.collections.in_state(state).items())]


def _live_shards(cluster: ClusterMap, shards: Iterable[ShardId]) -> Iterator[tuple[Collection, ShardEntry]]:
    """Yield these shards of collections that are not being dropped, those in use before those in creation."""
    ordered = sorted(shards)
    for state in (CollectionState.ACTIVE, CollectionState.CREATING):
        live = cluster.collections.in_state(state)
        yield from ((live[shard.collection], cluster.shards[shard]) for shard in ordered if shard.collection in live)


def _first_placements(snapshot: Snapshot, placement: Placement) -> Iterator[CreateShard | PlaceShardAnew]:
    creating = snapshot.map.collections.in_state(CollectionState.CREATING)
    unsettled: dict[CollectionId, list[ShardId]] = {collection: [] for collection in creating}
    for shard in snapshot.focus.shards:
        if shard.collection in creating:
            unsettled[shard.collection].append(shard)
    for collection in sorted(creating):
        yield from beginnings(snapshot, creating[collection], placement, unsettled[collection])


def _elections(snapshot: Snapshot) -> Iterator[ElectPrimary]:
    for _, entry in _live_shards(snapshot.map, snapshot.focus.shards):
        election = election_of(entry, snapshot.map.workers, snapshot.told, unled_s=snapshot.unled_s.get(entry.config.shard, 0.0))
        if election is not None:
            yield election


def _activations(snapshot: Snapshot) -> Iterator[ActivateCollection]:
    cluster, focus = snapshot.map, snapshot.focus
    waiting = {shard.collection for shard in focus.joining if snapshot.joining_s.get(shard, 0.0) < JOIN_WITHIN_S}
    for collection in _in_state(cluster, CollectionState.CREATING):
        placed = cluster.shards.size_of(collection.id) == collection.spec.shards
        if placed and not focus.unready.get(collection.id) and collection.id not in waiting:
            yield ActivateCollection(collection=collection)


def _replication(snapshot: Snapshot, placement: Placement, changed: set[ShardId]) -> Iterator[Step]:
    """Yield a step of each shard that needs one. changed: these shards are added."""
    loads = PrimaryLoads(snapshot.map)
    for collection, entry in _live_shards(snapshot.map, snapshot.focus.shards):
        step = drained_step(entry, snapshot, loads) or replication_step(entry, collection, snapshot, placement)
        if step is not None:
            changed.add(entry.config.shard)
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
