"""The map as a program reads it that is older than moves: its configurations have neither a move nor a successor.

What such a program writes has neither, so both are lost when it swaps a configuration.
"""

from __future__ import annotations

import dataclasses

from shoal.core.cluster_map import ClusterMap
from shoal.core.map_tables import ShardTable
from shoal.core.shard_config import ShardEntry


class OlderMaps:
    """The maps that one process has seen. An entry stays one object as long as it does not change."""

    def __init__(self) -> None:
        self._newest: tuple[ShardTable, ShardTable] | None = None

    def seen(self, cluster: ClusterMap) -> ClusterMap:
        """Return the map without moves and successors."""
        if self._newest is None or self._newest[0] is not cluster.shards:
            self._newest = cluster.shards, ShardTable(_without_moves(entry) for entry in cluster.shards.values())
        return dataclasses.replace(cluster, shards=self._newest[1], drains={}, forgotten={}, rebalance=None)


def _without_moves(entry: ShardEntry) -> ShardEntry:
    return dataclasses.replace(entry, config=dataclasses.replace(entry.config, move=None, successor=None))
