"""Fetches a snapshot of another worker's replica, piece by piece. A later try continues an earlier one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from shoal.core.errors import DataLoss, DeadlineExceeded, ErrorDetails, ResourceExhausted, ShoalError, Unavailable
from shoal.core.ids import ReplicaId, ShardId, WorkerId
from shoal.core.shard_calls import SnapshotProgress
from shoal.core.shard_config import ShardConfig, ShardEntry
from shoal.runtime.clock import boot_s
from shoal.runtime.logs import event
from shoal.shard_worker.logic.replication.events import DISK_LIMIT
from shoal.shard_worker.resources.memory import MEMORY_LIMIT
from shoal.shard_worker.snapshots.meter import SnapshotMeter
from shoal.shard_worker.storage.folders.replica_folder import ReplicaRef
from shoal.shard_worker.storage.folders.snapshot_import import Missing, SnapshotDownload
from shoal.shard_worker.storage.folders.snapshot_manifest import STORE_FILE, SnapshotAsked, SnapshotManifest
from shoal.shard_worker.storage.folders.worker_folder import WorkerFolder
from shoal.shard_worker.storage.space import DiskSpace, disk_space, leaves_room

log = logging.getLogger("shoal.worker.snapshots")

PIECE_BYTES = 2 * 1024 * 1024
CALL_TIMEOUT_S = 30.0
BEGIN_TIMEOUT_S = 600.0
"""Long, since pinning copies and hashes a whole store."""

DAMAGED_TRIES = 3


class SnapshotCalls(Protocol):
    """Calls to the worker that has a snapshot. Each raises ShoalErrors."""

    async def begin_snapshot(self, worker: WorkerId, asked: SnapshotAsked, timeout_s: float) -> SnapshotManifest:
        """Pin a replica at that worker. Return the list of its files."""
        ...

    async def read_snapshot(self, worker: WorkerId, snapshot: str, name: str, offset: int, max_bytes: int, timeout_s: float) -> bytes:
        """Return a piece of one of its files."""
        ...

    async def end_snapshot(self, worker: WorkerId, snapshot: str, timeout_s: float) -> None:
        """Release the pin."""
        ...


class Download(Protocol):
    """A snapshot that is being written to this worker's disk: see SnapshotDownload. Its methods block."""

    manifest: SnapshotManifest

    @property
    def received_bytes(self) -> int:
        """See SnapshotDownload."""
        ...

    def missing(self) -> Missing | None:
        """See SnapshotDownload."""
        ...

    def write(self, name: str, offset: int, data: bytes) -> None:
        """See SnapshotDownload."""
        ...

    def leave_out(self, name: str) -> None:
        """See SnapshotDownload."""
        ...

    def discard(self) -> None:
        """See SnapshotDownload."""
        ...


D = TypeVar("D", bound=Download)
D_co = TypeVar("D_co", bound=Download, covariant=True)


class Downloads(Protocol[D_co]):
    """The snapshots of this worker that are not whole yet."""

    def open(self, shard: ShardId, replica: ReplicaId, manifest: SnapshotManifest, source: ReplicaId) -> D_co:
        """Begin or continue the download of a snapshot of `source` for `replica`. Blocks. Raises ShoalErrors."""
        ...

    def space(self) -> DiskSpace:
        """Return the space on the disk. Does not block."""
        ...


class FolderDownloads:
    """Downloads into the folders of one worker."""

    def __init__(self, folder: WorkerFolder) -> None:
        self._folder = folder

    def open(self, shard: ShardId, replica: ReplicaId, manifest: SnapshotManifest, source: ReplicaId) -> SnapshotDownload:
        """See Downloads."""
        return SnapshotDownload.open(self._folder.open_replica(ReplicaRef(shard, replica)), manifest, source=source)

    def space(self) -> DiskSpace:
        """See Downloads."""
        return disk_space(self._folder.path)


