"""Exports a snapshot: an immutable copy of a replica's applied state, pinned in a folder of its own.

The store is copied at one moment. Its index files, and what was measured of searches, are hard-linked, so that they
outlive their deletion. Owns the pinned folder, which a restart of the worker deletes. Gives out only the files that the
manifest names.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shoal.core.errors import DataLoss, InvalidArgument, NotFound
from shoal.core.ids import Seq, Term
from shoal.runtime.fault_points import fault_point
from shoal.shard_worker.storage.checksum import file_sha256
from shoal.shard_worker.storage.durable import make_folder
from shoal.shard_worker.storage.failure import read_failure, writes_retyped
from shoal.shard_worker.storage.folders.replica_folder import ReplicaFolder
from shoal.shard_worker.storage.folders.snapshot_manifest import (
    MOST_TUNING_BYTES,
    SEGMENTS_FOLDER,
    STORE_FILE,
    TUNING_FOLDER,
    SnapshotFile,
    SnapshotManifest,
    is_tuning,
)
from shoal.shard_worker.storage.store.points_store import PointsStore
from shoal.shard_worker.storage.store.small_tables import SegmentEntry

PINNED_PREFIX = ".pin-"

MOST_PIECE_BYTES = 4 * 1024 * 1024

_TRIES = 3
"""Tries to link all index files of one state of the store; a file that was just replaced may be deleted before it is
linked.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class PinnedSnapshot:
    """A snapshot that stays on disk until it is released. path: its folder."""

    manifest: SnapshotManifest
    path: Path

    def release(self) -> None:
        """Delete it; a second call does nothing. Raises StorageFailed."""
        with writes_retyped(f"snapshot {self.path}"):
            if self.path.exists():
                shutil.rmtree(self.path)


def pin_snapshot(
    folder: ReplicaFolder, store: PointsStore, term_of: Callable[[Seq], Term], into: Path, *, tuning: bool = True
) -> PinnedSnapshot:
    """Copy the applied state of an open replica into a new folder below `into`, while writing goes on.

    `into` is on the same file system. Call it from any thread; it must end before the store is closed. term_of: returns
    the term of the record at an applied seq; tuning: measurements of searches go with it. A missing index file is left
    out: a replica that opens the copy builds it again. Raises DataLoss for damage, StorageFailed; nothing is left then.
    """
    snapshot = str(uuid.uuid4())
    path = into / f"{PINNED_PREFIX}{snapshot}"
    try:
        with writes_retyped(f"snapshot {path}"):
            make_folder(path / SEGMENTS_FOLDER)
            applied_seq, segments = _copy(folder, store, path)
            fault_point("pin.copied")
            measured = _link_tuning(folder.path, path) if tuning else ()
            files = (_hashed(path, STORE_FILE), *segments, *measured)
        manifest = SnapshotManifest(snapshot=snapshot, term=term_of(applied_seq), seq=applied_seq, files=files)
    except BaseException:
        # files that cannot be deleted now are deleted at the next start
        shutil.rmtree(path, ignore_errors=True)
        raise
    return PinnedSnapshot(manifest=manifest, path=path)


def read_piece(pinned: PinnedSnapshot, name: str, offset: int, max_bytes: int) -> bytes:
    """Return bytes of one file from `offset` on: max_bytes, or fewer at its end.

    Raises NotFound if the manifest does not have the name or the snapshot is released, InvalidArgument if the offset is
    after the file's end or max_bytes is not from 1 to MOST_PIECE_BYTES, DataLoss if the file has become shorter.
    """
    file = next((each for each in pinned.manifest.files if each.name == name), None)
    if file is None:
        raise NotFound(f"snapshot {pinned.manifest.snapshot} has no file {name!r}")
    if not 0 <= offset <= file.size_bytes or not 1 <= max_bytes <= MOST_PIECE_BYTES:
        raise InvalidArgument(
            f"{max_bytes} bytes at offset {offset} of {name} cannot be read: it has {file.size_bytes}, a piece at most {MOST_PIECE_BYTES}"
        )
    wanted = min(max_bytes, file.size_bytes - offset)
    try:
        with (pinned.path / name).open("rb") as stream:
            stream.seek(offset)
            data = stream.read(wanted)
    except FileNotFoundError:
        raise NotFound(f"snapshot {pinned.manifest.snapshot} is released") from None
    except OSError as error:
        raise read_failure(error, str(pinned.path / name)) from error
    if len(data) < wanted:
        raise DataLoss(f"{pinned.path / name} has fewer than the {file.size_bytes} bytes it had")
    return data


def _copy(folder: ReplicaFolder, store: PointsStore, path: Path) -> tuple[Seq, tuple[SnapshotFile, ...]]:
    """Link the index files of one state of the store, then copy the state. Return its seq and the linked files."""
    for left in reversed(range(_TRIES)):
        with store.frozen() as state:
            linked = [entry for entry in state.segments if _link(folder.segments_path / entry.name, path / SEGMENTS_FOLDER / entry.name)]
            if len(linked) == len(state.segments) or not left:
                state.copy_to(path / STORE_FILE)
                return state.applied_seq, tuple(_segment_file(entry) for entry in linked)
        for entry in linked:
            (path / SEGMENTS_FOLDER / entry.name).unlink()
    raise AssertionError("the last try takes what there is")


def _link(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except FileNotFoundError:
        return False
    return True


def _link_tuning(replica: Path, path: Path) -> tuple[SnapshotFile, ...]:
    """Link the files of measurements, which are replaced as a whole and never changed. Return them, sorted by name."""
    found = sorted(each.relative_to(replica).as_posix() for each in (replica / TUNING_FOLDER).rglob("*") if each.is_file())
    linked = []
    for name in filter(is_tuning, found):
        make_folder((path / name).parent)
        if _link(replica / name, path / name) and (path / name).stat().st_size <= MOST_TUNING_BYTES:
            linked.append(_hashed(path, name))
    return tuple(linked)


def _hashed(path: Path, name: str) -> SnapshotFile:
    file = path / name
    return SnapshotFile(name=name, size_bytes=file.stat().st_size, sha256=file_sha256(file))


def _segment_file(entry: SegmentEntry) -> SnapshotFile:
    return SnapshotFile(name=f"{SEGMENTS_FOLDER}/{entry.name}", size_bytes=entry.size_bytes, sha256=entry.sha256)
