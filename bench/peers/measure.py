"""Loads the rows into one other system, finds its least ef for the recall target, and measures it.

Runs as a process of its own (`python -m bench.peers.measure NAME`), so that its memory and its threads end with it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.data import BenchData, load, recall
from bench.filters import buckets
from bench.load import Load, load_of, run_threads
from bench.memory import proportional_bytes
from bench.peers.chroma import Chroma
from bench.peers.lance import LanceDb
from bench.peers.milvus import MilvusLite
from bench.peers.peer import Condition, Peer, PeerRows, Running, Searcher, ServerPeer, Vectors, version_of
from bench.peers.pgvector import Pgvector
from bench.peers.qdrant import QdrantEdge
from bench.peers.zvec import Zvec

PEERS: dict[str, Peer] = {
    "pgvector": Pgvector(),
    "chroma": Chroma(),
    "milvus-lite": MilvusLite(),
    "lancedb": LanceDb(),
    "qdrant-edge": QdrantEdge(),
    "zvec": Zvec(),
}

TARGET, K, BATCH, PROCESSES = 0.95, 10, 100, 8
EFS = (10, 12, 15, 18, 22, 27, 33, 40, 50, 60, 80, 100, 130, 170, 220, 300, 400)
_CALIBRATED, _CHECKED = 500, 100
_PROCESS_START_S = 120.0


def main() -> int:
    """Measure one system and print its figures as one line of JSON, the last one."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers.measure", description=__doc__)
    parser.add_argument("peer", choices=sorted(PEERS))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--seconds", type=float, default=8.0)
    options = parser.parse_args()
    data = load(options.data, options.rows)
    peer = PEERS[options.peer]
    with tempfile.TemporaryDirectory(prefix="peer-", ignore_cleanup_errors=True) as folder, peer.run(Path(folder)) as running:
        print(json.dumps(_measured(peer, running, data, options.seconds)))
    return 0


def installed() -> list[str]:
    """Return the names of the systems whose packages are installed."""
    return [name for name, peer in PEERS.items() if version_of(peer)]


def _measured(peer: Peer, running: Running, data: BenchData, seconds: float) -> dict[str, Any]:
    before = 0 if isinstance(peer, ServerPeer) else proportional_bytes(running.pids())
    rows = PeerRows(vectors=data.base.astype(np.float32), labels=data.labels, buckets=buckets(len(data.base)))
    queries = data.queries.astype(np.float32)
    began = time.perf_counter()
    running.load(rows)
    loaded_s = time.perf_counter() - began
    searcher = running.searcher()
    found = least_ef(lambda query, ef: searcher.one(query, K, ef), queries[:_CALIBRATED], data.neighbors)
    if found is None:
        raise SystemExit(f"error: {peer.name} does not reach recall {TARGET} with ef {EFS[-1]}")
    ef, reached = found
    memory = proportional_bytes(running.pids()) - before
    figures = {
        "name": peer.name,
        "versions": version_of(peer),
        "server": isinstance(peer, ServerPeer),
        "load_s": loaded_s,
        "ef": ef,
        "recall": reached,
        "memory_bytes": memory,
        "loads": _loads(peer, running, searcher, queries, ef, seconds),
        "filters": {
            "label = 3": _filtered(searcher, rows, queries, Condition(column="label", value=3), ef, seconds),
            "random 1 %": _filtered(searcher, rows, queries, Condition(column="bucket", value=5), ef, seconds),
        },
    }
    searcher.close()
    return figures


def least_ef(search: Callable[[Vectors, int], list[int]], queries: Vectors, truth: npt.NDArray[np.int32]) -> tuple[int, float] | None:
    """Return the least of EFS with which the queries (n, dim) have recall TARGET, and this recall; None if none has."""
    for ef in EFS:
        found = [search(query, ef) for query in queries]
        reached = float(np.mean([len(set(ids) & set(row[:K].tolist())) / K for ids, row in zip(found, truth, strict=False)]))
        if reached >= TARGET:
            return ef, reached
    return None


def _loads(peer: Peer, running: Running, searcher: Searcher, queries: Vectors, ef: int, seconds: float) -> dict[str, Any]:
    batches = len(queries) // BATCH
    local = threading.local()
    opened: list[Searcher] = []

    def of_thread() -> Searcher:
        if not hasattr(local, "searcher"):
            local.searcher = running.searcher()
            opened.append(local.searcher)
        mine: Searcher = local.searcher
        return mine

    def one(at: int) -> int:
        return len(of_thread().one(queries[at % len(queries)], K, ef)) and 1

    def batch(at: int) -> int:
        start = at % batches * BATCH
        return len(searcher.batch(queries[start : start + BATCH], K, ef))

    loads = {
        "c1": asdict(run_threads(one, 1, seconds)),
        "c8": asdict(run_threads(one, 8, seconds)),
        "batch 100": asdict(run_threads(batch, 1, seconds)),
    }
    for each in opened:
        each.close()
    if isinstance(peer, ServerPeer):
        loads["8 processes"] = asdict(_processes(peer, running.address, queries, ef, seconds))
    return loads


def _processes(peer: ServerPeer, address: str, queries: Vectors, ef: int, seconds: float) -> Load:
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(PROCESSES)
    results: multiprocessing.Queue[tuple[list[float], float]] = context.Queue()
    workers = [
        context.Process(target=_client_process, args=(peer, number, address, queries, ef, seconds, start, results))
        for number in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    gathered = [results.get(timeout=_PROCESS_START_S + seconds) for _ in workers]
    for worker in workers:
        worker.join()
    latencies = np.concatenate([np.array(each) for each, _ in gathered])
    return load_of(latencies, len(latencies), max(spent for _, spent in gathered))


def _client_process(peer: ServerPeer, number, address, queries, ef, seconds, start, results) -> None:  # type: ignore[no-untyped-def]
    searcher = peer.connect(address)
    searcher.one(queries[0], K, ef)
    start.wait(timeout=_PROCESS_START_S)
    latencies, opened, at = [], time.perf_counter(), number * 7919
    while (began := time.perf_counter()) < opened + seconds:
        searcher.one(queries[at % len(queries)], K, ef)
        latencies.append(time.perf_counter() - began)
        at += 1
    results.put((latencies, time.perf_counter() - opened))
    searcher.close()


def _filtered(searcher: Searcher, rows: PeerRows, queries: Vectors, condition: Condition, ef: int, seconds: float) -> dict[str, Any]:
    """Return QPS, and recall and the number of short answers against the exact answers among the matching rows."""
    column = rows.labels if condition.column == "label" else rows.buckets
    matching = np.flatnonzero(column == condition.value)
    checked = queries[:_CHECKED]
    truth = _exact(rows.vectors[matching], checked, matching)
    found = [searcher.one(query, K, ef, condition) for query in checked]
    padded = np.full((len(found), K), -1, dtype=np.int64)
    for number, ids in enumerate(found):
        padded[number, : len(ids)] = ids[:K]

    def one(at: int) -> int:
        searcher.one(queries[at % len(queries)], K, ef, condition)
        return 1

    short = sum(len(ids) < K for ids in found)
    return {**asdict(run_threads(one, 1, seconds)), "recall": recall(padded, truth, K), "short": short}


def _exact(vectors: Vectors, queries: Vectors, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    import faiss

    index = faiss.IndexFlatL2(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors))
    found: npt.NDArray[np.int32] = ids[index.search(np.ascontiguousarray(queries), K)[1]].astype(np.int32)
    return found


if __name__ == "__main__":
    raise SystemExit(main())
