"""The errors with which a replica refuses writes that it cannot, or can no longer, answer for."""

from __future__ import annotations

from shoal.core.errors import BUSY_RETRY_S, ErrorDetails, PreconditionFailed, ResourceExhausted, ShoalError, Unavailable
from shoal.core.ids import RequestId
from shoal.shard_worker.logic.replication.events import DISK_LIMIT

MAX_PENDING_WRITES = 256
MAX_PENDING_BYTES = 256 * 1024 * 1024


def after_failure(failure: ShoalError) -> ShoalError:
    """Return the error for later writes after a storage failure. An immediate retry does not help on a full disk."""
    full = failure.details.limit == DISK_LIMIT
    return ResourceExhausted(failure.message, failure.details) if full else failure


def stepped_down(reason: str) -> Unavailable:
    """Return the error for the writes that wait when a primary ends its term."""
    return Unavailable(f"the primary stepped down: {reason}; the write may have been applied")


def too_old(request_id: RequestId, newest: int) -> ShoalError:
    """Return the error for a write that may have been applied longer ago than is remembered.

    newest: number of the client's newest remembered write.
    """
    return PreconditionFailed(
        f"write {request_id} is too old to tell whether it was applied (newest of this client: {newest}); use a new request id"
    )


def queue_full(writes: int, size: int) -> ShoalError:
    """Return the error for a write that finds this many writes, of this many bytes, waiting."""
    return ResourceExhausted(
        f"{writes} writes of {size} bytes are waiting, at most {MAX_PENDING_WRITES} of {MAX_PENDING_BYTES} bytes may; send again later",
        ErrorDetails(limit="pending_writes", retry_after_s=BUSY_RETRY_S),
    )
