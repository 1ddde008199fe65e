"""Converts curves and measurements of recall, of a collection and of a shard, between values and messages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields

from shoal.core.points import Matrix
from shoal.core.requests import DEFAULT_K, DEFAULT_SAMPLE, MeasureRecall, TuneCollection
from shoal.core.tuning_calls import CurvePoint, SegmentCurve, ShardMeasureRecall, ShardRecall, ShardTune
from shoal.v1 import collections_pb2, common_pb2, worker_pb2
from shoal.wire.call_parts import shard_from_message, shard_to_message
from shoal.wire.columns import vectors_from_message, vectors_to_message
from shoal.wire.method import Method, Methods, serialized

_CURVE_FIELDS = tuple(field.name for field in fields(SegmentCurve) if field.name != "points")
_POINT_FIELDS = tuple(field.name for field in fields(CurvePoint))
_RECALL_FIELDS = tuple(field.name for field in fields(ShardRecall))


def tune_to_message(request: TuneCollection) -> collections_pb2.TuneCollectionRequest:
    """Return the request to measure curves of a collection as a message."""
    return collections_pb2.TuneCollectionRequest(
        name=request.name, k=request.k, queries=_queries_to_message(request.queries), vector=request.vector
    )


def tune_from_message(message: collections_pb2.TuneCollectionRequest) -> TuneCollection:
    """Return the request to measure curves of a collection. A missing field gets its default.

    Raises InvalidArgument for queries that are no matrix.
    """
    return TuneCollection(name=message.name, k=message.k or DEFAULT_K, queries=_queries_from_message(message), vector=message.vector)


def tuned_to_message(curves: Iterable[SegmentCurve]) -> collections_pb2.TuneCollectionResponse:
    """Return the curves of a collection as a message."""
    return collections_pb2.TuneCollectionResponse(curves=map(curve_to_message, curves))


def tuned_from_message(message: collections_pb2.TuneCollectionResponse) -> tuple[SegmentCurve, ...]:
    """Return the curves of a collection."""
    return tuple(map(curve_from_message, message.curves))


def measure_to_message(request: MeasureRecall) -> collections_pb2.MeasureRecallRequest:
    """Return the request to measure the recall of a collection as a message."""
    return collections_pb2.MeasureRecallRequest(
        name=request.name, k=request.k, sample=request.sample, recall=request.recall, vector=request.vector
    )


def measure_from_message(message: collections_pb2.MeasureRecallRequest) -> MeasureRecall:
    """Return the request to measure the recall of a collection. A missing field gets its default."""
    return MeasureRecall(
        name=message.name,
        k=message.k or DEFAULT_K,
        sample=message.sample or DEFAULT_SAMPLE,
        recall=message.recall if message.HasField("recall") else None,
        vector=message.vector,
    )


def measured_to_message(measured: Iterable[ShardRecall]) -> collections_pb2.MeasureRecallResponse:
    """Return the recall of each shard as a message."""
    return collections_pb2.MeasureRecallResponse(shards=map(recall_to_message, measured))


def measured_from_message(message: collections_pb2.MeasureRecallResponse) -> tuple[ShardRecall, ...]:
    """Return the recall of each shard."""
    return tuple(map(recall_from_message, message.shards))


def shard_tune_to_message(call: ShardTune) -> worker_pb2.ShardTuneRequest:
    """Return the request to measure curves of a shard as a message."""
    return worker_pb2.ShardTuneRequest(
        shard=shard_to_message(call.shard), k=call.k, queries=_queries_to_message(call.queries), vector=call.vector
    )


def shard_tune_from_message(message: worker_pb2.ShardTuneRequest) -> ShardTune:
    """Return the request to measure curves of a shard."""
    return ShardTune(shard=shard_from_message(message.shard), k=message.k, queries=_queries_from_message(message), vector=message.vector)


def shard_measure_to_message(call: ShardMeasureRecall) -> worker_pb2.ShardMeasureRecallRequest:
    """Return the request to measure the recall of a shard's searches as a message."""
    return worker_pb2.ShardMeasureRecallRequest(
        shard=shard_to_message(call.shard), k=call.k, sample=call.sample, recall=call.recall, vector=call.vector
    )


def shard_measure_from_message(message: worker_pb2.ShardMeasureRecallRequest) -> ShardMeasureRecall:
    """Return the request to measure the recall of a shard's searches."""
    return ShardMeasureRecall(
        shard=shard_from_message(message.shard), k=message.k, sample=message.sample, recall=message.recall, vector=message.vector
    )


def shard_tuned_to_message(curves: Iterable[SegmentCurve]) -> worker_pb2.ShardTuneResponse:
    """Return the curves of a shard as a message."""
    return worker_pb2.ShardTuneResponse(curves=map(curve_to_message, curves))


def shard_tuned_from_message(message: worker_pb2.ShardTuneResponse) -> tuple[SegmentCurve, ...]:
    """Return the curves of a shard."""
    return tuple(map(curve_from_message, message.curves))


def shard_measured_to_message(measured: ShardRecall) -> worker_pb2.ShardMeasureRecallResponse:
    """Return the recall of one shard as a message."""
    return worker_pb2.ShardMeasureRecallResponse(measured=recall_to_message(measured))


def shard_measured_from_message(message: worker_pb2.ShardMeasureRecallResponse) -> ShardRecall:
    """Return the recall of one shard."""
    return recall_from_message(message.measured)


def curve_to_message(curve: SegmentCurve) -> collections_pb2.SegmentCurve:
    """Return a segment's curve of recall against cost as a message."""
    points = [collections_pb2.CurvePoint(**{name: getattr(point, name) for name in _POINT_FIELDS}) for point in curve.points]
    return collections_pb2.SegmentCurve(points=points, **{name: getattr(curve, name) for name in _CURVE_FIELDS})


def curve_from_message(message: collections_pb2.SegmentCurve) -> SegmentCurve:
    """Return a segment's curve of recall against cost."""
    points = tuple(CurvePoint(**{name: getattr(point, name) for name in _POINT_FIELDS}) for point in message.points)
    return SegmentCurve(points=points, **{name: getattr(message, name) for name in _CURVE_FIELDS})


def recall_to_message(measured: ShardRecall) -> collections_pb2.ShardRecall:
    """Return the measured recall of a shard as a message."""
    return collections_pb2.ShardRecall(**{name: getattr(measured, name) for name in _RECALL_FIELDS})


def recall_from_message(message: collections_pb2.ShardRecall) -> ShardRecall:
    """Return the measured recall of a shard."""
    return ShardRecall(**{name: getattr(message, name) for name in _RECALL_FIELDS})


def _queries_to_message(queries: Matrix | None) -> common_pb2.Vectors | None:
    return None if queries is None else vectors_to_message(queries)


def _queries_from_message(message: collections_pb2.TuneCollectionRequest | worker_pb2.ShardTuneRequest) -> Matrix | None:
    return vectors_from_message(message.queries, "queries") if message.HasField("queries") else None


METHODS: Methods = {
    TuneCollection: Method(
        path="/shoal.v1.Collections/Tune",
        encode=serialized(tune_to_message),
        answer=collections_pb2.TuneCollectionResponse,
        decode=tuned_from_message,
    ),
    MeasureRecall: Method(
        path="/shoal.v1.Collections/MeasureRecall",
        encode=serialized(measure_to_message),
        answer=collections_pb2.MeasureRecallResponse,
        decode=measured_from_message,
    ),
}
