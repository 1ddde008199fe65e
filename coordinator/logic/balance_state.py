"""The state of a plan that is being made, in numbers: workers and shards are rows, in the order of their ids.

Loads are whole numbers, so that a state is the same by whatever steps it was reached. Choices that look at a state only
are then the same, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shoal.coordinator.logic.balance_model import BalanceShard, BalanceWorker, PlannerSettings
from shoal.coordinator.logic.balance_targets import target_bytes

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Rows = Ints | int | np.int64
"""Numbers of shards or workers: one, or one for each candidate."""

UNBOUNDED = np.iinfo(np.int64).max // 4
NOBODY = -1


@dataclass(frozen=True, slots=True)
class Shift:
    """A replica of shard `shard` goes from worker `source` to worker `target`, all by number."""

    shard: int
    source: int
    target: int
    why: str


class BalanceState:
    """Workers, shards and where their replicas are. `shift` is its only change.

    Arrays of workers, (W,): capacity, target, slack (how far off its target a worker may be), load, disk_load, count
    (of replicas), zone, and flags. Arrays of shards, (S,): size, disk, collection, pinned. homes: (S, R) numbers of
    workers, NOBODY behind the last. in_zone: (S, Z) replicas of a shard in a zone. in_collection: (C, W) replicas of a
    collection on a worker. together: (W, W) shards that two workers share.
    """

    def __init__(self, workers: Sequence[BalanceWorker], shards: Sequence[BalanceShard], settings: PlannerSettings) -> None:
        self.settings = settings
        self.workers = sorted(workers, key=lambda worker: worker.id)
        self.shards = sorted(shards, key=lambda shard: shard.id)
        self.number_of = {worker.id: number for number, worker in enumerate(self.workers)}
        self._read_workers()
        self._read_shards()
        self._place()
        self.target = target_bytes(self)
        self.slack = settings.tolerance * self.target
        share = self.target / max(1.0, float(self.target.sum()))
        self.fair = np.ceil(self.in_collection.sum(axis=1)[:, None] * share[None, :] - 1e-9).astype(np.int64)
        self.shifts: list[Shift] = []

    def _read_workers(self) -> None:
        told = [worker.capacity_bytes for worker in self.workers if worker.capacity_bytes]
        usual = sum(told) / len(told) if told else 1.0
        self.capacity = np.array([worker.capacity_bytes or usual for worker in self.workers], dtype=np.float64)
        self.memory = np.array([worker.capacity_bytes or UNBOUNDED for worker in self.workers], dtype=np.int64)
        self.disk_size = np.array([worker.disk_bytes or UNBOUNDED for worker in self.workers], dtype=np.int64)
        self.most = np.array([worker.most_replicas or UNBOUNDED for worker in self.workers], dtype=np.int64)
        self.memory_fill = (self.settings.fill * self.memory).astype(np.int64)
        self.disk_fill = (self.settings.fill * self.disk_size).astype(np.int64)
        self.staying = np.array([not worker.draining for worker in self.workers], dtype=np.bool_)
        self.fixed = np.array([worker.fixed and not worker.draining for worker in self.workers], dtype=np.bool_)
        self.accepts = np.array([worker.accepts and not (worker.draining or worker.fixed) for worker in self.workers], dtype=np.bool_)
        self.may_lead = np.array([worker.may_lead and not worker.draining for worker in self.workers], dtype=np.bool_)
        zones = sorted({worker.zone for worker in self.workers})
        self.zone = np.array([zones.index(worker.zone) for worker in self.workers], dtype=np.int64)
        self.open_zones = np.array([bool((self.staying & (self.zone == zone)).any()) for zone in range(len(zones))], dtype=np.bool_)

    def _read_shards(self) -> None:
        self.size = np.array([shard.memory_bytes for shard in self.shards], dtype=np.int64)
        self.disk = np.array([shard.disk_bytes for shard in self.shards], dtype=np.int64)
        self.collections = sorted({shard.id.collection for shard in self.shards})
        number_of = {collection: number for number, collection in enumerate(self.collections)}
        self.collection = np.array([number_of[shard.id.collection] for shard in self.shards], dtype=np.int64)
        self.pinned = np.array([bool(shard.pinned) for shard in self.shards], dtype=np.bool_)

    def _place(self) -> None:
        """Fill everything that `shift` keeps up to date."""
        count, living = len(self.workers), self.number_of
        placed = [sorted({living[home] for home in shard.homes if home in living}) for shard in self.shards]
        self.homes = np.full((len(placed), max(map(len, placed), default=1) or 1), NOBODY, dtype=np.int64)
        for number, homes in enumerate(placed):
            self.homes[number, : len(homes)] = homes
        self.first_homes = self.homes.copy()
        self.load, self.disk_load = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
        self.in_zone = np.zeros((len(placed), len(self.open_zones)), dtype=np.int64)
        self.in_collection = np.zeros((len(self.collections), count), dtype=np.int64)
        self.together = np.zeros((count, count), dtype=np.int64)
        shard, place = np.nonzero(self.homes != NOBODY)
        home = self.homes[shard, place]
        np.add.at(self.load, home, self.size[shard])
        np.add.at(self.disk_load, home, self.disk[shard])
        np.add.at(self.in_zone, (shard, self.zone[home]), 1)
        np.add.at(self.in_collection, (self.collection[shard], home), 1)
        self._pair()
        self.first_load, self.first_disk_load = self.load.copy(), self.disk_load.copy()
        self.count = np.bincount(home, minlength=count).astype(np.int64)
        self._held: list[set[int]] = [set() for _ in range(count)]
        for number, homes in enumerate(placed):
            for worker in homes:
                self._held[worker].add(number)
        self._held_rows: dict[int, Ints] = {}

    def _pair(self) -> None:
        width = self.homes.shape[1]
        for one in range(width):
            for other in range(width):
                both = (self.homes[:, one] != NOBODY) & (self.homes[:, other] != NOBODY)
                if one != other:
                    np.add.at(self.together, (self.homes[both, one], self.homes[both, other]), 1)

    def held(self, worker: int) -> Ints:
        """Return the shards with a replica on a worker, in order."""
        rows = self._held_rows.get(worker)
        if rows is None:
            rows = self._held_rows[worker] = np.array(sorted(self._held[worker]), dtype=np.int64)
        return rows

    def homes_of(self, shard: int) -> list[int]:
        """Return the workers that hold a shard."""
        return [int(home) for home in self.homes[shard] if home != NOBODY]

    def off(self) -> Floats:
        """Return by how many bytes each worker holds more than its target."""
        return np.asarray(self.load - self.target, dtype=np.float64)

    def beyond(self, off: Floats, slack: Floats) -> Floats:
        """Return the part of a distance from the target that is beyond the tolerance."""
        return np.maximum(0.0, np.abs(off) - slack)

    def may_go(self, shards: Rows, sources: Rows, targets: Rows, *, crowd: bool = False) -> Flags:
        """Return for each candidate whether a replica may go, if there is room: no zone is lost, and unless `crowd`,
        the target does not get more of the collection than its share.
        """
        absent = ~(self.homes[shards] == np.asarray(targets)[..., None]).any(axis=-1)
        may = np.asarray(~self.pinned[shards] & self.accepts[targets] & absent & self._keeps_zones(shards, sources, targets))
        if not crowd:
            may &= self.is_spread(shards, sources, targets)
        return may

    def is_spread(self, shards: Rows, sources: Rows, targets: Rows) -> Flags:
        """Return for each candidate whether its collection crowds the target no more than the source, or not at all."""
        kind = self.collection[shards]
        most = np.maximum(self.in_collection[kind, sources], self.fair[kind, targets])
        return np.asarray(self.in_collection[kind, targets] + 1 <= most)

    def _keeps_zones(self, shards: Rows, sources: Rows, targets: Rows) -> Flags:
        """Return for each candidate whether as many zones hold the shard as before. A zone in which every worker is
        drained need not be replaced where all others hold the shard.
        """
        leaves, enters = self.zone[sources], self.zone[targets]
        keeps = (leaves == enters) | (self.in_zone[shards, leaves] > 1) | (self.in_zone[shards, enters] == 0)
        closed = ~self.open_zones[leaves]
        if closed.any():
            keeps |= closed & ((self.in_zone[shards] > 0) | ~self.open_zones).all(axis=-1)
        return np.asarray(keeps)

    def fits(self, shards: Rows, targets: Rows, *, full: bool = False) -> Flags:
        """Return for each candidate whether the target has room. full: up to its capacity, not only `fill` of it."""
        memory, disk = (self.memory, self.disk_size) if full else (self.memory_fill, self.disk_fill)
        in_memory = (self.load[targets] + self.size[shards] <= memory[targets]) & (self.count[targets] < self.most[targets])
        return np.asarray(in_memory & (self.disk_load[targets] + self.disk[shards] <= disk[targets]))

    def crowding(self, shards: Rows, sources: Rows, targets: Rows) -> Floats:
        """Return for each candidate which part of the target's shards the workers of the shard's other replicas share
        with it, the worst of them: what the loss of both would hit.
        """
        homes = self.homes[shards]
        others = (homes != NOBODY) & (homes != np.asarray(sources)[..., None])
        shared = self.together[np.asarray(targets)[..., None], homes] * others
        return np.asarray(shared.max(axis=-1) / np.maximum(1, self.count[targets]))

    def shift(self, shard: int, source: int, target: int, why: str) -> None:
        """Move a replica."""
        self.shifts.append(Shift(shard, source, target, why))
        place = int(np.flatnonzero(self.homes[shard] == source)[0])
        others = [home for home in self.homes_of(shard) if home != source]
        self.homes[shard, place] = target
        self.in_zone[shard, self.zone[source]] -= 1
        self.in_zone[shard, self.zone[target]] += 1
        for worker, change in ((source, -1), (target, 1)):
            self.load[worker] += change * self.size[shard]
            self.disk_load[worker] += change * self.disk[shard]
            self.count[worker] += change
            self.in_collection[self.collection[shard], worker] += change
            self.together[worker, others] += change
            self.together[others, worker] += change
            self._held_rows.pop(worker, None)
        self._held[source].discard(shard)
        self._held[target].add(shard)
