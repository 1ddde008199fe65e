"""Imports a snapshot of another replica: fetches it in pieces into a folder beside the replica's, then replaces that
one.

    .get-<replica id>/snapshot.json        the files of the snapshot
    .get-<replica id>/parts/<name>         files that are not whole yet
    .get-<replica id>/<name>               whole files, each with the right hash

Owns that folder. Bytes fetched before an interruption are kept: whole files by their hash, parts if the same file is
still wanted. Refuses pieces out of order, files whose hash is not the manifest's, a store of another replica or
cluster, and to remove records that the replica has applied or may have acknowledged.

Threads: one at a time.
"""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import astuple, dataclass
from pathlib import Path

from shoal.core.errors import DataLoss, Internal, PreconditionFailed
from shoal.core.ids import ReplicaId, Seq, Term
from shoal.runtime.fault_points import fault_point
from shoal.runtime.logs import event
from shoal.shard_worker.storage.checksum import file_sha256
from shoal.shard_worker.storage.durable import fsync_path, make_folder, rename_durably
from shoal.shard_worker.storage.failure import writes_retyped
from shoal.shard_worker.storage.folders.replica_folder import ReplicaFolder, write_identity
from shoal.shard_worker.storage.folders.replica_swap import coming_path, remove_coming, swap_in
from shoal.shard_worker.storage.folders.snapshot_manifest import (
    SEGMENTS_FOLDER,
    STORE_FILE,
    SnapshotFile,
    SnapshotManifest,
    check_keeps_applied,
    check_keeps_promises,
    check_manifest,
    is_tuning,
    without_odd_tuning,
)
from shoal.shard_worker.storage.log.log import ReplicaLog, closed_log_end
from shoal.shard_worker.storage.sealed_json import read_sealed, write_sealed
from shoal.shard_worker.storage.store.copy import adopt_store
from shoal.shard_worker.storage.store.inspection import StoreInspection

log = logging.getLogger("shoal.worker.snapshots")

_MANIFEST, _PARTS = "snapshot.json", "parts"


@dataclass(frozen=True, kw_only=True, slots=True)
class Missing:
    """The next piece to fetch: of file `name` from `offset` on. size_bytes: from there to the file's end."""

    name: str
    offset: int
    size_bytes: int


