"""Converts the state of the cluster between values and messages."""

from __future__ import annotations

from shoal.core.health import MemberRole, ReplicaRole, ReplicationCondition, ShardCondition, WorkerCondition
from shoal.core.replies import ClusterInfo, ReplicaInfo, ShardInfo, WorkerInfo
from shoal.core.requests import DescribeCluster
from shoal.v1 import cluster_pb2
from shoal.wire.method import Method, Methods, serialized


def describe_cluster_to_message(_: DescribeCluster) -> cluster_pb2.DescribeClusterRequest:
    """Return the request for the state of the cluster as a message."""
    return cluster_pb2.DescribeClusterRequest()


def cluster_to_message(cluster: ClusterInfo) -> cluster_pb2.DescribeClusterResponse:
    """Return the state of the cluster as a message."""
    return cluster_pb2.DescribeClusterResponse(
        cluster_id=cluster.cluster_id,
        leader=cluster.leader or "",
        workers=map(_worker_to_message, cluster.workers),
        shards=map(_shard_to_message, cluster.shards),
        insecure=cluster.insecure,
        certificate_not_after=cluster.certificate_not_after or 0,
    )


def cluster_from_message(message: cluster_pb2.DescribeClusterResponse) -> ClusterInfo:
    """Return the state of the cluster. A condition or role that this version does not know becomes UNKNOWN."""
    return ClusterInfo(
        cluster_id=message.cluster_id,
        leader=message.leader or None,
        workers=tuple(map(_worker_from_message, message.workers)),
        shards=tuple(map(_shard_from_message, message.shards)),
        insecure=message.insecure,
        certificate_not_after=message.certificate_not_after or None,
    )


def _worker_to_message(worker: WorkerInfo) -> cluster_pb2.WorkerInfo:
    return cluster_pb2.WorkerInfo(
        id=worker.id,
        address=worker.address,
        pid=worker.pid,
        node=worker.node,
        zone=worker.zone,
        state=worker.state,
        memory_bytes=worker.memory,
        disk=worker.disk,
        memory_budget_bytes=worker.memory_budget,
        memory_used_bytes=worker.memory_used,
        file_limit=worker.file_limit,
        files_open=worker.files_open,
    )


def _worker_from_message(message: cluster_pb2.WorkerInfo) -> WorkerInfo:
    return WorkerInfo(
        id=message.id,
        address=message.address,
        pid=message.pid,
        node=message.node,
        zone=message.zone,
        state=WorkerCondition(message.state),
        memory=message.memory_bytes,
        disk=message.disk,
        memory_budget=message.memory_budget_bytes,
        memory_used=message.memory_used_bytes,
        file_limit=message.file_limit,
        files_open=message.files_open,
    )


def _shard_to_message(shard: ShardInfo) -> cluster_pb2.ShardInfo:
    return cluster_pb2.ShardInfo(
        collection=shard.collection,
        shard=shard.shard,
        term=shard.term,
        primary=shard.primary,
        isr=shard.isr,
        learners=shard.learners,
        state=shard.state,
        detail=shard.detail,
        memory_bytes=shard.memory,
        replication=shard.replication,
        elr=shard.elr,
        leaving=shard.leaving,
        rf=shard.rf,
        min_isr=shard.min_isr,
        replicas=map(_replica_to_message, shard.replicas),
    )


def _shard_from_message(message: cluster_pb2.ShardInfo) -> ShardInfo:
    return ShardInfo(
        collection=message.collection,
        shard=message.shard,
        term=message.term,
        primary=message.primary,
        isr=tuple(message.isr),
        learners=tuple(message.learners),
        state=ShardCondition(message.state),
        detail=message.detail,
        memory=message.memory_bytes,
        replication=ReplicationCondition(message.replication),
        elr=tuple(message.elr),
        leaving=tuple(message.leaving),
        rf=message.rf,
        min_isr=message.min_isr,
        replicas=tuple(map(_replica_from_message, message.replicas)),
    )


def _replica_to_message(replica: ReplicaInfo) -> cluster_pb2.ReplicaInfo:
    return cluster_pb2.ReplicaInfo(
        id=replica.id, worker=replica.worker, role=replica.role, state=replica.state, applied_seq=replica.applied_seq
    )


def _replica_from_message(message: cluster_pb2.ReplicaInfo) -> ReplicaInfo:
    return ReplicaInfo(
        id=message.id,
        worker=message.worker,
        role=MemberRole(message.role),
        state=ReplicaRole(message.state),
        applied_seq=message.applied_seq,
    )


METHODS: Methods = {
    DescribeCluster: Method(
        path="/shoal.v1.Cluster/Describe",
        encode=serialized(describe_cluster_to_message),
        answer=cluster_pb2.DescribeClusterResponse,
        decode=cluster_from_message,
    ),
}
