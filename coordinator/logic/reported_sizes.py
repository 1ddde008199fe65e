"""Sizes of replicas, and how far snapshots are, as workers report them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shoal.core.ids import ShardId, WorkerId
from shoal.core.shard_calls import ReplicaStatus, WorkerStatus

Statuses = Mapping[WorkerId, WorkerStatus]
"""The newest status of each worker that has answered lately."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplicaSize:
    """Bytes that a replica takes in memory and on disk; 0 if its worker does not report them."""

    memory_bytes: int = 0
    disk_bytes: int = 0


_UNTOLD = ReplicaSize()


def replica_reported(statuses: Statuses, worker: WorkerId, shard: ShardId) -> ReplicaStatus | None:
    """Return what a worker reports about its replica of a shard; None if it reports none."""
    report = statuses.get(worker)
    return None if report is None else report.replicas.get(str(shard))


def size_of(statuses: Statuses, worker: WorkerId, shard: ShardId) -> ReplicaSize:
    """Return the size of the replica of a shard on a worker."""
    found = replica_reported(statuses, worker, shard)
    return _UNTOLD if found is None else ReplicaSize(memory_bytes=found.memory_bytes, disk_bytes=found.disk_bytes)
