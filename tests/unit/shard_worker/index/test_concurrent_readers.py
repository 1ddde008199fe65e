"""Test readers beside the writer and beside builds: each answer holds each point exactly once."""

from __future__ import annotations

import threading

import numpy as np

from shoal.core.metric import Metric
from shoal.shard_worker.index.build import BuildJob
from shoal.shard_worker.index.native.threads import build_thread_init, search_thread_init
from shoal.shard_worker.index.sealed import SealedSegment
from shoal.shard_worker.logic.segments.segment_plan import plan_build
from tests.unit.shard_worker.index.twin import NEVER, Writer, new_index, random_points, search

POINTS, DIM = 300, 8
SWAPS, MAX_ROUNDS = 12, 20_000


class _Reader(threading.Thread):
    """Searches until told to stop and remembers the first answer that is wrong."""

    def __init__(self, writer: Writer, stop: threading.Event, *, exact: bool) -> None:
        super().__init__()
        self.answers = 0
        self.seqs: set[int] = set()
        self.wrong: str | None = None
        self._writer, self._stop_event, self._exact = writer, stop, exact

    def run(self) -> None:
        search_thread_init()
        query = np.full((2, DIM), 0.5, dtype=np.float32)
        while not self._stop_event.is_set() and self.wrong is None:
            view = self._writer.index.view()
            found = search(self._writer.index, view, query, 2 * POINTS, exact=self._exact, ef=16)
            self.answers += 1
            self.seqs.add(view.seq)
            for ids in np.split(found.ids, np.cumsum(found.counts)[:-1]):
                if np.sort(ids).tolist() != list(range(POINTS)):
                    self.wrong = f"at seq {view.seq}: {np.sort(ids).tolist()}"


def test_each_point_is_seen_exactly_once_while_it_is_written_built_and_swapped() -> None:
    writer = Writer(new_index(Metric.L2, DIM, index="auto", growing_rows=200, flat_rows=250))
    writer.upsert(random_points(0, POINTS, DIM))
    stop = threading.Event()
    readers = [_Reader(writer, stop, exact=True), _Reader(writer, stop, exact=False)]
    for reader in readers:
        reader.start()
    try:
        swaps, rounds = _write_until_swapped(writer)
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert swaps == SWAPS, f"only {swaps} swaps in {rounds} rounds"
    assert [reader.wrong for reader in readers] == [None, None]
    assert all(reader.answers > SWAPS and len(reader.seqs) > SWAPS for reader in readers)


def _write_until_swapped(writer: Writer) -> tuple[int, int]:
    """Upsert the same ids again and again while builds run in other threads. Return the number of swaps and
    of rounds.
    """
    rng = np.random.default_rng(1)
    swaps, rounds, build, sealed, job = 0, 0, None, [], None
    while swaps < SWAPS and rounds < MAX_ROUNDS:
        rounds += 1
        ids = rng.choice(POINTS, 20, replace=False).tolist()
        writer.upsert({point_id: rng.random(DIM).astype(np.float32) for point_id in ids})
        if build is not None and build.is_alive():
            build.join(0.001)
        elif build is not None and job is not None:
            writer.index.swap(job, sealed.pop(), f"segment-{swaps}")
            swaps, build = swaps + 1, None
        elif plan := plan_build(writer.index.summary(), everything=swaps % 3 == 2):
            job = writer.index.begin_build(plan)
            build = threading.Thread(target=_build, args=(job, sealed))
            build.start()
    if build is not None:
        build.join()
    return swaps, rounds


def _build(job: BuildJob, sealed: list[SealedSegment | None]) -> None:
    build_thread_init(threads=2)
    sealed.append(job.run(NEVER))
