"""The data folder of one worker: its identity, the lock that keeps a second process out, and its replica folders.

    <data>/lock                                         held by flock while a worker runs; holds its pid
    <data>/worker.json                                  cluster id, worker id
    <data>/<collection id>/<shard>/<replica id>/        one replica, see replica_folder
    <data>/<collection id>/<shard>/.new-*, .drop-*      being made, being deleted
    <data>/<collection id>/<shard>/.pin-*               an exported snapshot, see snapshot_export
    <data>/<collection id>/<shard>/.get-*, .old-*       a snapshot being imported and the folder it replaces, see
                                                        replica_swap
    <data>/<collection id>/<shard>/.aside-*             a damaged replica, kept for inspection

Replica folders appear and disappear whole. Refuses a folder of another cluster. Deletes nothing without a request,
except what a crash left half made or half deleted.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shoal.core.errors import AlreadyExists, DataLoss, Internal, NotFound, PreconditionFailed
from shoal.core.ids import ClusterId, CollectionId, ReplicaId, ShardId, WorkerId
from shoal.runtime.fault_points import fault_point
from shoal.shard_worker.storage.durable import fsync_path, make_folder, rename_durably
from shoal.shard_worker.storage.failure import write_failure, writes_retyped
from shoal.shard_worker.storage.folders.replica_folder import ReplicaFolder, ReplicaRef, fill_replica_folder
from shoal.shard_worker.storage.folders.replica_swap import OLD_PREFIX, mend_swap, mend_swaps, remove_coming, swap_is_open
from shoal.shard_worker.storage.folders.snapshot_export import PINNED_PREFIX
from shoal.shard_worker.storage.sealed_json import check_cluster, read_sealed, write_sealed
from shoal.shard_worker.storage.store.meta_table import VectorDims

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_UNFIT = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG})
"""Errors that stay until a person changes the folder's owner, mount or name, or what lies there."""

_NEW, _DROPPED, _ASIDE = ".new-", ".drop-", ".aside-"


class WorkerFolder:
    """A data folder whose lock this process holds. Created by `open`, ended by `close`."""

    def __init__(self, *, path: Path, cluster_id: ClusterId, worker_id: WorkerId, lock: int) -> None:
        self.path = path
        self.cluster_id = cluster_id
        self.worker_id = worker_id
        self._lock: int | None = lock

    @classmethod
    def open(cls, path: Path, cluster_id: ClusterId) -> WorkerFolder:
        """Lock the folder, created with a new worker id if needed, and delete what a crash left half made or half
        deleted.

        Raises PreconditionFailed if another process holds it (naming its pid), if it belongs to another cluster or has
        a newer format, or if this user cannot use it; DataLoss if its identity is damaged; StorageFailed.
        """
        with _usable(path):
            make_folder(path)
            lock = _take_lock(path)
        try:
            with _usable(path):
                folder = cls(path=path, cluster_id=cluster_id, worker_id=_identity(path, cluster_id), lock=lock)
                folder._sweep()
        except BaseException:
            os.close(lock)
            raise
        return folder

    def replicas(self) -> list[ReplicaRef]:
        """Return every replica folder, in order, damaged ones too. Raises StorageFailed."""
        with writes_retyped(f"data folder {self.path}"):
            return sorted(_refs_in(self.path))

    def replicas_of(self, shard: ShardId) -> list[ReplicaRef]:
        """Return every replica folder of a shard, in order, damaged ones too. Raises StorageFailed."""
        return self._refs_of(shard, "")

    def exists(self, ref: ReplicaRef) -> bool:
        """Return whether there is a folder for the replica."""
        path = self._replica_path(ref)
        return path.is_dir() or swap_is_open(path)

    def create(self, ref: ReplicaRef, *, dim: int, vectors: VectorDims = ()) -> ReplicaFolder:
        """Make the folder of a new, empty replica: log, store, known term 0. It appears whole or not at all. dim,
        vectors: see StoreIdentity.

        Raises AlreadyExists, StorageFailed.
        """
        path = self._replica_path(ref)
        if path.exists():
            raise AlreadyExists(f"replica folder {path} exists")
        being_made = path.with_name(_NEW + path.name)
        with writes_retyped(f"data folder {path}"):
            if being_made.exists():
                shutil.rmtree(being_made)
            make_folder(being_made)
            fill_replica_folder(being_made, cluster_id=self.cluster_id, ref=ref, dim=dim, vectors=vectors)
            fault_point("replica.filled")
            rename_durably(being_made, path)
        fault_point("replica.made")
        return self.open_replica(ref)

    def open_replica(self, ref: ReplicaRef) -> ReplicaFolder:
        """Return the folder of an existing replica. Raises NotFound, else as ReplicaFolder.load."""
        path = self._mended_path(ref)
        return ReplicaFolder.load(path, cluster_id=self.cluster_id, ref=ref)

    def drop(self, ref: ReplicaRef) -> None:
        """Delete a replica, which must be closed: rename it first, then delete its files.

        Raises NotFound, StorageFailed.
        """
        path = self._mended_path(ref)
        with writes_retyped(f"data folder {path}"):
            _delete(path)
            remove_coming(path)
            _remove_if_empty(path.parent)
            _remove_if_empty(path.parent.parent)

    def set_aside(self, ref: ReplicaRef) -> Path:
        """Rename a damaged replica, which must be closed, and keep its files. Return the new path.

        Deletes older ones of the same shard. Raises NotFound, StorageFailed.
        """
        path = self._mended_path(ref)
        aside = path.with_name(_ASIDE + path.name)
        with writes_retyped(f"data folder {path}"):
            for older in sorted(path.parent.glob(f"{_ASIDE}*")):
                _delete(older)
            remove_coming(path)
            rename_durably(path, aside)
        return aside

    def asides_of(self, shard: ShardId) -> list[ReplicaRef]:
        """Return every replica of a shard that was set aside, in order. Raises StorageFailed."""
        return self._refs_of(shard, _ASIDE)

    def _refs_of(self, shard: ShardId, prefix: str) -> list[ReplicaRef]:
        folder = self.path / shard.collection / str(shard.number)
        with writes_retyped(f"data folder {folder}"):
            return sorted(_refs_in_shard(folder, prefix)) if folder.is_dir() else []

    def drop_aside(self, ref: ReplicaRef) -> None:
        """Delete a replica that was set aside. Raises NotFound, StorageFailed."""
        path = self._replica_path(ref)
        aside = path.with_name(_ASIDE + path.name)
        if not aside.is_dir():
            raise NotFound(f"replica folder {aside} does not exist")
        with writes_retyped(f"data folder {path}"):
            _delete(aside)
            _remove_if_empty(path.parent)
            _remove_if_empty(path.parent.parent)

    def close(self) -> None:
        """Release the lock; a second call does nothing."""
        if self._lock is not None:
            lock, self._lock = self._lock, None
            os.close(lock)

    def _replica_path(self, ref: ReplicaRef) -> Path:
        for name in (ref.shard.collection, ref.replica_id):
            if not _NAME.fullmatch(name):
                raise Internal(f"{name!r} cannot name a folder")
        return self.path / ref.shard.collection / str(ref.shard.number) / ref.replica_id

    def _mended_path(self, ref: ReplicaRef) -> Path:
        """Return the path of an existing replica; finish an interrupted swap of it first.

        Raises NotFound, StorageFailed.
        """
        path = self._replica_path(ref)
        with writes_retyped(f"data folder {path}"):
            mend_swap(path)
        if not path.is_dir():
            raise NotFound(f"replica folder {path} does not exist")
        return path

    def _sweep(self) -> None:
        for collection, shards in itertools.groupby(_shard_folders(self.path), lambda shard: shard.parent):
            for shard in shards:
                names = os.listdir(shard)
                # Everything that a crash leaves has a name with a dot. Usually there is none of it in any shard.
                if not names or any(name.startswith(".") for name in names):
                    _sweep_shard(shard)
            _remove_if_empty(collection)


