"""Other workers over gRPC, as a replica of this one needs them: appends, and the pieces of snapshots."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from shoal.core.cluster_map import ClusterMap
from shoal.core.errors import ShoalError, Unavailable
from shoal.core.ids import ReplicaId, Revision, ShardId, WorkerId
from shoal.core.shard_config import ShardConfig
from shoal.shard_worker.hosting.config_swaps import ConfigSwaps
from shoal.shard_worker.logic.replication.append import Append, AppendAnswer
from shoal.shard_worker.logic.replication.leadership import SwapOutcome
from shoal.shard_worker.rpc import replication_messages as messages
from shoal.shard_worker.storage.folders.snapshot_manifest import SnapshotManifest
from shoal.v1 import replication_pb2_grpc
from shoal.wire.channels import client_options, open_aio_channel
from shoal.wire.status import error_from_exception

# Generated code carries no types.
_STUB: Any = replication_pb2_grpc.ReplicationStub


class GrpcPeers:
    """PeerCalls over gRPC.

    One channel a worker, to the address that the map gave it last: a worker whose lease has ended may live.
    """

    def __init__(self, *, swaps: ConfigSwaps, message_bytes: int) -> None:
        self._swaps, self._message_bytes = swaps, message_bytes
        self._addresses: dict[WorkerId, str] = {}
        self._channels: dict[WorkerId, tuple[str, grpc.aio.Channel]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def see_map(self, cluster: ClusterMap) -> None:
        """Take the addresses of a newer map. Those of workers that nobody has a replica on any more are forgotten."""
        for worker, entry in cluster.workers.items():
            self._addresses[worker] = entry.address
        named = {worker for entry in cluster.shards.values() for worker in entry.config.worker_of.values()}
        for worker in [each for each in self._addresses if each not in cluster.workers and each not in named]:
            del self._addresses[worker]
        for worker in [each for each, (address, _) in self._channels.items() if self._addresses.get(each) != address]:
            self._drop(worker)

    async def append(self, worker: WorkerId, append: Append, timeout_s: float) -> AppendAnswer:
        """See PeerCalls."""
        return messages.answer_from_message(await self._call(worker, "Append", messages.append_to_message(append), timeout_s))

    async def swap(self, config: ShardConfig, base: Revision) -> tuple[SwapOutcome, Revision]:
        """See PeerCalls."""
        return await self._swaps.swap(config, base, config.primary_reg)

    async def begin_snapshot(self, worker: WorkerId, shard: ShardId, replica: ReplicaId, timeout_s: float) -> SnapshotManifest:
        """Have a replica pinned over there, and learn what it consists of."""
        request = messages.begin_snapshot_to_message(shard, replica)
        return messages.manifest_from_message(await self._call(worker, "BeginSnapshot", request, timeout_s))

    async def read_snapshot(self, worker: WorkerId, snapshot: str, name: str, offset: int, max_bytes: int, timeout_s: float) -> bytes:
        """A piece of a file of a pinned replica. Raises NotFound when it is not pinned any more."""
        request = messages.read_snapshot_to_message(snapshot, name, offset, max_bytes)
        return bytes((await self._call(worker, "ReadSnapshot", request, timeout_s)).data)

    async def end_snapshot(self, worker: WorkerId, snapshot: str, timeout_s: float) -> None:
        """Let go of a pinned replica."""
        await self._call(worker, "EndSnapshot", messages.end_snapshot_to_message(snapshot), timeout_s)

    async def close(self) -> None:
        """Close all channels."""
        for worker in list(self._channels):
            self._drop(worker)
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def _call(self, worker: WorkerId, method: str, request: Any, timeout_s: float) -> Any:
        try:
            return await getattr(_STUB(self._channel(worker)), method)(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise _named(error_from_exception(error), worker) from None
        except grpc.aio.UsageError:
            raise Unavailable(f"worker {worker}: its connection was closed") from None
        except asyncio.CancelledError:
            # A channel that is closed cancels its calls. Only when nobody cancelled this task was it that.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise Unavailable(f"worker {worker}: its connection was closed while it was asked") from None

    def _channel(self, worker: WorkerId) -> grpc.aio.Channel:
        known = self._channels.get(worker)
        if known is not None:
            return known[1]
        address = self._addresses.get(worker)
        if address is None:
            raise Unavailable(f"worker {worker} has no known address")
        channel = open_aio_channel(address, client_options(self._message_bytes))
        self._channels[worker] = (address, channel)
        return channel

    def _drop(self, worker: WorkerId) -> None:
        _, channel = self._channels.pop(worker)
        task = asyncio.create_task(channel.close(None))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _named(error: ShoalError, worker: WorkerId) -> ShoalError:
    return type(error)(f"worker {worker}: {error.message}", error.details)
