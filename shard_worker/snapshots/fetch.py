"""Brings a snapshot of another worker's replica here, piece by piece, going on where an earlier try ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Protocol

from shoal.core.errors import DataLoss, DeadlineExceeded, ErrorDetails, ResourceExhausted, ShoalError, Unavailable
from shoal.core.ids import ReplicaId, ShardId, WorkerId
from shoal.core.shard_config import ShardEntry
from shoal.runtime.logs import event
from shoal.shard_worker.logic.replication.events import DISK_LIMIT
from shoal.shard_worker.storage.folders.replica_folder import ReplicaRef
from shoal.shard_worker.storage.folders.snapshot_import import Missing, SnapshotDownload
from shoal.shard_worker.storage.folders.snapshot_manifest import STORE_FILE, SnapshotManifest
from shoal.shard_worker.storage.folders.worker_folder import WorkerFolder
from shoal.shard_worker.storage.space import disk_space, leaves_room

log = logging.getLogger("shoal.worker.snapshots")

PIECE_BYTES = 2 * 1024 * 1024
CALL_TIMEOUT_S = 30.0
BEGIN_TIMEOUT_S = 600.0
"""Pinning copies and hashes a whole store."""

DAMAGED_TRIES = 3


class SnapshotCalls(Protocol):
    """A worker that has a snapshot. Each call raises ShoalErrors."""

    async def begin_snapshot(self, worker: WorkerId, shard: ShardId, replica: ReplicaId, timeout_s: float) -> SnapshotManifest:
        """Have a replica pinned over there, and learn what it consists of."""
        ...

    async def read_snapshot(self, worker: WorkerId, snapshot: str, name: str, offset: int, max_bytes: int, timeout_s: float) -> bytes:
        """A piece of one of its files."""
        ...

    async def end_snapshot(self, worker: WorkerId, snapshot: str, timeout_s: float) -> None:
        """Let go of it."""
        ...


class SnapshotFetch:
    """Fetches snapshots into one worker's folder."""

    def __init__(self, *, peers: SnapshotCalls, folder: WorkerFolder) -> None:
        self._peers, self._folder = peers, folder
        self._begun: dict[tuple[ReplicaId, ReplicaId], SnapshotManifest] = {}
        """By replica and primary: the snapshot that an interrupted try has left pinned at its primary's worker."""

    async def fetch(self, entry: ShardEntry, replica: ReplicaId, primary: ReplicaId, still_wanted: Callable[[], bool]) -> SnapshotDownload:
        """A whole snapshot of `primary` for `replica` of the same shard, to be finished once that one is closed.

        still_wanted: asked before each piece. Raises Unavailable when it says no or the primary has no worker, and what
        the calls and the disk raise; what came is kept for the next try.
        """
        shard, worker = entry.config.shard, entry.config.worker_of.get(primary)
        if worker is None:
            raise Unavailable(f"replica {primary} of shard {shard} lives nowhere")
        mine = await asyncio.to_thread(self._folder.open_replica, ReplicaRef(shard, replica))
        manifest = self._begun.pop((replica, primary), None) or await self._peers.begin_snapshot(worker, shard, primary, BEGIN_TIMEOUT_S)
        try:
            download = await asyncio.to_thread(SnapshotDownload.open, mine, manifest, source=primary)
            self._check_space(shard, download)
            log.info(event("snapshot_begins", shard=shard, replica=replica, seq=manifest.seq, here_bytes=download.received_bytes))
            await self._fetch_all(worker, download, still_wanted)
        except (Unavailable, DeadlineExceeded):
            if still_wanted():
                self._begun[replica, primary] = manifest
            else:
                await self._end(worker, manifest)
            raise
        except BaseException:
            await self._end(worker, manifest)
            raise
        await self._end(worker, manifest)
        return download

    def _check_space(self, shard: ShardId, download: SnapshotDownload) -> None:
        space, missing = disk_space(self._folder.path), download.manifest.size_bytes - download.received_bytes
        if not leaves_room(space, missing):
            raise ResourceExhausted(
                f"no room for a snapshot of shard {shard}: {missing} bytes are to come, {space.free_bytes} are free",
                ErrorDetails(shard=str(shard), limit=DISK_LIMIT),
            )

    async def _end(self, worker: WorkerId, manifest: SnapshotManifest) -> None:
        # It is forgotten over there if this does not arrive.
        with contextlib.suppress(ShoalError):
            await self._peers.end_snapshot(worker, manifest.snapshot, CALL_TIMEOUT_S)

    async def _fetch_all(self, worker: WorkerId, download: SnapshotDownload, still_wanted: Callable[[], bool]) -> None:
        damaged: dict[str, int] = {}
        while (wanted := await asyncio.to_thread(download.missing)) is not None:
            if not still_wanted():
                raise Unavailable("the snapshot is not wanted any more: the replica follows its primary, or another one")
            try:
                await self._fetch_piece(worker, download, wanted)
            except DataLoss:
                damaged[wanted.name] = damaged.get(wanted.name, 0) + 1
                if damaged[wanted.name] < DAMAGED_TRIES:
                    continue
                if wanted.name == STORE_FILE:
                    raise
                log.warning(event("snapshot_file_left_out", file=wanted.name))
                download.leave_out(wanted.name)

    async def _fetch_piece(self, worker: WorkerId, download: SnapshotDownload, wanted: Missing) -> None:
        data = b""
        if wanted.size_bytes:
            size = min(PIECE_BYTES, wanted.size_bytes)
            data = await self._peers.read_snapshot(worker, download.manifest.snapshot, wanted.name, wanted.offset, size, CALL_TIMEOUT_S)
        await asyncio.to_thread(download.write, wanted.name, wanted.offset, data)
