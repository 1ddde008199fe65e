"""What workers report about their replicas and their memory."""

from __future__ import annotations

from collections.abc import Mapping

from shoal.core.cluster_map import WorkerEntry
from shoal.core.ids import ShardId, WorkerId
from shoal.core.shard_calls import ReplicaStatus, WorkerStatus

Statuses = Mapping[WorkerId, WorkerStatus]
"""The newest status of each worker that has answered lately."""


def replica_reported(statuses: Statuses, worker: WorkerId, shard: ShardId) -> ReplicaStatus | None:
    """Return what a worker reports about its replica of a shard; None if it reports none."""
    status = statuses.get(worker)
    return None if status is None else status.replicas.get(str(shard))


def capacity_of(entry: WorkerEntry | None, status: WorkerStatus | None) -> int:
    """Return the memory that a worker's replicas and builds may use, in bytes; 0 if it is not known."""
    registered = 0 if entry is None else entry.memory_budget_bytes
    return registered or (0 if status is None else status.memory_budget_bytes)
