from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.health import MemberRole, ReplicaRole, ReplicationCondition, ShardCondition, WorkerCondition
from shoal.core.replies import ClusterInfo, ReplicaInfo, ShardInfo, WorkerInfo
from shoal.core.requests import DescribeCluster
from shoal.v1 import cluster_pb2
from shoal.wire.cluster import cluster_from_message, cluster_to_message, describe_cluster_to_message
from tests.unit.shoal.wire.strategies import over_the_wire

texts = st.text(max_size=4)
homes = st.lists(texts, max_size=2).map(tuple)
uint32, uint64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
workers = st.builds(
    WorkerInfo,
    **dict.fromkeys(("id", "address", "node", "zone", "disk"), texts),
    **dict.fromkeys(("memory", "memory_budget", "memory_used", "file_limit", "files_open"), uint64),
    pid=uint32,
    state=st.sampled_from(list(WorkerCondition)),
)
replicas = st.builds(
    ReplicaInfo,
    id=texts,
    worker=texts,
    role=st.sampled_from(list(MemberRole)),
    state=st.sampled_from(list(ReplicaRole)),
    applied_seq=uint64,
)
shards = st.builds(
    ShardInfo,
    **dict.fromkeys(("collection", "primary", "detail"), texts),
    **dict.fromkeys(("isr", "learners", "elr", "leaving"), homes),
    **dict.fromkeys(("shard", "rf", "min_isr"), uint32),
    **dict.fromkeys(("term", "memory"), uint64),
    state=st.sampled_from(list(ShardCondition)),
    replication=st.sampled_from(list(ReplicationCondition)),
    replicas=st.lists(replicas, max_size=2).map(tuple),
)
clusters = st.builds(
    ClusterInfo,
    cluster_id=texts,
    leader=st.none() | st.text(min_size=1, max_size=4),
    workers=st.lists(workers, max_size=2).map(tuple),
    shards=st.lists(shards, max_size=2).map(tuple),
    insecure=st.booleans(),
    certificate_not_after=st.none() | st.integers(1, 2**63),
)


@settings(deadline=None)
@given(clusters)
def test_the_state_of_the_cluster_comes_back(cluster: ClusterInfo) -> None:
    assert cluster_from_message(over_the_wire(cluster_to_message(cluster))) == cluster


def test_a_state_of_a_newer_router_is_unknown() -> None:
    message = cluster_pb2.DescribeClusterResponse(workers=[cluster_pb2.WorkerInfo(id="w", state="resting")])
    assert cluster_from_message(message).workers[0].state is WorkerCondition.UNKNOWN


def test_the_question_says_nothing() -> None:
    assert describe_cluster_to_message(DescribeCluster()).ByteSize() == 0
