"""Where a new replica goes: evenly over the live workers. Zones and capacity come in with rebalancing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection as Group
from typing import Self

from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import CollectionState
from shoal.core.ids import CollectionId, WorkerId


class Placement:
    """How many replicas each live worker holds, counted on as new ones are placed. Lives for one round."""

    def __init__(self, workers: Group[WorkerId]) -> None:
        self._workers = tuple(sorted(workers))
        self._total: Counter[WorkerId] = Counter()
        self._of_collection: Counter[tuple[CollectionId, WorkerId]] = Counter()

    @classmethod
    def of(cls, cluster: ClusterMap) -> Self:
        """The placement that the map shows. Replicas of collections that are being dropped do not count: they are on their way out."""
        placement = cls(cluster.workers)
        for shard, entry in cluster.shards.items():
            collection = cluster.collections.get(shard.collection)
            if collection is None or collection.state is not CollectionState.DROPPING:
                for worker in entry.config.worker_of.values():
                    placement.add(shard.collection, worker)
        return placement

    def add(self, collection: CollectionId, worker: WorkerId) -> None:
        """Count one more replica of `collection` on `worker`."""
        self._total[worker] += 1
        self._of_collection[collection, worker] += 1

    def choose(self, collection: CollectionId, taken: Group[WorkerId]) -> WorkerId | None:
        """The worker for a new replica of `collection`; None when every live worker is in `taken`, those that hold the shard already.

        Fewest replicas of the collection first, then fewest in all, then the smallest id.
        """
        free = (worker for worker in self._workers if worker not in taken)
        return min(free, key=lambda worker: (self._of_collection[collection, worker], self._total[worker], worker), default=None)
