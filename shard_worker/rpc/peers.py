"""Calls to other workers over gRPC, as a replica needs them: appends, and the pieces of snapshots."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import grpc

from shoal.core.cluster_map import ClusterMap, WorkerEntry
from shoal.core.errors import Unavailable
from shoal.core.ids import Revision, WorkerId
from shoal.core.shard_config import ShardConfig
from shoal.shard_worker.hosting.config_swaps import ConfigSwaps
from shoal.shard_worker.logic.replication.append import Append, AppendAnswer
from shoal.shard_worker.logic.replication.leadership import SwapOutcome
from shoal.shard_worker.rpc import replication_messages as messages
from shoal.shard_worker.storage.folders.snapshot_manifest import SnapshotAsked, SnapshotManifest
from shoal.v1 import replication_pb2_grpc
from shoal.wire.channels import client_options
from shoal.wire.remote_call import call_remote
from shoal.wire.renewed_channel import internal_channel
from shoal.wire.tls import Tls

# Generated code has no types.
_STUB: Any = replication_pb2_grpc.ReplicationStub


class GrpcPeers:
    """Carries out PeerCalls over gRPC.

    Keeps one channel for each worker, to the address that the worker last had in the map: a worker may go on after its
    lease has ended.
    """

    def __init__(self, *, swaps: ConfigSwaps, message_bytes: int, tls: Tls | None = None) -> None:
        """tls: None for plain text."""
        self._swaps, self._message_bytes, self._tls = swaps, message_bytes, tls
        self._addresses: dict[WorkerId, str] = {}
        self._workers: Mapping[WorkerId, WorkerEntry] = {}
        self._channels: dict[WorkerId, tuple[str, grpc.aio.Channel]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def see_map(self, cluster: ClusterMap) -> None:
        """Take the addresses of a newer map. Forget a worker that is neither in the map nor has a replica."""
        if cluster.workers is not self._workers:
            self._workers = cluster.workers
            self._addresses |= {worker: entry.address for worker, entry in cluster.workers.items()}
        named = cluster.shards.workers
        for worker in [each for each in self._addresses if each not in cluster.workers and each not in named]:
            del self._addresses[worker]
        for worker in [each for each, (address, _) in self._channels.items() if self._addresses.get(each) != address]:
            self._drop(worker)

    async def append(self, worker: WorkerId, append: Append, timeout_s: float) -> AppendAnswer:
        """See PeerCalls."""
        return messages.answer_from_message(await self._call(worker, "Append", messages.append_to_message(append), timeout_s))

    def is_registered(self, worker: WorkerId) -> bool:
        """See PeerCalls."""
        return worker in self._workers

    async def swap(self, config: ShardConfig, base: Revision) -> tuple[SwapOutcome, Revision]:
        """See PeerCalls."""
        return await self._swaps.swap(config, base, config.primary_reg)

    async def begin_snapshot(self, worker: WorkerId, asked: SnapshotAsked, timeout_s: float) -> SnapshotManifest:
        """Ask a worker to pin its replica. Return the list of its files."""
        request = messages.begin_snapshot_to_message(asked)
        return messages.manifest_from_message(await self._call(worker, "BeginSnapshot", request, timeout_s))

    async def read_snapshot(self, worker: WorkerId, snapshot: str, name: str, offset: int, max_bytes: int, timeout_s: float) -> bytes:
        """Return a piece of a file of a pinned replica. Raises NotFound if the replica is no longer pinned."""
        request = messages.read_snapshot_to_message(snapshot, name, offset, max_bytes)
        return bytes((await self._call(worker, "ReadSnapshot", request, timeout_s)).data)

    async def end_snapshot(self, worker: WorkerId, snapshot: str, timeout_s: float) -> None:
        """Ask a worker to release a pinned replica."""
        await self._call(worker, "EndSnapshot", messages.end_snapshot_to_message(snapshot), timeout_s)

    async def close(self) -> None:
        """Close all channels."""
        for worker in list(self._channels):
            self._drop(worker)
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def _call(self, worker: WorkerId, method: str, request: Any, timeout_s: float) -> Any:
        stub = _STUB(self._channel(worker))
        return await call_remote(getattr(stub, method), request, timeout_s, f"worker {worker}", always_named=True)

    def _channel(self, worker: WorkerId) -> grpc.aio.Channel:
        known = self._channels.get(worker)
        if known is not None:
            return known[1]
        address = self._addresses.get(worker)
        if address is None:
            raise Unavailable(f"worker {worker} has no known address")
        channel = internal_channel(address, client_options(self._message_bytes), self._tls)
        self._channels[worker] = (address, channel)
        return channel

    def _drop(self, worker: WorkerId) -> None:
        _, channel = self._channels.pop(worker)
        task = asyncio.create_task(channel.close(None))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
