"""The folder of a local cluster: the paths in it, a check that it can be used, and the lock by which only one command
uses it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from shoal.core.errors import InvalidArgument, PreconditionFailed

_PROBE_BYTES = 64 * 1024
"""Bytes of a test write. A smaller one could fit into the last block of a file on a full disk."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterFolder:
    """Paths below the folder `root`, which is absolute."""

    root: Path

    @classmethod
    def at(cls, path: str) -> ClusterFolder:
        """Return the folder at this path. It need not exist. Raises InvalidArgument for an impossible path."""
        try:
            return cls(root=Path(os.path.realpath(path)))
        except ValueError as error:
            raise InvalidArgument(f"cannot make the data folder {path!r}: {error}") from None

    @property
    def etcd(self) -> Path:
        """Data folder of our own etcd."""
        return self.root / "etcd"

    @property
    def etcd_ports(self) -> Path:
        """File with the ports of our own etcd."""
        return self.etcd / "ports.json"

    @property
    def logs(self) -> Path:
        """Folder with one log file for each process."""
        return self.root / "logs"

    @property
    def session(self) -> Path:
        """File with the path of Ray's folder while a local Ray runs, to clean up after a command that was killed."""
        return self.root / "ray-session"

    @property
    def lock(self) -> Path:
        """Lock file. It contains the pid of its holder."""
        return self.root / "shoal.pid"

    @property
    def workers(self) -> Path:
        """Folder with one data folder for each worker."""
        return self.root / "workers"

    def worker(self, number: int) -> Path:
        """Return the data folder of a worker. Workers are counted from 1."""
        return self.workers / str(number)

    def log(self, member: str) -> Path:
        """Return the log file of a process."""
        return self.logs / f"{member}.log"

    def worker_count(self) -> int:
        """Return the highest number of an existing worker folder, 0 if there is none."""
        found = [int(each.name) for each in self.workers.glob("*") if each.name.isdecimal()]
        return max(found, default=0)

    def create(self) -> None:
        """Make the folders. Raises InvalidArgument if that is impossible."""
        with _said(f"cannot make the data folder {self.root}"):
            self.logs.mkdir(parents=True, exist_ok=True)

    def check(self, *, with_roles: bool) -> None:
        """Check that this user can write to all folders and files here. A later failure would come in another process,
        after a while, and again and again.

        with_roles: the roles run as this user, on this machine. Raises InvalidArgument naming the first folder or file
        that cannot be written.
        """
        workers = sorted(path for path in self.workers.glob("*") if path.name.isdecimal())
        for folder in (self.root, self.logs, self.etcd, *((self.workers, *workers) if with_roles else ())):
            if os.path.lexists(folder):
                _check_folder(folder)
        for file in (self.lock, self.session, self.etcd_ports, *(self.logs.glob("*.log") if with_roles else (self.log("up"),))):
            if os.path.lexists(file):
                _check_file(file)


class FolderLock:
    """Holds the folder for this process. The kernel releases the lock at the end of the process, also after a kill."""

    def __init__(self, folder: ClusterFolder) -> None:
        """Take the lock.

        Raises PreconditionFailed naming the pid that holds it, InvalidArgument if the file cannot be written.
        """
        with _said(f"cannot write {folder.lock}"):
            self._file = os.open(folder.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._file, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(self._file)
            raise PreconditionFailed(
                f"the folder {folder.root} is in use by a cluster that runs already (pid {holder}); stop it or choose another --data"
            ) from None
        with _said(f"cannot write {folder.lock}"):
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode("ascii"), 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)


def what_to_do(number: int | None) -> str:
    """Return advice for an error number of the operating system."""
    match number:
        case errno.EACCES | errno.EPERM:
            first = f"give it to user {os.geteuid()}"
        case errno.EROFS:
            first = "mount it for writing"
        case errno.ENOSPC | errno.EDQUOT:
            first = "make room there"
        case _:
            first = "move away what is there"
    return f"{first}, or choose another --data"


@contextmanager
def _said(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InvalidArgument(f"{what}: {error.strerror}; {what_to_do(error.errno)}") from None


def _check_folder(folder: Path) -> None:
    with _said(f"cannot write in {folder}"), tempfile.TemporaryFile(dir=folder, buffering=0) as probe:
        probe.write(bytes(_PROBE_BYTES))


def _check_file(file: Path) -> None:
    with _said(f"cannot write {file}"):
        os.close(os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK))
