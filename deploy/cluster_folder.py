"""The one folder of a local cluster: where everything lies in it, and the lock that lets one command at a time use it."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from shoal.core.errors import InvalidArgument, PreconditionFailed


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterFolder:
    """Paths below the folder `root`, which is absolute."""

    root: Path

    @property
    def etcd(self) -> Path:
        """Data of our own etcd."""
        return self.root / "etcd"

    @property
    def logs(self) -> Path:
        """One log file for each process."""
        return self.root / "logs"

    @property
    def session(self) -> Path:
        """Holds the path of Ray's folder while a local Ray runs, so that what a killed command left behind is found."""
        return self.root / "ray-session"

    @property
    def lock(self) -> Path:
        """Lock file; holds the pid of its holder."""
        return self.root / "shoal.pid"

    def worker(self, number: int) -> Path:
        """Data folder of a worker, counted from 1."""
        return self.root / "workers" / str(number)

    def log(self, member: str) -> Path:
        """Log file of a process."""
        return self.logs / f"{member}.log"

    def worker_count(self) -> int:
        """The highest number among the worker folders that exist, 0 for none."""
        found = [int(each.name) for each in (self.root / "workers").glob("*") if each.name.isdecimal()]
        return max(found, default=0)

    def create(self) -> None:
        """Make the folders. Raises InvalidArgument when that is impossible."""
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidArgument(f"cannot make the data folder {self.root}: {error.strerror}") from None


class FolderLock:
    """Holds the folder for this process. The kernel frees it when the process ends, however it ends."""

    def __init__(self, folder: ClusterFolder) -> None:
        """Take the lock. Raises PreconditionFailed naming the pid that holds it."""
        self._file = os.open(folder.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._file, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(self._file)
            raise PreconditionFailed(
                f"the folder {folder.root} is in use by a cluster that runs already (pid {holder}); stop it or choose another --data"
            ) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode("ascii"), 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)
