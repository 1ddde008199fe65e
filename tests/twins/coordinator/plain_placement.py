"""Placement in plain words: every count is made at once, and every choice looks at every worker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection as Group
from collections.abc import Mapping, Sequence
from typing import Self

from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import CollectionState
from shoal.core.ids import CollectionId, WorkerId
from shoal.core.memory_budget import replica_rooms


class PlainPlacement:
    """Counts the replicas and primaries of each live worker, including those placed in this round. Used for one round.

    budgets: memory that each live worker may use, in bytes; 0 if it does not report it. zones: zone of each worker; ""
    for none. file_rooms: most replicas that a worker has open files for, of the workers that report it.
    """

    def __init__(
        self,
        budgets: Mapping[WorkerId, int],
        zones: Mapping[WorkerId, str] | None = None,
        file_rooms: Mapping[WorkerId, int] | None = None,
    ) -> None:
        self._budgets, self._zones, self._file_rooms = dict(sorted(budgets.items())), dict(zones or {}), dict(file_rooms or {})
        self._total: Counter[WorkerId] = Counter()
        self._of_collection: Counter[tuple[CollectionId, WorkerId]] = Counter()
        self._primaries: Counter[WorkerId] = Counter()
        self._primaries_of_collection: Counter[tuple[CollectionId, WorkerId]] = Counter()

    @classmethod
    def of(cls, cluster: ClusterMap) -> Self:
        """Return the placement that the map shows.

        Replicas of collections that are being dropped are not counted, since they are about to be removed.
        """
        workers = cluster.workers.items()
        placement = cls(
            {worker: entry.memory_budget_bytes for worker, entry in workers},
            {worker: entry.zone for worker, entry in workers},
            {worker: entry.file_budget // entry.replica_files for worker, entry in workers if entry.replica_files},
        )
        for shard, entry in cluster.shards.items():
            collection = cluster.collections.get(shard.collection)
            if collection is None or collection.state is not CollectionState.DROPPING:
                for worker in entry.config.worker_of.values():
                    placement.add(shard.collection, worker)
                if entry.config.primary_worker is not None:
                    placement.add_primary(shard.collection, entry.config.primary_worker)
        return placement

    def add(self, collection: CollectionId, worker: WorkerId) -> None:
        """Count one more replica of `collection` on `worker`."""
        self._total[worker] += 1
        self._of_collection[collection, worker] += 1

    def add_primary(self, collection: CollectionId, worker: WorkerId) -> None:
        """Count one more replica on `worker` as a primary."""
        self._primaries[worker] += 1
        self._primaries_of_collection[collection, worker] += 1

    def choose(self, collection: CollectionId, taken: Group[WorkerId], beside: Group[WorkerId] = ()) -> WorkerId | None:
        """Return the worker for a new replica of `collection`; None if no live worker outside `taken` has room for it.

        taken: workers that hold the shard already. beside: workers of the shard's other replicas. The order of choice:
        a zone without any of `beside`, fewest replicas of the collection, most room, fewest replicas in all, smallest
        id.
        """
        crowded = {self._zones[worker] for worker in beside if worker in self._zones}
        free = (worker for worker in self._budgets if worker not in taken and self.rooms(worker) != 0)
        return min(free, key=lambda worker: (self._zones.get(worker) in crowded, *self._rank(collection, worker)), default=None)

    def choose_several(self, collection: CollectionId, count: int, taken: Group[WorkerId], beside: Group[WorkerId]) -> tuple[WorkerId, ...]:
        """Return different workers for up to `count` new replicas of one shard, and count these replicas."""
        chosen: list[WorkerId] = []
        while len(chosen) < count:
            worker = self.choose(collection, {*taken, *chosen}, {*beside, *chosen})
            if worker is None:
                break
            self.add(collection, worker)
            chosen.append(worker)
        return tuple(chosen)

    def choose_primary(self, collection: CollectionId, homes: Sequence[WorkerId]) -> WorkerId:
        """Return which of a new shard's workers gets its primary, and count it.

        The order of choice: fewest primaries of the collection, fewest primaries in all, first in `homes`."""
        chosen = min(homes, key=lambda worker: (self._primaries_of_collection[collection, worker], self._primaries[worker]))
        self.add_primary(collection, chosen)
        return chosen

    def rooms(self, worker: WorkerId) -> int | None:
        """Return how many more empty replicas a worker has memory and open files for; None if it reports neither."""
        said = [each for each in (self.memory_rooms(worker), self.file_rooms(worker)) if each is not None]
        return min(said, default=None)

    def memory_rooms(self, worker: WorkerId) -> int | None:
        """Return how many more replicas a worker has memory for; None if it does not report its budget."""
        return replica_rooms(self._budgets[worker], self._total[worker])

    def file_rooms(self, worker: WorkerId) -> int | None:
        """Return how many more replicas a worker may open files for; None if it does not report its limit."""
        whole = self._file_rooms.get(worker)
        return None if whole is None else max(0, whole - self._total[worker])

    def _rank(self, collection: CollectionId, worker: WorkerId) -> tuple[int, int, int, WorkerId]:
        return self._of_collection[collection, worker], -(self.rooms(worker) or 0), self._total[worker], worker
