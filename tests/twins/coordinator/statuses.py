"""What live workers tell about the replicas that the map places on them."""

from __future__ import annotations

from collections.abc import Container, Mapping

from shoal.core.cluster_map import ClusterMap
from shoal.core.health import ReplicaRole
from shoal.core.ids import ReplicaId, Seq, WorkerId
from shoal.core.shard_calls import ReplicaStatus, WorkerStatus


def statuses_of(
    cluster: ClusterMap, made: Container[ReplicaId] | None = None, building: Container[ReplicaId] = ()
) -> Mapping[WorkerId, WorkerStatus]:
    """Return the statuses. made: the replicas that have a folder, None for all; building: those that build indexes."""
    found: dict[WorkerId, dict[str, ReplicaStatus]] = {worker: {} for worker in cluster.workers}
    for shard, entry in cluster.shards.items():
        for replica, home in entry.config.worker_of.items():
            if home in found and (made is None or replica in made):
                role = ReplicaRole.LEARNER if replica in entry.config.learners else ReplicaRole.BACKUP
                status = ReplicaStatus(replica=replica, role=role, applied_seq=Seq(1), builds_pending=int(replica in building))
                found[home][str(shard)] = status
    return {worker: WorkerStatus(memory_bytes=0, failed={}, replicas=replicas) for worker, replicas in found.items()}
