"""Where a new replica goes: another zone than the shard's other replicas if there is one, then evenly over the live
workers that have memory and open files for it. Never two replicas of a shard on one worker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Collection as Group
from typing import Self

from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import CollectionState
from shoal.core.ids import CollectionId, WorkerId
from shoal.core.memory_budget import replica_rooms

Rooms = Callable[[WorkerId], int | None]
"""Replicas more that a worker has room for; None when it does not say."""


class Placement:
    """How many replicas and primaries each live worker holds, counted on as new ones are placed. Lives for one round.

    budgets: memory that each live worker may use, in bytes, 0 where it does not say; zones: "" where there is none;
    file_rooms: replicas that a worker may have open for their files, for those that say it.
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
        """The placement that the map shows.

        Replicas of collections that are being dropped do not count: they are on their way out.
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
        """The worker for a new replica of `collection`; None when no live worker has room for it but those in `taken`,
        which hold the shard already.

        First a zone without any of `beside`, the workers of the shard's other replicas; then fewest replicas of the
        collection, then most room, then fewest in all, then the smallest id.
        """
        crowded = {self._zones[worker] for worker in beside if worker in self._zones}
        free = (worker for worker in self._budgets if worker not in taken and self.rooms(worker) != 0)
        return min(free, key=lambda worker: (self._zones.get(worker) in crowded, *self._rank(collection, worker)), default=None)

    def choose_several(self, collection: CollectionId, count: int, taken: Group[WorkerId], beside: Group[WorkerId]) -> tuple[WorkerId, ...]:
        """Workers for up to `count` new replicas of one shard, all different, counted as added."""
        chosen: list[WorkerId] = []
        while len(chosen) < count:
            worker = self.choose(collection, {*taken, *chosen}, {*beside, *chosen})
            if worker is None:
                break
            self.add(collection, worker)
            chosen.append(worker)
        return tuple(chosen)

    def choose_primary(self, collection: CollectionId, homes: Sequence[WorkerId]) -> WorkerId:
        """Of the workers of a new shard, the one that shall hold its primary, counted as such: with the fewest
        primaries of the collection, then the fewest in all, then the first."""
        chosen = min(homes, key=lambda worker: (self._primaries_of_collection[collection, worker], self._primaries[worker]))
        self.add_primary(collection, chosen)
        return chosen

    def load(self, worker: WorkerId) -> int:
        """Replicas on a worker."""
        return self._total[worker]

    def zone(self, worker: WorkerId) -> str:
        """Zone of a live worker, "" for one without or one that is gone."""
        return self._zones.get(worker, "")

    def rooms(self, worker: WorkerId) -> int | None:
        """Replicas more that a worker has memory and open files for, empty ones; None when it says neither."""
        said = [each for each in (self.memory_rooms(worker), self.file_rooms(worker)) if each is not None]
        return min(said, default=None)

    def memory_rooms(self, worker: WorkerId) -> int | None:
        """Replicas more that a worker has memory for; None when it does not say."""
        return replica_rooms(self._budgets[worker], self._total[worker])

    def file_rooms(self, worker: WorkerId) -> int | None:
        """Replicas more that a worker may open files for; None when it does not say."""
        whole = self._file_rooms.get(worker)
        return None if whole is None else max(0, whole - self._total[worker])

    def rooms_in_all(self, most: int | None = None, rooms: Rooms | None = None) -> int | None:
        """Replicas that all live workers have room for, at most `most` on each; None when one of them does not say.
        rooms: of a worker, when only some kind of room counts."""
        said = [each for each in map(rooms or self.rooms, self._budgets) if each is not None]
        if len(said) < len(self._budgets):
            return None
        return sum(said if most is None else (min(each, most) for each in said))

    def _rank(self, collection: CollectionId, worker: WorkerId) -> tuple[int, int, int, WorkerId]:
        return self._of_collection[collection, worker], -(self.rooms(worker) or 0), self._total[worker], worker
