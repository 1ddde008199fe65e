"""Bodies of the log records of deletes and updates, as bytes. Part of the log format. Those of upserts: point_bytes."""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from shoal.core.errors import DataLoss, ErrorDetails, InvalidArgument
from shoal.core.point_change import PointUpdate
from shoal.core.points import IdArray
from shoal.core.turns import FREE, Turn
from shoal.v1 import common_pb2, worker_pb2
from shoal.wire.columns import ids_from_message, ids_to_message
from shoal.wire.filters import filter_from_message, optional_filter_to_message
from shoal.wire.point_changes import change_from_message, change_to_message

_LENGTH = struct.Struct("<I")
_ROW = np.dtype("<i8")

Rows = npt.NDArray[np.int64]


def delete_body(ids: IdArray) -> bytes:
    """Return the body of a delete record."""
    return ids_to_message(ids).SerializeToString()


def ids_of_body(body: bytes) -> IdArray:
    """Return the ids of a delete record."""
    return ids_from_message(common_pb2.PointIds.FromString(body))


def exact_delete_body(ids: IdArray, rows: Rows) -> bytes:
    """Return the body of an exact delete record, which removes each id if it is still in its row.

    ids, rows: (n,). Layout: length of the ids as uint32, the ids as in a delete record, the rows as int64, all
    little-endian.
    """
    if len(ids) != len(rows):
        raise ValueError(f"{len(ids)} ids are given for {len(rows)} rows")
    packed = delete_body(ids)
    return _LENGTH.pack(len(packed)) + packed + rows.astype(_ROW).tobytes()


def exact_delete_of_body(body: bytes) -> tuple[IdArray, Rows]:
    """Return ids and rows of an exact delete record, (n,) each. Raises DataLoss for any other body."""
    if len(body) < _LENGTH.size:
        raise DataLoss(f"an exact delete record has {len(body)} bytes, at least {_LENGTH.size} are needed")
    (length,) = _LENGTH.unpack_from(body)
    end = _LENGTH.size + length
    if end > len(body):
        raise DataLoss(f"an exact delete record of {len(body)} bytes says that its ids have {length}")
    ids = ids_of_body(body[_LENGTH.size : end])
    if len(body) - end != _ROW.itemsize * len(ids):
        raise DataLoss(f"an exact delete record has {len(body) - end} bytes of rows for {len(ids)} ids")
    return ids, np.frombuffer(body, dtype=_ROW, offset=end).astype(np.int64)


def update_body(update: PointUpdate, turn: Turn = FREE) -> bytes:
    """Return the body of an update record. Also raises what the turn raises."""
    message = worker_pb2.PointUpdate(
        ids=ids_to_message(update.ids),
        filter=optional_filter_to_message(update.filter, turn),
        change=change_to_message(update.change),
    )
    return message.SerializeToString()


def update_of_body(body: bytes, turn: Turn = FREE) -> PointUpdate:
    """Return the update of a record's body. Raises InvalidArgument for bytes that are not an update."""
    try:
        message = worker_pb2.PointUpdate.FromString(body)
    except DecodeError as error:
        raise InvalidArgument(f"the update cannot be read: {error}", ErrorDetails(field="update")) from None
    filter = filter_from_message(message.filter, turn) if message.HasField("filter") else None
    return PointUpdate(ids=ids_from_message(message.ids), filter=filter, change=change_from_message(message.change))
