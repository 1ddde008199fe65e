"""Loads Fashion-MNIST into a new cluster, and measures the cluster over both wires beside raw FAISS, in one run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import shoal
from bench import filters, moments, plain_grpc
from bench.data import BenchData, recall
from bench.load import Load, run_processes, run_threads
from bench.memory import peak_bytes, tree
from bench.peers.measure import BATCH, PROCESSES, K, least_ef
from bench.raw import RawGraphs
from shoal.deploy.local.foreground import ForegroundCluster

COLLECTION, SHARDS = "fashion", 2

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class _Wires:
    """The clients over both wires. address: of the router."""

    http: shoal.Client
    grpc: shoal.Client
    address: str


def measure(data: BenchData, folder: Path, workers: int, seconds: float, tell: Tell) -> dict[str, Any]:
    """Start a cluster in the folder, and measure. Raises SystemExit if the graphs are not searched."""
    tell(f"building {SHARDS} graphs with raw FAISS ...")
    raw = RawGraphs(data.base, SHARDS)
    results: dict[str, Any] = {"raw_build_s": raw.build_s, "raw": _raw_ef(raw, data)}
    with ForegroundCluster(data=folder, workers=workers, heard=lambda line: tell(f"  {line}")) as cluster:
        with (
            shoal.connect(cluster.address, transport="auto") as http,
            shoal.connect(cluster.address, transport="grpc") as grpc,
        ):
            results |= _fill(http, data, tell)
            results |= _tuned(http, data)
            raw.use(results["ef"])
            results["loads"] = _loads(_Wires(http=http, grpc=grpc, address=cluster.address), raw, data, seconds, tell)
            results["recall"] = _recall(http, data)
            results["filters"] = filters.measure(http, COLLECTION, data, K, seconds, tell)
            _beside_c1_exact(results)
            tell("measuring searches while an index is built ...")
            results["build"] = moments.during_build(http, COLLECTION, data, K, seconds)
            info = http.describe_collection(COLLECTION)
            results["index_memory_bytes"] = info.memory_bytes
            results["steady_memory_bytes"] = {worker.id: worker.memory for worker in http.cluster().workers}
        results["peak_memory_bytes"] = {f"{name} {pid}": peak_bytes(pid) for pid, name in tree(cluster.pid).items()}
        results["vectors_bytes"] = int(data.base.size * 4)
        tell("measuring a restart ...")
        results["restart"] = moments.restart(cluster, COLLECTION, data, K)
    return results


def _raw_ef(raw: RawGraphs, data: BenchData) -> dict[str, Any]:
    """Return the least ef with which raw FAISS reaches the target, and its recall. Loads use the cluster's ef."""

    def search(query: Any, ef: int) -> list[int]:
        raw.use(ef)
        return raw.ids(query, K)

    found = least_ef(search, data.queries[:500].astype(np.float32), data.neighbors)
    if found is None:
        raise SystemExit("error: raw FAISS does not reach the recall target")
    raw.use(found[0])
    return {"ef": found[0], "recall": found[1]}


def _fill(client: shoal.Client, data: BenchData, tell: Tell) -> dict[str, float]:
    client.create_collection(COLLECTION, dim=data.base.shape[1], metric="l2", shards=SHARDS)
    tell(f"loading {len(data.base):,} rows ...")
    began = time.perf_counter()
    client.upsert(COLLECTION, np.arange(len(data.base)), data.base, filters.payloads(data), progress=True)
    loaded = time.perf_counter() - began
    tell("sealing ...")
    client.optimize(COLLECTION)
    whole_s = time.perf_counter() - began
    info = client.describe_collection(COLLECTION)
    return {"load_s": loaded, "load_and_seal_s": whole_s, "growing_rows": info.growing_rows, "disk_bytes": info.bytes}


