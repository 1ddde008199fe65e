"""`python -m bench.text_beside`: searches by vectors beside a load of documents, through a whole cluster.

Eight threads of one client search 50,000 sealed points: quietly, and while another process writes 1,000 points a second
in batches of 100, with vectors and documents of 60 words in their payloads. They are written into another collection,
which costs processors; into the collection that is searched, where new rows are compared one by one until a graph is
built over them; and into one with a text field. The last difference is what texts cost. Each measurement begins when
the cluster is at rest, and its 12 seconds hold a whole life of a growing segment: 10,000 rows, and their build.

Vectors are those of Fashion-MNIST in 128 principal components, or in `--dim` of them: random vectors are as far from
each other as from any query, and a graph must look at far more of them. What is written is made before the clock
starts. Clients and cluster share the processors, so a table tells what each of them used, and what everything else on
the machine used.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

import shoal
from bench import data
from bench.text import Documents
from shoal.deploy.local.foreground import ForegroundCluster
from shoal.deploy.processes.ports import free_port

POINTS, THREADS, QUERIES = 50_000, 8, 1_000
DIM = 128
"""The usual dimension of the vectors."""
DOCUMENTS_PER_S, BATCH, READY = 1_000, 100, 50
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
USERS = ("cluster", "client", "writer", "others")
WIDTH = 130
"""Of the table, in characters."""
REST_CORES, REST_S = 0.15, 120.0
"""A cluster is at rest when it uses less of a processor for a second. So long it may take until it is."""

PLAIN, TEXTS, OTHER = "plain", "texts", "other"


Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Case:
    """searched: the collection that is searched; written: the one that is written into, None for none."""

    name: str
    searched: str
    written: str | None


CASES = (
    Case(name="quiet", searched=PLAIN, written=None),
    Case(name="into another collection", searched=PLAIN, written=OTHER),
    Case(name="into the same", searched=PLAIN, written=PLAIN),
    Case(name="into the same, with a text field", searched=TEXTS, written=TEXTS),
)


@dataclass(frozen=True, kw_only=True)
class Vectors:
    """The vectors. base: (POINTS, dim); written: (READY * BATCH, dim); queries: (QUERIES, dim)."""

    base: Floats
    written: Floats
    queries: Floats


@dataclass(frozen=True, kw_only=True)
class Load:
    """One measurement. times_ms: of all searches; seconds: its length; written: documents in that time.

    cluster_s, client_s, writer_s, others_s: seconds of processors that were used by the processes of the cluster, by
    the client that searches, by the process that writes, and by everything else on the machine.
    """

    times_ms: npt.NDArray[np.float64]
    seconds: float
    written: int
    cluster_s: float
    client_s: float
    writer_s: float
    others_s: float

    @property
    def qps(self) -> float:
        """Return searches a second."""
        return len(self.times_ms) / self.seconds

    def p_ms(self, percent: int) -> float:
        """Return a percentile of the times."""
        return float(np.percentile(self.times_ms, percent))

    def shares(self) -> tuple[float, ...]:
        """Return how many processors each of USERS used."""
        return tuple(used / self.seconds for used in (self.cluster_s, self.client_s, self.writer_s, self.others_s))

    @property
    def writes(self) -> float:
        """Return documents a second."""
        return self.written / self.seconds


def main() -> int:
    """Measure and print a table. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.text_beside", description=__doc__)
    parser.add_argument("--seconds", type=float, default=12.0, help="of each measurement (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=2, help="measurements of each kind (default: %(default)s)")
    parser.add_argument("--data", type=Path, help=f"folder with {data.FILE} (default: SHOAL_DATA, ../shared/data)")
    parser.add_argument("--dim", type=int, default=DIM, help="dimension of the vectors, at most 784 (default: %(default)s)")
    parser.add_argument("--random", action="store_true", help="random vectors instead of real ones")
    options = parser.parse_args()
    vectors = random_vectors(options.dim) if options.random else real_vectors(options.data, options.dim)
    console = Console(width=max(WIDTH, Console().width))
    rounds: list[list[Load]] = []
    with (
        tempfile.TemporaryDirectory(prefix="shoal-beside-") as folder,
        ForegroundCluster(data=Path(folder) / "data", flags=(f"--http-port={free_port()}",), heard=console.print) as cluster,
        shoal.connect(cluster.address) as client,
    ):
        for name in (PLAIN, TEXTS, OTHER):
            fill(client, name, vectors.base if name != OTHER else vectors.base[:0], {"body": "auto"} if name == TEXTS else None)
        # Graphs are measured on real queries once there are some. That is done before anything counts.
        for name in (PLAIN, TEXTS):
            measured(cluster, Case(name="", searched=name, written=None), vectors, 2.0, 0)
        for number in range(options.rounds):
            rounds.append([])
            for case in CASES:
                settle(client, cluster.pid, case)
                load = measured(cluster, case, vectors, options.seconds, number)
                rounds[-1].append(load)
                console.print(f"{case.name}: {load.qps:,.0f} searches/s, p99 {load.p_ms(99):.1f} ms, {load.writes:,.0f} points/s")
        for name in (PLAIN, TEXTS):
            alone = Case(name="", searched=name, written=name)
            settle(client, cluster.pid, alone)
            load = measured(cluster, alone, vectors, options.seconds, options.rounds, threads=0)
            console.print(f"{load.writes:,.0f} points/s into {name!r} without a search: the cluster uses {load.shares()[0]:.2f} processors")
    console.print(f"load of the machine at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    console.print(table_of(rounds))
    return 0


def settle(client: shoal.Client, pid: int, case: Case) -> None:
    """Wait until all rows are sealed and the cluster is at rest. Raises SystemExit if it never is."""
    for name in {case.searched, case.written or case.searched}:
        client.optimize(name)
    end = time.monotonic() + REST_S
    used, now = REST_CORES, _cluster_s(pid)
    while used >= REST_CORES:
        if time.monotonic() > end:
            raise SystemExit(f"error: the cluster still uses {used:.2f} of a processor after {REST_S:.0f} s")
        time.sleep(1.0)
        used, now = _cluster_s(pid) - now, _cluster_s(pid)


def real_vectors(folder: Path | None, dim: int) -> Vectors:
    """Return vectors of images, in their first `dim` principal components."""
    images = data.load(folder, None)
    base = images.base.astype(np.float32)
    mean = base.mean(axis=0)
    _, axes = np.linalg.eigh(np.cov(base - mean, rowvar=False))
    turned = axes[:, ::-1][:, :dim].astype(np.float32)
    made = np.ascontiguousarray((base - mean) @ turned)
    queries = np.ascontiguousarray((images.queries[:QUERIES].astype(np.float32) - mean) @ turned)
    return Vectors(base=made[:POINTS], written=made[POINTS : POINTS + READY * BATCH], queries=queries)


def random_vectors(dim: int) -> Vectors:
    """Return vectors of normal random numbers."""
    random = np.random.default_rng(1)
    base, written, queries = (random.normal(size=(rows, dim)).astype(np.float32) for rows in (POINTS, READY * BATCH, QUERIES))
    return Vectors(base=base, written=written, queries=queries)


def fill(client: shoal.Client, collection: str, base: Floats, text: Any) -> None:
    """Make a collection of sealed points. text: its text fields, which these points have not."""
    client.create_collection(collection, base.shape[1], metric="cosine", text=text)
    for start in range(0, len(base), 5_000):
        client.upsert(collection, np.arange(start, start + 5_000), base[start : start + 5_000])


def measured(cluster: ForegroundCluster, case: Case, vectors: Vectors, seconds: float, number: int, threads: int = THREADS) -> Load:
    """Return the load of threads that search for so long, after a second in which nothing counts.

    number: of the round.
    """
    context = multiprocessing.get_context("spawn")
    stop, written, used = context.Event(), context.Value("q", 0), context.Value("d", 0.0)
    if case.written is None:
        return _searched(cluster, case.searched, vectors.queries, seconds, threads, written, used)
    writer = context.Process(target=write, args=(cluster.address, case.written, vectors.written, number, stop, written, used))
    writer.start()
    try:
        while not written.value and writer.is_alive():
            time.sleep(0.05)
        return _searched(cluster, case.searched, vectors.queries, seconds, threads, written, used)
    finally:
        stop.set()
        writer.join()


def _searched(cluster: ForegroundCluster, collection: str, queries: Floats, seconds: float, threads: int, written: Any, used: Any) -> Load:
    times: list[float] = []
    counted_from = time.monotonic() + 1.0
    end = counted_from + seconds

    def search(thread: int) -> None:
        number = thread
        while (began := time.monotonic()) < end:
            client.search(collection, queries[number % QUERIES])
            if began >= counted_from:
                times.append(time.monotonic() - began)
            number += 1

    with shoal.connect(cluster.address) as client:
        searching = [threading.Thread(target=search, args=(number * 100,)) for number in range(threads)]
        for each in searching:
            each.start()
        time.sleep(max(0.0, counted_from - time.monotonic()))
        before = (time.monotonic(), written.value, used.value, time.process_time(), _cluster_s(cluster.pid), _machine_s())
        time.sleep(max(0.0, end - time.monotonic()))
        after = (time.monotonic(), written.value, used.value, time.process_time(), _cluster_s(cluster.pid), _machine_s())
        for each in searching:
            each.join()
    taken, documents, writer_s, client_s, cluster_s, machine_s = (late - early for early, late in zip(before, after, strict=True))
    return Load(
        times_ms=np.array(times) * 1e3,
        seconds=taken,
        written=int(documents),
        cluster_s=cluster_s,
        client_s=client_s,
        writer_s=writer_s,
        others_s=machine_s - cluster_s - client_s - writer_s,
    )


def write(address: str, collection: str, vectors: Floats, number: int, stop: Any, written: Any, used: Any) -> None:
    """Write documents at a steady rate until `stop` is set, with ids that no other round uses.

    written: counts them; used: seconds of processors since the clock started.
    """
    documents = Documents(seed=3)
    ready = [[{"body": " ".join(words)} for words in documents.drawn(BATCH)] for _ in range(READY)]
    with shoal.connect(address) as client:
        began, used_before, batch = time.monotonic(), time.process_time(), 0
        while not stop.is_set():
            ids = np.arange(BATCH) + POINTS + number * 10_000_000 + batch * BATCH
            place = batch % READY
            client.upsert(collection, ids, vectors[place * BATCH : (place + 1) * BATCH], ready[place])
            batch += 1
            used.value, written.value = time.process_time() - used_before, batch * BATCH
            stop.wait(max(0.0, began + batch * BATCH / DOCUMENTS_PER_S - time.monotonic()))


def table_of(rounds: Sequence[Sequence[Load]]) -> Table:
    """Return a table of the medians of all rounds, and of the ratios to the quiet load of the same round. rounds: loads
    of the cases, in their order."""
    table = Table("8 threads, vectors", "QPS", "ratio", "p50 ms", "p99 ms", "ratio", "points/s", *USERS)
    for at, case in enumerate(CASES):
        loads = [(loads[0], loads[at]) for loads in rounds]
        shares = zip(*(load.shares() for _, load in loads), strict=True)
        table.add_row(
            case.name,
            f"{_median([load.qps for _, load in loads]):,.0f}",
            f"{_median([load.qps / quiet.qps for quiet, load in loads]):.2f}",
            f"{_median([load.p_ms(50) for _, load in loads]):.2f}",
            f"{_median([load.p_ms(99) for _, load in loads]):.2f}",
            f"{_median([load.p_ms(99) / quiet.p_ms(99) for quiet, load in loads]):.2f}",
            f"{_median([load.writes for _, load in loads]):,.0f}",
            *(f"{_median(share):.2f}" for share in shares),
        )
    table.caption = f"{', '.join(USERS)}: processors that each used"
    return table


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))


def _machine_s() -> float:
    """Return the seconds of processors that the machine has used, without those in which they were idle."""
    ticks = [int(each) for each in Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / TICKS_PER_S


def _cluster_s(pid: int) -> float:
    """Return the seconds of processors that a process and those that it started have used."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        children = [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S + sum(_cluster_s(child) for child in children)


if __name__ == "__main__":
    raise SystemExit(main())
