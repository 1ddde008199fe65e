"""Kills each kind of process in each way and records the effect on a running load: `python -m tests.chaos.kill_matrix
[--json FILE]`, or `make kill-matrix`.

One cluster of plain processes goes through every cell in turn. A process that was killed or stopped is started again,
as any supervisor does; nothing else is done by hand.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import shoal
from tests.chaos.load import Load
from tests.support.cluster.role_cluster import RoleCluster, wait_until

TTL_S = 2
FAULTS = ("kill", "freeze", "stop")
TARGETS = ("worker", "router", "leader", "etcd")
IN_WORDS = {"kill": "SIGKILL", "freeze": f"SIGSTOP {3 * TTL_S} s", "stop": "SIGTERM"}
_MOMENT_S = 0.5


class Victim(Protocol):
    """A process that can be harmed and started again."""

    def kill(self) -> None: ...
    def stop(self) -> object: ...
    def start(self) -> None: ...
    def freeze(self) -> None: ...
    def thaw(self) -> None: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """The result of one cell.

    Gaps: longest time in which one writer, or searcher, had no success; lost, wrong: each must be empty.
    """

    target: str
    fault: str
    write_gap_s: float
    search_gap_s: float
    acknowledged: int
    searches: int
    failed: dict[str, int]
    lost: list[str]
    wrong: list[str]


def matrix_cluster(folder: Path) -> RoleCluster:
    """Return a cluster with two of each role and leases of TTL_S."""
    return RoleCluster(folder, workers=2, coordinators=2, routers=2, lease_ttl_s=TTL_S)


def run_cell(cluster: RoleCluster, load: Load, target: str, fault: str) -> Row:
    """Cause the fault under load, wait until everything works again, and judge every stored point."""
    with shoal.connect(cluster.addresses, timeout=5) as client:
        _await_health(cluster, client, load, time.monotonic())
        acknowledged, wrong = load.book.acknowledged(), len(load.wrong)
        load.reset()
        _harm(_victim(cluster, client, target, fault), fault)
        _await_health(cluster, client, load, time.monotonic())
    time.sleep(_MOMENT_S)
    write_gap_s, search_gap_s = (max(gauge.gap_s() for gauge in gauges) for gauges in (load.writers, load.searchers))
    failed: Counter[str] = sum((gauge.failures for gauge in load.gauges), Counter())
    searches = sum(gauge.successes for gauge in load.searchers)
    load.pause()
    lost = load.lost()
    row = Row(
        target=target,
        fault=IN_WORDS[fault],
        write_gap_s=round(write_gap_s, 2),
        search_gap_s=round(search_gap_s, 2),
        acknowledged=load.book.acknowledged() - acknowledged,
        searches=searches,
        failed=dict(failed),
        lost=lost,
        wrong=load.wrong[wrong:],
    )
    load.resume()
    return row


def _victim(cluster: RoleCluster, client: shoal.Client, target: str, fault: str) -> Victim:
    match target:
        case "worker":
            return cluster.workers[0]
        case "router":
            # Clients stay with the router that answered last, so after one fault all of them are at the other one.
            return cluster.routers[FAULTS.index(fault) % len(cluster.routers)]
        case "leader":
            leader = cluster.leader(client)
            assert leader is not None
            return cluster.coordinators[leader]
        case _:
            return cluster.etcd


def _harm(victim: Victim, fault: str) -> None:
    if fault == "freeze":
        victim.freeze()
        time.sleep(3 * TTL_S)
        victim.thaw()
        return
    if fault == "kill":
        victim.kill()
    else:
        victim.stop()
    victim.start()


def _await_health(cluster: RoleCluster, client: shoal.Client, load: Load, since: float) -> None:
    """Wait until every thread of the load succeeds again and the cluster reports that it is whole."""
    wait_until(lambda: load.all_succeeded_since(since), f"the load goes on; see {cluster.folder}")
    cluster.wait_ready()
    wait_until(lambda: cluster.leader(client) is not None, f"a coordinator leads; see {cluster.folder}")


def drawn(rows: Sequence[Row]) -> object:
    """Return the table for people."""
    from rich.table import Table

    table = Table("target", "what", "write gap s", "search gap s", "acked", "searches", "failed calls", "lost", "wrong", box=None)
    for row in rows:
        failed = ", ".join(f"{count} {name}" for name, count in sorted(row.failed.items())) or "0"
        gaps = (f"{row.write_gap_s:.2f}", f"{row.search_gap_s:.2f}")
        counts = (str(row.acknowledged), str(row.searches), failed, str(len(row.lost)), str(len(row.wrong)))
        table.add_row(row.target, row.fault, *gaps, *counts)
    return table


def main(arguments: Sequence[str]) -> int:
    """Run every cell. Return 0 if nothing was lost and no answer was wrong."""
    from rich.console import Console

    parser = argparse.ArgumentParser(prog="kill-matrix", description="Kill each role under load, in each way; print what became of it.")
    parser.add_argument("--json", type=Path, help="write the rows to this file, too")
    options = parser.parse_args(arguments)
    console, rows = Console(width=None if sys.stdout.isatty() else 120), []
    with (
        tempfile.TemporaryDirectory(prefix="kill-matrix-") as folder,
        matrix_cluster(Path(folder)) as cluster,
        Load(cluster.addresses) as load,
    ):
        for fault, target in itertools.product(FAULTS, TARGETS):
            rows.append(run_cell(cluster, load, target, fault))
            console.print(f"{len(rows):2} of {len(FAULTS) * len(TARGETS)}: {target}, {IN_WORDS[fault]}", style="dim")
    console.print(drawn(rows))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps([dataclasses.asdict(row) for row in rows], indent=1))
    for fault_found in [text for row in rows for text in (*row.lost, *row.wrong)][:20]:
        console.print(fault_found, style="bold red")
    return int(any(row.lost or row.wrong for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
