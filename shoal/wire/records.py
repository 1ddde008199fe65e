"""Bodies of log records: what an upsert or a delete carries, as bytes. Part of the log format."""

from __future__ import annotations

from shoal.core.points import IdArray, PointColumns
from shoal.v1 import common_pb2
from shoal.wire.columns import ids_from_message, ids_to_message, points_from_message, points_to_message


def upsert_body(points: PointColumns) -> bytes:
    """Body of an upsert record."""
    return points_to_message(points).SerializeToString()


def points_of_body(body: bytes) -> PointColumns:
    """Points of an upsert record."""
    return points_from_message(common_pb2.PointBatch.FromString(body))


def delete_body(ids: IdArray) -> bytes:
    """Body of a delete record."""
    return ids_to_message(ids).SerializeToString()


def ids_of_body(body: bytes) -> IdArray:
    """Ids of a delete record."""
    return ids_from_message(common_pb2.PointIds.FromString(body))
