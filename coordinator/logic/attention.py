"""Which shards a round has to look at. A round costs what these cost, however many shards there are.

A shard is settled while no step can come but by a change of its configuration, its collection, or the registration or
drain of a worker that it names, or by a plan; time and reports change nothing. What a plan begins, plan_run.py decides
without a focus. Of a collection in creation, the shards are kept that cannot be written yet, and those that wait for
their last replicas.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Self

from shoal.coordinator.logic.failover import has_primary
from shoal.coordinator.logic.replica_count import is_as_wanted
from shoal.coordinator.logic.snapshot import Focus
from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import CollectionState
from shoal.core.ids import CollectionId, ShardId
from shoal.core.map_changes import changed_shards
from shoal.core.map_tables import differing
from shoal.core.shard_config import ShardConfig, ShardState, may_commit


class Attention:
    """The focus of the rounds, from one map to the next. Immutable: `seen` returns the next."""

    def __init__(self, cluster: ClusterMap | None = None, focus: Focus | None = None) -> None:
        self._cluster = ClusterMap() if cluster is None else cluster
        self.focus = Focus() if focus is None else focus

    def seen(self, cluster: ClusterMap) -> Self:
        """Return the focus for this map. Only shards that may have changed are judged again."""
        changed = changed_shards(self._cluster, cluster) | _drained_otherwise(self._cluster, cluster)
        if not changed and self._cluster.collections is cluster.collections:
            return type(self)(cluster, self.focus)
        before = self.focus
        return type(self)(
            cluster,
            Focus(
                shards=before.shards - changed | {shard for shard in changed if not is_settled(cluster, shard)},
                joining=before.joining - changed | {shard for shard in changed if _is_joining(cluster, shard)},
                unready=self._unready(cluster, changed),
            ),
        )

    def _unready(self, cluster: ClusterMap, changed: set[ShardId]) -> dict[CollectionId, frozenset[ShardId]]:
        creating = cluster.collections.in_state(CollectionState.CREATING)
        unready = {collection: shards for collection, shards in self.focus.unready.items() if collection in creating}
        for collection, shards in _by_collection(changed).items():
            if collection in creating:
                waiting = unready.get(collection, frozenset()) - shards | {shard for shard in shards if not _is_usable(cluster, shard)}
                unready[collection] = waiting
        return unready


def is_settled(cluster: ClusterMap, shard: ShardId) -> bool:
    """Return whether no election and no change of its replicas can be due for a shard, whatever workers report.

    The first placement of missing shards and the end of dropped ones are decided by collection, not from here.
    """
    entry, collection = cluster.shards.get(shard), cluster.collections.get(shard.collection)
    if entry is None or collection is None or collection.state is CollectionState.DROPPING:
        return True
    config = entry.config
    if not has_primary(config, cluster.workers):
        return False
    if config.state is ShardState.CREATING:
        return True
    return config.primary_worker not in cluster.drains and is_as_wanted(config, collection.spec, cluster.workers)


def is_usable(config: ShardConfig) -> bool:
    """Return whether a new shard can be written: its primary has created it, and enough replicas are in sync."""
    return config.state is ShardState.ACTIVE and may_commit(config)


def still_joins(config: ShardConfig, workers: Container[object]) -> bool:
    """Return whether a replica on a live worker is still a learner, without a tombstone."""
    return any(config.worker_of.get(learner) in workers for learner in config.learners if learner not in config.leaving)


def _is_usable(cluster: ClusterMap, shard: ShardId) -> bool:
    entry = cluster.shards.get(shard)
    return entry is None or is_usable(entry.config)


def _is_joining(cluster: ClusterMap, shard: ShardId) -> bool:
    """Return whether a shard of a collection in creation can be written and waits for its last replicas."""
    entry = cluster.shards.get(shard)
    if entry is None or shard.collection not in cluster.collections.in_state(CollectionState.CREATING):
        return False
    return is_usable(entry.config) and still_joins(entry.config, cluster.workers)


def _drained_otherwise(before: ClusterMap, after: ClusterMap) -> set[ShardId]:
    """Return the shards of the workers that are drained, or are not drained any more."""
    return {shard for worker in differing(before.drains, after.drains) for shard in after.shards.of_worker(worker)}


def _by_collection(shards: Iterable[ShardId]) -> dict[CollectionId, set[ShardId]]:
    grouped: dict[CollectionId, set[ShardId]] = {}
    for shard in shards:
        grouped.setdefault(shard.collection, set()).add(shard)
    return grouped
