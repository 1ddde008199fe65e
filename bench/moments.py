"""Measures difficult moments: searches while an index is built, and the time from a start to the first right answer."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import shoal
from bench.data import BenchData
from bench.load import Load, run_threads
from shoal.core.errors import ShoalError
from shoal.deploy.local.foreground import ForegroundCluster

OTHER = "other"


def during_build(client: shoal.Client, collection: str, data: BenchData, k: int, seconds: float) -> dict[str, Any]:
    """Measure the latency of single searches in `collection`, first alone, then while the same number of rows is sealed
    in another collection of the same worker.
    """

    def one(at: int) -> int:
        client.search(collection, data.queries[at % len(data.queries)], k=k, with_payload=False)
        return 1

    quiet = run_threads(one, 1, seconds)
    client.create_collection(OTHER, dim=data.base.shape[1], index="hnsw")
    client.upsert(OTHER, np.arange(len(data.base)), data.base)
    ended = threading.Event()

    def seal() -> None:
        try:
            client.optimize(OTHER)
        finally:
            ended.set()

    sealing = threading.Thread(target=seal)
    sealing.start()
    busy: Load = run_threads(one, 1, seconds)
    whole = not ended.is_set()
    sealing.join()
    client.drop_collection(OTHER)
    return {"quiet": asdict(quiet), "during": asdict(busy), "build_outlasted_measurement": whole}


def restart(cluster: ForegroundCluster, collection: str, data: BenchData, k: int) -> dict[str, float]:
    """Restart the cluster. Return the seconds from the start of the worker's process, and of the whole command, to the
    first answer that equals the one before the restart.
    """
    with shoal.connect(cluster.address) as client:
        before = [hit.id for hit in client.search(collection, data.queries[0], k=k, exact=True)]
    cluster.stop()
    began = time.time()
    cluster.launch()
    with shoal.connect(cluster.address) as client:
        while True:
            try:
                if [hit.id for hit in client.search(collection, data.queries[0], k=k, exact=True, timeout=0.5)] == before:
                    break
            except ShoalError:
                continue
        answered = time.time()
        pids = [worker.pid for worker in client.cluster().workers]
    return {"command_s": answered - began, "worker_s": answered - min(_started(pid) for pid in pids)}


def _started(pid: int) -> float:
    """Return the start time of a process, in seconds since 1970."""
    ticks = int(Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[19])
    uptime_s = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
    return time.time() - uptime_s + ticks / os.sysconf("SC_CLK_TCK")
