"""Converts the requests and answers of the administration of collections between values and messages."""

from __future__ import annotations

from shoal.core.collection import CollectionSpec
from shoal.core.errors import Internal, InvalidArgument
from shoal.core.fusion_choice import SearchDefaults
from shoal.core.metric import Metric, metric_from_input
from shoal.core.named_vectors import NamedVector
from shoal.core.replies import CollectionInfo, CollectionSummary
from shoal.core.requests import (
    AlterCollection,
    CreateCollection,
    DescribeCollection,
    DropCollection,
    ListCollections,
    OptimizeCollection,
)
from shoal.core.shard_calls import DEFAULT_RECALL
from shoal.v1 import collections_pb2
from shoal.wire.method import Method, Methods, nothing, serialized
from shoal.wire.text_fields import defaults_from_message, defaults_to_message, text_field_to_message, text_fields_from_messages


def create_to_message(request: CreateCollection) -> collections_pb2.CreateCollectionRequest:
    """Return a creation as a message."""
    spec = collections_pb2.CollectionSpec(
        name=request.name,
        dim=request.dim,
        metric=request.metric,
        shards=request.shards,
        replicas=request.replicas,
        index=request.index,
        recall=request.recall,
        min_isr=request.min_isr,
        text=map(text_field_to_message, request.text),
        defaults=_given_defaults(request.defaults),
        vectors=map(_vector_to_message, request.vectors),
    )
    return collections_pb2.CreateCollectionRequest(spec=spec, request_id=request.request_id)


def create_from_message(message: collections_pb2.CreateCollectionRequest) -> CreateCollection:
    """Return the creation of a message. A missing field gets its default. CreateCollection.spec() validates it.

    A named vector without a metric or an index has those of the specification. Raises InvalidArgument for an analyzer,
    a fusion or a metric of a named vector that this version does not know.
    """
    spec = message.spec
    return CreateCollection(
        name=spec.name,
        dim=spec.dim,
        metric=spec.metric or Metric.L2.value,
        shards=spec.shards or 1,
        replicas=spec.replicas or 1,
        index=spec.index or "auto",
        recall=spec.recall or DEFAULT_RECALL,
        min_isr=spec.min_isr,
        text=text_fields_from_messages(spec.text),
        defaults=defaults_from_message(spec.defaults),
        vectors=_vectors_from_message(spec),
        request_id=message.request_id,
    )


def created_to_message(collection_id: str) -> collections_pb2.CreateCollectionResponse:
    """Return the answer to a creation as a message."""
    return collections_pb2.CreateCollectionResponse(collection_id=collection_id)


def created_from_message(message: collections_pb2.CreateCollectionResponse) -> str:
    """Return the id of the collection that was created."""
    return message.collection_id


def alter_to_message(request: AlterCollection) -> collections_pb2.AlterCollectionRequest:
    """Return an alteration as a message."""
    return collections_pb2.AlterCollectionRequest(
        name=request.name,
        index=request.index,
        recall=request.recall,
        replicas=request.replicas,
        min_isr=request.min_isr,
        text=None if request.text is None else collections_pb2.TextFields(fields=map(text_field_to_message, request.text)),
        defaults=None if request.defaults is None else defaults_to_message(request.defaults),
        indexes=request.indexes,
    )


def alter_from_message(message: collections_pb2.AlterCollectionRequest) -> AlterCollection:
    """Return the alteration of a message. A missing field is None. Raises as create_from_message."""
    return AlterCollection(
        name=message.name,
        index=message.index if message.HasField("index") else None,
        recall=message.recall if message.HasField("recall") else None,
        replicas=message.replicas if message.HasField("replicas") else None,
        min_isr=message.min_isr if message.HasField("min_isr") else None,
        text=text_fields_from_messages(message.text.fields) if message.HasField("text") else None,
        defaults=defaults_from_message(message.defaults) if message.HasField("defaults") else None,
        indexes=dict(message.indexes) or None,
    )


def altered_to_message() -> collections_pb2.AlterCollectionResponse:
    """Return the answer to an alteration as a message."""
    return collections_pb2.AlterCollectionResponse()


def drop_to_message(request: DropCollection) -> collections_pb2.DropCollectionRequest:
    """Return a drop as a message."""
    return collections_pb2.DropCollectionRequest(name=request.name, collection_id=request.collection_id)


def drop_from_message(message: collections_pb2.DropCollectionRequest) -> DropCollection:
    """Return the drop of a message."""
    return DropCollection(name=message.name, collection_id=message.collection_id)


def dropped_to_message() -> collections_pb2.DropCollectionResponse:
    """Return the answer to a drop as a message."""
    return collections_pb2.DropCollectionResponse()


def list_to_message(_: ListCollections) -> collections_pb2.ListCollectionsRequest:
    """Return the request for all collections as a message."""
    return collections_pb2.ListCollectionsRequest()


def listed_to_message(listed: tuple[CollectionSummary, ...]) -> collections_pb2.ListCollectionsResponse:
    """Return all collections as a message."""
    return collections_pb2.ListCollectionsResponse(collections=map(_summary_to_message, listed))