class SnapshotFetch(Generic[D]):
    """Fetches snapshots for the replicas of one worker."""

    def __init__(
        self,
        *,
        peers: SnapshotCalls,
        downloads: Downloads[D],
        refusal: Callable[[ShardId, int], str | None] = lambda shard, memory_bytes: None,
        fetches: dict[ReplicaId, Callable[[], SnapshotProgress]] | None = None,
    ) -> None:
        """refusal: returns why the replica of a shard may not take so many bytes of memory, None if it may; fetches: is
        told of the progress of each fetch, as long as it lasts.
        """
        self._peers, self._downloads, self._refusal = peers, downloads, refusal
        self._fetches = {} if fetches is None else fetches
        self._coming: dict[ReplicaId, int] = {}
        """Memory that the replicas will take whose snapshots are fetched now."""
        self._begun: dict[tuple[ReplicaId, ReplicaId], SnapshotManifest] = {}
        """By replica and primary: the snapshot that an interrupted try left pinned at the primary's worker."""

    async def fetch(self, entry: ShardEntry, replica: ReplicaId, primary: ReplicaId, still_wanted: Callable[[], bool]) -> D:
        """Return a whole snapshot of `primary` for `replica` of the same shard. Finish it after that replica is closed.

        still_wanted: called before each piece. Raises Unavailable if it returns False or the primary has no worker,
        ResourceExhausted if there is no room on the disk or in memory, and the errors of the calls and the disk.
        Fetched pieces are kept for the next try, unless there is no room.
        """
        meter = SnapshotMeter(boot_s)
        self._fetches[replica] = meter.progress
        try:
            return await self._fetched(entry.config, replica, primary, still_wanted, meter)
        finally:
            del self._fetches[replica]
            self._coming.pop(replica, None)

    async def _fetched(
        self, config: ShardConfig, replica: ReplicaId, primary: ReplicaId, still_wanted: Callable[[], bool], meter: SnapshotMeter
    ) -> D:
        shard, worker = config.shard, config.worker_of.get(primary)
        if worker is None:
            raise Unavailable(f"replica {primary} of shard {shard} has no worker in the configuration")
        manifest = self._begun.pop((replica, primary), None)
        if manifest is None:
            moves = config.move is not None and config.move.target == replica
            manifest = await self._peers.begin_snapshot(worker, SnapshotAsked(shard=shard, replica=primary, move=moves), BEGIN_TIMEOUT_S)
        try:
            download = await asyncio.to_thread(self._downloads.open, shard, replica, manifest, primary)
            await self._check_room(shard, replica, download)
            log.info(event("snapshot_begins", shard=shard, replica=replica, seq=manifest.seq, here_bytes=download.received_bytes))
            meter.begins(total_bytes=download.manifest.size_bytes, done_bytes=download.received_bytes)
            await self._fetch_all(worker, download, still_wanted, meter)
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

    async def _check_room(self, shard: ShardId, replica: ReplicaId, download: D) -> None:
        """Raise ResourceExhausted, before a piece is fetched, if there is no room for all. Nothing is left then."""
        space, missing = self._downloads.space(), download.manifest.size_bytes - download.received_bytes
        need_bytes = download.manifest.memory_bytes
        reason, limit = self._refusal(shard, need_bytes + sum(self._coming.values())), MEMORY_LIMIT
        if not leaves_room(space, missing):
            reason, limit = f"{missing} more bytes are needed, {space.free_bytes} are free", DISK_LIMIT
        self._coming[replica] = need_bytes
        if reason is not None:
            await asyncio.to_thread(download.discard)
            raise ResourceExhausted(f"no room for a snapshot of shard {shard}: {reason}", ErrorDetails(shard=str(shard), limit=limit))

    async def _end(self, worker: WorkerId, manifest: SnapshotManifest) -> None:
        # If this call fails, the other worker releases the pin later by itself.
        with contextlib.suppress(ShoalError):
            await self._peers.end_snapshot(worker, manifest.snapshot, CALL_TIMEOUT_S)

    async def _fetch_all(self, worker: WorkerId, download: D, still_wanted: Callable[[], bool], meter: SnapshotMeter) -> None:
        damaged: dict[str, int] = {}
        while (wanted := await asyncio.to_thread(download.missing)) is not None:
            if not still_wanted():
                raise Unavailable("the snapshot is no longer needed: the replica follows its primary again, or another one")
            try:
                meter.adds(await self._fetch_piece(worker, download, wanted))
            except DataLoss:
                meter.adds(-wanted.offset)
                damaged[wanted.name] = damaged.get(wanted.name, 0) + 1
                if damaged[wanted.name] < DAMAGED_TRIES:
                    continue
                if wanted.name == STORE_FILE:
                    raise
                log.warning(event("snapshot_file_left_out", file=wanted.name))
                download.leave_out(wanted.name)

    async def _fetch_piece(self, worker: WorkerId, download: D, wanted: Missing) -> int:
        data = b""
        if wanted.size_bytes:
            size = min(PIECE_BYTES, wanted.size_bytes)
            data = await self._peers.read_snapshot(worker, download.manifest.snapshot, wanted.name, wanted.offset, size, CALL_TIMEOUT_S)
        await asyncio.to_thread(download.write, wanted.name, wanted.offset, data)
        return len(data)
