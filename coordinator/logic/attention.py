"""Which shards a round has to look at: those that are not settled. A round costs what they cost, however many shards
there are.

A shard is settled while no step can come but by a change of its configuration, its collection or the registration of a
worker that it names; time and reports change nothing.
"""

from __future__ import annotations

from typing import Self

from shoal.coordinator.logic.failover import has_primary
from shoal.coordinator.logic.replica_count import is_as_wanted
from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import CollectionState
from shoal.core.ids import ShardId
from shoal.core.map_changes import changed_shards
from shoal.core.shard_config import ShardState


class Attention:
    """The shards of a map that are not settled. Immutable: `seen` returns the next."""

    def __init__(self, cluster: ClusterMap | None = None, shards: frozenset[ShardId] = frozenset()) -> None:
        self._cluster = ClusterMap() if cluster is None else cluster
        self.shards = shards

    def seen(self, cluster: ClusterMap) -> Self:
        """Return the shards that are not settled in this map. Only shards that may have changed are judged again."""
        changed = changed_shards(self._cluster, cluster)
        unsettled = frozenset(shard for shard in changed if not is_settled(cluster, shard))
        return type(self)(cluster, (self.shards - changed) | unsettled if changed else self.shards)


def is_settled(cluster: ClusterMap, shard: ShardId) -> bool:
    """Return whether no election and no change of its replicas can be due for a shard, whatever workers report.

    The first placement of shards and the end of dropped ones are decided by collection, not from here.
    """
    entry, collection = cluster.shards.get(shard), cluster.collections.get(shard.collection)
    if entry is None or collection is None or collection.state is CollectionState.DROPPING:
        return True
    config = entry.config
    if not has_primary(config, cluster.workers):
        return False
    return config.state is ShardState.CREATING or is_as_wanted(config, collection.spec, cluster.workers)
