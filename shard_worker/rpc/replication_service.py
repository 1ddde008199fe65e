"""The worker's internal service shoal.v1.Replication: passes requests of other workers and the coordinator to the host.

Decides nothing.
"""

from __future__ import annotations

from typing import Any

from shoal.core.recovery import LogEnd
from shoal.runtime.calls import CallContext, UnaryCall, calls_of
from shoal.shard_worker.hosting.host import Host
from shoal.shard_worker.rpc import replication_messages as messages
from shoal.shard_worker.snapshots.source import SnapshotSource
from shoal.wire.log_ends import log_ends_to_message, shards_of_request
from shoal.wire.services import REPLICATION

DEFAULT_TIMEOUT_S = 60.0


class ReplicationServicer:
    """Calls between workers. Messages: see proto/shoal/v1/replication.proto."""

    def __init__(self, host: Host, source: SnapshotSource) -> None:
        self._host, self._source = host, source

    async def Append(self, request: Any, context: CallContext) -> Any:
        """Take an append of a primary."""
        append = messages.append_from_message(request)
        return messages.answer_to_message(await self._host.replica(append.shard).append(append, _timeout_s(context)))

    async def LogEnds(self, request: Any, context: CallContext) -> Any:
        """Return the ends of the logs of open replicas."""
        replicas = filter(None, map(self._host.open.get, shards_of_request(request)))
        working = [replica for replica in replicas if replica.failure is None]
        return log_ends_to_message({each.id: LogEnd(term=each.log_end[0], seq=each.log_end[1]) for each in working})

    async def BeginSnapshot(self, request: Any, context: CallContext) -> Any:
        """Pin a replica in its current state."""
        return messages.manifest_to_message(await self._source.begin(messages.begin_snapshot_from_message(request)))

    async def ReadSnapshot(self, request: Any, context: CallContext) -> Any:
        """Return a piece of a file of a pinned replica."""
        return messages.piece_to_message(await self._source.read(request.snapshot, request.name, request.offset, request.max_bytes))

    async def EndSnapshot(self, request: Any, context: CallContext) -> Any:
        """Release a pinned replica."""
        await self._source.end(request.snapshot)
        return messages.ended_to_message()

    def calls(self) -> tuple[UnaryCall, ...]:
        """Return the calls of this service."""
        return calls_of(REPLICATION, self)


def _timeout_s(context: CallContext) -> float:
    remaining = context.time_remaining()
    return DEFAULT_TIMEOUT_S if remaining is None else max(0.0, remaining)
