"""The calls of one worker's replicas to other workers: PeerCalls and SnapshotCalls over the simulated network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from shoal.core.cluster_map import ClusterMap
from shoal.core.errors import DeadlineExceeded, Unavailable
from shoal.core.ids import ReplicaId, Revision, ShardId, WorkerId
from shoal.core.shard_config import ShardConfig
from shoal.shard_worker.hosting.config_swaps import ConfigSwaps
from shoal.shard_worker.logic.replication.append import Append, AppendAnswer
from shoal.shard_worker.logic.replication.leadership import SwapOutcome
from shoal.shard_worker.storage.folders.snapshot_manifest import SnapshotAsked, SnapshotManifest
from tests.simulation.network import Handler, Network, NoAnswer, NobodyThere
from tests.simulation.scheduler import Process, Resume
from tests.simulation.virtual_loop import VirtualLoop

DEAD_AFTER_S = 10.0
"""Seconds after which a channel notices that the other side is gone, even if the call may take longer."""


class Peer(Protocol):
    """The calls that a worker answers to others."""

    def take_append(self, append: Append, timeout_s: float, answer: Resume) -> None: ...
    def begin_snapshot(self, shard: ShardId, replica: ReplicaId, answer: Resume) -> None: ...
    def read_snapshot(self, snapshot: str, answer: Resume) -> None: ...
    def end_snapshot(self, snapshot: str, answer: Resume) -> None: ...


class SimPeers:
    """The calls of one life of a worker. workers: all of them, by id; each is a Process and a Peer."""

    def __init__(
        self,
        process: Process,
        loop: VirtualLoop,
        network: Network,
        workers: Mapping[str, Any],
        swaps: ConfigSwaps,
        cluster: Callable[[], ClusterMap],
    ) -> None:
        self._process, self._loop, self._network, self._workers, self._swaps = process, loop, network, workers, swaps
        self._cluster = cluster

    async def append(self, worker: WorkerId, append: Append, timeout_s: float) -> AppendAnswer:
        """See PeerCalls."""
        peer: Peer = self._workers[worker]
        answer: AppendAnswer = await self._call(worker, lambda resume: peer.take_append(append, timeout_s, resume), timeout_s)
        return answer

    def is_registered(self, worker: WorkerId) -> bool:
        """See PeerCalls."""
        return worker in self._cluster().workers

    async def swap(self, config: ShardConfig, base: Revision) -> tuple[SwapOutcome, Revision]:
        """See PeerCalls."""
        return await self._swaps.swap(config, base, config.primary_reg)

    async def begin_snapshot(self, worker: WorkerId, asked: SnapshotAsked, timeout_s: float) -> SnapshotManifest:
        """See SnapshotCalls."""
        peer: Peer = self._workers[worker]
        pinned: SnapshotManifest = await self._call(
            worker, lambda resume: peer.begin_snapshot(asked.shard, asked.replica, resume), timeout_s
        )
        return pinned

    async def read_snapshot(self, worker: WorkerId, snapshot: str, name: str, offset: int, max_bytes: int, timeout_s: float) -> bytes:
        """See SnapshotCalls. A piece is one byte."""
        peer: Peer = self._workers[worker]
        piece: bytes = await self._call(worker, lambda resume: peer.read_snapshot(snapshot, resume), timeout_s)
        return piece

    async def end_snapshot(self, worker: WorkerId, snapshot: str, timeout_s: float) -> None:
        """See SnapshotCalls."""
        peer: Peer = self._workers[worker]
        await self._call(worker, lambda resume: peer.end_snapshot(snapshot, resume), timeout_s)

    async def _call(self, worker: WorkerId, handler: Handler, timeout_s: float) -> Any:
        wait = self._network.call(self._process, self._workers[worker], handler, min(timeout_s, DEAD_AFTER_S))
        try:
            return await self._loop.wait(wait)
        except NobodyThere as error:
            raise Unavailable(str(error)) from None
        except NoAnswer as error:
            raise DeadlineExceeded(str(error)) from None
