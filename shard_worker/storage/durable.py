"""Files and folders that are on the disk, whole, when the call returns: temporary name, fsync, rename, fsync of the
folder.

Callers re-type OSError: only they can name what failed.
"""

from __future__ import annotations

import os
from pathlib import Path

from shoal.runtime.fault_points import fault_point

TEMPORARY_SUFFIX = ".tmp"


class FlushFailed(OSError):
    """A flush failed: what was written before, perhaps long before, may never have reached the disk."""


def write_durably(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, all or nothing. Raises OSError."""
    temporary = temporary_path(path)
    with temporary.open("wb") as stream:
        fault_point("file.write")
        stream.write(data)
        stream.flush()
        fault_point("file.written")
        flush(stream.fileno())
    fault_point("file.rename")
    rename_durably(temporary, path)
    fault_point("file.renamed")


def rename_durably(source: Path, target: Path) -> None:
    """Rename within one folder and make the names durable. Raises OSError."""
    source.rename(target)
    fsync_path(target.parent)


def temporary_path(path: Path) -> Path:
    """Name under which `path` is written before it is whole."""
    return path.with_name(path.name + TEMPORARY_SUFFIX)


def make_folder(path: Path) -> None:
    """Make `path` and the parents it lacks, with durable names. Raises OSError."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    fsync_path(path.parent)


def fsync_path(path: Path) -> None:
    """Flush a file or a folder to the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        flush(descriptor)
    finally:
        os.close(descriptor)


def flush(descriptor: int) -> None:
    """Flush an open file. Raises FlushFailed."""
    try:
        fault_point("disk.flush")
        os.fsync(descriptor)
    except OSError as error:
        raise FlushFailed(error.errno, error.strerror) from error


def flush_data(descriptor: int) -> None:
    """Flush an open file, without what only its times tell. Raises FlushFailed."""
    try:
        fault_point("disk.flush_data")
        os.fdatasync(descriptor)
    except OSError as error:
        raise FlushFailed(error.errno, error.strerror) from error


def remove_temporaries(folder: Path) -> None:
    """Delete what a crash left under temporary names in `folder`. Raises OSError."""
    for path in folder.glob(f"*{TEMPORARY_SUFFIX}"):
        path.unlink()
