"""Where a new replica goes: evenly over the live workers that have memory for it. Zones come in with rebalancing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection as Group
from collections.abc import Mapping
from typing import Self

from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import CollectionState
from shoal.core.ids import CollectionId, WorkerId
from shoal.core.memory_budget import replica_rooms


class Placement:
    """How many replicas each live worker holds, counted on as new ones are placed. Lives for one round.

    budgets: memory that each live worker may use, in bytes, 0 where it does not say.
    """

    def __init__(self, budgets: Mapping[WorkerId, int]) -> None:
        self._budgets = dict(sorted(budgets.items()))
        self._total: Counter[WorkerId] = Counter()
        self._of_collection: Counter[tuple[CollectionId, WorkerId]] = Counter()

    @classmethod
    def of(cls, cluster: ClusterMap) -> Self:
        """The placement that the map shows. Replicas of collections that are being dropped do not count: they are on their way out."""
        placement = cls({worker: entry.memory_budget_bytes for worker, entry in cluster.workers.items()})
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
        """The worker for a new replica of `collection`; None when no live worker has memory for it but those in `taken`, which hold
        the shard already.

        Fewest replicas of the collection first, then most room, then fewest in all, then the smallest id.
        """
        free = (worker for worker in self._budgets if worker not in taken and self.rooms(worker) != 0)
        return min(free, key=lambda worker: self._rank(collection, worker), default=None)

    def rooms(self, worker: WorkerId) -> int | None:
        """Replicas that a worker has memory for, empty ones; None when it does not say."""
        return replica_rooms(self._budgets[worker], self._total[worker])

    def rooms_in_all(self) -> int | None:
        """Replicas that all live workers have memory for; None when one of them does not say."""
        rooms = [self.rooms(worker) for worker in self._budgets]
        said = [each for each in rooms if each is not None]
        return sum(said) if len(said) == len(rooms) else None

    def _rank(self, collection: CollectionId, worker: WorkerId) -> tuple[int, int, int, WorkerId]:
        return self._of_collection[collection, worker], -(self.rooms(worker) or 0), self._total[worker], worker
