"""Writes files and folders that are whole and durable when the call returns.

The steps are: write under a temporary name, fsync, rename, fsync of the folder. Callers convert OSError, since only
they can name what failed.
"""

from __future__ import annotations

import os
from pathlib import Path

from shoal.runtime.fault_points import fault_point

TEMPORARY_SUFFIX = ".tmp"


class FlushFailed(OSError):
    """A flush failed: bytes written before it, perhaps long before, may never have reached the disk."""


def write_durably(path: Path, data: bytes) -> None:
    """Replace the content of `path` by `data`, all or nothing. Raises OSError."""
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
    """Return the name under which `path` is written until it is whole."""
    return path.with_name(path.name + TEMPORARY_SUFFIX)


def make_folder(path: Path) -> None:
    """Make `path` and its missing parents, with durable names. Raises OSError."""
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
    """Flush the data of an open file, without its timestamps. Raises FlushFailed."""
    try:
        fault_point("disk.flush_data")
        os.fdatasync(descriptor)
    except OSError as error:
        raise FlushFailed(error.errno, error.strerror) from error


def remove_temporaries(folder: Path) -> None:
    """Delete the temporary files that a crash left in `folder`. Raises OSError."""
    for path in folder.glob(f"*{TEMPORARY_SUFFIX}"):
        path.unlink()
