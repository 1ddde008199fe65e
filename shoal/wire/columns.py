"""Converts columns of ids, vectors, payloads and hits between values and messages.

It checks the shape of every message and raises InvalidArgument. Callers check the meaning: limits, dimension, NaN.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.named_vectors import VectorColumn
from shoal.core.points import IdArray, Matrix, PointColumns, PointId, StoredColumns, id_array
from shoal.core.topk import HitColumns
from shoal.v1 import common_pb2

LITTLE_F32 = np.dtype("<f4")


def ids_to_message(ids: IdArray) -> common_pb2.PointIds:
    """Return a column of ids as a message."""
    if ids.dtype == np.int64:
        return common_pb2.PointIds(integers=ids.tolist())
    listed = ids.tolist()
    strings = [value for value in listed if isinstance(value, str)]
    if len(strings) == len(listed):
        return common_pb2.PointIds(strings=strings)
    return common_pb2.PointIds(
        integers=[value for value in listed if not isinstance(value, str)],
        strings=strings,
        string_positions=[at for at, value in enumerate(listed) if isinstance(value, str)],
    )


def ids_from_message(message: common_pb2.PointIds) -> IdArray:
    """Return the column of ids of a message. Raises InvalidArgument if mixed ids lack their positions."""
    if not message.strings:
        return np.array(message.integers, dtype=np.int64)
    column = np.empty(len(message.integers) + len(message.strings), dtype=object)
    if not message.integers:
        column[:] = list(message.strings)
        return column
    is_string = np.zeros(len(column), dtype=bool)
    positions = np.array(message.string_positions, dtype=np.int64)
    if len(positions) != len(message.strings) or (np.diff(positions) <= 0).any() or positions[-1] >= len(column):
        raise InvalidArgument(
            f"ids: {len(message.strings)} strings beside integers need as many ascending string_positions below {len(column)}",
            ErrorDetails(field="ids"),
        )
    is_string[positions] = True
    column[is_string] = list(message.strings)
    column[~is_string] = list(message.integers)
    return column


def id_to_message(point_id: PointId | None) -> common_pb2.PointIds | None:
    """Return one id as a message, None for none."""
    return None if point_id is None else ids_to_message(id_array([point_id]))


def id_from_message(message: common_pb2.PointIds, field: str) -> PointId | None:
    """Return the one id of a message, None for none. Raises InvalidArgument for more than one."""
    ids = ids_from_message(message).tolist()
    if len(ids) > 1:
        raise InvalidArgument(f"{field} holds {len(ids)} ids, at most one is allowed", ErrorDetails(field=field))
    return ids[0] if ids else None


def vectors_to_message(vectors: Matrix) -> common_pb2.Vectors:
    """Return a matrix (n, dim) as a message."""
    return common_pb2.Vectors(dim=vectors.shape[1], data=np.ascontiguousarray(vectors, dtype=LITTLE_F32).tobytes())


def vectors_from_message(message: common_pb2.Vectors, field: str = "vectors") -> Matrix:
    """Return the matrix (n, dim) float32 of a message.

    Raises InvalidArgument for numbers that do not fill whole rows of its dimension.
    """
    data, dim = message.data, message.dim
    if data and message.values:
        raise InvalidArgument(f"{field}: give data or values, not both", ErrorDetails(field=field))
    if dim == 0:
        raise InvalidArgument(f"{field}: dim is 0, it must be the length of a vector", ErrorDetails(field=field))
    flat = _floats(data, field) if data or not message.values else np.array(message.values, dtype=np.float32)
    if len(flat) % dim:
        raise InvalidArgument(f"{field}: {len(flat)} numbers do not fill rows of dimension {dim}", ErrorDetails(field=field))
    matrix: Matrix = flat.reshape(-1, dim)
    return matrix


def named_to_messages(named: Mapping[str, VectorColumn] | None) -> list[common_pb2.NamedVectors]:
    """Return vectors by name as messages, none for None."""
    return [
        common_pb2.NamedVectors(
            name=name,
            vectors=vectors_to_message(column.vectors),
            positions=None if column.positions is None else column.positions.tolist(),
        )
        for name, column in (named or {}).items()
    ]


def named_from_messages(messages: Iterable[common_pb2.NamedVectors]) -> dict[str, VectorColumn]:
    """Return vectors by name; positions are as the message has them, so VectorColumn.check says whether they fit.

    Raises InvalidArgument for a name that is given twice, and as vectors_from_message.
    """
    named: dict[str, VectorColumn] = {}
    for message in messages:
        if message.name in named:
            raise InvalidArgument(f"vector {message.name!r} is given twice", ErrorDetails(field="named"))
        vectors = vectors_from_message(message.vectors, f"vector {message.name!r}")
        whole = not message.positions and len(vectors) > 0
        positions = None if whole else np.array(message.positions, dtype=np.intp)
        named[message.name] = VectorColumn(vectors=vectors, positions=positions)
    return named


def _checked_named(messages: Sequence[common_pb2.NamedVectors], count: int) -> dict[str, VectorColumn]:
    named = named_from_messages(messages)
    for name, column in named.items():
        column.check(name, count)
    return named


def _floats(data: bytes, field: str) -> Matrix:
    if len(data) % 4:
        raise InvalidArgument(f"{field}: {len(data)} bytes are not float32 numbers", ErrorDetails(field=field))
    flat: Matrix = np.frombuffer(data, dtype=LITTLE_F32)
    return flat if sys.byteorder == "little" else flat.astype(np.float32)


def payloads_to_message(payloads: Sequence[bytes | None] | None) -> list[str]:
    """Return a column of payloads as texts, "" for no payload; an empty list if there is no column."""
    return [] if payloads is None else ["" if text is None else text.decode("utf-8") for text in payloads]


def payloads_from_message(payloads: Sequence[str], count: int) -> tuple[bytes | None, ...] | None:
    """Return the column of payloads in a message, None if there is none.

    Raises InvalidArgument if the message has texts, but not `count` of them.
    """
    if not payloads:
        return None
    if len(payloads) != count:
        raise InvalidArgument(f"payloads: {len(payloads)} are given for {count} points", ErrorDetails(field="payloads"))
    return tuple(text.encode("utf-8") if text else None for text in payloads)


def points_to_message(points: PointColumns | StoredColumns) -> common_pb2.PointBatch:
    """Return points as a message."""
    return common_pb2.PointBatch(
        ids=ids_to_message(points.ids),
        vectors=None if points.vectors is None or points.named is not None else vectors_to_message(points.vectors),
        payloads=payloads_to_message(points.payloads),
        named=named_to_messages(points.named),
    )


def has_vectors_by_name(message: common_pb2.PointBatch) -> bool:
    """Return whether the points have vectors with names, or none at all."""
    return bool(message.named) or not message.HasField("vectors")


def points_from_message(message: common_pb2.PointBatch) -> PointColumns:
    """Return the points of a write.

    Raises InvalidArgument if columns differ in length, and for vectors both with and without names.
    """
    ids = ids_from_message(message.ids)
    if has_vectors_by_name(message):
        if message.HasField("vectors"):
            raise InvalidArgument("give vectors or named, not both", ErrorDetails(field="named"))
        return PointColumns(
            ids=ids,
            vectors=np.empty((len(ids), 0), dtype=np.float32),
            payloads=payloads_from_message(message.payloads, len(ids)),
            named=_checked_named(message.named, len(ids)),
        )
    vectors = vectors_from_message(message.vectors)
    if len(ids) != len(vectors):
        raise InvalidArgument(f"{len(ids)} ids are given for {len(vectors)} vectors", ErrorDetails(field="ids"))
    return PointColumns(ids=ids, vectors=vectors, payloads=payloads_from_message(message.payloads, len(ids)))


def stored_from_message(message: common_pb2.PointBatch) -> StoredColumns:
    """Return points that were read."""
    ids = ids_from_message(message.ids)
    vectors = vectors_from_message(message.vectors) if message.HasField("vectors") else None
    return StoredColumns(
        ids=ids,
        vectors=vectors,
        payloads=payloads_from_message(message.payloads, len(ids)),
        named=_checked_named(message.named, len(ids)) if message.named else None,
    )


def fill_hits(message: common_pb2.Hits, hits: HitColumns) -> None:
    """Write hits into an empty message. This is faster than to make a message and to copy it into another one."""
    message.counts.extend(hits.counts.tolist())
    if hits.ids.dtype == np.int64:
        message.ids.integers.extend(hits.ids.tolist())
    else:
        message.ids.CopyFrom(ids_to_message(hits.ids))
    message.scores.extend(hits.scores.tolist())
    if hits.payloads is not None:
        message.payloads.extend(payloads_to_message(hits.payloads))
    if hits.vectors is not None:
        message.vectors.CopyFrom(vectors_to_message(hits.vectors))
    if hits.named is not None:
        message.named.extend(named_to_messages(hits.named))


def hits_from_message(message: common_pb2.Hits) -> HitColumns:
    """Return the hits of a message."""
    ids = ids_from_message(message.ids)
    return HitColumns(
        counts=np.array(message.counts, dtype=np.int64),
        ids=ids,
        scores=np.array(message.scores, dtype=np.float32),
        payloads=payloads_from_message(message.payloads, len(ids)),
        vectors=vectors_from_message(message.vectors) if message.HasField("vectors") else None,
        named=_checked_named(message.named, len(ids)) if message.named else None,
    )
