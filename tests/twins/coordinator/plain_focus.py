"""The focus of a round in plain words: every shard is looked at and judged, in every round."""

from __future__ import annotations

from typing import Any

from shoal.coordinator.logic.attention import is_settled, is_usable, still_joins
from shoal.coordinator.logic.snapshot import Focus, Snapshot
from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import CollectionState
from shoal.core.ids import ShardId


def whole_focus(cluster: ClusterMap) -> Focus:
    """Return the focus on every shard of the map, settled or not."""
    joining, unready = set[ShardId](), {}
    for collection in cluster.collections.values():
        if collection.state is CollectionState.CREATING:
            configs = [entry.config for shard, entry in cluster.shards.items() if shard.collection == collection.id]
            joining |= {config.shard for config in configs if is_usable(config) and still_joins(config, cluster.workers)}
            unready[collection.id] = frozenset(config.shard for config in configs if not is_usable(config))
    return Focus(shards=frozenset(cluster.shards), unready=unready, joining=frozenset(joining))


def snapshot_of(cluster: ClusterMap, **parts: Any) -> Snapshot:
    """Return a snapshot of a round over every shard of the map."""
    return Snapshot(map=cluster, seed="s", focus=whole_focus(cluster), **parts)


def check_focus(focus: Focus, cluster: ClusterMap) -> None:
    """Check that a focus holds what a look at the whole map finds, and no settled shard."""
    whole = whole_focus(cluster)
    assert focus.shards == {shard for shard in whole.shards if not is_settled(cluster, shard)}
    assert focus.joining == whole.joining
    assert {each: shards for each, shards in focus.unready.items() if shards} == {
        each: shards for each, shards in whole.unready.items() if shards
    }
