"""What workers hold when new replicas are placed, in arrays, and which of them comes first for a replica.

A replica takes the bytes that its worker reports, or that of the shard's other replicas if that is more; one of which
nothing is known takes as much as an empty one. Because new replicas will grow, each weighs at least as much as the
usual one, the median of all that are reported.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection as Group
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shoal.coordinator.logic.balance_sizes import ShardSizes, shard_sizes
from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import CollectionState
from shoal.core.ids import CollectionId, WorkerId
from shoal.core.shard_calls import WorkerStatus
from shoal.core.sizing import REPLICA_BASE_BYTES

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_NOBODY = -1

EMPTY = ShardSizes()
"""A replica without points."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerRoom:
    """What a worker may hold. budget_bytes, disk_bytes: 0 if unknown; most_replicas: open ones, None if unknown."""

    zone: str | None = None
    budget_bytes: int = 0
    disk_bytes: int = 0
    most_replicas: int | None = None


class PlacementLoads:
    """What each worker holds, by its number in the order of ids. Arrays have one element for each worker.

    in_zone: workers of a zone; taken, disk: bytes of its replicas in memory and on disk; weight: the same with usual
    sizes; count: its replicas; share: its part of the room that all have left; shared: (W, W) shards that two workers
    both hold; most_shared: the most that it shares with another.
    """

    def __init__(self, rooms: Mapping[WorkerId, WorkerRoom], placed: ClusterMap, reports: Mapping[WorkerId, WorkerStatus]) -> None:
        self.ids = sorted(rooms)
        self.number_of = {worker: number for number, worker in enumerate(self.ids)}
        ordered = [rooms[worker] for worker in self.ids]
        zones = [room.zone for room in ordered]
        self.in_zone = {zone: np.flatnonzero([each == zone for each in zones]) for zone in set(zones)}
        self.budget = np.array([room.budget_bytes for room in ordered], dtype=np.int64)
        self.disk_size = np.array([room.disk_bytes for room in ordered], dtype=np.int64)
        most = [np.iinfo(np.int64).max if room.most_replicas is None else room.most_replicas for room in ordered]
        self.most = np.array(most, dtype=np.int64)
        self._fill(placed, reports)
        known = self.budget[self.budget > 0]
        self.capacity = np.where(self.budget > 0, self.budget, known.mean() if len(known) else 1.0).astype(np.float64)
        self.share = self._shares()

    def _fill(self, placed: ClusterMap, reports: Mapping[WorkerId, WorkerStatus]) -> None:
        count = len(self.ids)
        self.count = np.zeros(count, dtype=np.int64)
        self.taken, self.disk, self.weight = (np.zeros(count, dtype=np.int64) for _ in range(3))
        self.shared, self.most_shared = np.zeros((count, count), dtype=np.int64), np.zeros(count, dtype=np.int64)
        dropping = placed.collections.in_state(CollectionState.DROPPING)
        configs = [entry.config for shard, entry in placed.shards.items() if shard.collection not in dropping]
        sizes = [shard_sizes(config, reports) for config in configs] if reports else [EMPTY] * len(configs)
        told = [size.memory_bytes for size in sizes if size.told]
        self.usual = max(REPLICA_BASE_BYTES, int(np.median(told))) if told else REPLICA_BASE_BYTES
        self._put([self.numbers(config.worker_of.values()) for config in configs], sizes)

    def _put(self, homes: Sequence[Sequence[int]], sizes: Sequence[ShardSizes]) -> None:
        """Count the replicas of shards on their workers."""
        width = max(map(len, homes), default=0)
        home = np.array([[*row, *[_NOBODY] * (width - len(row))] for row in homes], dtype=np.int64).reshape(len(homes), width)
        shard, place = np.nonzero(home != _NOBODY)
        worker = home[shard, place]
        memory = np.array([size.memory_bytes for size in sizes], dtype=np.int64)
        np.add.at(self.count, worker, 1)
        np.add.at(self.taken, worker, memory[shard])
        np.add.at(self.disk, worker, np.array([size.disk_bytes for size in sizes], dtype=np.int64)[shard])
        np.add.at(self.weight, worker, np.maximum(self.usual, memory)[shard])
        for one, other in itertools.permutations(range(width), 2):
            both = (home[:, one] != _NOBODY) & (home[:, other] != _NOBODY)
            np.add.at(self.shared, (home[both, one], home[both, other]), 1)
        self.most_shared = self.shared.max(axis=1, initial=0)

    def _shares(self) -> Floats:
        """Return each worker's part of the room that all have left; one that does not tell has as much as the mean."""
        left = np.maximum(0, self.budget - self.taken).astype(np.float64)
        known = left[self.budget > 0]
        left[self.budget == 0] = known.mean() if len(known) else 1.0
        return left / max(1.0, float(left.sum())) if left.any() else np.full(len(left), 1.0 / max(1, len(left)))

    def numbers(self, workers: Iterable[WorkerId]) -> list[int]:
        """Return the numbers of those of these workers that are known here."""
        return [self.number_of[worker] for worker in workers if worker in self.number_of]

    def add(self, worker: int, size: ShardSizes, beside: Group[int] = ()) -> None:
        """Count one more replica. beside: workers of the shard's other replicas that are counted already."""
        self.count[worker] += 1
        self.taken[worker] += size.memory_bytes
        self.disk[worker] += size.disk_bytes
        self.weight[worker] += max(self.usual, size.memory_bytes)
        for other in beside:
            if other != worker:
                self.shared[worker, other] += 1
                self.shared[other, worker] += 1
                for end in (worker, other):
                    self.most_shared[end] = max(self.most_shared[end], self.shared[worker, other])

    def fits(self, worker: int, size: ShardSizes) -> bool:
        """Return whether a worker has memory, disk and open files for one more replica of this size."""
        memory = not self.budget[worker] or self.taken[worker] + size.memory_bytes <= self.budget[worker]
        disk = not self.disk_size[worker] or self.disk[worker] + size.disk_bytes <= self.disk_size[worker]
        return bool(memory and disk and self.count[worker] < self.most[worker])

    def fullness(self, worker: int, size: ShardSizes) -> float:
        """Return how full a worker is with one more replica of this size, as a part of its capacity."""
        return float((self.weight[worker] + max(self.usual, size.memory_bytes)) / self.capacity[worker])


