"""The immutable files under `segments/`: written whole or not at all, and checked by their hash before they are parsed.

Owns only the folder. The store records which files belong to the replica; the index knows their content.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from shoal.core.errors import Internal
from shoal.runtime.fault_points import fault_point
from shoal.shard_worker.storage.checksum import file_sha256
from shoal.shard_worker.storage.durable import fsync_path, make_folder, rename_durably, temporary_path
from shoal.shard_worker.storage.failure import StorageFailed, write_failure

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,127}")


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenFile:
    """A durable file. sha256: lower-case hex."""

    name: str
    size_bytes: int
    sha256: str


class SegmentFiles:
    """The folder of a replica's index files. Calls for different names may run in different threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, name: str) -> Path:
        """Return the path of the file. Raises Internal for an invalid name."""
        if not _NAME.fullmatch(name) or name.endswith(".tmp"):
            raise Internal(f"{name!r} cannot name a segment file")
        return self._folder / name

    def write(self, name: str, produce: Callable[[Path], None]) -> WrittenFile:
        """Call `produce` to write a file at a temporary path, then make it durable under `name`.

        Raises Internal if the name is taken (files are immutable), StorageFailed if the disk refuses, and whatever
        `produce` raises; nothing is left behind then.
        """
        path = self.path(name)
        if path.exists():
            raise Internal(f"segment file {path} exists")
        temporary = temporary_path(path)
        try:
            make_folder(self._folder)
            try:
                fault_point("segment.write")
                produce(temporary)
                fault_point("segment.written")
                fsync_path(temporary)
                written = WrittenFile(name=name, size_bytes=temporary.stat().st_size, sha256=file_sha256(temporary))
                fault_point("segment.rename")
                rename_durably(temporary, path)
                fault_point("segment.renamed")
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise write_failure(error, f"segment file {path}") from error
        return written

    def write_bytes(self, name: str, data: bytes) -> WrittenFile:
        """Make `data` durable under `name`. Raises as write."""

        def produce(path: Path) -> None:
            path.write_bytes(data)

        return self.write(name, produce)

    def verify(self, name: str, *, size_bytes: int, sha256: str) -> bool:
        """Return whether the file exists, is readable, and has this size and hash.

        Raises StorageFailed if a read fails for another reason than a missing file or EIO.
        """
        path = self.path(name)
        try:
            return path.stat().st_size == size_bytes and file_sha256(path) == sha256
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EIO):
                return False
            raise StorageFailed(f"segment file {path}: read failed: {error}") from error

    def remove_orphans(self, named: Collection[str]) -> tuple[str, ...]:
        """Delete every file that is not in `named`. Return their names, sorted. Raises StorageFailed.

        Do not call it while a file is being written. `named` must include the names of the last checkpoint, see
        PointsStore.replace_segments.
        """
        try:
            make_folder(self._folder)
            orphans = sorted(path.name for path in self._folder.iterdir() if path.name not in named)
            for name in orphans:
                fault_point("sweep.unlink")
                (self._folder / name).unlink()
            if orphans:
                fsync_path(self._folder)
        except OSError as error:
            raise write_failure(error, f"segment files {self._folder}") from error
        fault_point("sweep.done")
        return tuple(orphans)
