"""What one replica of a shard takes, from the reports of the workers that hold it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shoal.core.ids import WorkerId
from shoal.core.shard_calls import WorkerStatus
from shoal.core.shard_config import ShardConfig
from shoal.core.sizing import REPLICA_BASE_BYTES


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardSizes:
    """Bytes of one replica of a shard in memory and on disk: of its largest.

    told: whether a worker reports one; untold: its workers that do not.
    """

    memory_bytes: int = REPLICA_BASE_BYTES
    disk_bytes: int = 0
    told: bool = False
    untold: tuple[WorkerId, ...] = ()


def shard_sizes(config: ShardConfig, reports: Mapping[WorkerId, WorkerStatus]) -> ShardSizes:
    """Return the size of a shard's replicas.

    A replica that has just begun takes as much as the others soon, so the largest counts. One of which nothing is known
    counts as empty.
    """
    if not reports:
        return ShardSizes(untold=tuple(sorted(config.worker_of.values())))
    key = str(config.shard)
    memory, disk, untold = REPLICA_BASE_BYTES, 0, list[WorkerId]()
    for worker in config.worker_of.values():
        report = reports.get(worker)
        replica = None if report is None else report.replicas.get(key)
        if replica is None or replica.memory_bytes <= 0:
            untold.append(worker)
        else:
            memory, disk = max(memory, replica.memory_bytes), max(disk, replica.disk_bytes)
    told = len(untold) < len(config.worker_of)
    return ShardSizes(memory_bytes=memory, disk_bytes=disk, told=told, untold=tuple(sorted(untold)))
