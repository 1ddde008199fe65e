"""`make demo`: a cluster of three workers on this machine, real data, measured recall, and a worker that is killed and
starts again.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

import shoal
from shoal.core.deadline import Deadline
from shoal.core.errors import DataLoss, ShoalError, Unavailable
from shoal.core.health import ShardCondition, WorkerCondition
from shoal.deploy.local.foreground import ForegroundCluster

NAME = "digits"
WORKERS, SHARDS, REPLICAS, K = 3, 3, 2, 10
QUERIES = 300
LEAST_RECALL = 0.98
BACK_WITHIN_S = 60.0

Matrix = npt.NDArray[np.float32]
Answers = list[list[tuple[int | str, float]]]

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    """Run the demo. Returns the exit code: 0 only if every count and the recall were right."""
    began = time.monotonic()
    console.print("[bold]Shoal demo[/bold]: three workers on this machine, in a temporary folder that is removed at the end.\n")
    try:
        with tempfile.TemporaryDirectory(prefix="shoal-demo-") as folder:
            cluster = ForegroundCluster(data=Path(folder), workers=WORKERS, heard=told)
            with step("starting etcd, Ray, a coordinator, a router and three workers"):
                cluster.start()
            try:
                with shoal.connect(cluster.address, timeout=BACK_WITHIN_S) as client:
                    show(client)
            finally:
                with step("stopping everything"):
                    cluster.stop()
    except ShoalError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 1
    console.print(f"\n[bold]All answers were right[/bold], after {time.monotonic() - began:.0f} s. Next: 'make up', then README.md.")
    return 0


def told(line: str) -> None:
    """Show a line that the cluster printed."""
    console.print(f"    {line}", style="dim", markup=False)


def show(client: shoal.Client) -> None:
    """Show the demo on a running cluster. Raises DataLoss if an answer is wrong."""
    vectors, labels = digits()
    load(client, vectors, labels)
    queries = vectors[:QUERIES]
    show_hits(client, vectors, labels)
    with step(f"measuring recall@{K} of {QUERIES} searches against exact search in numpy"):
        show_recall(client, vectors, queries)
    kill_a_worker(client, vectors, labels)
    with step("searching and counting again"):
        expect(client.count(NAME) == len(vectors), f"{client.count(NAME)} points are left of {len(vectors)}")
        console.print(f"    {len(vectors)} points")
        show_recall(client, vectors, queries)


def show_recall(client: shoal.Client, vectors: Matrix, queries: Matrix) -> None:
    """Print the recall of these queries. Raises DataLoss if it is too low."""
    recall = recall_of(answers(client, queries), vectors, queries)
    console.print(f"    recall@{K} = {recall:.4f}")
    expect(recall >= LEAST_RECALL, f"recall is {recall:.4f}, at least {LEAST_RECALL} was expected")


def payloads_of(labels: list[int]) -> list[dict[str, int]]:
    """Return a payload for each digit."""
    return [{"label": label} for label in labels]


def load(client: shoal.Client, vectors: Matrix, labels: list[int]) -> None:
    """Create the collection and write all points."""
    into = f"{SHARDS} shards of {REPLICAS} replicas"
    with step(f"loading {len(vectors)} handwritten digits of {vectors.shape[1]} pixels into {into}, building HNSW graphs"):
        client.create_collection(NAME, dim=vectors.shape[1], metric="l2", shards=SHARDS, replicas=REPLICAS, index="hnsw")
        client.upsert(NAME, list(range(len(vectors))), vectors, payloads_of(labels))
        client.optimize(NAME)
        info = client.describe_collection(NAME)
        console.print(f"    {info.points} points, {info.sealed_rows} of them in graphs, {info.bytes / 2**20:.1f} MiB on disk")
        expect(info.points == client.count(NAME) == len(vectors), f"{info.points} points are stored of {len(vectors)}")


def show_hits(client: shoal.Client, vectors: Matrix, labels: list[int]) -> None:
    """Search for one digit and print the nearest points."""
    asked = 42
    with step(f"searching what looks like point {asked}, which shows a {labels[asked]}"):
        table = Table("id", "label", "squared distance", box=None, padding=(0, 4, 0, 0))
        for hit in client.search(NAME, vectors[asked], k=5):
            table.add_row(str(hit.id), str((hit.payload or {}).get("label")), f"{hit.score:.0f}")
        console.print(table)


def kill_a_worker(client: shoal.Client, vectors: Matrix, labels: list[int]) -> None:
    """Kill the process that leads shard 0, write all points again, and wait until the worker is back.

    Raises Unavailable if it does not come back.
    """
    info = client.cluster()
    victim = next(worker for worker in info.workers if worker.id == info.shards[0].primary)
    with step(f"killing the worker that leads shard 0 (SIGKILL to process {victim.pid}), and writing to it"):
        os.kill(victim.pid, signal.SIGKILL)
        began = time.monotonic()
        client.upsert(NAME, list(range(len(vectors))), vectors, payloads_of(labels))
        console.print(f"    every point is written again, acknowledged by what is left, {time.monotonic() - began:.1f} s after the kill")
        back = await_that(lambda: successor(client, victim))
        console.print(f"    worker {victim.id[:8]} is back as process {back}, with its data")


def successor(client: shoal.Client, victim: shoal.WorkerInfo) -> int | None:
    """Return the pid of the process that is this worker now; None while it is down or a shard lacks a replica."""
    info = client.cluster()
    up = (worker for worker in info.workers if worker.state is WorkerCondition.UP)
    pids = [worker.pid for worker in up if worker.id == victim.id and worker.pid != victim.pid]
    whole = all(shard.state is ShardCondition.OK and len(shard.isr) == REPLICAS for shard in info.shards)
    return pids[0] if pids and whole else None


def digits() -> tuple[Matrix, list[int]]:
    """Return scikit-learn's 1,797 handwritten digits: (n, 64) float32, and their labels."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return data.data.astype(np.float32), [int(label) for label in data.target]


