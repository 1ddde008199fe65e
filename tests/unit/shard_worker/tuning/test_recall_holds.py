"""Test that a replica reaches its recall from the first search on: while points are loaded, beside builds and merges,
after a change of index, after a restart, and when other queries are asked than before. The mean of any 200 searches in
a row is at least the target - 0.01.

No clock decides: exact searches count as expensive, a search of an index as cheap, and no measurement ends early
because the machine is busy. So the index is used as soon as it is trusted.
"""

import asyncio
import dataclasses
import itertools
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from shoal.core.collection import CollectionSpec
from shoal.core.metric import Metric
from shoal.core.shard_calls import Exact, QueryGroup, RecallTarget, ShardFound, ShardSearch
from shoal.shard_worker.index import tuning as tuning_module
from shoal.shard_worker.index.search.paces import Paces
from shoal.shard_worker.logic.tuning import plan as tuning_plan
from shoal.shard_worker.tuning import calibrate as calibration
from shoal.shard_worker.tuning import measuring
from shoal.shard_worker.tuning import tuner as tuner_module
from tests.support.examples.hostile_vectors import queries_of, rows_of
from tests.support.scope import LONG, cells
from tests.support.worker.replica_bench import SHARD, Bench, opened
from tests.support.worker.steady_paces import UnlearningPaces

DIM = 32
ROWS, GROWING = (24_000, 4_000) if LONG else (6_000, 1_200)
K, TARGET, WINDOW = 10, 0.95, 200
EXACT_US_PER_ROW = 1.0
UNCONFIRMED = 20
"""First queries that certainly use an index that nothing has confirmed yet.

It serves 64 searches before that. A query is asked twice, and the check that confirms the index begins 24 questions
later at the earliest, and searches for each of them, too: 20 + 2 * 20 < 64. Later searches are exact if they overtake
the check.
"""
CELLS = cells(
    [("gaussian", Metric.L2), ("uneven", Metric.IP), ("copies", Metric.COSINE), ("clusters", Metric.IP), ("one-hot", Metric.L2)],
    [("gaussian", Metric.L2), ("uneven", Metric.IP)],
)


