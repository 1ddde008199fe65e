"""What the decisions of a worker know of its replicas that failed, or could not be opened."""

from __future__ import annotations

from shoal.core.errors import DataLoss, PreconditionFailed, ShoalError
from shoal.shard_worker.hosting.host import FailedReplica
from shoal.shard_worker.logic.hosting import Local
from shoal.shard_worker.storage.failure import DiskFull


def _is_final(reason: ShoalError) -> bool:
    """Return whether this process can never open the replica: its data is of a newer program or of another cluster."""
    return isinstance(reason, PreconditionFailed)


def state_of_unopened(failed: FailedReplica) -> Local:
    """Return the state of a replica that is not open."""
    if failed.broke or isinstance(failed.reason, DataLoss):
        return Local.FAILED
    return Local.UNFIT if _is_final(failed.reason) else Local.FULL


def state_of(failure: ShoalError | None) -> Local:
    """Return the state of an open replica. failure: why it has failed, None while it works."""
    if failure is None:
        return Local.OPEN
    return Local.FULL if isinstance(failure, DiskFull) else Local.FAILED
