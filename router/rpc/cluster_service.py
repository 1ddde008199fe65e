"""The public Cluster service."""

from __future__ import annotations

from typing import Any

from shoal.router.logic.health import ShardHealth, WorkerHealth
from shoal.router.logic.replication_health import ReplicaHealth
from shoal.router.rpc.requests import timeout_of
from shoal.router.verbs.overview import Overview
from shoal.v1 import cluster_pb2, cluster_pb2_grpc


class ClusterService(cluster_pb2_grpc.ClusterServicer):
    """Converts the state of the cluster."""

    def __init__(self, *, overview: Overview, default_timeout_s: float) -> None:
        self._overview, self._default_timeout_s = overview, default_timeout_s

    async def Describe(self, request: cluster_pb2.DescribeClusterRequest, context: Any) -> cluster_pb2.DescribeClusterResponse:
        """Every worker and shard."""
        health = await self._overview.describe(timeout_of(context, self._default_timeout_s))
        return cluster_pb2.DescribeClusterResponse(
            cluster_id=health.cluster_id,
            leader=health.leader,
            workers=[_worker(each) for each in health.workers],
            shards=[_shard(each) for each in health.shards],
        )


def _worker(worker: WorkerHealth) -> cluster_pb2.WorkerInfo:
    return cluster_pb2.WorkerInfo(
        id=worker.id,
        address=worker.address,
        pid=worker.pid,
        node=worker.node,
        zone=worker.zone,
        state=worker.state,
        memory_bytes=worker.memory_bytes,
        disk=worker.disk,
        memory_budget_bytes=worker.memory_budget_bytes,
        memory_used_bytes=worker.memory_used_bytes,
        file_limit=worker.file_limit,
        files_open=worker.files_open,
    )


def _shard(shard: ShardHealth) -> cluster_pb2.ShardInfo:
    return cluster_pb2.ShardInfo(
        collection=shard.collection,
        shard=shard.number,
        term=shard.term,
        primary=shard.primary,
        isr=shard.isr,
        learners=shard.learners,
        state=shard.state,
        detail=shard.detail,
        memory_bytes=shard.memory_bytes,
        replication=shard.replication,
        elr=shard.elr,
        leaving=shard.leaving,
        rf=shard.rf,
        min_isr=shard.min_isr,
        replicas=map(_replica, shard.replicas),
    )


def _replica(replica: ReplicaHealth) -> cluster_pb2.ReplicaInfo:
    return cluster_pb2.ReplicaInfo(
        id=replica.id, worker=replica.worker, role=replica.role, state=replica.state, applied_seq=replica.applied_seq
    )
