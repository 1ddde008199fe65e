"""`make bench-replicated`: compares write throughput with three replicas and with one, on the same cluster of three
workers.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import shoal
from shoal.deploy.local.foreground import ForegroundCluster

BATCH, DIM, CLIENTS, ROUNDS = 500, 128, 4, 2

console = Console()


@dataclass(frozen=True, kw_only=True, slots=True)
class Throughput:
    """Acknowledged writes of one load. points_per_s: of all clients. batch_p50_ms, batch_p99_ms: time of one call."""

    replicas: int
    points_per_s: float
    batch_p50_ms: float
    batch_p99_ms: float


def main() -> int:
    """Measure, print a table, write JSON. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="bench-replicated", description="Write throughput, replicated and not.")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load")
    parser.add_argument("--shards", type=int, default=1)
    options = parser.parse_args()
    loads: list[Throughput] = []
    with (
        tempfile.TemporaryDirectory(prefix="shoal-bench-") as folder,
        ForegroundCluster(data=Path(folder), workers=3, heard=lambda line: console.print(f"  {line}", style="dim")) as cluster,
    ):
        for number in range(ROUNDS):
            for replicas in (1, 3):
                loads.append(_load(cluster.address, f"r{replicas}-{number}", replicas, options.shards, options.seconds))
                console.print(f"  {replicas} replicas: {loads[-1].points_per_s:,.0f} points/s", style="dim")
    best = {replicas: max((each for each in loads if each.replicas == replicas), key=lambda each: each.points_per_s) for replicas in (1, 3)}
    ratio = best[3].points_per_s / best[1].points_per_s
    table = Table("replicas", "points/s", "batch p50 ms", "batch p99 ms", box=None)
    for each in best.values():
        table.add_row(str(each.replicas), f"{each.points_per_s:,.0f}", f"{each.batch_p50_ms:.1f}", f"{each.batch_p99_ms:.1f}")
    console.print(table)
    console.print(
        f"replicated / unreplicated: {ratio:.2f} (batches of {BATCH} x {DIM}, {CLIENTS} clients, {options.shards} shards, flushed)"
    )
    results = Path("bench-results")
    results.mkdir(exist_ok=True)
    (results / "replicated.json").write_text(json.dumps({"loads": [asdict(each) for each in loads], "ratio": ratio}, indent=1))
    return 0


def _load(address: str, name: str, replicas: int, shards: int, seconds: float) -> Throughput:
    """Upsert new points by CLIENTS clients at once, for so many seconds. The collection is dropped afterwards."""
    with shoal.connect(address) as client:
        client.create_collection(name, dim=DIM, shards=shards, replicas=replicas, index="flat")
        while any(len(each.isr) < replicas for each in client.cluster().shards if each.collection == name):
            time.sleep(0.05)
        took: list[list[float]] = [[] for _ in range(CLIENTS)]
        ends_at = time.monotonic() + seconds
        threads = [threading.Thread(target=_write, args=(address, name, number, ends_at, took[number])) for number in range(CLIENTS)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        elapsed = time.monotonic() - began
        client.drop_collection(name)
    batches = sorted(each * 1000 for one in took for each in one)
    return Throughput(
        replicas=replicas,
        points_per_s=len(batches) * BATCH / elapsed,
        batch_p50_ms=statistics.median(batches),
        batch_p99_ms=batches[int(len(batches) * 0.99)],
    )


def _write(address: str, name: str, number: int, ends_at: float, took: list[float]) -> None:
    vectors = np.random.default_rng(number).standard_normal((BATCH, DIM), dtype=np.float32)
    first = number << 40
    with shoal.connect(address) as client:
        while (began := time.monotonic()) < ends_at:
            client.upsert(name, range(first, first + BATCH), vectors)
            took.append(time.monotonic() - began)
            first += BATCH


if __name__ == "__main__":
    raise SystemExit(main())
