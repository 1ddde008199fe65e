"""A small file system for tests that fill it: ext4 on a file, else a tmpfs of that size. Needs root.

It is unmounted when the test ends.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_STEP_S = 30.0
_BLOCK = b"\0" * 65_536


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """Mount a file system of about that size below `folder` and yield its mount point. Skips the test if mounting
    fails.
    """
    point, image = folder / "disk", folder / "disk.img"
    point.mkdir()
    with image.open("wb") as stream:
        stream.truncate(megabytes << 20)
    loop = (["mkfs.ext4", "-q", "-m", "0", str(image)], ["mount", "-o", "loop", str(image), str(point)])
    memory = (["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(point)],)
    if not any(all(_runs(command) for command in commands) for commands in (loop, memory)):
        pytest.skip("neither a loop device nor a tmpfs can be mounted here (it needs root): a full disk cannot be had")
    try:
        yield point
    finally:
        subprocess.run(["umount", "-l", str(point)], check=True, timeout=_STEP_S)
        image.unlink()


def fill(path: Path, *, leave_bytes: int = 0) -> None:
    """Write a file that fills the file system of `path` to the last byte, or leaves `leave_bytes` free."""
    with path.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
        while (free := _free_bytes(path.parent)) > leave_bytes:
            stream.write(_BLOCK[: min(len(_BLOCK), max(1, free - leave_bytes))])
        while not leave_bytes:
            stream.write(_BLOCK[:512])


def _free_bytes(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def _runs(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=_STEP_S, check=False).returncode == 0
    except OSError:
        return False
