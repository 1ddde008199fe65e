"""Read the limits of memory and open files for this process: of the machine, its container, its own resource limits.

Owns the formats of /proc and of control groups. Does not decide how much of them may be used
(shoal.core.memory_budget).
"""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path

from shoal.core.file_budget import FileLimit
from shoal.core.memory_budget import MemoryLimit

_KIB = 1024
_UNLIMITED_FILES = 1 << 30
"""More than the kernel lets any process have."""

_COUNTS_ALL = 2
"""The setting vm.overcommit_memory with which the kernel counts all that is mapped."""

_NO_LIMIT = 1 << 60
"""Control groups of version 1 express "no limit" as a number close to the largest one."""


def memory_limits(root: Path = Path("/")) -> tuple[MemoryLimit, ...]:
    """Return every limit that holds, the machine's memory first. root: of the file system, for tests.

    Raises OSError without /proc.
    """
    taken = _sizes(root / "proc/self/status")
    machine = MemoryLimit(name="the machine's memory", limit_bytes=_sizes(root / "proc/meminfo")["MemTotal"], taken_bytes=taken["VmRSS"])
    groups = (
        MemoryLimit(name=f"the control group's limit ({path})", limit_bytes=limit, taken_bytes=taken["VmRSS"])
        for path, limit in _group_limits(root)
    )
    own = (
        MemoryLimit(name=f"the process's limit {name}", limit_bytes=limit, taken_bytes=taken[measure])
        for name, kind, measure in (("RLIMIT_AS", resource.RLIMIT_AS, "VmSize"), ("RLIMIT_DATA", resource.RLIMIT_DATA, "VmData"))
        if (limit := resource.getrlimit(kind)[0]) != resource.RLIM_INFINITY
    )
    return (machine, *groups, *own)


def may_map_unused(root: Path = Path("/")) -> bool:
    """Return whether memory that is mapped and not touched is free: no limit counts it. root: as in memory_limits."""
    limits = (resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA))
    strict = _number(root / "proc/sys/vm/overcommit_memory") == _COUNTS_ALL
    return not strict and all(limit == resource.RLIM_INFINITY for limit in limits)


def raised_file_limit() -> FileLimit:
    """Raise the soft limit of open files to the hard limit, if this is allowed.

    Return the limit then, and the files open now.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Some containers forbid any change. The limit that is left is logged, with a warning when it is low.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return FileLimit(limit=_UNLIMITED_FILES if soft == resource.RLIM_INFINITY else soft, taken=open_files())


def open_files(root: Path = Path("/")) -> int:
    """Return how many files, sockets included, this process has open."""
    return len(os.listdir(root / "proc/self/fd")) - 1


def _group_limits(root: Path) -> Iterator[tuple[str, int]]:
    """Return the limits of this process's control groups, of both versions, and of the groups around them."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield from _walk_up(root / "sys/fs/cgroup", path, "memory.max")
        elif "memory" in controllers.split(","):
            yield from _walk_up(root / "sys/fs/cgroup/memory", path, "memory.limit_in_bytes")


def _walk_up(top: Path, path: str, file: str) -> Iterator[tuple[str, int]]:
    # Inside a container the path may be that of the host, and only its top is mounted here.
    group = top / path.strip("/")
    while True:
        limit = _number(group / file)
        if limit is not None:
            yield str(group / file), limit
        if group == top or top not in group.parents:
            return
        group = group.parent


def _number(file: Path) -> int | None:
    """Return the limit in a file; None when there is no file or no limit."""
    try:
        text = file.read_text(encoding="ascii").strip()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    return int(text) if text.isdigit() and int(text) < _NO_LIMIT else None


def _sizes(file: Path) -> dict[str, int]:
    """Return bytes by name from a file with lines `name: number kB`; other lines are ignored."""
    found: dict[str, int] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[1] == "kB":
            found[name] = int(words[0]) * _KIB
    return found
