"""Puts load on a cluster: concurrent single queries by threads or processes, and batches.

Every loop has a time limit and ends by itself.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

import shoal

Ask = Callable[[int], int]
"""Sends the query (or batch) with that number, and returns how many queries it had."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """The result of one load. qps: queries per second. p50_ms, p99_ms: latency of one call."""

    queries: int
    qps: float
    p50_ms: float
    p99_ms: float


def run_threads(ask: Ask, threads: int, seconds: float) -> Load:
    """Run this number of threads for so many seconds. Each sends one call after the other; its first call, which may
    open a connection, does not count.
    """
    latencies: list[list[float]] = [[] for _ in range(threads)]
    counts = [0] * threads
    start = threading.Barrier(threads + 1)

    def work(number: int) -> None:
        ask(number)
        start.wait()
        end = time.perf_counter() + seconds
        at = number * 7919
        while (began := time.perf_counter()) < end:
            counts[number] += ask(at)
            latencies[number].append(time.perf_counter() - began)
            at += 1

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    start.wait()
    began = time.perf_counter()
    for worker in workers:
        worker.join()
    return load_of(np.concatenate([np.array(each) for each in latencies]), sum(counts), time.perf_counter() - began)


def run_processes(address: str, transport: str, collection: str, queries: npt.NDArray[np.uint8], processes: int, seconds: float) -> Load:
    """Run this number of client processes, each with one connection and one query at a time. transport: see connect."""
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(processes)
    results: multiprocessing.Queue[tuple[list[float], float]] = context.Queue()
    arguments = (address, transport, collection, queries, seconds, start, results)
    workers = [context.Process(target=_client_process, args=(number, *arguments)) for number in range(processes)]
    for worker in workers:
        worker.start()
    gathered = [results.get(timeout=120 + seconds) for _ in workers]
    for worker in workers:
        worker.join()
    latencies = np.concatenate([np.array(each) for each, _ in gathered])
    return load_of(latencies, len(latencies), max(spent for _, spent in gathered))


def _client_process(number, address, transport, collection, queries, seconds, start, results) -> None:  # type: ignore[no-untyped-def]
    latencies = []
    with shoal.connect(address, transport=transport) as client:
        client.search(collection, queries[0], k=10, with_payload=False)
        start.wait(timeout=120)
        opened = time.perf_counter()
        at = number * 7919
        while (began := time.perf_counter()) < opened + seconds:
            client.search(collection, queries[at % len(queries)], k=10, with_payload=False)
            latencies.append(time.perf_counter() - began)
            at += 1
        results.put((latencies, time.perf_counter() - opened))


def load_of(latencies: npt.NDArray[np.float64], queries: int, spent_s: float) -> Load:
    """Return the figures of a load. latencies: (n,) seconds of each call; spent_s: of the whole load."""
    return Load(
        queries=queries,
        qps=queries / spent_s,
        p50_ms=float(np.percentile(latencies, 50) * 1e3),
        p99_ms=float(np.percentile(latencies, 99) * 1e3),
    )
