"""`make bench`: loads Fashion-MNIST into a new cluster, and measures the cluster and raw FAISS over the same graphs, in
one run.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import shoal
from bench import filters, moments
from bench.data import BenchData, load, recall
from bench.load import Load, run_processes, run_threads
from bench.memory import peak_bytes, tree
from bench.plot import draw
from bench.raw import RawGraphs, build_seconds
from shoal.deploy.local.foreground import ForegroundCluster

COLLECTION, K, SHARDS, BATCH = "fashion", 10, 2, 100

TUNED_AT_ONCE = 20
"""Queries of one batch while tuning. Of a larger batch, only some queries enter the sample for recall."""

console = Console()


def main() -> int:
    """Measure, print a table, write JSON and a plot. Returns the exit code."""
    options = _options()
    data = load(options.data, options.rows)
    results: dict[str, Any] = {"rows": len(data.base), "dim": data.base.shape[1], "machine": platform.processor() or platform.machine()}
    with tempfile.TemporaryDirectory(prefix="shoal-bench-") as folder:
        console.print(f"building {SHARDS} graphs with raw FAISS ...")
        results["raw_build_s"] = build_seconds(data.base, SHARDS)
        with ForegroundCluster(
            data=Path(folder), workers=options.workers, heard=lambda line: console.print(f"  {line}", style="dim")
        ) as cluster:
            with shoal.connect(cluster.address) as client:
                results |= _fill(client, data)
                results |= _tuned(client, data)
                results["loads"] = _loads(client, cluster.address, data, options.seconds, Path(folder), results["ef"])
                results["recall"] = _recall(client, data)
                results["filters"] = filters.measure(client, COLLECTION, data, K, options.seconds, console.print)
                console.print("measuring searches while an index is built ...")
                results["build"] = moments.during_build(client, COLLECTION, data, K, options.seconds)
                info = client.describe_collection(COLLECTION)
                results["index_memory_bytes"] = info.memory_bytes
                results["steady_memory_bytes"] = {worker.id: worker.memory for worker in client.cluster().workers}
            results["peak_memory_bytes"] = {f"{name} {pid}": peak_bytes(pid) for pid, name in tree(cluster.pid).items()}
            results["vectors_bytes"] = int(data.base.size * 4)
            console.print("measuring a restart ...")
            results["restart"] = moments.restart(cluster, COLLECTION, data, K)
    _report(results)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "bench.json").write_text(json.dumps(results, indent=2), encoding="utf-8")
    draw(results["loads"], options.out / "bench.png")
    console.print(f"wrote {options.out / 'bench.json'} and {options.out / 'bench.png'}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder that holds the data set (default: SHOAL_DATA or ../shared/data)")
    parser.add_argument("--out", type=Path, default=Path("bench-results"), help="where bench.json and bench.png go")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement")
    parser.add_argument("--rows", type=int, help="use only so many rows")
    parser.add_argument("--workers", type=int, default=1, help="shard workers; one shares its process with the router")
    return parser.parse_args()


def _fill(client: shoal.Client, data: BenchData) -> dict[str, float]:
    client.create_collection(COLLECTION, dim=data.base.shape[1], metric="l2", shards=SHARDS)
    console.print(f"loading {len(data.base):,} rows ...")
    began = time.perf_counter()
    client.upsert(COLLECTION, np.arange(len(data.base)), data.base, filters.payloads(data), progress=True)
    loaded = time.perf_counter() - began
    console.print("sealing ...")
    client.optimize(COLLECTION)
    info = client.describe_collection(COLLECTION)
    return {
        "load_s": loaded,
        "load_and_seal_s": time.perf_counter() - began,
        "growing_rows": info.growing_rows,
        "disk_bytes": info.bytes,
    }


def _tuned(client: shoal.Client, data: BenchData) -> dict[str, Any]:
    """Send real queries to the cluster and let it measure the recall of its graphs with them.

    Returns the seconds of the measurement, and the ef with which the cluster then searches.
    """
    for start in range(0, len(data.queries), TUNED_AT_ONCE):
        client.search_many(COLLECTION, data.queries[start : start + TUNED_AT_ONCE], k=K, with_payload=False)
    began = time.perf_counter()
    client.tune(COLLECTION, k=K)
    hits = client.search_many(COLLECTION, data.queries[:1], k=K, with_payload=False, explain=True)[0]
    ef = max((each.breadth for each in hits.explain if each.breadth_name == "ef"), default=0)
    if not ef:
        raise SystemExit(f"error: the graphs were not searched: {hits.explain}")
    return {"tune_s": time.perf_counter() - began, "ef": ef}


def _loads(client: shoal.Client, address: str, data: BenchData, seconds: float, folder: Path, ef: int) -> dict[str, dict[str, Any]]:
    """Measure each load on the cluster, and the same load on raw FAISS with the same ef."""
    graphs, queries = RawGraphs(folder, ef), data.queries
    wide = np.ascontiguousarray(queries, dtype=np.float32)
    batches = len(queries) // BATCH

    def one(at: int) -> int:
        client.search(COLLECTION, queries[at % len(queries)], k=K, with_payload=False)
        return 1

    def batch(at: int) -> int:
        start = at % batches * BATCH
        return len(client.search_many(COLLECTION, queries[start : start + BATCH], k=K, with_payload=False))

    def raw_one(at: int) -> int:
        at %= len(wide)
        return len(graphs.search(wide[at : at + 1], K))

    def raw_batch(at: int) -> int:
        start = at % batches * BATCH
        return len(graphs.search(wide[start : start + BATCH], K))

    plan: list[tuple[str, Callable[[], Load], str]] = [
        ("raw c1", lambda: run_threads(raw_one, 1, seconds), "raw c1"),
        ("raw c8", lambda: run_threads(raw_one, 8, seconds), "raw c8"),
        ("raw batch 100", lambda: run_threads(raw_batch, 1, seconds), "raw batch 100"),
        ("c1", lambda: run_threads(one, 1, seconds), "raw c1"),
        ("c8", lambda: run_threads(one, 8, seconds), "raw c8"),
        ("c32", lambda: run_threads(one, 32, seconds), "raw c8"),
        ("8 processes", lambda: run_processes(address, COLLECTION, queries, 8, seconds), "raw c8"),
        ("batch 100", lambda: run_threads(batch, 1, seconds), "raw batch 100"),
    ]
    measured: dict[str, dict[str, Any]] = {}
    for name, measure, beside in plan:
        console.print(f"measuring {name} for {seconds:.0f} s ...")
        found = measure()
        raw_qps = measured[beside]["qps"] if beside in measured else found.qps
        measured[name] = {**asdict(found), "beside": beside, "ratio": found.qps / raw_qps}
    return measured


def _recall(client: shoal.Client, data: BenchData) -> float:
    pages = client.search_many(COLLECTION, data.queries, k=K, with_payload=False)
    return recall(np.array([[hit.id for hit in hits] for hits in pages], dtype=np.int64), data.neighbors, K)


def _report(results: dict[str, Any]) -> None:
    table = Table(
        "load",
        "QPS",
        "p50 ms",
        "p99 ms",
        "beside",
        "ratio",
        title=f"{results['rows']:,} x {results['dim']}, k={K}, target 0.95: ef {results['ef']}, recall@10 {results['recall']:.4f}",
    )
    for name, each in results["loads"].items():
        row = (f"{each['qps']:,.0f}", f"{each['p50_ms']:.2f}", f"{each['p99_ms']:.2f}", each["beside"], f"{each['ratio']:.2f}")
        table.add_row(name, *row)
    console.print(table)
    _report_filters(results["filters"])
    quiet, busy = results["build"]["quiet"], results["build"]["during"]
    console.print(
        f"one query at a time, quiet: {quiet['qps']:,.0f} QPS, p50 {quiet['p50_ms']:.2f} ms, p99 {quiet['p99_ms']:.2f} ms; "
        f"while {results['rows']:,} rows are sealed: {busy['qps']:,.0f} QPS, p50 {busy['p50_ms']:.2f} ms, p99 {busy['p99_ms']:.2f} ms"
    )
    restart = results["restart"]
    console.print(f"first right answer {restart['worker_s']:.2f} s after the worker's start, {restart['command_s']:.2f} s after 'shoal up'")
    raw, whole = results["raw_build_s"], results["load_and_seal_s"]
    console.print(f"load {results['load_s']:.1f} s; load and seal {whole:.1f} s, {whole / raw:.2f} x a raw FAISS build ({raw:.1f} s)")
    index = results["index_memory_bytes"] / results["vectors_bytes"]
    console.print(f"index memory {results['index_memory_bytes'] / 2**20:,.0f} MiB, {index:.2f} x the raw vectors; peak resident:")
    for name, size in sorted(results["peak_memory_bytes"].items(), key=lambda each: -each[1])[:8]:
        console.print(f"  {size / 2**20:7,.0f} MiB  {name}")


def _report_filters(found: dict[str, dict[str, Any]]) -> None:
    table = Table("filter", "matching", "QPS", "p50 ms", "recall", "short", "exact in process QPS", "ratio", title="one query at a time")
    for name, each in found.items():
        table.add_row(
            name,
            f"{each['selectivity']:.1%}",
            f"{each['qps']:,.0f}",
            f"{each['p50_ms']:.2f}",
            f"{each['recall']:.4f}",
            str(each["short"]),
            f"{each['raw_qps']:,.0f}",
            f"{each['ratio']:.2f}",
        )
    console.print(table)


if __name__ == "__main__":
    raise SystemExit(main())
