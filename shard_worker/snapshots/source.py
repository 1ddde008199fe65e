"""The snapshots that other workers fetch from this one: pinned, sent in pieces at a bounded rate, released at the end.

Owns the pins of this process. Refuses more than MOST_PINS at once, and releases pins that are no longer read.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from pathlib import Path

from shoal.core.errors import ErrorDetails, NotFound, ResourceExhausted, ShoalError, Unavailable
from shoal.core.ids import ReplicaId, ShardId
from shoal.runtime.clock import boot_s
from shoal.runtime.logs import event
from shoal.shard_worker.hosting.host import Host
from shoal.shard_worker.logic.replication.events import DISK_LIMIT
from shoal.shard_worker.replica.replica import Replica
from shoal.shard_worker.storage.folders.snapshot_export import PinnedSnapshot, read_piece
from shoal.shard_worker.storage.folders.snapshot_manifest import SnapshotManifest
from shoal.shard_worker.storage.space import disk_space, leaves_room

log = logging.getLogger("shoal.worker.snapshots")

MOST_PINS = 4
FORGOTTEN_AFTER_S = 300.0


@dataclass
class _Pin:
    snapshot: PinnedSnapshot
    read_at: float
    readers: int = 0


class SnapshotSource:
    """The snapshots of one worker. Used on the event loop; `close` it after the last call."""

    def __init__(self, *, host: Host, folder: Path, bytes_per_s: float) -> None:
        """folder: the worker's data folder; bytes_per_s: of all pieces together."""
        self._host, self._folder, self._bytes_per_s = host, folder, bytes_per_s
        self._pins: dict[str, _Pin] = {}
        self._beginning: set[asyncio.Task[SnapshotManifest]] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._free_at = 0.0

    async def begin(self, shard: ShardId, replica: ReplicaId) -> SnapshotManifest:
        """Pin a replica in its current state.

        Raises Unavailable if it is not open here, ResourceExhausted for too many pins or no space on the disk,
        StorageFailed.
        """
        found = self._host.replica(shard)
        if found.id != replica:
            raise Unavailable(f"replica {replica} of shard {shard} is not here")
        await self.forget_silent()
        if len(self._pins) + len(self._beginning) >= MOST_PINS:
            raise ResourceExhausted(f"{len(self._pins)} snapshots are being fetched from this worker, at most {MOST_PINS} may be")
        self._check_space(shard, found.stats_now().bytes)
        pinning = asyncio.create_task(self._pin(shard, found))
        self._beginning.add(pinning)
        pinning.add_done_callback(self._beginning.discard)
        try:
            return await asyncio.shield(pinning)
        except asyncio.CancelledError:
            # The caller is gone. The thread goes on, so release its snapshot when it is done.
            pinning.add_done_callback(self._let_go)
            raise

    async def _pin(self, shard: ShardId, replica: Replica) -> SnapshotManifest:
        into = self._folder / shard.collection / str(shard.number)
        pinned = await replica.snapshot(lambda engine: engine.pin_snapshot(into))
        self._pins[pinned.manifest.snapshot] = _Pin(snapshot=pinned, read_at=boot_s())
        size = sum(file.size_bytes for file in pinned.manifest.files)
        log.info(event("snapshot_pinned", shard=shard, snapshot=pinned.manifest.snapshot, seq=pinned.manifest.seq, bytes=size))
        return pinned.manifest

    def _let_go(self, pinning: asyncio.Task[SnapshotManifest]) -> None:
        if not pinning.cancelled() and pinning.exception() is None:
            ending = asyncio.create_task(self.end(pinning.result().snapshot))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)

    def _check_space(self, shard: ShardId, size_bytes: int) -> None:
        """Check that a copy does not fill the disk to the bound at which upserts are refused."""
        space = disk_space(self._folder)
        if not leaves_room(space, size_bytes):
            raise ResourceExhausted(
                f"no room to pin a snapshot of shard {shard}: it may take {size_bytes} bytes, {space.free_bytes} are free",
                ErrorDetails(shard=str(shard), limit=DISK_LIMIT),
            )

    async def read(self, snapshot: str, name: str, offset: int, max_bytes: int) -> bytes:
        """Return a piece of a file. Raises NotFound if the snapshot is not pinned, InvalidArgument, DataLoss."""
        pin = self._pins.get(snapshot)
        if pin is None:
            raise NotFound(f"snapshot {snapshot} is not pinned here")
        pin.readers += 1
        try:
            data = await asyncio.to_thread(read_piece, pin.snapshot, name, offset, max_bytes)
            await self._wait_for_turn(len(data))
        finally:
            pin.readers -= 1
            pin.read_at = boot_s()
        return data

    async def end(self, snapshot: str) -> None:
        """Release a snapshot; does nothing if it is already released."""
        pin = self._pins.pop(snapshot, None)
        if pin is not None:
            await asyncio.to_thread(pin.snapshot.release)

    async def close(self) -> None:
        """Release all snapshots. Files that cannot be deleted now are deleted at the next start."""
        await asyncio.gather(*self._beginning, *self._ending, return_exceptions=True)
        for snapshot in list(self._pins):
            with contextlib.suppress(ShoalError):
                await self.end(snapshot)

    async def forget_silent(self) -> None:
        """Release snapshots that were not read for long. Files that cannot be deleted are deleted at the next start."""
        before = boot_s() - FORGOTTEN_AFTER_S
        for snapshot in [each for each, pin in self._pins.items() if pin.read_at < before and not pin.readers]:
            log.warning(event("snapshot_forgotten", snapshot=snapshot))
            try:
                await self.end(snapshot)
            except ShoalError as error:
                log.warning(event("snapshot_not_deleted", snapshot=snapshot, reason=error.message))

    async def _wait_for_turn(self, size: int) -> None:
        """Wait so that all pieces together, to all readers, keep the rate."""
        now = boot_s()
        begins = max(now, self._free_at)
        self._free_at = begins + size / self._bytes_per_s
        await asyncio.sleep(begins - now)
