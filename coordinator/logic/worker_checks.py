"""Decides about requests to drain or to forget a worker: which worker is meant, and whether the rest can do without it.

A refusal says what is in the way. Nothing is changed here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shoal.coordinator.logic.balance_sizes import ShardSizes, shard_sizes
from shoal.coordinator.logic.balance_words import sized
from shoal.coordinator.logic.reported_sizes import Statuses, capacity_of
from shoal.core.cluster_map import ClusterMap, WorkerEntry
from shoal.core.collection import CollectionState
from shoal.core.errors import ErrorDetails, InvalidArgument, NotFound, PreconditionFailed
from shoal.core.ids import ShardId, WorkerId
from shoal.core.shard_config import ShardConfig
from shoal.core.shown import shown

MOST_FILL = 0.85
"""Part of a worker's memory budget and of its disk up to which the replicas of a drained worker may fill it."""

_NAMED = 10
"""Most things that a message names."""

_WORKER = ErrorDetails(field="worker")


def known_workers(cluster: ClusterMap) -> frozenset[WorkerId]:
    """Return the workers that an operator may name: live, named by a configuration, or drained; and not forgotten."""
    return frozenset((*cluster.workers, *cluster.shards.workers, *cluster.drains)) - cluster.forgotten.keys()


def named_worker(named: str, known: Iterable[WorkerId]) -> WorkerId:
    """Return the worker that has this id, or whose id alone begins with it.

    Raises NotFound, or InvalidArgument if the name is empty or the beginning of several ids.
    """
    if not named:
        raise InvalidArgument("worker is empty: give its id, or the beginning of it", _WORKER)
    ordered = sorted(known)
    found = [each for each in ordered if each == named] or [each for each in ordered if each.startswith(named)]
    if not found:
        raise NotFound(f"worker {shown(named)} does not exist (there are: {_few(ordered) or 'none'})", _WORKER)
    if len(found) > 1:
        raise InvalidArgument(f"worker {shown(named)} is the beginning of several ids: {_few(found)}; give more of it", _WORKER)
    return found[0]


def check_drain(cluster: ClusterMap, statuses: Statuses, worker: WorkerId, *, primaries_only: bool) -> None:
    """Raise PreconditionFailed, with the reason, if the other workers cannot take what a worker holds or leads.

    cluster: with the drains that there are. statuses: for sizes; a replica that is not reported counts as empty.
    """
    if worker not in cluster.workers:
        raise _refused(f"worker {worker} is down and cannot be drained: if it will not return, forget it instead")
    if primaries_only:
        if not cluster.workers.keys() - cluster.drains.keys() - {worker}:
            raise _refused(f"worker {worker} cannot be drained: no other worker would be left to lead its shards")
        return
    emptied = {each for each, drain in cluster.drains.items() if not drain.primaries_only} | {worker}
    # A worker whose primaries are drained keeps its replicas, and gets no others.
    rest = {each: entry for each, entry in cluster.workers.items() if each != worker and each not in cluster.drains}
    if not rest:
        raise _refused(f"worker {worker} cannot be drained: it is the last worker that may hold replicas")
    _check_counts(cluster, worker, len(rest))
    _check_room(cluster, statuses, worker, emptied, rest)


def check_forget(cluster: ClusterMap, worker: WorkerId) -> None:
    """Raise PreconditionFailed, with the reason, if a worker lives or alone holds a replica that may lead.

    A replica on a worker that is forgotten already does not count.
    """
    if worker in cluster.workers:
        raise _refused(f"worker {worker} is up: only a worker that is down can be forgotten; drain it instead")
    lost = cluster.forgotten.keys() | {worker}
    homes = {shard: _eligible_homes(config) for shard, config in _placed(cluster, worker).items()}
    alone = [_name(cluster, shard) for shard, eligible in homes.items() if worker in eligible and eligible <= lost]
    if alone:
        raise PreconditionFailed(
            f"worker {worker} has the only replica of {_few(alone)} that may lead; bring it back, or see `shoal shard recover {alone[0]}`",
            ErrorDetails(field="worker", shard=alone[0]),
        )