def _tuned(client: shoal.Client, data: BenchData) -> dict[str, Any]:
    """Send one batch of real queries to the cluster and let it measure the recall of its graphs with them.

    Returns the seconds of the measurement, and the ef with which the cluster then searches.
    """
    client.search_many(COLLECTION, data.queries, k=K, with_payload=False)
    began = time.perf_counter()
    client.tune(COLLECTION, k=K)
    hits = client.search_many(COLLECTION, data.queries[:1], k=K, with_payload=False, explain=True)[0]
    ef = max((each.breadth for each in hits.explain if each.breadth_name == "ef"), default=0)
    if not ef:
        raise SystemExit(f"error: the graphs were not searched: {hits.explain}")
    return {"tune_s": time.perf_counter() - began, "ef": ef}


def _loads(wires: _Wires, raw: RawGraphs, data: BenchData, seconds: float, tell: Tell) -> dict[str, dict[str, Any]]:
    """Measure each load on the cluster, and the same load on raw FAISS."""
    queries = data.queries
    wide = np.ascontiguousarray(queries, dtype=np.float32)
    batches = len(queries) // BATCH

    def one(client: shoal.Client) -> Callable[[int], int]:
        def ask(at: int) -> int:
            return len(client.search(COLLECTION, queries[at % len(queries)], k=K, with_payload=False)) and 1

        return ask

    def batch(client: shoal.Client) -> Callable[[int], int]:
        def ask(at: int) -> int:
            start = at % batches * BATCH
            return len(client.search_many(COLLECTION, queries[start : start + BATCH], k=K, with_payload=False))

        return ask

    def raw_one(at: int) -> int:
        at %= len(wide)
        return len(raw.search(wide[at : at + 1], K))

    def raw_batch(at: int) -> int:
        start = at % batches * BATCH
        return len(raw.search(wide[start : start + BATCH], K))

    plan: list[tuple[str, Callable[[], Load], str]] = [
        ("raw c1", lambda: run_threads(raw_one, 1, seconds), "raw c1"),
        ("raw c8", lambda: run_threads(raw_one, 8, seconds), "raw c8"),
        ("raw batch 100", lambda: run_threads(raw_batch, 1, seconds), "raw batch 100"),
        ("c1", lambda: run_threads(one(wires.http), 1, seconds), "raw c1"),
        ("c8", lambda: run_threads(one(wires.http), 8, seconds), "raw c8"),
        ("c32", lambda: run_threads(one(wires.http), 32, seconds), "raw c8"),
        ("8 processes", lambda: run_processes(wires.address, "auto", COLLECTION, queries, PROCESSES, seconds), "raw c8"),
        ("batch 100", lambda: run_threads(batch(wires.http), 1, seconds), "raw batch 100"),
        ("gRPC c1", lambda: run_threads(one(wires.grpc), 1, seconds), "raw c1"),
        ("gRPC c8", lambda: run_threads(one(wires.grpc), 8, seconds), "raw c8"),
        ("gRPC 8 processes", lambda: run_processes(wires.address, "grpc", COLLECTION, queries, PROCESSES, seconds), "raw c8"),
        ("gRPC batch 100", lambda: run_threads(batch(wires.grpc), 1, seconds), "raw batch 100"),
        ("plain grpcio c1", lambda: plain_grpc.measure(wires.address, COLLECTION, wide, K, seconds), "raw c1"),
    ]
    measured: dict[str, dict[str, Any]] = {}
    for name, run, beside in plan:
        tell(f"measuring {name} for {seconds:.0f} s ...")
        found = run()
        raw_qps = measured[beside]["qps"] if beside in measured else found.qps
        measured[name] = {**asdict(found), "beside": beside, "ratio": found.qps / raw_qps}
    return measured


def _beside_c1_exact(results: dict[str, Any]) -> None:
    """Add to each filter what share of the raw single searches by the graphs it reaches."""
    for each in results["filters"].values():
        each["share_of_raw_c1"] = each["qps"] / results["loads"]["raw c1"]["qps"]


def _recall(client: shoal.Client, data: BenchData) -> float:
    pages = client.search_many(COLLECTION, data.queries, k=K, with_payload=False)
    return recall(np.array([[hit.id for hit in hits] for hits in pages], dtype=np.int64), data.neighbors, K)
