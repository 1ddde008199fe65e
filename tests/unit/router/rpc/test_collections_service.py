"""Test what the public services of collections and of the cluster pass on, and what they answer."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from shoal.core.alteration import Alteration
from shoal.core.collection import CollectionSpec
from shoal.core.health import MemberRole, ReplicaRole, ReplicationCondition, ShardCondition, WorkerCondition
from shoal.core.ids import WorkerId
from shoal.core.replies import ClusterInfo, CollectionInfo, ReplicaInfo, ShardInfo, WorkerInfo
from shoal.core.requests import AlterCollection, MeasureRecall, TuneCollection
from shoal.core.tuning_calls import CurvePoint, SegmentCurve, ShardRecall
from shoal.router.rpc.cluster_service import ClusterService
from shoal.router.rpc.collections_service import CollectionsService
from shoal.router.verbs.administration import Administration
from shoal.router.verbs.overview import Overview
from shoal.v1 import cluster_pb2, collections_pb2

CURVE = SegmentCurve(
    shard=1,
    segment="s",
    index="HNSW16,Flat",
    rows=9,
    breadth_name="ef",
    queries=3,
    real_queries=True,
    points=(CurvePoint(breadth=16, fetch=10, recall=0.5, us=7.0),),
    exact_us=70.0,
)
RECALL = ShardRecall(shard=1, queries=20, real_queries=False, recall=0.97, lowest=0.5, search_us=1.5, exact_us=9.5)


class Clerk:
    """Records the calls that it gets."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    async def alter(self, request: AlterCollection, timeout_s: float) -> None:
        self.asked.append((request.name, request.alteration, timeout_s))

    async def tune(self, request: TuneCollection, timeout_s: float) -> tuple[SegmentCurve, ...]:
        self.asked.append((request, timeout_s))
        return (CURVE,)

    async def measure_recall(self, request: MeasureRecall, timeout_s: float) -> tuple[ShardRecall, ...]:
        self.asked.append((request, timeout_s))
        return (RECALL,)

    async def describe(self, name: str, timeout_s: float) -> CollectionInfo:
        return CollectionInfo(id="i", spec=CollectionSpec(name=name, dim=4), state="active", waiting="for memory")


class Context:
    def time_remaining(self) -> float | None:
        return None


def call(clerk: Clerk, method: str, request: Any) -> Any:
    administration = cast(Administration, clerk)
    service = CollectionsService(administration=administration, default_timeout_s=10.0, optimize_timeout_s=100.0)
    return asyncio.run(getattr(service, method)(request, Context()))


def test_an_alteration_hands_on_what_is_given_and_none_for_the_rest() -> None:
    clerk = Clerk()
    for fields in ({}, {"index": "flat"}, {"recall": 0.5}, {"index": "", "recall": 0.0}):
        call(clerk, "Alter", collections_pb2.AlterCollectionRequest(name="c", **fields))  # type: ignore[arg-type]
    assert clerk.asked == [
        ("c", Alteration(), 10.0),
        ("c", Alteration(index="flat"), 10.0),
        ("c", Alteration(recall=0.5), 10.0),
        ("c", Alteration(index="", recall=0.0), 10.0),
    ]


def test_curves_come_back_and_ten_is_the_usual_k() -> None:
    clerk = Clerk()
    for k in (0, 3):
        answer = call(clerk, "Tune", collections_pb2.TuneCollectionRequest(name="c", k=k))
    assert clerk.asked == [(TuneCollection(name="c"), 100.0), (TuneCollection(name="c", k=3), 100.0)]
    (curve,) = answer.curves
    assert (curve.shard, curve.segment, curve.breadth_name, curve.exact_us) == (1, "s", "ef", 70.0)
    assert [(point.breadth, point.fetch, point.recall, point.us) for point in curve.points] == [(16, 10, 0.5, 7.0)]


def test_measured_recall_comes_back_and_what_is_left_out_takes_its_default() -> None:
    clerk = Clerk()
    call(clerk, "MeasureRecall", collections_pb2.MeasureRecallRequest(name="c"))
    answer = call(clerk, "MeasureRecall", collections_pb2.MeasureRecallRequest(name="c", k=3, sample=7, recall=0.5))
    assert clerk.asked == [
        (MeasureRecall(name="c", k=10, sample=100), 100.0),
        (MeasureRecall(name="c", k=3, sample=7, recall=0.5), 100.0),
    ]
    assert [(each.shard, each.queries, each.recall, each.lowest) for each in answer.shards] == [(1, 20, 0.97, 0.5)]


def test_a_description_says_what_builds_wait_for() -> None:
    assert call(Clerk(), "Describe", collections_pb2.DescribeCollectionRequest(name="c")).waiting == "for memory"


SHARD = ShardInfo(
    collection="n",
    shard=0,
    term=1,
    primary="w",
    isr=("w",),
    learners=(),
    state=ShardCondition.OK,
    detail="",
    memory=7,
    replication=ReplicationCondition.READ_ONLY,
    elr=(WorkerId("w2"),),
    leaving=(WorkerId("w3"),),
    rf=3,
    min_isr=2,
    replicas=(ReplicaInfo(id="r", worker="w", role=MemberRole.ISR, state=ReplicaRole.BACKUP, applied_seq=9),),
)


class Looker:
    async def describe(self, timeout_s: float) -> ClusterInfo:
        told = {"memory": 3, "memory_budget": 20, "memory_used": 9}
        worker = WorkerInfo(id="w", address="", pid=0, node="", zone="", state=WorkerCondition.UP, **told)
        return ClusterInfo(cluster_id="c", leader=None, workers=(worker,), shards=(SHARD,))


def test_the_cluster_tells_memory_used_its_budget_and_the_memory_of_shards() -> None:
    service = ClusterService(overview=cast(Overview, Looker()), default_timeout_s=1.0)
    answer = asyncio.run(service.Describe(cluster_pb2.DescribeClusterRequest(), Context()))
    assert [(each.memory_bytes, each.memory_budget_bytes, each.memory_used_bytes) for each in answer.workers] == [(3, 20, 9)]
    (shard,) = answer.shards
    assert (shard.memory_bytes, shard.replication, list(shard.elr), list(shard.leaving)) == (7, "read only", ["w2"], ["w3"])
    assert (shard.rf, shard.min_isr) == (3, 2)
    (replica,) = shard.replicas
    assert (replica.id, replica.worker, replica.role, replica.state, replica.applied_seq) == ("r", "w", "isr", "backup", 9)
