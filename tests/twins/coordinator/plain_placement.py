"""Placement in plain words: everything is counted anew for every choice, and every choice looks at every worker."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Collection as Group
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from shoal.coordinator.logic.balance_sizes import ShardSizes, shard_sizes
from shoal.coordinator.logic.placement_loads import EMPTY, WorkerRoom
from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import CollectionState
from shoal.core.ids import CollectionId, WorkerId
from shoal.core.memory_budget import replica_rooms
from shoal.core.shard_calls import WorkerStatus
from shoal.core.sizing import REPLICA_BASE_BYTES


@dataclass(frozen=True)
class PlainReplica:
    """A replica on a worker, and the workers of the shard's replicas that were there before it."""

    collection: CollectionId
    worker: WorkerId
    size: ShardSizes
    beside: frozenset[WorkerId]


class PlainPlacement:
    """Remembers every replica and primary, those placed in this round, too. Used for one round."""

    def __init__(self, rooms: Mapping[WorkerId, WorkerRoom], zones: Mapping[WorkerId, str] | None = None) -> None:
        self._rooms, self._zones = dict(sorted(rooms.items())), dict(zones or {})
        self._replicas: list[PlainReplica] = []
        self._wanted: dict[CollectionId, int] = {}
        self._usual, self._share = REPLICA_BASE_BYTES, dict[WorkerId, float]()
        self._primaries: Counter[WorkerId] = Counter()
        self._primaries_of_collection: Counter[tuple[CollectionId, WorkerId]] = Counter()

    @classmethod
    def of(cls, cluster: ClusterMap, reports: Mapping[WorkerId, WorkerStatus]) -> Self:
        """Return the placement that the map shows, without collections that are being dropped."""
        rooms = {
            worker: WorkerRoom(
                zone=entry.zone,
                budget_bytes=entry.memory_budget_bytes,
                disk_bytes=entry.disk_bytes,
                most_replicas=entry.file_budget // entry.replica_files if entry.replica_files else None,
            )
            for worker, entry in cluster.workers.items()
            if worker not in cluster.drains and worker not in cluster.forgotten
            if worker not in reports or not reports[worker].disk
        }
        placement = cls(rooms, {worker: entry.zone for worker, entry in cluster.workers.items()})
        placement._wanted = {id: each.spec.shards * each.spec.replicas for id, each in cluster.collections.items()}
        told = []
        for shard, entry in cluster.shards.items():
            if cluster.collections[shard.collection].state is CollectionState.DROPPING:
                continue
            size, homes = shard_sizes(entry.config, reports), list(entry.config.worker_of.values())
            told += [size.memory_bytes] if size.told else []
            placement._replicas += [PlainReplica(shard.collection, home, size, frozenset(homes[:at])) for at, home in enumerate(homes)]
            if entry.config.primary_worker is not None:
                placement.add_primary(shard.collection, entry.config.primary_worker)
        if told:
            placement._usual = max(REPLICA_BASE_BYTES, int(statistics.median(told)))
        placement._share = placement._shares()
        return placement

    def _shares(self) -> dict[WorkerId, float]:
        left = {worker: max(0, room.budget_bytes - self._taken(worker)) for worker, room in self._rooms.items() if room.budget_bytes}
        usual = statistics.fmean(left.values()) if left else 1.0
        room = {worker: float(left.get(worker, usual)) for worker in self._rooms}
        whole = sum(room.values())
        return {worker: room[worker] / max(1.0, whole) if whole else 1 / len(room) for worker in room}

    def add_primary(self, collection: CollectionId, worker: WorkerId) -> None:
        """Count one more replica on `worker` as a primary."""
        self._primaries[worker] += 1
        self._primaries_of_collection[collection, worker] += 1

    def choose(
        self, collection: CollectionId, taken: Group[WorkerId], beside: Group[WorkerId] = (), size: ShardSizes = EMPTY
    ) -> WorkerId | None:
        """Return the worker for a new replica of `collection`; None if no worker outside `taken` has room for it."""
        crowded = {self._zones[worker] for worker in beside if worker in self._zones}
        free = [worker for worker in self._rooms if worker not in taken and self._fits(worker, size)]
        return min(free, key=lambda each: (self._zones.get(each) in crowded, *self._rank(collection, each, beside, size)), default=None)

    def _rank(self, collection: CollectionId, worker: WorkerId, beside: Group[WorkerId], size: ShardSizes) -> tuple[float, ...]:
        held = sum(each.collection == collection for each in self._on(worker))
        wanted = self._wanted.get(collection, 0)
        quota = wanted * self._share.get(worker, 0.0)
        room = self._rooms[worker]
        known = [each.budget_bytes for each in self._rooms.values() if each.budget_bytes]
        capacity = room.budget_bytes or (statistics.fmean(known) if known else 1.0)
        weight = sum(max(self._usual, each.size.memory_bytes) for each in self._on(worker))
        fullness = (weight + max(self._usual, size.memory_bytes)) / capacity
        if held < math.floor(quota + 1e-9):
            first = (0, float(round((held + 1) * (wanted / len(self._rooms) / quota))))
        elif held < math.ceil(quota - 1e-9):
            first = (1, 1e9 + fullness / (1 + fullness))
        else:
            first = (2, float(held))
        others = [other for other in beside if other in self._rooms]
        if others:
            shared = sum(self._shared(worker, other) for other in others)
        else:
            shared = -max((self._shared(worker, other) for other in self._rooms if other != worker), default=0)
        return (*first, shared, fullness, list(self._rooms).index(worker))

    def _shared(self, one: WorkerId, other: WorkerId) -> int:
        """Return how many shards two workers both hold."""
        return sum(
            {each.worker, before} == {one, other} for each in self._replicas for before in each.beside if each.worker in (one, other)
        )

    def _fits(self, worker: WorkerId, size: ShardSizes) -> bool:
        room, disk = self._rooms[worker], sum(each.size.disk_bytes for each in self._on(worker))
        return (
            (not room.budget_bytes or self._taken(worker) + size.memory_bytes <= room.budget_bytes)
            and (not room.disk_bytes or disk + size.disk_bytes <= room.disk_bytes)
            and (room.most_replicas is None or len(self._on(worker)) < room.most_replicas)
        )

    def _on(self, worker: WorkerId) -> list[PlainReplica]:
        return [each for each in self._replicas if each.worker == worker]

    def _taken(self, worker: WorkerId) -> int:
        return sum(each.size.memory_bytes for each in self._on(worker))

    def choose_several(
        self, collection: CollectionId, count: int, taken: Group[WorkerId], beside: Group[WorkerId], size: ShardSizes = EMPTY
    ) -> tuple[WorkerId, ...]:
        """Return different workers for up to `count` new replicas of one shard, and remember these replicas."""
        chosen: list[WorkerId] = []
        while len(chosen) < count:
            near = frozenset({*beside, *chosen})
            worker = self.choose(collection, {*taken, *chosen}, near, size)
            if worker is None:
                break
            self._replicas.append(PlainReplica(collection, worker, size, near))
            chosen.append(worker)
        return tuple(chosen)

    def choose_primary(self, collection: CollectionId, homes: Sequence[WorkerId]) -> WorkerId:
        """Return which of a new shard's workers gets its primary, and count it."""
        chosen = min(homes, key=lambda worker: (self._primaries_of_collection[collection, worker], self._primaries[worker]))
        self.add_primary(collection, chosen)
        return chosen

    def rooms(self, worker: WorkerId) -> int | None:
        """Return how many more empty replicas a worker has memory and open files for; None if it reports neither."""
        room, held = self._rooms[worker], len(self._on(worker))
        files = None if room.most_replicas is None else max(0, room.most_replicas - held)
        said = [each for each in (replica_rooms(room.budget_bytes, self._taken(worker)), files) if each is not None]
        return min(said, default=None)
