"""Measures how cost grows: with shards (in one process and over a hop), with points, and with collections."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import shoal
from bench.load import run_threads
from bench.memory import peak_bytes
from bench.router_process import cpu_s, separate_router
from shoal.deploy.local.foreground import ForegroundCluster

DIM, K, GROUPS = 128, 10, 200
SHARDS = (1, 2, 4, 8, 16, 32)
SHARD_ROWS = 32_000
POINTS = (10_000, 30_000, 100_000, 200_000)
COLLECTIONS = (1, 10, 100, 1_000)
COLLECTION_ROWS, COLLECTION_DIM = 50, 16
_TUNED_AT_ONCE = 20
_CREATE_S = 300.0
_SEAL_S = 1_200.0
"""Most seconds for building and measuring one collection, also on a machine that does other work."""

Vectors = npt.NDArray[np.float32]
Tell = Callable[[str], None]


def measure(folder: Path, seconds: float, tell: Tell) -> dict[str, Any]:
    """Start a cluster of one worker in the folder, and measure. seconds: of each load."""
    with (
        ForegroundCluster(data=folder / "data", workers=1) as cluster,
        separate_router(folder / "data", folder / "router.log") as router,
        shoal.connect(cluster.address, timeout=60) as local,
        shoal.connect(router.address, timeout=60) as hop,
    ):
        worker = local.cluster().workers[0].pid
        return {
            "shards": [_with_shards(local, hop, shards, worker, router.pid, seconds, tell) for shards in SHARDS],
            "points": [_with_points(local, hop, points, seconds, tell) for points in POINTS],
            "collections": _with_collections(local, worker, seconds, tell),
        }


def clustered(rows: int, seed: int) -> Vectors:
    """Return (rows, DIM) float32 around GROUPS centres, the same in every run."""
    centres = np.random.default_rng(1).normal(size=(GROUPS, DIM))
    chance = np.random.default_rng(seed)
    return (centres[chance.integers(0, GROUPS, rows)] + 0.6 * chance.normal(size=(rows, DIM))).astype(np.float32)


def _with_shards(
    local: shoal.Client, hop: shoal.Client, shards: int, worker: int, router: int, seconds: float, tell: Tell
) -> dict[str, Any]:
    tell(f"searching {SHARD_ROWS:,} points in {shards} shards ...")
    queries = _filled(local, SHARD_ROWS, shards)
    figures: dict[str, Any] = {"shards": shards}
    for name, client, router_pid in (("one process", local, worker), ("over a hop", hop, router)):
        ask = _asking(client, queries)
        run_threads(ask, 1, min(1.0, seconds))
        before = {pid: cpu_s(pid) for pid in (worker, router_pid)}
        load = run_threads(ask, 1, seconds)
        figures[name] = {
            "qps": load.qps,
            "p50_ms": load.p50_ms,
            "p99_ms": load.p99_ms,
            "router_us": (cpu_s(router_pid) - before[router_pid]) / load.queries * 1e6,
            "worker_us": (cpu_s(worker) - before[worker]) / load.queries * 1e6,
        }
    local.drop_collection("growth")
    return figures


def _with_points(local: shoal.Client, hop: shoal.Client, points: int, seconds: float, tell: Tell) -> dict[str, Any]:
    tell(f"searching {points:,} points in 2 shards ...")
    queries = _filled(local, points, 2)
    figures: dict[str, Any] = {"points": points}
    for name, client in (("one process", local), ("over a hop", hop)):
        load = run_threads(_asking(client, queries), 1, seconds)
        figures[name] = {"qps": load.qps, "p50_ms": load.p50_ms, "p99_ms": load.p99_ms}
    figures["recall"] = _recall(local, queries[:100])
    local.drop_collection("growth")
    return figures


def _with_collections(client: shoal.Client, worker: int, seconds: float, tell: Tell) -> list[dict[str, Any]]:
    vectors = np.random.default_rng(3).normal(size=(COLLECTION_ROWS, COLLECTION_DIM)).astype(np.float32)
    figures, made = [], 0
    for wanted in COLLECTIONS:
        tell(f"searching {wanted:,} collections ...")
        began, before = time.perf_counter(), made
        while made < wanted:
            client.create_collection(f"small-{made}", dim=COLLECTION_DIM, timeout=_CREATE_S)
            client.upsert(f"small-{made}", np.arange(COLLECTION_ROWS), vectors)
            made += 1
        created_s = (time.perf_counter() - began) / (made - before)
        load = run_threads(_anywhere(client, vectors, made), 1, seconds)
        figures.append(
            {
                "collections": made,
                "create_and_fill_s": created_s,
                "qps": load.qps,
                "p50_ms": load.p50_ms,
                "threads": len(list(Path(f"/proc/{worker}/task").iterdir())),
                "files": len(list(Path(f"/proc/{worker}/fd").iterdir())),
                "idle_cpu": _idle_cpu(worker),
                "peak_memory_bytes": peak_bytes(worker),
            }
        )
    return figures


def _idle_cpu(pid: int, seconds: float = 5.0) -> float:
    """Return the share of one core that a process uses while nobody calls it."""
    time.sleep(1.0)
    before = cpu_s(pid)
    time.sleep(seconds)
    return (cpu_s(pid) - before) / seconds


def _filled(client: shoal.Client, points: int, shards: int) -> Vectors:
    """Fill and seal the collection `growth`, let it see queries, and return them, (m, DIM)."""
    client.create_collection("growth", dim=DIM, shards=shards, timeout=_CREATE_S)
    client.upsert("growth", np.arange(points), clustered(points, 2))
    client.optimize("growth", timeout=_SEAL_S)
    queries = clustered(400, 4)
    for start in range(0, len(queries), _TUNED_AT_ONCE):
        client.search_many("growth", queries[start : start + _TUNED_AT_ONCE], k=K, with_payload=False)
    client.tune("growth", k=K, timeout=_SEAL_S)
    return queries


def _asking(client: shoal.Client, queries: Vectors) -> Callable[[int], int]:
    def ask(at: int) -> int:
        client.search("growth", queries[at % len(queries)], k=K, with_payload=False)
        return 1

    return ask


def _anywhere(client: shoal.Client, queries: Vectors, collections: int) -> Callable[[int], int]:
    def ask(at: int) -> int:
        client.search(f"small-{at * 7919 % collections}", queries[at % len(queries)], k=K, with_payload=False)
        return 1

    return ask


def _recall(client: shoal.Client, queries: Vectors) -> float:
    found = client.search_many("growth", queries, k=K, with_payload=False)
    exact = client.search_many("growth", queries, k=K, with_payload=False, exact=True)
    return float(np.mean([_shared(one, other) for one, other in zip(found, exact, strict=True)]))


def _shared(found: Sequence[shoal.Hit], exact: Sequence[shoal.Hit]) -> float:
    return len({hit.id for hit in found} & {hit.id for hit in exact}) / len(exact)
