"""`python -m bench.moves`: what moves of replicas and hand-overs cost, on plain processes, each figure beside its bar.

Parts: `join`, a fourth worker beside three; `load`, a shard of about 250 MB that moves under searches and writes;
`hand-overs`, 200 of them under writes, and a drained worker that is killed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import shoal
from bench.data import BenchData, load
from bench.moves_load import FIRST_WRITTEN, CallTimes, Step, calling, check_written, checking, searching, writing
from shoal.core.operations import RebalanceProgress
from shoal.core.rebalance import ItemState, RebalancePlan
from shoal.core.slots import owners_of_slots, slots_of, split_evenly
from tests.support.cluster.role_cluster import RoleCluster, wait_until

PARTS = ("join", "load", "hand-overs")
NAME = "fashion"
SHARDS = 12
HAND_OVERS, HANDED_SHARDS, HANDED_DIM = 200, 8, 8
QUIET_S, GONE_S, PAUSE_S, BATCH = 10.0, 6.0, 0.01, 20
LOOK_EVERY_S = 0.1
MOVED_ROWS = 75_000
MIB = 2**20

console = Console(width=None if sys.stdout.isatty() else 140)


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """A figure and its bar. most: whether the figure may be at most the bar; else it must be at least that."""

    part: str
    what: str
    value: float
    bar: float
    unit: str = ""
    most: bool = True

    @property
    def good(self) -> bool:
        """Whether the bar is met."""
        return self.value <= self.bar if self.most else self.value >= self.bar


def main() -> int:
    """Measure, print a table, write JSON. Returns 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="bench.moves", description="What moves and hand-overs cost.")
    parser.add_argument("--data", type=Path, help="folder of Fashion-MNIST")
    parser.add_argument("--rows", type=int, help="use only this many rows")
    parser.add_argument("--moves", type=int, default=4, help="moves of the large shard under load (4)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--json", type=Path, default=Path("bench-results/moves.json"))
    options = parser.parse_args()
    data, checks, notes = load(options.data, options.rows), list[Check](), dict[str, Any]()
    measures: dict[str, Callable[[Path], tuple[list[Check], dict[str, Any]]]] = {
        "join": lambda folder: measure_join(folder, data),
        "load": lambda folder: measure_load(folder, data, options.moves),
        "hand-overs": measure_hand_overs,
    }
    for part in options.parts:
        with tempfile.TemporaryDirectory(prefix="shoal-bench-") as folder:
            found, notes[part] = measures[part](Path(folder))
        checks += found
        console.print(f"{part}: {notes[part]}", style="dim")
    table = Table("part", "what", "value", "bar", "", box=None)
    for check in checks:
        bar = f"{'<=' if check.most else '>='} {check.bar:g} {check.unit}"
        table.add_row(check.part, check.what, f"{check.value:,.3f} {check.unit}", bar, "" if check.good else "MISSED")
    console.print(table)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    document = {"checks": [{**asdict(check), "good": check.good} for check in checks], "notes": notes}
    options.json.write_text(json.dumps(document, indent=1), encoding="utf-8")
    return 0 if all(check.good for check in checks) else 1


def measure_join(folder: Path, data: BenchData) -> tuple[list[Check], dict[str, Any]]:
    """Add a fourth worker to three with SHARDS shards; apply the plan that follows."""
    with RoleCluster(folder, workers=3, spares=1) as cluster, shoal.connect(cluster.address, timeout=300) as client:
        _fill(client, data.base, SHARDS)
        cluster.add_worker()
        cluster.wait_ready()
        plan = _told_plan(client, lambda plan: len(plan.workers) == 4)
        began = time.monotonic()
        progress = _applied(client, plan)
        took_s = time.monotonic() - began
        after = _told_plan(client, lambda plan: len(plan.workers) == 4)
        checker = checking(NAME, data.base, 0)
        wrong = [said for number in range(100) if (said := checker(client, number)) is not None]
        moved = sum(move.memory_bytes for move in plan.moves)
        off = max(abs(each.bytes - each.target_bytes) / each.target_bytes for each in after.workers)
        done = sum(item.state is ItemState.DONE for item in progress.items)
    notes = {
        "moves": len(plan.moves),
        "hand_overs": len(plan.hand_overs),
        "moved_mib": round(moved / MIB, 1),
        "least_mib": round(plan.least_bytes / MIB, 1),
        "seconds": round(took_s, 1),
        "estimated_seconds": round(plan.seconds, 1),
        "mib_per_s": round(plan.bytes / MIB / took_s, 1),
        "wrong": wrong[:5],
    }
    checks = [
        Check(part="join", what="bytes moved / least that have to be", value=moved / plan.least_bytes, bar=1.1, unit="x"),
        Check(part="join", what="items that were not done", value=len(progress.items) - done, bar=0),
        Check(part="join", what="worst off afterwards", value=100 * off, bar=5.0, unit="%"),
        Check(part="join", what="items of a second plan", value=len(after.moves) + len(after.hand_overs), bar=0),
        Check(part="join", what="wrong answers afterwards", value=len(wrong), bar=0),
    ]
    return checks, notes


