"""Makes the record bodies of writes. Checks them first: a committed record that cannot be applied fails the replica."""

from __future__ import annotations

from functools import partial

from shoal.core.collection import CollectionSpec
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.point_change import CHANGED_PAYLOADS, UpdatePacked, UpdateVectors, check_update
from shoal.core.points import check_dim, check_finite, check_ids, check_unique
from shoal.core.shard_calls import ShardDelete, ShardUpdate, ShardUpsert
from shoal.shard_worker.logic.replication.record import RecordKind
from shoal.shard_worker.replica.packed_rows import check_packed_rows, check_vector_change
from shoal.shard_worker.resources.pools import Pools
from shoal.wire.point_bytes import points_to_bytes
from shoal.wire.records import delete_body, update_body

LARGE_BODY_BYTES = 256 * 1024
"""Points that are not encoded yet and have more bytes of vectors are encoded in a pool, not on the event loop."""


async def kind_and_body(call: ShardUpsert | ShardDelete | ShardUpdate, spec: CollectionSpec, pools: Pools) -> tuple[RecordKind, bytes]:
    """Return the kind and the body of a write's record. Points and updates that came as bytes keep them.

    Raises InvalidArgument for a write that no replica could apply.
    """
    match call:
        case ShardUpsert(points=points):
            check_dim(points.vectors, spec.point_dim)
            check_finite(points.vectors)
            if spec.vectors:
                check_packed_rows(points.vectors, _dims(spec))
            check_unique(points.ids)
            check_ids(points.ids, DEFAULT_LIMITS)
            large = points.encoded is None and points.vectors.nbytes > LARGE_BODY_BYTES
            return RecordKind.UPSERT, await pools.encode(partial(points_to_bytes, points)) if large else points_to_bytes(points)
        case ShardDelete(ids=ids):
            return RecordKind.DELETE, delete_body(ids)
        case ShardUpdate(encoded=encoded):
            check_update(call.update, spec.point_dim, CHANGED_PAYLOADS)
            check_vector_change(call.change, _dims(spec))
            if encoded is None:
                encode = partial(update_body, call.update)
                encoded = await pools.encode(encode) if _is_large(call) else encode()
            return RecordKind.UPDATE, encoded


def _dims(spec: CollectionSpec) -> list[int]:
    """Return the dimensions of the named vectors."""
    return [each.dim for each in spec.vectors]


def _is_large(update: ShardUpdate) -> bool:
    """Return whether an update takes long to encode: it has large vectors, or a filter."""
    match update.change:
        case UpdateVectors(vectors) | UpdatePacked(vectors):
            large = vectors.nbytes > LARGE_BODY_BYTES
        case _:
            large = False
    return large or update.filter is not None