def answers(client: shoal.Client, queries: Matrix) -> Answers:
    """Return ids and scores of the K nearest points for each query, from one call."""
    return [[(hit.id, hit.score) for hit in hits] for hits in client.search_many(NAME, queries, k=K)]


def recall_of(found: Answers, vectors: Matrix, queries: Matrix) -> float:
    """Return the part of the K nearest that was found. A hit as near as the true K-th counts, since there are ties."""
    wide = vectors.astype(np.float64)
    right = 0
    for query, hits in zip(queries.astype(np.float64), found, strict=True):
        distances = ((wide - query) ** 2).sum(axis=1)
        farthest = np.partition(distances, K - 1)[K - 1]
        right += sum(distances[int(point)] <= farthest for point, _ in hits)
    return right / (K * len(queries))


def await_that(seen: Callable[[], int | None]) -> int:
    """Wait until `seen` returns a value, and return it. Raises Unavailable after BACK_WITHIN_S."""
    deadline = Deadline.after(BACK_WITHIN_S, time.monotonic)
    while not deadline.passed:
        found = seen()
        if found is not None:
            return found
        time.sleep(0.1)
    raise Unavailable(f"the killed worker was not back within {BACK_WITHIN_S:.0f} s")


def expect(right: bool, otherwise: str) -> None:
    """Raise DataLoss with the text `otherwise` unless `right`."""
    if not right:
        raise DataLoss(f"the demo went wrong: {otherwise}")


@contextmanager
def step(title: str) -> Iterator[None]:
    """Print the title of a step, and at its end how long it took."""
    console.print(f"[bold]*[/bold] {title}")
    began = time.monotonic()
    yield
    console.print(f"    {time.monotonic() - began:.1f} s", style="dim")


if __name__ == "__main__":
    sys.exit(main())
