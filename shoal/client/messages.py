"""The only room of the SDK that knows messages: each request becomes one, and each answer a plain value.

Requests travel as bytes made here rather than by gRPC, so that what cannot be sent is refused with a typed error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError, Message

from shoal.client import calls
from shoal.client.results import ClusterInfo, CollectionInfo, CollectionSummary, ReplicaInfo, ShardInfo, ShardRecovery, WorkerInfo
from shoal.core.collection import CollectionSpec, Metric
from shoal.core.errors import ErrorDetails, Internal, InvalidArgument, ResourceExhausted
from shoal.core.health import MemberRole, ReplicaRole, ReplicationCondition, ShardCondition, WorkerCondition
from shoal.core.shard_calls import DEFAULT_RECALL, Breadth, Exact, QueryGroup, RecallTarget
from shoal.v1 import cluster_pb2, collections_pb2, common_pb2, points_pb2, search_pb2
from shoal.wire.columns import (
    hits_from_message,
    id_to_message,
    ids_to_message,
    points_to_message,
    stored_from_message,
    vectors_to_message,
)
from shoal.wire.filters import filter_to_message, optional_filter_to_message
from shoal.wire.recall import curve_from_message, recall_from_message
from shoal.wire.recovery import audit_from_message, recovery_from_message, request_to_message
from shoal.wire.searches import explain_from_message, groups_to_message
from shoal.wire.shard_calls import consistency_to_message, request_id_to_message


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """One RPC. path: its gRPC path; encode: request to message; answer: class of the answer's message; decode: it to a
    value.
    """

    path: str
    encode: Callable[[Any], Message]
    answer: Any
    decode: Callable[[Any], Any]


def encoded(method: Method, request: calls.Request, message_bytes: int) -> bytes:
    """Bytes of a request. Raises ResourceExhausted when they are more than message_bytes."""
    data = method.encode(request).SerializeToString()
    if len(data) > message_bytes:
        raise ResourceExhausted(
            f"the request has {len(data)} bytes, a message may have {message_bytes}: send less at once",
            ErrorDetails(limit="message_bytes"),
        )
    return data


def decoded(method: Method, answer: bytes, address: str) -> Any:
    """Value of an answer of the router at `address`. Raises Internal when it cannot be read."""
    try:
        return method.decode(method.answer.FromString(answer))
    except (DecodeError, InvalidArgument) as error:
        raise Internal(f"the answer of {address} to {method.path} cannot be read: {error}") from None


def _create(request: calls.CreateCollection) -> Message:
    spec = collections_pb2.CollectionSpec(
        name=request.name,
        dim=request.dim,
        metric=request.metric,
        shards=request.shards,
        replicas=request.replicas,
        index=request.index,
        recall=request.recall,
        min_isr=request.min_isr,
    )
    return collections_pb2.CreateCollectionRequest(spec=spec, request_id=request.request_id)


def _alter(request: calls.AlterCollection) -> Message:
    return collections_pb2.AlterCollectionRequest(
        name=request.name, index=request.index, recall=request.recall, replicas=request.replicas, min_isr=request.min_isr
    )


def _upsert(request: calls.Upsert) -> Message:
    return points_pb2.UpsertRequest(
        collection=request.collection,
        points=points_to_message(request.points),
        request_id=request_id_to_message(request.request_id),
    )


def _delete(request: calls.Delete) -> Message:
    return points_pb2.DeleteRequest(
        collection=request.collection, ids=ids_to_message(request.ids), request_id=request_id_to_message(request.request_id)
    )


def _delete_matching(request: calls.DeleteMatching) -> Message:
    return points_pb2.DeleteRequest(
        collection=request.collection, filter=filter_to_message(request.filter), request_id=request_id_to_message(request.request_id)
    )


def _get(request: calls.Get) -> Message:
    return points_pb2.GetRequest(
        collection=request.collection,
        in_parts=True,
        ids=ids_to_message(request.ids),
        with_payload=request.with_payload,
        with_vectors=request.with_vectors,
        consistency=consistency_to_message(request.read.consistency),
        min_seqs=_min_seqs(request.read),
    )


def _count(request: calls.Count) -> Message:
    return points_pb2.CountRequest(
        collection=request.collection,
        filter=optional_filter_to_message(request.filter),
        consistency=consistency_to_message(request.read.consistency),
        min_seqs=_min_seqs(request.read),
    )


def _scroll(request: calls.Scroll) -> Message:
    return points_pb2.ScrollRequest(
        collection=request.collection,
        after=id_to_message(request.after),
        limit=request.limit,
        filter=optional_filter_to_message(request.filter),
        with_payload=request.with_payload,
        with_vectors=request.with_vectors,
        consistency=consistency_to_message(request.read.consistency),
        collection_id=request.collection_id,
        min_seqs=_min_seqs(request.read),
    )


def _search(request: calls.Search) -> Message:
    message = search_pb2.SearchRequest(
        collection=request.collection,
        legs=[search_pb2.SearchLeg(vectors=vectors_to_message(request.queries))],
        exact=isinstance(request.accuracy, Exact),
        radius=request.radius,
        explain=request.explain,
        with_payload=request.with_payload,
        with_vectors=request.with_vectors,
        allow_partial=request.allow_partial,
        consistency=consistency_to_message(request.read.consistency),
        min_seqs=_min_seqs(request.read),
    )
    _say_which(message, request.groups)
    match request.accuracy:
        case RecallTarget(recall):
            message.recall = recall
        case Breadth(ef=int(ef)):
            message.params["ef"] = ef
        case Breadth(nprobe=int(nprobe)):
            message.params["nprobe"] = nprobe
    return message


def _say_which(message: search_pb2.SearchRequest, groups: tuple[QueryGroup, ...]) -> None:
    """One group of all queries stands in the request itself, as any other client writes it."""
    match groups:
        case (QueryGroup(queries=None, k=k, filter=filter),):
            message.k = k
            if filter is not None:
                message.filter.CopyFrom(filter_to_message(filter))
        case _:
            message.groups.extend(groups_to_message(groups))


def _min_seqs(read: calls.ReadAs) -> list[common_pb2.ShardSeq]:
    return [common_pb2.ShardSeq(collection_id=token.collection_id, shard=token.shard, seq=token.seq) for token in read.tokens]


def _tokens(messages: Iterable[common_pb2.ShardSeq]) -> tuple[calls.ShardToken, ...]:
    return tuple(calls.ShardToken(each.collection_id, each.shard, each.seq) for each in messages)


def _written(message: Any) -> calls.Written:
    return calls.Written(tokens=_tokens(message.written), affected=getattr(message, "deleted", 0))


def _found(message: search_pb2.SearchResponse) -> calls.Found:
    return calls.Found(
        hits=hits_from_message(message.hits),
        missing_shards=tuple(message.missing_shards),
        explain=tuple(map(explain_from_message, message.explain)),
    )


def _spec(message: collections_pb2.CollectionSpec) -> CollectionSpec:
    try:
        metric = Metric(message.metric or "l2")
    except ValueError as error:
        raise Internal(f"collection {message.name!r}: {error}; is this client older than the server?") from None
    return CollectionSpec(
        name=message.name,
        dim=message.dim,
        metric=metric,
        shards=message.shards or 1,
        replicas=message.replicas or 1,
        index=message.index or "auto",
        recall=message.recall or DEFAULT_RECALL,
        min_isr_set=message.min_isr,
    )


def _summary(message: collections_pb2.CollectionSummary) -> CollectionSummary:
    return CollectionSummary(id=message.id, spec=_spec(message.spec), state=message.state)


def _info(message: collections_pb2.DescribeCollectionResponse) -> CollectionInfo:
    return CollectionInfo(
        id=message.collection.id,
        spec=_spec(message.collection.spec),
        state=message.collection.state,
        points=message.points,
        growing_rows=message.growing_rows,
        sealed_rows=message.sealed_rows,
        segments=message.segments,
        builds_pending=message.builds_pending,
        bytes=message.bytes,
        memory_bytes=message.memory_bytes,
        waiting=message.waiting,
    )


def _replica(message: cluster_pb2.ReplicaInfo) -> ReplicaInfo:
    return ReplicaInfo(
        id=message.id,
        worker=message.worker,
        role=MemberRole(message.role),
        state=ReplicaRole(message.state),
        applied_seq=message.applied_seq,
    )


def _cluster(message: cluster_pb2.DescribeClusterResponse) -> ClusterInfo:
    return ClusterInfo(
        cluster_id=message.cluster_id,
        leader=message.leader or None,
        workers=tuple(
            WorkerInfo(
                id=each.id,
                address=each.address,
                pid=each.pid,
                node=each.node,
                zone=each.zone,
                state=WorkerCondition(each.state),
                memory=each.memory_bytes,
                disk=each.disk,
                memory_budget=each.memory_budget_bytes,
                memory_used=each.memory_used_bytes,
                file_limit=each.file_limit,
                files_open=each.files_open,
            )
            for each in message.workers
        ),
        shards=tuple(
            ShardInfo(
                collection=each.collection,
                shard=each.shard,
                term=each.term,
                primary=each.primary,
                isr=tuple(each.isr),
                learners=tuple(each.learners),
                state=ShardCondition(each.state),
                detail=each.detail,
                memory=each.memory_bytes,
                replication=ReplicationCondition(each.replication),
                elr=tuple(each.elr),
                leaving=tuple(each.leaving),
                rf=each.rf,
                min_isr=each.min_isr,
                replicas=tuple(map(_replica, each.replicas)),
            )
            for each in message.shards
        ),
    )


METHODS: dict[type[calls.Request], Method] = {
    calls.CreateCollection: Method(
        path="/shoal.v1.Collections/Create",
        encode=_create,
        answer=collections_pb2.CreateCollectionResponse,
        decode=lambda answer: answer.collection_id,
    ),
    calls.DropCollection: Method(
        path="/shoal.v1.Collections/Drop",
        encode=lambda request: collections_pb2.DropCollectionRequest(name=request.name, collection_id=request.collection_id),
        answer=collections_pb2.DropCollectionResponse,
        decode=lambda _: None,
    ),
    calls.ListCollections: Method(
        path="/shoal.v1.Collections/List",
        encode=lambda _: collections_pb2.ListCollectionsRequest(),
        answer=collections_pb2.ListCollectionsResponse,
        decode=lambda answer: tuple(map(_summary, answer.collections)),
    ),
    calls.DescribeCollection: Method(
        path="/shoal.v1.Collections/Describe",
        encode=lambda request: collections_pb2.DescribeCollectionRequest(name=request.name),
        answer=collections_pb2.DescribeCollectionResponse,
        decode=_info,
    ),
    calls.OptimizeCollection: Method(
        path="/shoal.v1.Collections/Optimize",
        encode=lambda request: collections_pb2.OptimizeCollectionRequest(name=request.name),
        answer=collections_pb2.OptimizeCollectionResponse,
        decode=lambda _: None,
    ),
    calls.AlterCollection: Method(
        path="/shoal.v1.Collections/Alter",
        encode=_alter,
        answer=collections_pb2.AlterCollectionResponse,
        decode=lambda _: None,
    ),
    calls.TuneCollection: Method(
        path="/shoal.v1.Collections/Tune",
        encode=lambda request: collections_pb2.TuneCollectionRequest(name=request.name, k=request.k),
        answer=collections_pb2.TuneCollectionResponse,
        decode=lambda answer: tuple(map(curve_from_message, answer.curves)),
    ),
    calls.MeasureRecall: Method(
        path="/shoal.v1.Collections/MeasureRecall",
        encode=lambda request: collections_pb2.MeasureRecallRequest(
            name=request.name, k=request.k, sample=request.sample, recall=request.recall
        ),
        answer=collections_pb2.MeasureRecallResponse,
        decode=lambda answer: tuple(map(recall_from_message, answer.shards)),
    ),
    calls.RecoverShard: Method(
        path="/shoal.v1.Collections/RecoverShard",
        encode=lambda request: request_to_message(request.asked),
        answer=collections_pb2.RecoverShardResponse,
        decode=lambda answer: ShardRecovery(done=answer.done, recovery=recovery_from_message(answer.recovery)),
    ),
    calls.ListAudit: Method(
        path="/shoal.v1.Collections/ListAudit",
        encode=lambda request: collections_pb2.ListAuditRequest(limit=request.limit, before=request.before),
        answer=collections_pb2.ListAuditResponse,
        decode=lambda answer: calls.AuditPage(entries=tuple(map(audit_from_message, answer.entries)), following=answer.next),
    ),
    calls.Upsert: Method(path="/shoal.v1.Points/Upsert", encode=_upsert, answer=points_pb2.UpsertResponse, decode=_written),
    calls.Delete: Method(path="/shoal.v1.Points/Delete", encode=_delete, answer=points_pb2.DeleteResponse, decode=_written),
    calls.DeleteMatching: Method(
        path="/shoal.v1.Points/Delete", encode=_delete_matching, answer=points_pb2.DeleteResponse, decode=_written
    ),
    calls.Get: Method(
        path="/shoal.v1.Points/Get",
        encode=_get,
        answer=points_pb2.GetResponse,
        decode=lambda answer: calls.Got(points=stored_from_message(answer.points), answered=answer.answered),
    ),
    calls.Count: Method(path="/shoal.v1.Points/Count", encode=_count, answer=points_pb2.CountResponse, decode=lambda answer: answer.count),
    calls.Scroll: Method(
        path="/shoal.v1.Points/Scroll",
        encode=_scroll,
        answer=points_pb2.ScrollResponse,
        decode=lambda answer: calls.Page(points=stored_from_message(answer.points), more=answer.more, collection_id=answer.collection_id),
    ),
    calls.Search: Method(
        path="/shoal.v1.Search/Search",
        encode=_search,
        answer=search_pb2.SearchResponse,
        decode=_found,
    ),
    calls.DescribeCluster: Method(
        path="/shoal.v1.Cluster/Describe",
        encode=lambda _: cluster_pb2.DescribeClusterRequest(),
        answer=cluster_pb2.DescribeClusterResponse,
        decode=_cluster,
    ),
}
