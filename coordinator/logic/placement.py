"""Chooses the worker of a new replica: in a zone without other replicas of the shard if possible, else where there is
most room for its collection. A worker never gets two replicas of a shard, and nothing is placed on a drained or
forgotten one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Collection as Group
from typing import Self

import numpy as np

from shoal.coordinator.logic.balance_sizes import ShardSizes
from shoal.coordinator.logic.placement_loads import EMPTY, Ints, PlacementLoads, Ranking, WorkerRoom
from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import CollectionState
from shoal.core.ids import CollectionId, WorkerId
from shoal.core.memory_budget import replica_rooms
from shoal.core.shard_calls import WorkerStatus
from shoal.core.shard_config import ShardConfig

Rooms = Callable[[WorkerId], int | None]
"""Returns how many more replicas a worker has room for; None if it does not report its room."""


class Placement:
    """Counts the replicas and primaries of each live worker, including those placed in this round. Used for one round.

    rooms: the workers that replicas may be placed on. zones: zone of each live worker; "" for none. placed: the map
    that shows which replicas there are. reports: newest status of workers, with the sizes of their replicas. What
    belongs to one collection or one worker is counted when it is first asked for.
    """

    def __init__(
        self,
        rooms: Mapping[WorkerId, WorkerRoom],
        zones: Mapping[WorkerId, str] | None = None,
        placed: ClusterMap | None = None,
        reports: Mapping[WorkerId, WorkerStatus] | None = None,
    ) -> None:
        self._rooms, self._zones = dict(sorted(rooms.items())), dict(zones or {})
        self._placed, self._reports = ClusterMap() if placed is None else placed, reports or {}
        self._total = _totals(self._placed)
        self._primaries: dict[WorkerId, int] = {}
        self._primaries_of_collection: dict[CollectionId, Counter[WorkerId]] = {}
        self._held: dict[CollectionId, Ints] = {}
        self._known_loads: PlacementLoads | None = None
        self._known_ranking: Ranking | None = None

    @classmethod
    def of(cls, cluster: ClusterMap, reports: Mapping[WorkerId, WorkerStatus] | None = None) -> Self:
        """Return the placement that the map shows. reports: newest status of workers; without one, replicas count as
        empty.

        Replicas of collections that are being dropped are not counted, since they are about to be removed. Nothing is
        placed on a worker that is drained or forgotten, or that reports that its disk is nearly full.
        """
        told = reports or {}
        rooms = {
            worker: WorkerRoom(
                zone=entry.zone,
                budget_bytes=entry.memory_budget_bytes,
                disk_bytes=entry.disk_bytes,
                most_replicas=entry.file_budget // entry.replica_files if entry.replica_files else None,
            )
            for worker, entry in cluster.workers.items()
            if worker not in cluster.drains and worker not in cluster.forgotten and not (worker in told and told[worker].disk)
        }
        return cls(rooms, {worker: entry.zone for worker, entry in cluster.workers.items()}, cluster, told)

    @property
    def workers(self) -> Group[WorkerId]:
        """The workers that replicas may be placed on."""
        return self._rooms.keys()

    def add(self, collection: CollectionId, worker: WorkerId, size: ShardSizes = EMPTY, beside: Group[WorkerId] = ()) -> None:
        """Count one more replica of `collection` on `worker`. beside: workers of the shard's other replicas."""
        self._total[worker] += 1
        if worker not in self._rooms:
            return
        loads, held = self._loads(), self._held_of(collection)
        number = loads.number_of[worker]
        loads.add(number, size, loads.numbers(beside))
        ranking = self._known_ranking
        if ranking is not None and ranking.collection == collection and ranking.size == size:
            ranking.placed(number)
        else:
            held[number] += 1
            self._known_ranking = None

    def add_primary(self, collection: CollectionId, worker: WorkerId) -> None:
        """Count one more replica on `worker` as a primary."""
        self._primaries_on(worker)
        self._primaries_of(collection)[worker] += 1
        self._primaries[worker] += 1

    def choose(
        self, collection: CollectionId, taken: Group[WorkerId], beside: Group[WorkerId] = (), size: ShardSizes = EMPTY
    ) -> WorkerId | None:
        """Return the worker for a new replica of `collection`; None if no worker outside `taken` has room for it.

        taken: workers that hold the shard already. beside: workers of the shard's other replicas. size: of these
        others. The order of choice: a zone without any of `beside`, then that of Ranking.
        """
        loads = self._loads()
        crowded = {self._zones[worker] for worker in beside if worker in self._zones}
        chosen = self._ranking(collection, size).first(loads.numbers(taken), loads.numbers(beside), crowded)
        return None if chosen is None else loads.ids[chosen]

    def choose_several(
        self, collection: CollectionId, count: int, taken: Group[WorkerId], beside: Group[WorkerId], size: ShardSizes = EMPTY
    ) -> tuple[WorkerId, ...]:
        """Return different workers for up to `count` new replicas of one shard, and count these replicas."""
        chosen: list[WorkerId] = []
        while len(chosen) < count:
            near = {*beside, *chosen}
            worker = self.choose(collection, {*taken, *chosen}, near, size)
            if worker is None:
                break
            self.add(collection, worker, size, near)
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
        """Return how many more empty replicas a worker has memory for; None if it does not report its budget."""
        loads = self._loads()
        return replica_rooms(self._rooms[worker].budget_bytes, int(loads.taken[loads.number_of[worker]]))

    def file_rooms(self, worker: WorkerId) -> int | None:
        """Return how many more replicas a worker may open files for; None if it does not report its limit."""
        most = self._rooms[worker].most_replicas
        return None if most is None else max(0, most - self._total[worker])

    def rooms_in_all(self, most: int | None = None, rooms: Rooms | None = None) -> int | None:
        """Return how many more replicas all workers have room for; None if one of them does not report its room.

        most: counts at most this many on each worker. rooms: counts only this kind of room."""
        said = [each for each in map(rooms or self.rooms, self._rooms) if each is not None]
        if len(said) < len(self._rooms):
            return None
        return sum(said if most is None else (min(each, most) for each in said))

    def _loads(self) -> PlacementLoads:
        if self._known_loads is None:
            self._known_loads = PlacementLoads(self._rooms, self._placed, self._reports)
        return self._known_loads

    def _ranking(self, collection: CollectionId, size: ShardSizes) -> Ranking:
        known = self._known_ranking
        if known is None or known.collection != collection or known.size != size:
            found = self._placed.collections.get(collection)
            wanted = 0 if found is None else found.spec.shards * found.spec.replicas
            known = self._known_ranking = Ranking(self._loads(), collection, wanted, self._held_of(collection), size)
        return known

    def _held_of(self, collection: CollectionId) -> Ints:
        """Return how many replicas of a collection each worker holds."""
        found = self._held.get(collection)
        if found is None:
            loads = self._loads()
            homes = [home for config in self._configs_of(collection) for home in loads.numbers(config.worker_of.values())]
            found = self._held[collection] = np.bincount(np.array(homes, dtype=np.int64), minlength=len(loads.ids)).astype(np.int64)
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


def _totals(cluster: ClusterMap) -> Counter[WorkerId]:
    """Return the replicas on each worker, without those of collections that are being dropped."""
    totals = Counter({worker: len(cluster.shards.of_worker(worker)) for worker in cluster.shards.workers})
    for collection in cluster.collections.in_state(CollectionState.DROPPING):
        for entry in cluster.shards_of(collection):
            totals.subtract(entry.config.worker_of.values())
    return totals


def _is_dropping(cluster: ClusterMap, collection: CollectionId) -> bool:
    return collection in cluster.collections.in_state(CollectionState.DROPPING)
