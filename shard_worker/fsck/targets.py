"""Finds the replicas that a path means, and holds the locks that prove that no worker writes to them meanwhile.

A path is a worker's data folder, a folder of `shoal up` with workers in it, or the folder of one replica. Owns the
locks during the check. They are shared locks, so checks may run side by side, and a worker that starts meanwhile
reports that its folder is in use.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from shoal.core.errors import InvalidArgument, PreconditionFailed, Unavailable
from shoal.shard_worker.storage.folders.worker_folder import replica_folders

_WORKER_FILES = ("worker.json", "lock")
_REPLICA_FILES = ("replica.json", "store.db", "log")


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """One replica folder. worker: the data folder it lies in, None for a folder that was copied out of one."""

    replica: Path
    worker: Path | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Targets:
    """The folders to check. workers: data folders, including those without replicas."""

    workers: tuple[Path, ...]
    replicas: tuple[Target, ...]


def find_targets(paths: Sequence[Path]) -> Targets:
    """Return the workers and replicas that the paths mean, in order, each once.

    Raises InvalidArgument for a path that means none, Unavailable for a path that cannot be read.
    """
    workers: list[Path] = []
    replicas: list[Target] = []
    for path in paths:
        try:
            found_workers, found_replicas = _under(Path(os.path.realpath(path)))
        except OSError as error:
            raise Unavailable(f"{path} cannot be read: {error.strerror}") from error
        workers += found_workers
        replicas += found_replicas
    return Targets(workers=tuple(dict.fromkeys(workers)), replicas=tuple(dict.fromkeys(replicas)))


@contextmanager
def locked(targets: Targets) -> Iterator[None]:
    """Hold the lock of every worker concerned. Raises PreconditionFailed naming the process that holds one."""
    folders = dict.fromkeys([*targets.workers, *(target.worker for target in targets.replicas if target.worker is not None)])
    with ExitStack() as stack:
        for folder in folders:
            stack.enter_context(_lock(folder))
        yield


def _under(path: Path) -> tuple[list[Path], list[Target]]:
    if not path.is_dir():
        raise InvalidArgument(f"{path} is not a folder")
    if _holds(path, _WORKER_FILES):
        return [path], _replicas_of(path)
    if _holds(path, _REPLICA_FILES):
        return [], [Target(replica=path, worker=_worker_of(path))]
    workers = [each for each in sorted((path / "workers").glob("*")) if _holds(each, _WORKER_FILES)]
    if not workers:
        raise InvalidArgument(f"{path} is neither a folder of `shoal up`, nor a worker's data folder, nor a replica's folder")
    return workers, [target for worker in workers for target in _replicas_of(worker)]


def _replicas_of(worker: Path) -> list[Target]:
    return [Target(replica=path, worker=worker) for path in replica_folders(worker)]


def _worker_of(replica: Path) -> Path | None:
    folder = replica.parent.parent.parent
    return folder if _holds(folder, _WORKER_FILES) else None


def _holds(folder: Path, names: Sequence[str]) -> bool:
    return any((folder / name).exists() for name in names)


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    try:
        descriptor = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        # a copied folder without a lock file: no worker has it open
        yield
        return
    except OSError as error:
        raise Unavailable(f"the lock of {folder} cannot be read: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        raise PreconditionFailed(f"{folder} is in use by the process with pid {holder}; stop that worker first") from None
    finally:
        os.close(descriptor)
