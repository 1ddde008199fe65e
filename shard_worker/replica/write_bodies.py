"""Makes the record bodies of writes. Checks them first: a committed record that cannot be applied fails the replica."""

from __future__ import annotations

from functools import partial

from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.points import check_dim, check_finite, check_ids, check_unique
from shoal.core.shard_calls import ShardDelete, ShardUpsert
from shoal.shard_worker.logic.replication.record import RecordKind
from shoal.shard_worker.resources.pools import Pools
from shoal.wire.point_bytes import points_to_bytes
from shoal.wire.records import delete_body

LARGE_BODY_BYTES = 256 * 1024
"""Points that are not encoded yet and have more bytes of vectors are encoded in a pool, not on the event loop."""


async def kind_and_body(call: ShardUpsert | ShardDelete, dim: int, pools: Pools) -> tuple[RecordKind, bytes]:
    """Return the kind and the body of a write's record. Points that came as bytes keep these bytes.

    Raises InvalidArgument for a write that no replica could apply.
    """
    match call:
        case ShardUpsert(points=points):
            check_dim(points.vectors, dim)
            check_finite(points.vectors)
            check_unique(points.ids)
            check_ids(points.ids, DEFAULT_LIMITS)
            large = points.encoded is None and points.vectors.nbytes > LARGE_BODY_BYTES
            return RecordKind.UPSERT, await pools.encode(partial(points_to_bytes, points)) if large else points_to_bytes(points)
        case ShardDelete(ids=ids):
            return RecordKind.DELETE, delete_body(ids)
