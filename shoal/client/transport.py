"""The only room of the SDK that knows messages, and its blocking transport: each request becomes a message, each answer a plain value.

Requests travel as bytes made here rather than by gRPC, so that what cannot be sent is refused with a typed error.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message

from shoal.client import calls
from shoal.client.forks import ForkLock
from shoal.client.results import ClusterInfo, CollectionInfo, CollectionSummary, ShardInfo, WorkerInfo
from shoal.core.collection import CollectionSpec, IndexKind, Metric
from shoal.core.errors import ErrorDetails, Internal, InvalidArgument, PreconditionFailed, ResourceExhausted
from shoal.core.limits import DEFAULT_LIMITS
from shoal.v1 import cluster_pb2, collections_pb2, common_pb2, points_pb2, search_pb2
from shoal.wire.channels import client_options
from shoal.wire.columns import (
    hits_from_message,
    id_to_message,
    ids_to_message,
    points_to_message,
    stored_from_message,
    vectors_to_message,
)
from shoal.wire.shard_calls import consistency_to_message, request_id_to_message
from shoal.wire.status import error_from_exception


class GrpcTransport:
    """Blocking calls over insecure channels, one per address, opened when first needed. Thread-safe, and whole after a fork."""

    def __init__(self, message_bytes: int = DEFAULT_LIMITS.message_bytes) -> None:
        self._message_bytes = message_bytes
        self._lock = ForkLock()
        self._process = os.getpid()
        self._channels: dict[str, grpc.Channel] = {}
        self._stubs: dict[tuple[str, str], Callable[..., bytes]] = {}
        self._closed = False

    def send(self, address: str, request: calls.Request, timeout_s: float) -> Any:
        """The answer that `request` documents. Raises a ShoalError; returns within about timeout_s seconds."""
        method = METHODS[type(request)]
        data = encoded(method, request, self._message_bytes)
        try:
            answer = self._stub(address, method.path)(data, timeout=timeout_s)
        except grpc.RpcError as error:
            raise error_from_exception(error) from None
        except ValueError as error:
            raise PreconditionFailed(f"this client is closed ({error})") from None
        return decoded(method, answer, address)

    def close(self) -> None:
        """End running calls and refuse new ones."""
        if self._process != os.getpid():
            self._after_fork()
        with self._lock:
            self._closed = True
            for channel in self._channels.values():
                channel.close()
            self._channels, self._stubs = {}, {}

    def _stub(self, address: str, path: str) -> Callable[..., bytes]:
        if self._process != os.getpid():
            self._after_fork()
        stub = self._stubs.get((address, path))
        if stub is not None:
            return stub
        with self._lock:
            if self._closed:
                raise PreconditionFailed("this client is closed")
            if address not in self._channels:
                self._channels[address] = grpc.insecure_channel(address, options=list(client_options(self._message_bytes)))
            made: Callable[..., bytes] = self._channels[address].unary_unary(path, None, None)
            self._stubs[address, path] = made
            return made

    def _after_fork(self) -> None:
        with self._lock:
            if self._process != os.getpid():
                self._process, self._channels, self._stubs = os.getpid(), {}, {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """One RPC. path: its gRPC path; encode: request to message; answer: class of the answer's message; decode: it to a value."""

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
    )
    return collections_pb2.CreateCollectionRequest(spec=spec, request_id=request.request_id)


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


def _get(request: calls.Get) -> Message:
    return points_pb2.GetRequest(
        collection=request.collection,
        ids=ids_to_message(request.ids),
        with_payload=request.with_payload,
        with_vectors=request.with_vectors,
        consistency=consistency_to_message(request.read.consistency),
        min_seqs=_min_seqs(request.read),
    )


def _count(request: calls.Count) -> Message:
    return points_pb2.CountRequest(
        collection=request.collection,
        consistency=consistency_to_message(request.read.consistency),
        min_seqs=_min_seqs(request.read),
    )


def _scroll(request: calls.Scroll) -> Message:
    return points_pb2.ScrollRequest(
        collection=request.collection,
        after=id_to_message(request.after),
        limit=request.limit,
        with_payload=request.with_payload,
        with_vectors=request.with_vectors,
        consistency=consistency_to_message(request.read.consistency),
        min_seqs=_min_seqs(request.read),
    )


def _search(request: calls.Search) -> Message:
    return search_pb2.SearchRequest(
        collection=request.collection,
        legs=[search_pb2.SearchLeg(vectors=vectors_to_message(request.queries))],
        k=request.k,
        exact=request.exact,
        with_payload=request.with_payload,
        with_vectors=request.with_vectors,
        allow_partial=request.allow_partial,
        consistency=consistency_to_message(request.read.consistency),
        min_seqs=_min_seqs(request.read),
    )


def _min_seqs(read: calls.ReadAs) -> list[common_pb2.ShardSeq]:
    return [common_pb2.ShardSeq(collection_id=token.collection_id, shard=token.shard, seq=token.seq) for token in read.tokens]


def _tokens(messages: Iterable[common_pb2.ShardSeq]) -> tuple[calls.ShardToken, ...]:
    return tuple(calls.ShardToken(each.collection_id, each.shard, each.seq) for each in messages)


def _written(message: Any) -> calls.Written:
    return calls.Written(tokens=_tokens(message.written), affected=getattr(message, "deleted", 0))


def _spec(message: collections_pb2.CollectionSpec) -> CollectionSpec:
    try:
        metric, index = Metric(message.metric or "l2"), IndexKind(message.index or "auto")
    except ValueError as error:
        raise Internal(f"collection {message.name!r}: {error}; is this client older than the server?") from None
    return CollectionSpec(
        name=message.name,
        dim=message.dim,
        metric=metric,
        shards=message.shards or 1,
        replicas=message.replicas or 1,
        index=index,
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
                state=each.state,
                memory=each.memory_bytes,
                disk=each.disk,
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
                state=each.state,
                detail=each.detail,
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
    calls.Upsert: Method(path="/shoal.v1.Points/Upsert", encode=_upsert, answer=points_pb2.UpsertResponse, decode=_written),
    calls.Delete: Method(path="/shoal.v1.Points/Delete", encode=_delete, answer=points_pb2.DeleteResponse, decode=_written),
    calls.Get: Method(
        path="/shoal.v1.Points/Get",
        encode=_get,
        answer=points_pb2.GetResponse,
        decode=lambda answer: stored_from_message(answer.points),
    ),
    calls.Count: Method(path="/shoal.v1.Points/Count", encode=_count, answer=points_pb2.CountResponse, decode=lambda answer: answer.count),
    calls.Scroll: Method(
        path="/shoal.v1.Points/Scroll",
        encode=_scroll,
        answer=points_pb2.ScrollResponse,
        decode=lambda answer: calls.Page(points=stored_from_message(answer.points), more=answer.more),
    ),
    calls.Search: Method(
        path="/shoal.v1.Search/Search",
        encode=_search,
        answer=search_pb2.SearchResponse,
        decode=lambda answer: calls.Found(hits=hits_from_message(answer.hits), missing_shards=tuple(answer.missing_shards)),
    ),
    calls.DescribeCluster: Method(
        path="/shoal.v1.Cluster/Describe",
        encode=lambda _: cluster_pb2.DescribeClusterRequest(),
        answer=cluster_pb2.DescribeClusterResponse,
        decode=_cluster,
    ),
}