class Ranking:
    """The order of workers for replicas of one collection and one size, while they are placed.

    Every worker has a quota: its share of the collection's replicas. Those with less than their quota rounded down come
    first, in turns; then those with less than it rounded up, the emptiest first; then those with the fewest. Equal ones
    are told apart by the shards that they share with the workers of the shard's other replicas, then by bytes. The
    first replica goes to the worker that shares most with another one, while there are most partners to choose from.
    """

    def __init__(self, loads: PlacementLoads, collection: CollectionId, wanted: int, held: Ints, size: ShardSizes) -> None:
        """wanted: replicas of the whole collection, 0 if unknown. held: its replicas on each worker; is changed."""
        self.collection, self.size = collection, size
        self._loads, self._held, self._wanted = loads, held, wanted
        self._order, self._fullness = np.zeros(len(held)), np.zeros(len(held))
        for worker in range(len(held)):
            self._look_at(worker)

    def placed(self, worker: int) -> None:
        """Take up that a worker holds one more replica of the collection. The loads count it already."""
        self._held[worker] += 1
        self._look_at(worker)

    def first(self, taken: list[int], beside: list[int], crowded: Group[str]) -> int | None:
        """Return the worker for the next replica; None if none has room. taken: never these. beside: workers of the
        shard's other replicas. crowded: zones that are avoided if possible.
        """
        rows = self._first_rows([taken, *(self._loads.in_zone[zone] for zone in crowded if zone in self._loads.in_zone)])
        if not len(rows) and crowded:
            rows = self._first_rows([taken])
        if not len(rows):
            return None
        if len(rows) > 1:
            shared = sum(self._loads.shared[other][rows] for other in beside) if beside else -self._loads.most_shared[rows]
            rows = rows[shared == shared.min()]
        return int(rows[self._fullness[rows].argmin()])

    def _first_rows(self, never: Iterable[Sequence[int] | Ints]) -> Ints:
        """Return the workers that come first, equal ones together, without these; none if none of the others has
        room.
        """
        order = self._order.copy()
        for workers in never:
            order[workers] = np.inf
        least = order.min(initial=np.inf)
        return (order == least).nonzero()[0] if least < np.inf else np.empty(0, dtype=np.int64)

    def _look_at(self, worker: int) -> None:
        """Give a worker its place in the order."""
        held, quota = int(self._held[worker]), self._wanted * float(self._loads.share[worker])
        full = self._fullness[worker] = self._loads.fullness(worker, self.size)
        if not self._loads.fits(worker, self.size):
            self._order[worker] = np.inf
        elif held < math.floor(quota + _NEAR):
            turns = self._wanted / len(self._held) / quota
            self._order[worker] = round((held + 1) * turns)
        elif held < math.ceil(quota - _NEAR):
            self._order[worker] = _SECOND + full / (1 + full)
        else:
            self._order[worker] = 2 * _SECOND + held


_NEAR = 1e-9
_SECOND = 1e9
"""More than a worker has turns."""