def listed_from_message(message: collections_pb2.ListCollectionsResponse) -> tuple[CollectionSummary, ...]:
    """Return all collections of a message. Raises Internal for a metric that this version does not know."""
    return tuple(map(_summary_from_message, message.collections))


def describe_to_message(request: DescribeCollection) -> collections_pb2.DescribeCollectionRequest:
    """Return the request for one collection as a message."""
    return collections_pb2.DescribeCollectionRequest(name=request.name)


def info_to_message(info: CollectionInfo) -> collections_pb2.DescribeCollectionResponse:
    """Return a collection and its figures as a message."""
    return collections_pb2.DescribeCollectionResponse(
        collection=_summary_to_message(info),
        points=info.points,
        growing_rows=info.growing_rows,
        sealed_rows=info.sealed_rows,
        segments=info.segments,
        builds_pending=info.builds_pending,
        bytes=info.bytes,
        memory_bytes=info.memory_bytes,
        waiting=info.waiting,
    )


def info_from_message(message: collections_pb2.DescribeCollectionResponse) -> CollectionInfo:
    """Return a collection and its figures. Raises Internal for a metric that this version does not know."""
    return CollectionInfo(
        id=message.collection.id,
        spec=_spec_from_message(message.collection.spec),
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


def optimize_to_message(request: OptimizeCollection) -> collections_pb2.OptimizeCollectionRequest:
    """Return the request to seal and merge everything as a message."""
    return collections_pb2.OptimizeCollectionRequest(name=request.name)


def optimized_to_message() -> collections_pb2.OptimizeCollectionResponse:
    """Return the answer to OptimizeCollection as a message."""
    return collections_pb2.OptimizeCollectionResponse()


def _summary_to_message(collection: CollectionSummary | CollectionInfo) -> collections_pb2.CollectionSummary:
    return collections_pb2.CollectionSummary(id=collection.id, spec=_spec_to_message(collection.spec), state=collection.state)


def _summary_from_message(message: collections_pb2.CollectionSummary) -> CollectionSummary:
    return CollectionSummary(id=message.id, spec=_spec_from_message(message.spec), state=message.state)


def _spec_to_message(spec: CollectionSpec) -> collections_pb2.CollectionSpec:
    return collections_pb2.CollectionSpec(
        name=spec.name,
        dim=spec.dim,
        metric=spec.metric.value,
        shards=spec.shards,
        replicas=spec.replicas,
        index=spec.index,
        recall=spec.recall,
        min_isr=spec.min_isr_set,
        text=map(text_field_to_message, spec.text),
        defaults=_given_defaults(spec.defaults),
        vectors=map(_vector_to_message, spec.vectors),
    )


def _vector_to_message(vector: NamedVector) -> collections_pb2.NamedVector:
    return collections_pb2.NamedVector(name=vector.name, dim=vector.dim, metric=vector.metric.value, index=vector.index)


def _vectors_from_message(message: collections_pb2.CollectionSpec) -> tuple[NamedVector, ...]:
    """Return the named vectors of a specification. Raises InvalidArgument for an unknown metric."""
    return tuple(
        NamedVector(
            name=each.name,
            dim=each.dim,
            metric=metric_from_input(each.metric or message.metric or Metric.L2.value, f"metric of vector {each.name!r}"),
            index=each.index or message.index or "auto",
        )
        for each in message.vectors
    )


def _given_defaults(defaults: SearchDefaults) -> collections_pb2.SearchDefaults | None:
    """Return defaults as a message; None for the usual ones."""
    return None if defaults == SearchDefaults() else defaults_to_message(defaults)


def _spec_from_message(message: collections_pb2.CollectionSpec) -> CollectionSpec:
    try:
        metric = Metric(message.metric or Metric.L2.value)
        text, defaults = text_fields_from_messages(message.text), defaults_from_message(message.defaults)
        vectors = _vectors_from_message(message)
    except (ValueError, InvalidArgument) as error:
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
        text=text,
        defaults=defaults,
        vectors=vectors,
    )


METHODS: Methods = {
    CreateCollection: Method(
        path="/shoal.v1.Collections/Create",
        encode=serialized(create_to_message),
        answer=collections_pb2.CreateCollectionResponse,
        decode=created_from_message,
    ),
    AlterCollection: Method(
        path="/shoal.v1.Collections/Alter",
        encode=serialized(alter_to_message),
        answer=collections_pb2.AlterCollectionResponse,
        decode=nothing,
    ),
    DropCollection: Method(
        path="/shoal.v1.Collections/Drop",
        encode=serialized(drop_to_message),
        answer=collections_pb2.DropCollectionResponse,
        decode=nothing,
    ),
    ListCollections: Method(
        path="/shoal.v1.Collections/List",
        encode=serialized(list_to_message),
        answer=collections_pb2.ListCollectionsResponse,
        decode=listed_from_message,
    ),
    DescribeCollection: Method(
        path="/shoal.v1.Collections/Describe",
        encode=serialized(describe_to_message),
        answer=collections_pb2.DescribeCollectionResponse,
        decode=info_from_message,
    ),
    OptimizeCollection: Method(
        path="/shoal.v1.Collections/Optimize",
        encode=serialized(optimize_to_message),
        answer=collections_pb2.OptimizeCollectionResponse,
        decode=nothing,
    ),
}
