"""`python -m bench.shards`: what a worker with many empty shards costs, and how soon it serves them after a restart.

Runs the roles as processes of their own, so that the figures are the worker's alone. `measure` is for other benchmarks.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

import shoal
from shoal.core.health import ShardCondition
from tests.support.cluster.role_cluster import RoleCluster, wait_until

SHARDS, DIM, IDLE_S, LONGEST_S = 1_000, 128, 20.0, 600.0

LOOK_S = 0.25
"""Pause between two questions to the cluster: each costs the worker something, too."""

SETTLED_LOOKS = 12
"""The worker has come to rest when so many looks in a row, a second apart, find the same number of open files."""

IDLE_CLOSE_S = 5.0
"""Less than the default, so that the measurement does not wait long for files to be closed."""

console = Console()


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardFigures:
    """Figures of one worker with so many empty shards, when it has come to rest.

    created_s: from the call that creates the collection until all shards serve; idle_cpu: seconds of CPU a second, over
    idle_s; resident_bytes: in addition to the worker without shards; booked_bytes: of its memory account, for replicas;
    peak_files: most open files seen meanwhile; restart_s: from the start of a new process, after a kill, until all
    shards serve; restart_cpu_s: CPU of that process until then.
    """

    shards: int
    created_s: float
    threads: int
    files: int
    peak_files: int
    idle_s: float
    idle_cpu: float
    resident_bytes: int
    booked_bytes: int
    restart_s: float
    restart_cpu_s: float


def main() -> int:
    """Measure, print a table, write JSON. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="bench-shards", description="Threads, files, CPU, memory and restart of many empty shards.")
    parser.add_argument("--shards", type=int, default=SHARDS)
    parser.add_argument("--seconds", type=float, default=IDLE_S, help="for which the idle CPU is measured")
    options = parser.parse_args()
    figures = measure(options.shards, options.seconds, lambda line: console.print(f"  {line}", style="dim"))
    console.print(_table(figures))
    results = Path("bench-results")
    results.mkdir(exist_ok=True)
    (results / "shards.json").write_text(json.dumps(asdict(figures), indent=1))
    return 0


def measure(shards: int, idle_s: float, heard: Callable[[str], None]) -> ShardFigures:
    """Make a cluster of one worker with so many shards, let it rest, kill the worker and start it again."""
    with (
        tempfile.TemporaryDirectory(prefix="shoal-shards-") as folder,
        RoleCluster(Path(folder), workers=1, idle_close_s=IDLE_CLOSE_S) as cluster,
    ):
        worker = cluster.workers[0]
        before = _resident_bytes(worker.pid)
        with shoal.connect(cluster.address, timeout=LONGEST_S) as client:
            peak = _Peak()
            created_s = _create(client, shards, lambda: peak.see(worker.pid))
            heard(f"{shards} shards serve after {created_s:.1f} s")
            _settle(lambda: peak.see(worker.pid))
            cpu = _cpu_s(worker.pid)
            time.sleep(idle_s)
            idle_cpu = (_cpu_s(worker.pid) - cpu) / idle_s
            threads, files, resident = _threads(worker.pid), _files(worker.pid), _resident_bytes(worker.pid)
            booked = client.cluster().workers[0].memory_used
            heard(f"at rest: {threads} threads, {files} files, {100 * idle_cpu:.1f} % of a core; restarting")
            worker.kill()
            began = time.monotonic()
            worker.start()
            _wait_serving(client, shards, lambda: peak.see(worker.pid), pid=worker.pid)
            restart_s, restart_cpu_s = time.monotonic() - began, _cpu_s(worker.pid)
            heard(f"all serve {restart_s:.1f} s after the start")
            return ShardFigures(
                shards=shards,
                created_s=created_s,
                threads=threads,
                files=files,
                peak_files=peak.files,
                idle_s=idle_s,
                idle_cpu=idle_cpu,
                resident_bytes=resident - before,
                booked_bytes=booked,
                restart_s=restart_s,
                restart_cpu_s=restart_cpu_s,
            )


class _Peak:
    """The most open files seen."""

    def __init__(self) -> None:
        self.files = 0

    def see(self, pid: int) -> int:
        """Count the files that the process has open now."""
        now = _files(pid)
        self.files = max(self.files, now)
        return now


def _create(client: shoal.Client, shards: int, look: Callable[[], object]) -> float:
    began = time.monotonic()
    client.create_collection("many", dim=DIM, shards=shards)
    _wait_serving(client, shards, look)
    return time.monotonic() - began


def _wait_serving(client: shoal.Client, shards: int, look: Callable[[], object], pid: int | None = None) -> None:
    """Wait until so many shards serve. pid: of the process that must serve them; None for any."""

    def serve() -> bool:
        look()
        time.sleep(LOOK_S)
        try:
            cluster = client.cluster()
        except shoal.ShoalError:
            return False
        ours = pid is None or [each.pid for each in cluster.workers if each.state == "up"] == [pid]
        return ours and [shard.state for shard in cluster.shards].count(ShardCondition.OK) == shards

    wait_until(serve, f"{shards} shards serve", LONGEST_S)


def _settle(count: Callable[[], int]) -> None:
    """Wait until the number of open files stays the same."""
    seen: list[int] = []
    while len(seen) < SETTLED_LOOKS or len(set(seen[-SETTLED_LOOKS:])) > 1:
        seen.append(count())
        time.sleep(1.0)


def _threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def _files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _table(figures: ShardFigures) -> Table:
    table = Table("one worker", f"{figures.shards:,} empty shards", box=None)
    each = figures.resident_bytes / figures.shards
    rows = {
        "created and served after": f"{figures.created_s:.1f} s",
        "threads": f"{figures.threads}",
        "open files (most seen)": f"{figures.files:,} ({figures.peak_files:,})",
        f"idle CPU over {figures.idle_s:.0f} s": f"{100 * figures.idle_cpu:.1f} % of a core",
        "resident memory": f"{figures.resident_bytes / 2**20:.0f} MiB, {each / 2**10:.0f} KiB a shard",
        "booked memory": f"{figures.booked_bytes / 2**20:.0f} MiB, {figures.booked_bytes / figures.shards / 2**10:.0f} KiB a shard",
        "all serve after a restart": f"{figures.restart_s:.1f} s ({figures.restart_cpu_s:.1f} s of CPU)",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


if __name__ == "__main__":
    raise SystemExit(main())
