"""The worker's service for other workers and for the coordinator: messages in, calls on the host, messages out.

Decides nothing.
"""

from __future__ import annotations

from shoal.core.ids import ReplicaId
from shoal.runtime.interceptors import Context
from shoal.shard_worker.hosting.host import Host
from shoal.shard_worker.rpc.append_messages import answer_to_message, append_from_message
from shoal.shard_worker.snapshots.source import SnapshotSource
from shoal.v1 import replication_pb2, replication_pb2_grpc
from shoal.wire.shard_calls import shard_from_message

DEFAULT_TIMEOUT_S = 60.0


class ReplicationServicer(replication_pb2_grpc.ReplicationServicer):
    """shoal.v1.Replication on a host."""

    def __init__(self, host: Host, source: SnapshotSource) -> None:
        self._host, self._source = host, source

    async def Append(self, request: replication_pb2.AppendRequest, context: Context) -> replication_pb2.AppendResponse:
        """Records of a primary."""
        append = append_from_message(request)
        return answer_to_message(await self._host.replica(append.shard).append(append, _timeout_s(context)))

    async def LogEnds(self, request: replication_pb2.LogEndsRequest, context: Context) -> replication_pb2.LogEndsResponse:
        """How far the logs of open replicas reach."""
        ends = []
        for message in request.shards:
            replica = self._host.open.get(shard_from_message(message))
            if replica is not None and replica.failure is None:
                term, seq = replica.log_end
                ends.append(replication_pb2.LogEnd(shard=message, replica=replica.id, term=term, seq=seq))
        return replication_pb2.LogEndsResponse(ends=ends)

    async def BeginSnapshot(self, request: replication_pb2.BeginSnapshotRequest, context: Context) -> replication_pb2.SnapshotManifest:
        """Pin a replica as it is."""
        manifest = await self._source.begin(shard_from_message(request.shard), ReplicaId(request.replica))
        files = [replication_pb2.SnapshotFile(name=each.name, size_bytes=each.size_bytes, sha256=each.sha256) for each in manifest.files]
        return replication_pb2.SnapshotManifest(snapshot=manifest.snapshot, term=manifest.term, seq=manifest.seq, files=files)

    async def ReadSnapshot(self, request: replication_pb2.ReadSnapshotRequest, context: Context) -> replication_pb2.ReadSnapshotResponse:
        """A piece of a file of it."""
        data = await self._source.read(request.snapshot, request.name, request.offset, request.max_bytes)
        return replication_pb2.ReadSnapshotResponse(data=data)

    async def EndSnapshot(self, request: replication_pb2.EndSnapshotRequest, context: Context) -> replication_pb2.EndSnapshotResponse:
        """Let go of it."""
        await self._source.end(request.snapshot)
        return replication_pb2.EndSnapshotResponse()


def _timeout_s(context: Context) -> float:
    remaining = context.time_remaining()
    return DEFAULT_TIMEOUT_S if remaining is None else max(0.0, remaining)