def _check_counts(cluster: ClusterMap, worker: WorkerId, left: int) -> None:
    live = (each for each in cluster.collections.values() if each.state is not CollectionState.DROPPING)
    most = max(live, key=lambda each: (each.spec.replicas, each.spec.name), default=None)
    if most is None or most.spec.replicas <= left:
        return
    are = "worker would be left" if left == 1 else "workers would be left"
    others = sorted(each for each in cluster.workers if each in cluster.drains and each != worker)
    beside = f" beside those that are drained ({_few(others)})" if others else ""
    raise _refused(
        f"worker {worker} cannot be drained: {most.spec.name} has {most.spec.replicas} replicas and {left} {are}{beside}; "
        "lower --replicas or add a worker"
    )


@dataclass(kw_only=True, slots=True)
class _Room:
    """What a worker has room for, in bytes; None: unknown, so that it counts as enough."""

    memory_bytes: float | None
    disk_bytes: float | None

    def has_memory(self, size: ShardSizes) -> bool:
        return self.memory_bytes is None or size.memory_bytes <= self.memory_bytes

    def has_disk(self, size: ShardSizes) -> bool:
        return self.disk_bytes is None or size.disk_bytes <= self.disk_bytes

    def take(self, size: ShardSizes) -> None:
        if self.memory_bytes is not None:
            self.memory_bytes -= size.memory_bytes
        if self.disk_bytes is not None:
            self.disk_bytes -= size.disk_bytes

    @property
    def rank(self) -> float:
        return float("inf") if self.memory_bytes is None else self.memory_bytes


def _check_room(
    cluster: ClusterMap, statuses: Statuses, worker: WorkerId, emptied: Iterable[WorkerId], rest: Mapping[WorkerId, WorkerEntry]
) -> None:
    """Place everything that has to go on the rest, the largest first, and refuse if something finds no room."""
    rooms = {each: _room_of(cluster, statuses, each, entry) for each, entry in sorted(rest.items())}
    to_go = [(shard_sizes(config, statuses), shard) for each in sorted(emptied) for shard, config in _placed(cluster, each).items()]
    unplaced: list[tuple[ShardSizes, bool]] = []
    for size, shard in sorted(to_go, key=lambda each: (-each[0].memory_bytes, -each[0].disk_bytes, each[1])):
        homes = cluster.shards[shard].config.worker_of.values()
        free = {each: room for each, room in rooms.items() if each not in homes}
        fitting = [each for each, room in free.items() if room.has_memory(size) and room.has_disk(size)]
        if fitting:
            rooms[max(fitting, key=lambda each: rooms[each].rank)].take(size)
        elif free:
            unplaced.append((size, not any(room.has_memory(size) for room in free.values())))
    if unplaced:
        lacks_memory = any(lacks for _, lacks in unplaced)
        total = sum(size.memory_bytes if lacks_memory else size.disk_bytes for size, _ in unplaced)
        what, more = ("memory", "memory") if lacks_memory else ("disks", "disk")
        raise _refused(
            f"worker {worker} cannot be drained: {len(unplaced)} of the replicas that have to go, {sized(total)}, find no room "
            f"at the other {len(rest)} within {MOST_FILL * 100:.0f} % of their {what}; add a worker or {more}, or drop collections"
        )


def _room_of(cluster: ClusterMap, statuses: Statuses, worker: WorkerId, entry: WorkerEntry) -> _Room:
    held = [shard_sizes(config, statuses) for config in _placed(cluster, worker).values()]
    budget, disk = capacity_of(entry, statuses.get(worker)), entry.disk_bytes
    return _Room(
        memory_bytes=MOST_FILL * budget - sum(size.memory_bytes for size in held) if budget else None,
        disk_bytes=MOST_FILL * disk - sum(size.disk_bytes for size in held) if disk else None,
    )


def _placed(cluster: ClusterMap, worker: WorkerId) -> dict[ShardId, ShardConfig]:
    """Return the shards with a replica on a worker, without those that are being dropped, in order."""
    dropping = cluster.collections.in_state(CollectionState.DROPPING)
    entries = cluster.shards.of_worker(worker)
    return {shard: entries[shard].config for shard in sorted(entries) if shard.collection not in dropping}


def _eligible_homes(config: ShardConfig) -> frozenset[WorkerId]:
    return frozenset(config.worker_of[member] for member in (*config.isr, *config.elr) if member in config.worker_of)


def _name(cluster: ClusterMap, shard: ShardId) -> str:
    collection = cluster.collections.get(shard.collection)
    return str(shard) if collection is None else f"{collection.spec.name}/{shard.number}"


def _few(names: list[str] | list[WorkerId]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"


def _refused(message: str) -> PreconditionFailed:
    return PreconditionFailed(message, _WORKER)
