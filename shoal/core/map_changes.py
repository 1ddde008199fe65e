"""Finds the shards for which a new map may change a decision, without a look at the others.

A decision about a shard depends on its configuration, its collection and the registrations of the workers that hold its
replicas. Parts of two maps are compared by identity: the fold of a change keeps every object that did not change.
"""

from __future__ import annotations

from shoal.core.cluster_map import ClusterMap
from shoal.core.ids import ShardId, WorkerId
from shoal.core.map_tables import differing


def changed_shards(before: ClusterMap, after: ClusterMap) -> set[ShardId]:
    """Return the shards of either map for which a decision may be another one in `after` than in `before`."""
    changed = set(after.shards.changed_since(before.shards))
    for collection in after.collections.changed_since(before.collections):
        changed.update(entry.config.shard for entry in after.shards.of_collection(collection))
    for worker in differing(before.workers, after.workers):
        changed.update(after.shards.of_worker(worker))
    return changed


def changed_shards_on(worker: WorkerId, before: ClusterMap, after: ClusterMap) -> set[ShardId]:
    """Return those of `changed_shards` that have a replica on `worker` in either map."""
    mine = after.shards.of_worker(worker)
    changed = set(differing(before.shards.of_worker(worker), mine))
    collections = set(after.collections.changed_since(before.collections))
    if collections:
        changed.update(shard for shard in mine if shard.collection in collections)
    others = set(differing(before.workers, after.workers))
    if others:
        changed.update(shard for shard, entry in mine.items() if not others.isdisjoint(entry.config.worker_of.values()))
    return changed
