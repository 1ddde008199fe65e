"""Bodies of the records that a caller's write becomes, checked first: a committed record that cannot be applied would
break the replica.
"""

from __future__ import annotations

from collections.abc import Callable

from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.points import check_dim, check_finite, check_ids, check_unique
from shoal.core.shard_calls import ShardDelete, ShardUpsert
from shoal.shard_worker.logic.replication.record import RecordKind
from shoal.wire.point_bytes import points_to_bytes
from shoal.wire.records import delete_body


def body_of(call: ShardUpsert | ShardDelete, dim: int) -> tuple[RecordKind, Callable[[], bytes]]:
    """Return the kind of the record and what makes its body, which may take long unless the points came as bytes.

    Raises InvalidArgument for what no replica could apply.
    """
    match call:
        case ShardUpsert(points=points):
            check_dim(points.vectors, dim)
            check_finite(points.vectors)
            check_unique(points.ids)
            check_ids(points.ids, DEFAULT_LIMITS)
            return RecordKind.UPSERT, lambda: points_to_bytes(points)
        case ShardDelete(ids=ids):
            return RecordKind.DELETE, lambda: delete_body(ids)
