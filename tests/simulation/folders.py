"""The folders of one worker and the snapshots that are fetched into them: the disk side of the product's Assignments
and SnapshotFetch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from shoal.core.collection import CollectionSpec
from shoal.core.errors import DataLoss, ErrorDetails, Internal, ResourceExhausted
from shoal.core.ids import ReplicaId, Seq, ShardId, Term
from shoal.shard_worker.logic.replication.events import DISK_LIMIT
from shoal.shard_worker.resources.open_stores import OpenStores, StoreUse
from shoal.shard_worker.storage.folders import snapshot_manifest
from shoal.shard_worker.storage.folders.snapshot_import import Missing
from shoal.shard_worker.storage.folders.snapshot_manifest import STORE_FILE, SnapshotManifest
from shoal.shard_worker.storage.space import DiskSpace
from tests.simulation.disk import ReplicaDisk, Store, WorkerDisk
from tests.simulation.replica import Replica
from tests.simulation.scheduler import Process
from tests.simulation.virtual_loop import block

OPEN_S = (0.01, 0.3)
PIECE_S = 0.2
GIVEN_UP_S = 5.0
"""After so long without a piece, a snapshot is taken for given up."""
ROOMY, FULL = DiskSpace(used_bytes=0, free_bytes=1 << 40), DiskSpace(used_bytes=1 << 40, free_bytes=0)


class FolderWatcher(Protocol):
    """Checks what happens to folders."""

    def created(self, disk: ReplicaDisk) -> None: ...
    def dropped(self, disk: ReplicaDisk) -> None: ...
    def installed(self, disk: ReplicaDisk) -> None: ...


@dataclass(frozen=True, kw_only=True)
class PinnedStore(SnapshotManifest):
    """A manifest together with its content. Its one file has as many bytes as pieces; the bytes have no meaning."""

    store: Store


class SimDownload:
    """A snapshot that is being fetched for one replica."""

    def __init__(self, process: Process, folder: tuple[ShardId, ReplicaId], pinned: PinnedStore) -> None:
        self._process, self.folder = process, folder
        self.manifest: SnapshotManifest = pinned
        self.store = pinned.store
        self.received_bytes, self.grew_at = 0, process.scheduler.now

    @property
    def seq(self) -> Seq:
        """See SnapshotDownload."""
        return self.manifest.seq

    def missing(self) -> Missing | None:
        """See SnapshotDownload."""
        left = self.manifest.size_bytes - self.received_bytes
        return Missing(name=STORE_FILE, offset=self.received_bytes, size_bytes=left) if left else None

    def write(self, name: str, offset: int, data: bytes) -> None:
        """See SnapshotDownload."""
        block(self._process.sleep(PIECE_S))
        assert offset == self.received_bytes, f"a piece from {offset} on comes after {self.received_bytes} bytes"
        self.received_bytes += len(data)
        self.grew_at = self._process.scheduler.now

    def leave_out(self, name: str) -> None:
        """See SnapshotDownload."""
        raise Internal(f"a replica cannot do without {name}")

    def discard(self) -> None:
        """See SnapshotDownload."""
        self.received_bytes = 0


class SimDownloads:
    """The Downloads of one life of a worker."""

    def __init__(self, process: Process, disk: WorkerDisk) -> None:
        self._process, self._disk = process, disk
        self._coming: dict[tuple[ShardId, ReplicaId], SimDownload] = {}

    def open(self, shard: ShardId, replica: ReplicaId, manifest: SnapshotManifest, source: ReplicaId) -> SimDownload:
        """See Downloads."""
        assert isinstance(manifest, PinnedStore)
        folder = (shard, replica)
        found = self._coming.get(folder)
        if found is None or found.manifest.snapshot != manifest.snapshot:
            found = self._coming[folder] = SimDownload(self._process, folder, manifest)
        return found

    def progress(self, folder: tuple[ShardId, ReplicaId]) -> tuple[int, int] | None:
        """Return how many bytes have come for a replica, and of how many; None if none are coming."""
        found = self._coming.get(folder)
        if found is None or found.missing() is None or self._process.scheduler.now - found.grew_at > GIVEN_UP_S:
            return None
        return found.received_bytes, found.manifest.size_bytes

    def space(self) -> DiskSpace:
        """See Downloads."""
        return FULL if self._disk.full else ROOMY


class SimFolders:
    """The folders of one worker, in one life of its process. open_replica: returns a replica over a disk."""

    def __init__(
        self,
        process: Process,
        disk: WorkerDisk,
        watcher: FolderWatcher,
        stores: OpenStores,
        open_replica: Callable[[ReplicaDisk, CollectionSpec, StoreUse], Replica],
    ) -> None:
        self._process, self._disk, self._watcher, self._stores, self._open_replica = process, disk, watcher, stores, open_replica

    def existing(self) -> frozenset[tuple[ShardId, ReplicaId]]:
        """See WorkerReplicaFolders."""
        return frozenset(self._disk.folders)

    async def create(self, shard: ShardId, replica: ReplicaId, spec: CollectionSpec) -> None:
        """See WorkerReplicaFolders."""
        self._disk.folders[shard, replica] = disk = ReplicaDisk(shard, replica, self._disk.replay_bytes)
        self._watcher.created(disk)

    async def open(self, shard: ShardId, replica: ReplicaId, spec: CollectionSpec) -> Replica:
        """See WorkerReplicaFolders."""
        await asyncio.sleep(self._process.scheduler.random.uniform(*OPEN_S))
        disk = self._disk.folders.get((shard, replica))
        if disk is None or disk.damaged:
            raise DataLoss(f"the folder of replica {replica} is missing or damaged")
        if not self._disk.opens:
            raise ResourceExhausted("no room to open it", ErrorDetails(limit=DISK_LIMIT))
        use = self._stores.use()
        async with use:
            return self._open_replica(disk, spec, use)

    async def set_aside(self, shard: ShardId, replica: ReplicaId) -> None:
        """See WorkerReplicaFolders."""
        self._disk.aside[shard, replica] = self._disk.folders.pop((shard, replica))

    async def install(self, download: SimDownload) -> None:
        """See WorkerReplicaFolders."""
        assert download.missing() is None, "a snapshot is installed before it is whole"
        disk, manifest = self._disk.folders[download.folder], download.manifest
        snapshot_manifest.check_keeps_applied(manifest, disk.replica, Seq(disk.store.applied))
        snapshot_manifest.check_keeps_promises(manifest, disk.replica, (Term(disk.last_term), Seq(disk.last_seq)))
        disk.install(download.store, manifest.term)
        self._watcher.installed(disk)

    async def discard(self, download: SimDownload) -> None:
        """See WorkerReplicaFolders."""

    async def drop(self, shard: ShardId, replica: ReplicaId, *, with_asides: bool) -> None:
        """See WorkerReplicaFolders."""
        for key in sorted(self._disk.folders):
            if key == (shard, replica) or (with_asides and key[0] == shard):
                self._watcher.dropped(self._disk.folders.pop(key))
        if with_asides:
            self._disk.aside = {key: disk for key, disk in self._disk.aside.items() if key[0] != shard}
