"""Chooses the worker of a new replica: in a zone without other replicas of the shard if possible, else evenly over the
live workers that have memory and open files for it. A worker never gets two replicas of a shard."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from collections.abc import Collection as Group
from typing import Self

from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import CollectionState
from shoal.core.ids import CollectionId, WorkerId
from shoal.core.memory_budget import replica_rooms
from shoal.core.shard_config import ShardConfig

Rooms = Callable[[WorkerId], int | None]
"""Returns how many more replicas a worker has room for; None if it does not report its room."""


class Placement:
    """Counts the replicas and primaries of each live worker, including those placed in this round. Used for one round.

    budgets: memory that each live worker may use, in bytes; 0 if it does not report it. zones: zone of each worker; ""
    for none. file_rooms: most replicas that a worker has open files for, of the workers that report it. placed: the map
    that shows which replicas there are. What belongs to one collection or one worker is counted when it is first asked
    for.
    """

    def __init__(
        self,
        budgets: Mapping[WorkerId, int],
        zones: Mapping[WorkerId, str] | None = None,
        file_rooms: Mapping[WorkerId, int] | None = None,
        placed: ClusterMap | None = None,
    ) -> None:
        self._budgets, self._zones, self._file_rooms = dict(sorted(budgets.items())), dict(zones or {}), dict(file_rooms or {})
        self._placed = ClusterMap() if placed is None else placed
        self._total = _totals(self._placed)
        self._of_collection: dict[CollectionId, Counter[WorkerId]] = {}
        self._primaries: dict[WorkerId, int] = {}
        self._primaries_of_collection: dict[CollectionId, Counter[WorkerId]] = {}
        self._standings: dict[WorkerId, tuple[int, int, WorkerId] | None] = {}
        self._queue: _Queue | None = None

    @classmethod
    def of(cls, cluster: ClusterMap) -> Self:
        """Return the placement that the map shows.

        Replicas of collections that are being dropped are not counted, since they are about to be removed.
        """
        workers = cluster.workers.items()
        return cls(
            {worker: entry.memory_budget_bytes for worker, entry in workers},
            {worker: entry.zone for worker, entry in workers},
            {worker: entry.file_budget // entry.replica_files for worker, entry in workers if entry.replica_files},
            cluster,
        )

    def add(self, collection: CollectionId, worker: WorkerId) -> None:
        """Count one more replica of `collection` on `worker`."""
        self._replicas_of(collection)[worker] += 1
        self._total[worker] += 1
        self._standings.pop(worker, None)
        if self._queue is not None and self._queue.collection == collection and worker in self._budgets:
            self._queue.put(worker, self._rank(self._replicas_of(collection), worker))
        else:
            self._queue = None

    def add_primary(self, collection: CollectionId, worker: WorkerId) -> None:
        """Count one more replica on `worker` as a primary."""
        self._primaries_on(worker)
        self._primaries_of(collection)[worker] += 1
        self._primaries[worker] += 1

    def choose(self, collection: CollectionId, taken: Group[WorkerId], beside: Group[WorkerId] = ()) -> WorkerId | None:
        """Return the worker for a new replica of `collection`; None if no live worker outside `taken` has room for it.

        taken: workers that hold the shard already. beside: workers of the shard's other replicas. The order of choice:
        a zone without any of `beside`, fewest replicas of the collection, most room, fewest replicas in all, smallest
        id.
        """
        queue = self._queue_of(collection)
        crowded = {self._zones[worker] for worker in beside if worker in self._zones}
        return queue.first(taken, queue.zones - crowded) or queue.first(taken, queue.zones & crowded)

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
        of_collection = self._primaries_of(collection)
        chosen = min(homes, key=lambda worker: (of_collection[worker], self._primaries_on(worker)))
        self.add_primary(collection, chosen)
        return chosen

    def load(self, worker: WorkerId) -> int:
        """Return the number of replicas on a worker."""
        return self._total[worker]

    def zone(self, worker: WorkerId) -> str:
        """Return the zone of a worker; "" if it has none or is not live."""
        return self._zones.get(worker, "")

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

    def rooms_in_all(self, most: int | None = None, rooms: Rooms | None = None) -> int | None:
        """Return how many more replicas all live workers have room for; None if one of them does not report its room.

        most: counts at most this many on each worker. rooms: counts only this kind of room."""
        said = [each for each in map(rooms or self.rooms, self._budgets) if each is not None]
        if len(said) < len(self._budgets):
            return None
        return sum(said if most is None else (min(each, most) for each in said))

    def _replicas_of(self, collection: CollectionId) -> Counter[WorkerId]:
        found = self._of_collection.get(collection)
        if found is None:
            homes = (home for config in self._configs_of(collection) for home in config.worker_of.values())
            found = self._of_collection[collection] = Counter(homes)
        return found

    def _primaries_of(self, collection: CollectionId) -> Counter[WorkerId]:
        found = self._primaries_of_collection.get(collection)
        if found is None:
            homes = (config.primary_worker for config in self._configs_of(collection))
            found = self._primaries_of_collection[collection] = Counter(home for home in homes if home is not None)
        return found

    def _primaries_on(self, worker: WorkerId) -> int:
        found = self._primaries.get(worker)
        if found is None:
            entries = self._placed.shards.of_worker(worker).items()
            led = sum(
                entry.config.primary_worker == worker and not _is_dropping(self._placed, shard.collection) for shard, entry in entries
            )
            found = self._primaries[worker] = led
        return found

    def _configs_of(self, collection: CollectionId) -> Iterable[ShardConfig]:
        entries = () if _is_dropping(self._placed, collection) else self._placed.shards_of(collection)
        return (entry.config for entry in entries)

    def _queue_of(self, collection: CollectionId) -> _Queue:
        if self._queue is None or self._queue.collection != collection:
            of_collection = self._replicas_of(collection)
            ranks = {worker: self._rank(of_collection, worker) for worker in self._budgets}
            self._queue = _Queue(collection, ranks, self._zones)
        return self._queue

    def _rank(self, of_collection: Mapping[WorkerId, int], worker: WorkerId) -> Rank | None:
        """Return the rank of a live worker for a replica of a collection; None if it has no room."""
        if worker not in self._standings:
            self._standings[worker] = self._standing(worker)
        standing = self._standings[worker]
        return None if standing is None else (of_collection.get(worker, 0), *standing)

    def _standing(self, worker: WorkerId) -> tuple[int, int, WorkerId] | None:
        """Return what a worker's rank is for every collection; None if it has no room."""
        rooms = self.rooms(worker)
        return None if rooms == 0 else (-(rooms or 0), self._total[worker], worker)