def measure_load(folder: Path, data: BenchData, moves: int) -> tuple[list[Check], dict[str, Any]]:
    """Move one shard to the other worker and back by drains, under searches and writes."""
    base = np.concatenate([data.base, data.queries, data.base])[:MOVED_ROWS]
    steps = [
        searching(NAME, base, 0),
        checking(NAME, base, 1),
        writing(NAME, base.shape[1], FIRST_WRITTEN, BATCH),
    ]
    quiet, moving = [CallTimes() for _ in steps], [CallTimes() for _ in steps]
    rates, raws, sizes = list[float](), list[float](), list[int]()
    with RoleCluster(folder, workers=2) as cluster, shoal.connect(cluster.address, timeout=300) as client:
        _fill(client, base, 1)
        for _ in range(moves):
            source = client.cluster().shards[0].primary
            raws.append(_raw_copy_mb_per_s(cluster.data(cluster.worker_of_id(source)), folder / "raw"))
            with calling(cluster.address, steps, pause_s=PAUSE_S) as found:
                time.sleep(QUIET_S)
            _gather(quiet, found)
            quiet[2].wrong += check_written(client, NAME, FIRST_WRITTEN, BATCH, len(found[2].times))
            with calling(cluster.address, steps, pause_s=PAUSE_S) as found:
                rate, size = _moved_away(client, source)
            _gather(moving, found)
            moving[2].wrong += check_written(client, NAME, FIRST_WRITTEN, BATCH, len(found[2].times))
            rates.append(rate)
            sizes.append(size)
    calls = [*quiet, *moving]
    ratios = [moving[at].percentile_ms(99) / quiet[at].percentile_ms(99) for at in (0, 2)]
    notes: dict[str, Any] = {
        "shard_mb": [round(size / 1e6, 1) for size in sizes],
        "mb_per_s": [round(rate, 1) for rate in rates],
        "raw_copy_mb_per_s": [round(raw, 1) for raw in raws],
        "search_p99_ms": [round(each[0].percentile_ms(99), 2) for each in (quiet, moving)],
        "write_p99_ms": [round(each[2].percentile_ms(99), 2) for each in (quiet, moving)],
        "longest_write_s": [round(each[2].longest_since(0.0), 3) for each in (quiet, moving)],
        "calls": [sum(len(each.times) for each in calls[:3]), sum(len(each.times) for each in calls[3:])],
        "first_failures": [said for each in calls for said in each.failed][:5],
        "first_wrong": [said for each in calls for said in each.wrong][:5],
    }
    checks = [
        Check(part="load", what="failed calls", value=sum(len(each.failed) for each in calls), bar=0),
        Check(part="load", what="wrong answers", value=sum(len(each.wrong) for each in calls), bar=0),
        Check(part="load", what="search p99, moving / quiet", value=ratios[0], bar=2.0, unit="x"),
        Check(part="load", what="write p99, moving / quiet", value=ratios[1], bar=4.0, unit="x"),
        Check(part="load", what="slowest copy", value=min(rates), bar=40.0, unit="MB/s", most=False),
    ]
    return checks, notes


def measure_hand_overs(folder: Path) -> tuple[list[Check], dict[str, Any]]:
    """Let one worker after another lead nothing, under writes to every shard; then kill and stop drained ones."""
    points, longest, took = _one_in_each(HANDED_SHARDS), list[float](), list[float]()
    with RoleCluster(folder, workers=3) as cluster, shoal.connect(cluster.address, timeout=60) as client:
        client.create_collection(NAME, dim=HANDED_DIM, shards=HANDED_SHARDS, replicas=2, index="flat")
        cluster.wait_whole(client)
        with calling(cluster.address, [_rewriting(point) for point in points], pause_s=PAUSE_S) as calls:
            while len(longest) < HAND_OVERS:
                worker = client.cluster().shards[0].primary
                led = {each.shard for each in client.cluster().shards if each.primary == worker}
                began = time.monotonic()
                client.workers.drain(worker, primaries=True)
                took.append(time.monotonic() - began)
                _await_writes(calls)
                longest += [calls[shard].longest_since(began) for shard in led]
                client.workers.undrain(worker)
            failed = [said for each in calls for said in each.failed]
            gone = {
                "emptied_killed": _gap_when_gone(cluster, client, calls, primaries=False, kill=True),
                "leads_nothing_killed": _gap_when_gone(cluster, client, calls, primaries=True, kill=True),
                "leads_nothing_stopped": _gap_when_gone(cluster, client, calls, primaries=True, kill=False),
            }
            failed_gone = [said for each in calls for said in each.failed][len(failed) :]
    notes = {
        "hand_overs": len(longest),
        "drain_p50_s": round(float(np.percentile(took, 50)), 3),
        "longest_write_p50_s": round(float(np.percentile(longest, 50)), 3),
        "longest_write_max_s": round(max(longest), 3),
        "writes": sum(len(each.times) for each in calls),
        "longest_write_when_gone_s": {name: round(seconds, 3) for name, seconds in gone.items()},
        "first_failures": [*failed, *failed_gone][:5],
    }
    checks = [
        Check(part="hand-overs", what="failed writes", value=len(failed), bar=0),
        Check(part="hand-overs", what="longest write, p99", value=float(np.percentile(longest, 99)), bar=0.5, unit="s"),
        Check(part="hand-overs", what="failed writes, drained worker gone", value=len(failed_gone), bar=0),
        Check(part="hand-overs", what="longest write, emptied worker killed", value=gone["emptied_killed"], bar=0.5, unit="s"),
    ]
    return checks, notes


