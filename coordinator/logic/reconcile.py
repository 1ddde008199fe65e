"""From what is to what should be: one snapshot of the cluster -> the ordered steps that lead there.

Nothing is done here and nothing is remembered: the same snapshot gives the same steps, and a cluster that is as it should be
gives none. Data is given up only on a tombstone (a collection that is DROPPING, a replica that is leaving), never because something
is absent.
"""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterator, Mapping

from coordinator.logic.birth import beginnings
from coordinator.logic.failover import election_of, to_be_asked
from coordinator.logic.placement import Placement
from coordinator.logic.replication import forgetting_of_dropped, replication_step
from coordinator.logic.snapshot import Snapshot, new_cluster_id
from coordinator.logic.steps import ActivateCollection, CreateCluster, DeleteCollection, DeleteShard, ElectPrimary, ForgetReplicas, Step
from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import Collection, CollectionState
from shoal.core.ids import ShardId, WorkerId
from shoal.core.shard_config import ShardConfig, ShardEntry, ShardState


def reconcile(snapshot: Snapshot, limit: int) -> tuple[Step, ...]:
    """The first `limit` steps, most urgent first: what is unavailable, then what is asked for, then what is to be forgotten."""
    return tuple(itertools.islice(_steps(snapshot), limit))


def questions(cluster: ClusterMap) -> Mapping[WorkerId, tuple[ShardId, ...]]:
    """Whom to ask where the logs of which shards end, before `reconcile` elects primaries."""
    return to_be_asked((entry for _, entry in _live_shards(cluster)), cluster.workers)


def is_ready(config: ShardConfig, workers: Container[WorkerId]) -> bool:
    """Whether a shard of a new collection can be written, and every replica of it that can join has done so."""
    joining = any(config.worker_of.get(learner) in workers for learner in config.learners if learner not in config.leaving)
    return config.state is ShardState.ACTIVE and len(config.isr) >= config.min_isr and not joining


def _steps(snapshot: Snapshot) -> Iterator[Step]:
    cluster = snapshot.map
    if cluster.cluster is None:
        yield CreateCluster(cluster=new_cluster_id(snapshot.seed))
    yield from _elections(snapshot)
    placement = Placement.of(cluster)
    for collection in _in_state(cluster, CollectionState.CREATING):
        yield from beginnings(snapshot, collection, placement)
    yield from _activations(cluster)
    yield from _replication(snapshot, placement)
    yield from _removals(snapshot)


def _in_state(cluster: ClusterMap, state: CollectionState) -> list[Collection]:
    return [cluster.collections[each] for each in sorted(cluster.collections) if cluster.collections[each].state is state]


def _live_shards(cluster: ClusterMap) -> Iterator[tuple[Collection, ShardEntry]]:
    for state in (CollectionState.ACTIVE, CollectionState.CREATING):
        for collection in _in_state(cluster, state):
            yield from ((collection, entry) for entry in cluster.shards_of(collection.id))


def _elections(snapshot: Snapshot) -> Iterator[ElectPrimary]:
    for _, entry in _live_shards(snapshot.map):
        election = election_of(entry, snapshot.map.workers, snapshot.log_ends)
        if election is not None:
            yield election


def _activations(cluster: ClusterMap) -> Iterator[ActivateCollection]:
    for collection in _in_state(cluster, CollectionState.CREATING):
        ready = [entry for entry in cluster.shards_of(collection.id) if is_ready(entry.config, cluster.workers)]
        if len(ready) == collection.spec.shards:
            yield ActivateCollection(collection=collection)


def _replication(snapshot: Snapshot, placement: Placement) -> Iterator[Step]:
    for collection, entry in _live_shards(snapshot.map):
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