Rank = tuple[int, int, int, WorkerId]
"""Replicas of the collection, rooms below zero, replicas in all, id: the smallest is chosen."""


class _Queue:
    """The workers with room for a replica of one collection: a heap for each zone, so that a choice looks at few."""

    def __init__(self, collection: CollectionId, ranks: Mapping[WorkerId, Rank | None], zones: Mapping[WorkerId, str]) -> None:
        """ranks: of all live workers; None for one without room."""
        self.collection, self._newest, self._zones = collection, dict(ranks), zones
        self._heaps: dict[str, list[Rank]] = {}
        for worker, rank in ranks.items():
            if rank is not None:
                self._heaps.setdefault(zones.get(worker, ""), []).append(rank)
        for heap in self._heaps.values():
            heapq.heapify(heap)

    @property
    def zones(self) -> Set[str]:
        """The zones of all workers that had room."""
        return self._heaps.keys()

    def put(self, worker: WorkerId, rank: Rank | None) -> None:
        """Give a worker its next rank; None: it has no room. Older ones stay in the heap and are passed over."""
        self._newest[worker] = rank
        if rank is not None:
            heapq.heappush(self._heaps[self._zones.get(worker, "")], rank)

    def first(self, taken: Group[WorkerId], zones: Iterable[str]) -> WorkerId | None:
        """Return the worker with the smallest rank in these zones that is not taken; None if there is none."""
        ranks = (self._first_of(self._heaps[zone], taken) for zone in zones)
        return min((rank for rank in ranks if rank is not None), default=(0, 0, 0, None))[3]

    def _first_of(self, heap: list[Rank], taken: Group[WorkerId]) -> Rank | None:
        passed: list[Rank] = []
        while heap and (heap[0][3] in taken or self._newest[heap[0][3]] != heap[0]):
            rank = heapq.heappop(heap)
            if self._newest[rank[3]] == rank:
                passed.append(rank)
        found = heap[0] if heap else None
        for rank in passed:
            heapq.heappush(heap, rank)
        return found


def _totals(cluster: ClusterMap) -> Counter[WorkerId]:
    """Return the replicas on each worker, without those of collections that are being dropped."""
    totals = Counter({worker: len(cluster.shards.of_worker(worker)) for worker in cluster.shards.workers})
    for collection in cluster.collections.in_state(CollectionState.DROPPING):
        for entry in cluster.shards_of(collection):
            totals.subtract(entry.config.worker_of.values())
    return totals


def _is_dropping(cluster: ClusterMap, collection: CollectionId) -> bool:
    return collection in cluster.collections.in_state(CollectionState.DROPPING)