def _gap_when_gone(cluster: RoleCluster, client: shoal.Client, calls: Sequence[CallTimes], *, primaries: bool, kill: bool) -> float:
    """Drain a worker, end its process and start it again. Return the longest write meanwhile, in seconds."""
    worker = client.cluster().shards[0].primary
    client.workers.drain(worker, primaries)
    _await_writes(calls)
    process, began = cluster.workers[cluster.worker_of_id(worker)], time.monotonic()
    if kill:
        process.kill()
    else:
        process.stop()
    time.sleep(GONE_S)
    process.start()
    _await_writes(calls)
    gap_s = max(each.longest_since(began) for each in calls)
    cluster.wait_whole(client)
    client.workers.undrain(worker)
    return gap_s


def _fill(client: shoal.Client, base: Any, shards: int) -> None:
    client.create_collection(NAME, dim=base.shape[1], shards=shards, replicas=1, index="hnsw")
    client.upsert(NAME, np.arange(len(base)), base)
    client.optimize(NAME)


def _told_plan(client: shoal.Client, wanted: Callable[[RebalancePlan], bool]) -> RebalancePlan:
    """Return the plan once every size is told and it is as wanted."""
    found: list[RebalancePlan] = []

    def is_told() -> bool:
        found[:] = [client.rebalance.plan()]
        return not found[0].pinned and wanted(found[0])

    wait_until(is_told, "workers have told the sizes of their replicas")
    return found[0]


def _applied(client: shoal.Client, plan: RebalancePlan) -> RebalanceProgress:
    *_, last = [client.rebalance.apply(plan), *client.rebalance.watch(plan.id, every=LOOK_EVERY_S)]
    return last


def _moved_away(client: shoal.Client, worker: str) -> tuple[float, int]:
    """Drain a worker with one shard and take it back. Return the MB/s of the copy, and its bytes."""
    plans_before = len(client.rebalance.history())
    client.workers.drain(worker, wait=False)
    wait_until(lambda: len(client.rebalance.history()) > plans_before, "a plan for the drained worker has begun")
    began = ended = total = 0.0
    for progress in client.rebalance.watch(every=LOOK_EVERY_S):
        item, now = progress.items[0], time.monotonic()
        if item.state is ItemState.COPYING:
            began, total = began or now, max(total, item.total_bytes)
        elif began and not ended:
            ended = now
    client.workers.drain(worker)
    client.workers.undrain(worker)
    return total / 1e6 / (ended - began), int(total)


def _await_writes(calls: Sequence[CallTimes]) -> None:
    """Wait until each writer has begun and ended a call from now on."""
    now = time.monotonic()
    wait_until(lambda: all(each.times and each.times[-1][0] > now for each in calls), "writes go on")


def _raw_copy_mb_per_s(source: Path, target: Path) -> float:
    """Copy the files of a worker that are there, flush them, and delete the copy. The worker goes on meanwhile."""
    began, size = time.monotonic(), 0
    for file in sorted(path for path in source.rglob("*") if path.is_file()):
        copied = target / file.relative_to(source)
        copied.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(file, copied)
        except FileNotFoundError:
            continue
        with copied.open("rb+") as flushed:
            os.fsync(flushed.fileno())
        size += copied.stat().st_size
    seconds = time.monotonic() - began
    shutil.rmtree(target)
    return size / 1e6 / seconds


def _gather(all_calls: Sequence[CallTimes], found: Sequence[CallTimes]) -> None:
    for calls, more in zip(all_calls, found, strict=True):
        calls.add(more)


def _one_in_each(shards: int) -> list[int]:
    """Return a point of each shard, by shard number."""
    ids = np.arange(64 * shards)
    owners = owners_of_slots(list(enumerate((part,) for part in split_evenly(shards))))[slots_of(ids)]
    return [int(ids[np.flatnonzero(owners == number)[0]]) for number in range(shards)]


def _rewriting(point: int) -> Step:
    def step(client: shoal.Client, number: int) -> str | None:
        client.upsert(NAME, [point], [[float(number % 1000)] * HANDED_DIM])
        return None

    return step


if __name__ == "__main__":
    raise SystemExit(main())
