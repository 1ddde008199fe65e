"""Curves and measurements of recall between messages and domain values."""

from __future__ import annotations

from dataclasses import fields

from shoal.core.shard_calls import CurvePoint, SegmentCurve, ShardMeasureRecall, ShardRecall, ShardTune
from shoal.v1 import collections_pb2, worker_pb2
from shoal.wire.shard_calls import shard_from_message, shard_to_message

_CURVE_FIELDS = tuple(field.name for field in fields(SegmentCurve) if field.name != "points")
_POINT_FIELDS = tuple(field.name for field in fields(CurvePoint))
_RECALL_FIELDS = tuple(field.name for field in fields(ShardRecall))


def tune_to_message(call: ShardTune) -> worker_pb2.ShardTuneRequest:
    """Order to measure curves, as a message."""
    return worker_pb2.ShardTuneRequest(shard=shard_to_message(call.shard), k=call.k)


def tune_from_message(message: worker_pb2.ShardTuneRequest) -> ShardTune:
    """Order to measure curves, from a message."""
    return ShardTune(shard=shard_from_message(message.shard), k=message.k)


def measure_to_message(call: ShardMeasureRecall) -> worker_pb2.ShardMeasureRecallRequest:
    """Order to measure the recall that searches have, as a message."""
    return worker_pb2.ShardMeasureRecallRequest(shard=shard_to_message(call.shard), k=call.k, sample=call.sample, recall=call.recall)


def measure_from_message(message: worker_pb2.ShardMeasureRecallRequest) -> ShardMeasureRecall:
    """Order to measure the recall that searches have, from a message."""
    return ShardMeasureRecall(shard=shard_from_message(message.shard), k=message.k, sample=message.sample, recall=message.recall)


def curve_to_message(curve: SegmentCurve) -> collections_pb2.SegmentCurve:
    """Recall against cost of a segment, as a message."""
    points = [collections_pb2.CurvePoint(**{name: getattr(point, name) for name in _POINT_FIELDS}) for point in curve.points]
    return collections_pb2.SegmentCurve(points=points, **{name: getattr(curve, name) for name in _CURVE_FIELDS})


def curve_from_message(message: collections_pb2.SegmentCurve) -> SegmentCurve:
    """Recall against cost of a segment, from a message."""
    points = tuple(CurvePoint(**{name: getattr(point, name) for name in _POINT_FIELDS}) for point in message.points)
    return SegmentCurve(points=points, **{name: getattr(message, name) for name in _CURVE_FIELDS})


def recall_to_message(measured: ShardRecall) -> collections_pb2.ShardRecall:
    """Measured recall of a shard as a message."""
    return collections_pb2.ShardRecall(**{name: getattr(measured, name) for name in _RECALL_FIELDS})


def recall_from_message(message: collections_pb2.ShardRecall) -> ShardRecall:
    """Measured recall of a shard from a message."""
    return ShardRecall(**{name: getattr(message, name) for name in _RECALL_FIELDS})