class SnapshotDownload:
    """The download of one snapshot for one replica.

    Created by `open`. Call `write` with each piece that `missing` returns, then `finish`.
    """

    def __init__(self, *, replica: ReplicaFolder, manifest: SnapshotManifest, source: ReplicaId, whole: set[str]) -> None:
        self.manifest = manifest
        self._replica, self._source = replica, source
        self._folder = coming_path(replica.path)
        self._whole = whole
        self._left_out: set[str] = set()

    @classmethod
    def open(cls, replica: ReplicaFolder, manifest: SnapshotManifest, *, source: ReplicaId) -> SnapshotDownload:
        """Begin a download, or go on after an interruption, even with a newer snapshot. The replica may be open.

        source: id of the replica that exported the snapshot. Files of measurements that are of no use are left out.
        Raises PreconditionFailed for an invalid manifest, StorageFailed.
        """
        manifest = without_odd_tuning(manifest)
        check_manifest(manifest)
        folder = coming_path(replica.path)
        with writes_retyped(f"snapshot {folder}"):
            for below in (SEGMENTS_FOLDER, *{Path(file.name).parent.as_posix() for file in manifest.files}):
                make_folder(folder / _PARTS / below)
                make_folder(folder / below)
            _keep_only(folder, {file.name for file in manifest.files}, _parts_of(folder, manifest))
            whole = {file.name for file in manifest.files if _is_whole(folder / file.name, file)}
            _keep_only(folder, whole, {file.name for file in manifest.files})
        files = json.dumps([astuple(file) for file in manifest.files])
        write_sealed(folder / _MANIFEST, {"snapshot": manifest.snapshot, "files": files})
        return cls(replica=replica, manifest=manifest, source=source, whole=whole)

    @property
    def seq(self) -> Seq:
        """Return the seq of the last record in the snapshot."""
        return self.manifest.seq

    @property
    def received_bytes(self) -> int:
        """Return the bytes received so far. Raises StorageFailed."""
        with writes_retyped(f"snapshot {self._folder}"):
            return sum(file.size_bytes if file.name in self._whole else _size(self._part(file.name)) for file in self.manifest.files)

    def missing(self) -> Missing | None:
        """Return the next piece to fetch; None if everything was received. Raises StorageFailed."""
        for file in self.manifest.files:
            if file.name not in self._whole | self._left_out:
                with writes_retyped(f"snapshot {self._folder}"):
                    at = _size(self._part(file.name))
                return Missing(name=file.name, offset=at, size_bytes=file.size_bytes - at)
        return None

    def write(self, name: str, offset: int, data: bytes) -> None:
        """Add the piece that `missing` returned. The last piece of a file makes it whole and durable.

        Raises Internal for another piece; DataLoss if the file ended too early or its hash is wrong: the file is then
        fetched from its beginning, and the caller may leave it out if that fails again; StorageFailed.
        """
        wanted = self.missing()
        if wanted is None or (name, offset) != (wanted.name, wanted.offset) or len(data) > wanted.size_bytes:
            raise Internal(f"{len(data)} bytes at offset {offset} of {name} are not what is missing: {wanted}")
        with writes_retyped(f"snapshot {self._folder}"):
            if wanted.size_bytes and not data:
                self._part(name).unlink(missing_ok=True)
                raise DataLoss(f"{name} of snapshot {self.manifest.snapshot} ended {wanted.size_bytes} bytes too early")
            with self._part(name).open("ab") as stream:
                stream.write(data)
            if len(data) == wanted.size_bytes:
                self._complete(self._file(name))

    def leave_out(self, name: str) -> None:
        """Leave out a file that its source cannot give. An index is built again when the replica is opened, and
        searches are measured again.

        Raises Internal for the store.
        """
        if name == STORE_FILE:
            raise Internal(f"a replica cannot do without {name}")
        self._left_out.add(self._file(name).name)

    def finish(self) -> ReplicaFolder:
        """Verify everything and replace the replica's folder, which must be closed by now, by the fetched one.

        The new log begins after the snapshot. The replica keeps its id and its known term, or takes the snapshot's term
        if that is higher. Raises PreconditionFailed if something is missing, if the store is not the source's, or if
        the replica has applied, or may have acknowledged, records after the snapshot; DataLoss if a hash is wrong (the
        file is then missing again) or the replica's own files are damaged; StorageFailed. The replica is unchanged
        then, unless the disk failed during the swap of the folders: then WorkerFolder.open_replica finishes it.
        """
        wanted = self.missing()
        if wanted is not None:
            raise PreconditionFailed(f"snapshot {self.manifest.snapshot} is not whole: {wanted.name} is missing from {wanted.offset} on")
        self._verify()
        known_term = self._check_replica()
        self._adopt()
        self._fill(known_term)
        with writes_retyped(f"snapshot {self._folder}"):
            swap_in(self._replica.path)
        return ReplicaFolder.load(self._replica.path, cluster_id=self._replica.cluster_id, ref=self._replica.ref)

    def discard(self) -> None:
        """Delete everything that was fetched. Raises StorageFailed."""
        with writes_retyped(f"snapshot {self._folder}"):
            remove_coming(self._replica.path)

    def _complete(self, file: SnapshotFile) -> None:
        part = self._part(file.name)
        if not _is_whole(part, file):
            part.unlink()
            raise DataLoss(f"{file.name} of snapshot {self.manifest.snapshot} arrived damaged: its sha256 is not {file.sha256}")
        fsync_path(part)
        rename_durably(part, self._folder / file.name)
        self._whole.add(file.name)
        fault_point("install.received")

    def _verify(self) -> None:
        with writes_retyped(f"snapshot {self._folder}"):
            for file in self.manifest.files:
                if file.name in self._whole and not _is_whole(self._folder / file.name, file):
                    self._whole.remove(file.name)
                    (self._folder / file.name).unlink(missing_ok=True)
                    if is_tuning(file.name):
                        log.warning(event("snapshot_file_left_out", file=self._folder / file.name))
                        continue
                    raise DataLoss(f"{self._folder / file.name} is damaged: its sha256 is not {file.sha256}")

    def _check_replica(self) -> Term:
        """Check that the snapshot lacks no record that others rely on. Return the term that the replica must know."""
        replica = ReplicaFolder.load(self._replica.path, cluster_id=self._replica.cluster_id, ref=self._replica.ref)
        with StoreInspection.opened(replica.store_path) as store:
            applied_seq = store.counters().applied_seq
        check_keeps_applied(self.manifest, replica.ref, applied_seq)
        last = closed_log_end(replica.path, cluster_id=replica.cluster_id, replica_id=replica.ref.replica_id, applied_seq=applied_seq)
        check_keeps_promises(self.manifest, replica.ref, last)
        return max(replica.known_term, self.manifest.term)

    def _adopt(self) -> None:
        path = self._folder / STORE_FILE
        # adopting changes its hash: after an interruption it is fetched again
        self._whole.discard(STORE_FILE)
        replica = self._replica
        with writes_retyped(f"snapshot {self._folder}"):
            for beside in self._folder.glob(f"{STORE_FILE}-*"):
                beside.unlink()
        found = adopt_store(path, cluster_id=replica.cluster_id, source=self._source, replica_id=replica.ref.replica_id)
        if found.applied_seq != self.manifest.seq:
            raise DataLoss(f"{path} has applied seq {found.applied_seq}, its manifest says {self.manifest.seq}")
        with writes_retyped(f"snapshot {self._folder}"):
            fsync_path(path)
        fault_point("install.adopted")

    def _fill(self, known_term: Term) -> None:
        """Add what is missing to make the fetched files a whole replica folder."""
        replica = self._replica
        ReplicaLog.create(
            self._folder,
            cluster_id=replica.cluster_id,
            replica_id=replica.ref.replica_id,
            base=(self.manifest.term, self.manifest.seq),
        ).close()
        write_identity(self._folder, cluster_id=replica.cluster_id, ref=replica.ref, known_term=known_term)
        with writes_retyped(f"snapshot {self._folder}"):
            shutil.rmtree(self._folder / _PARTS)
            (self._folder / _MANIFEST).unlink()
            fsync_path(self._folder / SEGMENTS_FOLDER)
            fsync_path(self._folder)
        fault_point("install.filled")

    def _file(self, name: str) -> SnapshotFile:
        found = next((file for file in self.manifest.files if file.name == name), None)
        if found is None:
            raise Internal(f"snapshot {self.manifest.snapshot} has no file {name!r}")
        return found

    def _part(self, name: str) -> Path:
        return self._folder / _PARTS / name


def _parts_of(folder: Path, manifest: SnapshotManifest) -> set[str]:
    """Return the names of the files whose partial download can be continued for this manifest."""
    try:
        document = read_sealed(folder / _MANIFEST, {"snapshot": str, "files": str})
        before = {SnapshotFile(name=name, size_bytes=size, sha256=sha256) for name, size, sha256 in json.loads(document["files"])}
    except (DataLoss, PreconditionFailed):
        # missing, damaged, or of a newer program: fetch the parts again
        return set()
    return {
        file.name for file in manifest.files if file in before and (file.name != STORE_FILE or document["snapshot"] == manifest.snapshot)
    }


def _keep_only(folder: Path, whole: set[str], parts: set[str]) -> None:
    """Delete everything but these files: unfinished files and files of another snapshot."""
    kept = {_MANIFEST, *whole, *(f"{_PARTS}/{name}" for name in parts)}
    for path in sorted(folder.rglob("*")):
        if not path.is_dir() and path.relative_to(folder).as_posix() not in kept:
            path.unlink()


def _is_whole(path: Path, file: SnapshotFile) -> bool:
    return path.is_file() and _size(path) == file.size_bytes and file_sha256(path) == file.sha256


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
