"""Peak memory of the processes of a cluster, as Linux counts it."""

from __future__ import annotations

import re
from pathlib import Path


def peak_bytes(pid: int) -> int:
    """Return the largest resident size that the process has had, in bytes. Raises FileNotFoundError if it has ended."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
    return int(found.group(1)) * 1024 if found else 0


def proportional_bytes(pids: list[int]) -> int:
    """Return the resident bytes of these processes; memory that several share is counted once."""
    sizes = [re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii"), re.MULTILINE) for pid in pids]
    return sum(int(found.group(1)) * 1024 for found in sizes if found)


def tree(pid: int) -> dict[int, str]:
    """Return the process and all its descendants: pid -> name."""
    children: dict[int, list[int]] = {}
    names: dict[int, str] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            head, _, tail = path.read_text(encoding="utf-8", errors="replace").rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue
        number, _, name = head.partition(" (")
        names[int(number)] = name
        children.setdefault(int(tail.split()[1]), []).append(int(number))
    found, waiting = {}, [pid]
    while waiting:
        at = waiting.pop()
        if at in names:
            found[at] = names[at]
            waiting.extend(children.get(at, ()))
    return found
