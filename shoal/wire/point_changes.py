"""Converts changes of points between values and messages. Part of the log format."""

from __future__ import annotations

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.point_change import DeletePayload, PointChange, ReplacePayload, SetPayload, UpdateNamed, UpdatePacked, UpdateVectors
from shoal.v1 import common_pb2
from shoal.wire.columns import named_from_messages, named_to_messages, vectors_from_message, vectors_to_message


def change_to_message(change: PointChange) -> common_pb2.PointChange:
    """Return a change as a message."""
    match change:
        case SetPayload(payload):
            return common_pb2.PointChange(set_payload=payload.decode())
        case ReplacePayload(payload):
            return common_pb2.PointChange(replace_payload=payload.decode())
        case DeletePayload(paths):
            listed = [common_pb2.PayloadPath(keys=path) for path in paths]
            return common_pb2.PointChange(delete_payload=common_pb2.PayloadPaths(paths=listed))
        case UpdateVectors(vectors):
            return common_pb2.PointChange(vectors=vectors_to_message(vectors))
        case UpdateNamed(named):
            return common_pb2.PointChange(named=common_pb2.NamedVectorsChange(vectors=named_to_messages(named)))
        case UpdatePacked(rows, dims):
            return common_pb2.PointChange(packed=common_pb2.PackedVectorsChange(rows=vectors_to_message(rows), dims=dims))


def change_from_message(message: common_pb2.PointChange) -> PointChange:
    """Return the change of a message. Raises InvalidArgument if it holds none, or vectors that do not fill rows."""
    match message.WhichOneof("change"):
        case "set_payload":
            return SetPayload(message.set_payload.encode())
        case "replace_payload":
            return ReplacePayload(message.replace_payload.encode())
        case "delete_payload":
            return DeletePayload(tuple(tuple(path.keys) for path in message.delete_payload.paths))
        case "vectors":
            return UpdateVectors(vectors_from_message(message.vectors))
        case "named":
            return UpdateNamed(named_from_messages(message.named.vectors))
        case "packed":
            return UpdatePacked(vectors_from_message(message.packed.rows, "packed"), tuple(message.packed.dims))
        case _:
            needed = "an update needs one of set_payload, replace_payload, delete_payload, vectors, named"
            raise InvalidArgument(needed, ErrorDetails(field="change"))
