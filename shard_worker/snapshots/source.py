"""The snapshots that other workers fetch from this one: pinned, sent in pieces at a bounded rate, released at the end.

Owns the pins of this process. Snapshots for repair and those for moves have each a rate and a number of pins of their
own, so that moves never hold up repair. Releases pins that are no longer read.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from shoal.core.errors import ErrorDetails, NotFound, ResourceExhausted, ShoalError, Unavailable
from shoal.core.ids import ShardId
from shoal.runtime.clock import boot_s
from shoal.runtime.logs import event
from shoal.shard_worker.hosting.host import Host
from shoal.shard_worker.logic.replication.events import DISK_LIMIT
from shoal.shard_worker.replica.replica import Replica
from shoal.shard_worker.snapshots.pace import SendingPace
from shoal.shard_worker.storage.folders.snapshot_export import PinnedSnapshot, read_piece
from shoal.shard_worker.storage.folders.snapshot_manifest import SnapshotAsked, SnapshotManifest
from shoal.shard_worker.storage.space import disk_space, leaves_room

log = logging.getLogger("shoal.worker.snapshots")

MOST_PINS = 4
"""Snapshots that are fetched at once for repair, and as many for moves."""

FORGOTTEN_AFTER_S = 300.0


@dataclass
class _Pin:
    snapshot: PinnedSnapshot
    move: bool
    read_at: float
    readers: int = 0


class SnapshotSource:
    """The snapshots of one worker. Used on the event loop; `close` it after the last call."""

    def __init__(self, *, host: Host, folder: Path, bytes_per_s: float, move_bytes_per_s: Callable[[], float]) -> None:
        """folder: the worker's data folder; bytes_per_s: of all pieces for repair together; move_bytes_per_s: returns
        the present rate of all pieces for moves together.
        """
        self._host, self._folder = host, folder
        self._paces = {False: SendingPace(lambda: bytes_per_s), True: SendingPace(move_bytes_per_s)}
        self._pins: dict[str, _Pin] = {}
        self._beginning: dict[asyncio.Task[SnapshotManifest], bool] = {}
        self._ending: set[asyncio.Task[None]] = set()

    async def begin(self, asked: SnapshotAsked) -> SnapshotManifest:
        """Pin a replica in its current state.

        Raises Unavailable if it is not open here, ResourceExhausted for too many pins or no space on the disk,
        StorageFailed.
        """
        shard, found = asked.shard, self._host.replica(asked.shard)
        if found.id != asked.replica:
            raise Unavailable(f"replica {asked.replica} of shard {shard} is not here")
        await self.forget_silent()
        pins = sum(each is asked.move for each in (*(pin.move for pin in self._pins.values()), *self._beginning.values()))
        if pins >= MOST_PINS:
            purpose = "moves" if asked.move else "repair"
            raise ResourceExhausted(f"{pins} snapshots for {purpose} are being fetched from this worker, at most {MOST_PINS} may be")
        try:
            self._check_space(shard, found.stats_now().bytes)
        except ResourceExhausted:
            found.refused_snapshot()
            raise
        pinning = asyncio.create_task(self._pin(asked, found))
        self._beginning[pinning] = asked.move
        pinning.add_done_callback(self._beginning.pop)
        try:
            return await asyncio.shield(pinning)
        except asyncio.CancelledError:
            # The caller is gone. The thread goes on, so release its snapshot when it is done.
            pinning.add_done_callback(self._let_go)
            raise

    async def _pin(self, asked: SnapshotAsked, replica: Replica) -> SnapshotManifest:
        shard = asked.shard
        into = self._folder / shard.collection / str(shard.number)
        if asked.tuning:
            await replica.vectors.save()
        pinned = await replica.snapshot(lambda engine: engine.pin_snapshot(into, tuning=asked.tuning))
        manifest = replace(pinned.manifest, memory_bytes=self._host.memory.awake_bytes_of(shard))
        self._pins[manifest.snapshot] = _Pin(snapshot=pinned, move=asked.move, read_at=boot_s())
        fields = {"seq": manifest.seq, "bytes": manifest.size_bytes, "move": asked.move}
        log.info(event("snapshot_pinned", shard=shard, snapshot=manifest.snapshot, **fields))
        return manifest

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
        """Return a piece of a file, with fewer bytes if the rate is low.

        Raises NotFound if the snapshot is not pinned, InvalidArgument, DataLoss.
        """
        pin = self._pins.get(snapshot)
        if pin is None:
            raise NotFound(f"snapshot {snapshot} is not pinned here")
        pin.readers += 1
        try:
            pace = self._paces[pin.move]
            data = await asyncio.to_thread(read_piece, pin.snapshot, name, offset, pace.most_bytes(max_bytes))
            await pace.wait(len(data))
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