@pytest.fixture(autouse=True)
def index_where_it_may_be(monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr(measuring, "calibrate", partial(_calibrated_without_a_clock, lambda: next(ticks) * 1e-6))
    monkeypatch.setattr(calibration, "_exact_pace", lambda *_: EXACT_US_PER_ROW)
    monkeypatch.setattr(Paces, "exact_us", lambda *_, queries, rows, **__: queries * rows * EXACT_US_PER_ROW)
    monkeypatch.setattr(Paces, "learn_exact", UnlearningPaces.learn_exact)
    monkeypatch.setattr(Paces, "learn_index", UnlearningPaces.learn_index)
    monkeypatch.setattr(calibration, "MOST_BREADTH", 400)
    monkeypatch.setattr(tuning_module, "DEAR_US", math.inf)
    monkeypatch.setattr(tuner_module, "DEAR_US", math.inf)
    monkeypatch.setattr(tuner_module, "LOOK_S", 0.05)
    monkeypatch.setattr(tuner_module, "PENDING_S", math.inf)
    monkeypatch.setattr(tuning_plan, "QUIET_S", 0.0)


def _calibrated_without_a_clock(ticking, part, sample, **options):
    return calibration.calibrate(part, sample, **(options | {"clock": ticking}))


class Watch:
    """Searches a replica and keeps the recall of each search, in order.

    Each query is first searched exactly. Rows that are added between the two searches can only raise the recall.
    """

    def __init__(self, bench: Bench, rows: np.ndarray, metric: Metric) -> None:
        self.bench, self.rows, self.metric = bench, rows, metric
        self.recalls: list[float] = []
        self.plans: list[set[str]] = []
        self.asked = 0

    async def ask(self, kind: str, count: int) -> None:
        self.asked += 1
        for query in queries_of(kind, self.rows, count, self.asked):
            truth = (await self._search(query, Exact())).hits.scores
            found = await self._search(query, RecallTarget(TARGET))
            scores = found.hits.scores
            good = scores <= truth[-1] if self.metric is Metric.L2 else scores >= truth[-1]
            self.recalls.append(min(1.0, np.count_nonzero(good) / len(truth)))
            self.plans.append({each.plan for each in found.explain})
            # A search may run on the event loop without a pause, so this pause lets other tasks run.
            await asyncio.sleep(0.001)

    async def ask_until(self, kind: str, told: asyncio.Task[None]) -> None:
        while not told.done():
            await self.ask(kind, 20)
        await told

    async def ask_until_the_index_is_relied_on(self, kind: str) -> None:
        """Ask until the tuning of each index is trusted: then the index is used, or it is known that exact search is
        needed.
        """
        async with asyncio.timeout(60):
            while any(part.native is not None and not part.tuning.now.trusted for part in self.bench.engine.reading.view().parts):
                await self.ask(kind, 10)

    def short_windows(self) -> dict[int, float]:
        """Return the windows whose mean is below the promise: number of the first search -> mean."""
        means = np.convolve(self.recalls, np.full(WINDOW, 1 / WINDOW), mode="valid")
        return {int(at): float(means[at]) for at in np.flatnonzero(means < TARGET - 0.01)}

    async def _search(self, query: np.ndarray, accuracy: Exact | RecallTarget) -> ShardFound:
        call = ShardSearch(
            shard=SHARD, queries=query[None, :], groups=(QueryGroup(k=K),), accuracy=accuracy, with_payload=False, explain=True
        )
        return await self.bench.replica.search(call, 20.0)


async def load(bench: Bench, rows: np.ndarray, start: int, end: int) -> None:
    for first in range(start, end, 200):
        await bench.upsert(range(first, min(end, first + 200)), rows[first : min(end, first + 200)])
        await asyncio.sleep(0.005)


async def live_a_life(folder: Path, kind: str, metric: Metric) -> Watch:
    rows = rows_of(kind, ROWS, DIM, 1)
    spec = CollectionSpec(name="c", dim=DIM, metric=metric, index="hnsw", recall=TARGET)
    async with opened(folder, term=1, growing_rows=GROWING, spec=spec) as bench:
        watch = Watch(bench, rows, metric)
        await load(bench, rows, 0, ROWS // 3)
        await bench.replica.optimize(120.0)
        await watch.ask("rows", 40)
        await watch.ask_until_the_index_is_relied_on("rows")
        loading = asyncio.create_task(load(bench, rows, ROWS // 3, ROWS))
        await watch.ask_until("rows", loading)
        await bench.replica.optimize(120.0)
        await watch.ask("rows", 100)
        await watch.ask("random", 220)
        await watch.ask_until_the_index_is_relied_on("random")
        await watch.ask("random", 100)
        other = dataclasses.replace(spec, index="HNSW12")
        bench.replica.tell_spec(other)
        await watch.ask_until("random", asyncio.create_task(bench.replica.optimize(120.0)))
        await watch.ask("random", 100)
    async with opened(folder, term=2, growing_rows=GROWING, spec=other) as bench:
        watch.bench = bench
        await watch.ask("rows", 100)
        await watch.ask("random", 100)
    return watch


@pytest.mark.parametrize(("kind", "metric"), CELLS)
def test_recall_holds_all_the_life_of_a_replica(kind, metric, tmp_path):
    watch = asyncio.run(live_a_life(tmp_path, kind, metric))
    assert watch.short_windows() == {}
    assert len(watch.recalls) > 3 * WINDOW
    if kind == "gaussian":
        assert any("index" in plans for plans in watch.plans)


async def begin_with(folder: Path, kind: str, metric: Metric, asked: str, batch: str | None) -> Watch:
    """Load, and ask at once: one batch of a kind of queries, if there is one, then others."""
    rows = rows_of(kind, ROWS // 3, DIM, 1)
    spec = CollectionSpec(name="c", dim=DIM, metric=metric, index="hnsw", recall=TARGET)
    async with opened(folder, term=1, growing_rows=GROWING, spec=spec) as bench:
        watch = Watch(bench, rows, metric)
        await load(bench, rows, 0, len(rows))
        await bench.replica.optimize(120.0)
        assert all(part.tuning.now.provisional for part in bench.engine.reading.view().parts if part.native is not None)
        if batch is not None:
            queries = queries_of(batch, rows, 256, 77)
            await bench.replica.search(
                ShardSearch(shard=SHARD, queries=queries, groups=(QueryGroup(k=K),), accuracy=RecallTarget(TARGET)), 20.0
            )
        await watch.ask(asked, WINDOW + 50)
    return watch


BEGINNINGS = cells(
    [(*cell, asked, batch) for cell in CELLS for asked in ("rows", "between", "random", "far") for batch in (None, "rows", "far")],
    [("gaussian", Metric.L2, "rows", None), ("gaussian", Metric.L2, "between", "rows"), ("uneven", Metric.IP, "random", None)],
)


@pytest.mark.parametrize(("kind", "metric", "asked", "batch"), BEGINNINGS)
def test_recall_holds_from_the_first_search_after_a_load(kind, metric, asked, batch, tmp_path):
    watch = asyncio.run(begin_with(tmp_path, kind, metric, asked, batch))
    assert watch.short_windows() == {}
    if (kind, asked, batch) == ("gaussian", "rows", None):
        assert all("index" in plans for plans in watch.plans[:UNCONFIRMED]), "the first searches use the index"
