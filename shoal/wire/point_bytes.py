"""Converts points of a write to bytes and back: the SDK sends them, the router forwards them, a shard's log keeps them.

The bytes are a message PointBatch. They are assembled here, so that vectors are copied once. Part of the log format.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from google.protobuf.message import DecodeError, Message

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.named_vectors import VectorColumn
from shoal.core.points import Matrix, PointColumns
from shoal.v1 import common_pb2, worker_pb2
from shoal.wire.columns import LITTLE_F32, has_vectors_by_name, ids_to_message, points_from_message

_IDS, _VECTORS = b"\x0a", b"\x12"
_DIM, _DATA = b"\x08", b"\x12"
"""Tags of fields 1 and 2 of PointBatch, and of Vectors."""

_NAMED, _NAMED_VECTORS = b"\x22", b"\x12"
"""Tags of field 4 of PointBatch, and of the vectors in NamedVectors."""


POINTS_OF_UPSERT = b"\x12"
"""Tag of the points in UpsertRequest: field 2."""

POINTS_OF_WRITE = b"\x22"
"""Tag of the points in ShardWriteRequest: field 4."""


def with_points(message: Message, tag: bytes, points: PointColumns) -> bytes:
    """Return the bytes of a message with points as one more field. The vectors are copied once."""
    pieces = _pieces(points)
    return b"".join([message.SerializeToString(), tag, varint(sum(map(len, pieces))), *pieces])


def points_to_bytes(points: PointColumns) -> bytes:
    """Return the points as the bytes of a PointBatch. Points that were read from bytes give these bytes again."""
    return b"".join(_pieces(points)) if points.encoded is None else points.encoded()


def points_from_bytes(data: bytes) -> PointColumns:
    """Return the points of a PointBatch's bytes. The points keep these bytes.

    Raises InvalidArgument for bytes that are not a PointBatch, or whose vectors have names: they must be packed.
    """
    try:
        message = common_pb2.PointBatch.FromString(data)
    except DecodeError as error:
        raise InvalidArgument(f"the points cannot be read: {error}", ErrorDetails(field="points")) from None
    if has_vectors_by_name(message):
        raise InvalidArgument("the points have no vectors without names, which a log needs", ErrorDetails(field="points"))
    return dataclasses.replace(points_from_message(message), encoded=lambda: data)


def points_from_request(message: common_pb2.PointBatch) -> PointColumns:
    """Return the points of a caller's message. Their bytes are made of the message when somebody asks for them.

    Fields that this version does not know are left out of these bytes. Vectors that came as `values` are encoded later,
    as `data`, and vectors with names are packed first. Raises InvalidArgument if columns differ in length.
    """
    points = points_from_message(message)
    if points.named is not None or message.vectors.values:
        return points

    def encoded() -> bytes:
        message.DiscardUnknownFields()  # type: ignore[attr-defined]
        return message.SerializeToString()

    return dataclasses.replace(points, encoded=encoded)


def _pieces(points: PointColumns) -> list[bytes | memoryview]:
    """Return the pieces of a PointBatch's bytes. Vectors are a view of the matrix if it is contiguous, else a copy."""
    if points.encoded is not None:
        return [points.encoded()]
    ids = ids_to_message(points.ids).SerializeToString()
    pieces: list[bytes | memoryview] = [_IDS, varint(len(ids)), ids]
    if points.named is None:
        pieces += _matrix_pieces(_VECTORS, points.vectors)
    if points.payloads is not None:
        pieces.append(worker_pb2.PayloadColumn(payloads=[text or b"" for text in points.payloads]).SerializeToString())
    for name, column in (points.named or {}).items():
        pieces += _named_pieces(name, column)
    return pieces


def _matrix_pieces(tag: bytes, vectors: Matrix) -> list[bytes | memoryview]:
    """Return the pieces of a field of the type Vectors."""
    count, dim = vectors.shape
    data_bytes = count * dim * LITTLE_F32.itemsize
    head = _DIM + varint(dim) if dim else b""
    if data_bytes:
        head += _DATA + varint(data_bytes)
    pieces: list[bytes | memoryview] = [tag, varint(len(head) + data_bytes), head]
    if data_bytes:
        pieces.append(np.ascontiguousarray(vectors, dtype=LITTLE_F32).reshape(-1).view(np.uint8).data)
    return pieces


def _named_pieces(name: str, column: VectorColumn) -> list[bytes | memoryview]:
    """Return the pieces of one of the fields `named`."""
    positions = None if column.positions is None else column.positions.tolist()
    pieces = [
        common_pb2.NamedVectors(name=name).SerializeToString(),
        *_matrix_pieces(_NAMED_VECTORS, column.vectors),
        common_pb2.NamedVectors(positions=positions).SerializeToString(),
    ]
    return [_NAMED, varint(sum(map(len, pieces))), *pieces]


def varint(number: int) -> bytes:
    """Return a number of at least 0 as protobuf writes lengths."""
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)