def replica_folders(folder: Path) -> list[Path]:
    """Return the folders of the replicas in a data folder, in order. Raises OSError."""
    return [folder / ref.shard.collection / str(ref.shard.number) / ref.replica_id for ref in sorted(_refs_in(folder))]


@contextmanager
def _usable(folder: Path) -> Iterator[None]:
    """Convert an OSError within the block: PreconditionFailed if only a person can remove its cause, else
    StorageFailed.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _UNFIT:
            raise write_failure(error, f"data folder {folder}") from error
        where = error.filename or folder
        raise PreconditionFailed(f"data folder {folder} cannot be used by user {os.geteuid()}: {where}: {error.strerror}") from error


def _take_lock(folder: Path) -> int:
    path = folder / "lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise PreconditionFailed(f"data folder {folder} is in use by the process with pid {holder}") from None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _identity(folder: Path, cluster_id: ClusterId) -> WorkerId:
    path = folder / "worker.json"
    if path.exists():
        document = read_sealed(path, {"cluster_id": str, "worker_id": str})
        check_cluster(path, document["cluster_id"], cluster_id)
        return WorkerId(document["worker_id"])
    if any(itertools.chain(_refs_in(folder), _refs_in(folder, OLD_PREFIX))):
        raise DataLoss(f"{path} is missing, but the folder holds replicas")
    worker_id = WorkerId(str(uuid.uuid4()))
    write_sealed(path, {"cluster_id": cluster_id, "worker_id": worker_id})
    return worker_id


def _refs_in(folder: Path, prefix: str = "") -> Iterator[ReplicaRef]:
    """Yield the replicas whose folders are named with this prefix."""
    for shard in _shard_folders(folder):
        yield from _refs_in_shard(shard, prefix)


def _refs_in_shard(shard: Path, prefix: str) -> Iterator[ReplicaRef]:
    for replica in shard.iterdir():
        name = replica.name.removeprefix(prefix)
        if replica.name == prefix + name and _NAME.fullmatch(name) and replica.is_dir():
            yield ReplicaRef(ShardId(CollectionId(shard.parent.name), int(shard.name)), ReplicaId(name))


def _delete(replica: Path) -> None:
    """Rename the folder first, then delete its files."""
    going = replica.with_name(f"{_DROPPED}{replica.name}-{uuid.uuid4()}")
    rename_durably(replica, going)
    shutil.rmtree(going)


def _shard_folders(folder: Path) -> list[Path]:
    """Return the folders <collection id>/<shard>; ignore everything else beside them (lost+found)."""
    collections = [path for path in folder.iterdir() if _NAME.fullmatch(path.name) and path.is_dir()]
    shards = (shard for path in collections for shard in path.iterdir())
    return sorted(shard for shard in shards if re.fullmatch(r"0|[1-9][0-9]*", shard.name) and shard.is_dir())


def _sweep_shard(shard: Path) -> None:
    mend_swaps(shard)
    for prefix in (_NEW, _DROPPED, PINNED_PREFIX):
        for leftover in shard.glob(f"{prefix}*"):
            shutil.rmtree(leftover)
    _remove_if_empty(shard)


def _remove_if_empty(folder: Path) -> None:
    # Not iterdir, which lists the whole folder of a collection, however many shards it has.
    with os.scandir(folder) as entries:
        is_empty = next(entries, None) is None
    if is_empty:
        folder.rmdir()
        fsync_path(folder.parent)
