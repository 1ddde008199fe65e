"""Test what a tuner does when recall is not known for the queries that are asked: it measures before a swap, collects a
new kind of queries, and checks the latest queries.
"""

import asyncio
import logging
import math
import threading

import numpy as np
import pytest

from shoal.core.errors import Internal
from shoal.core.shard_calls import Exact, ShardFound, ShardSearch
from shoal.shard_worker.index.tuning import Tuning
from shoal.shard_worker.logic.tuning import plan as tuning_plan
from shoal.shard_worker.tuning import measuring
from shoal.shard_worker.tuning import tuner as module
from shoal.shard_worker.tuning.files import TuningFiles
from shoal.shard_worker.tuning.tuner import Tuner
from tests.support.worker.made_segments import clustered
from tests.unit.shard_worker.tuning.test_tuner import DIM, FixedReading, ask, impatient, looked, made, part, pools, tuner, until

__all__ = ["impatient", "made", "part", "pools"]


def far_queries(background: Tuner, part, count: int) -> None:
    """Ask queries of another kind, and let the segment's likeness see them."""
    for query in clustered(8, count, DIM) + 1_000:
        background.offer(query[None, :])
        part.tuning.now.likeness.unlike(np.array([1e9]))


@pytest.mark.parametrize("dear", [False, True])
def test_a_segment_is_measured_before_its_swap_where_queries_are_known_or_exact_search_is_dear(part, pools, tmp_path, monkeypatch, dear):
    for each in (module, measuring):
        monkeypatch.setattr(each, "DEAR_US", -1.0 if dear else math.inf)

    async def run():
        reading = FixedReading([])
        background = tuner(reading, pools, tmp_path)
        await background.measure_new(part, "coming", 0.1)
        assert (part.tuning.now.measured, part.tuning.now.real) == (dear, False)
        ask(background, 64)
        await background.measure_new(part, "coming", 0.1)
        assert part.tuning.now.trusted
        await looked(reading, pools)
        await background.close()
        assert TuningFiles(tmp_path).load_tables().keys() == {"coming"}, "it is remembered while it is not in the view yet"
        restarted = tuner(reading, pools, tmp_path)
        await looked(reading, pools)
        ask(restarted, 1)
        await restarted.close()
        assert TuningFiles(tmp_path).load_tables() == {}, "it never came into the view"

    asyncio.run(run())


def test_a_measurement_before_a_swap_that_fails_leaves_the_segment_exact(part, pools, tmp_path, monkeypatch, caplog):
    def failing(*_, **__):
        raise Internal("faiss could not search: broken")

    monkeypatch.setattr(measuring, "calibrate", failing)

    async def run():
        background = tuner(FixedReading([]), pools, tmp_path)
        ask(background, 64)
        await background.measure_new(part, "coming", 0.1)
        assert part.tuning.now.choice(10, 0.9).exact
        await background.close()

    asyncio.run(run())
    assert "broken" in caplog.text


def test_what_was_measured_before_a_swap_is_found_after_a_restart(part, pools, tmp_path):
    async def run():
        reading = FixedReading([])
        background = tuner(reading, pools, tmp_path)
        ask(background, 64)
        await background.measure_new(part, part.name, 0.1)
        reading.parts = [part]
        background.swapped(part.name)
        await until(lambda: part.name in TuningFiles(tmp_path).load_tables())
        await background.close()

    asyncio.run(run())


def test_other_queries_make_a_segment_exact_until_it_was_measured_on_enough_of_them(part, pools, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, logger="shoal")
    monkeypatch.setattr(tuning_plan, "QUIET_S", 1e9)
    monkeypatch.setattr(tuning_plan, "PATIENCE_S", 1e9)

    async def run():
        reading = FixedReading([part])
        background = tuner(reading, pools, tmp_path)
        pools.builds_running = 1
        ask(background, 64)
        await until(lambda: part.tuning.now.trusted)
        far_queries(background, part, 10)
        assert not part.tuning.now.trusted
        assert part.tuning.now.choice(5, 0.5).exact
        # `looked` is not enough here: the check of the latest queries takes the view, too, and begins no new kind.
        await until(lambda: "queries_changed" in caplog.text)
        far_queries(background, part, 63)
        await looked(reading, pools)
        assert not part.tuning.now.trusted
        far_queries(background, part, 1)
        await until(lambda: part.tuning.now.trusted)
        assert part.tuning.now.queries == 128 + 64, "some of all, and of the new kind"
        pools.builds_running = 0
        await background.close()

    asyncio.run(run())


def test_the_latest_queries_are_checked_and_what_they_miss_is_doubted(part, pools, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHECK_REST_RATIO", 0.0)

    class Failing(FixedReading):
        def search(self, view, call: ShardSearch) -> ShardFound:
            found = super().search(view, call)
            exact = isinstance(call.accuracy, Exact)
            self.quick += not exact
            worse = found.hits.scores + (0.0 if exact else self.worse)
            return ShardFound(hits=type(found.hits)(counts=found.hits.counts, ids=found.hits.ids, scores=worse))

    async def run():
        reading = Failing([part])
        reading.worse, reading.quick = 0.0, 0
        background = tuner(reading, pools, tmp_path)
        ask(background, 200)
        await until(lambda: part.tuning.now.trusted and reading.quick > 0)
        first = part.tuning.now
        await looked(reading, pools)
        assert not first.likeness.doubted
        reading.worse = 1e6
        ask(background, 64)
        await until(lambda: first.likeness.doubted)
        reading.worse = 0.0
        await until(lambda: part.tuning.now.trusted)
        assert part.tuning.now is not first
        await background.close()

    asyncio.run(run())


def test_after_a_restart_it_is_known_what_the_measured_queries_were_like(part, pools, tmp_path):
    async def run():
        first = tuner(FixedReading([part]), pools, tmp_path)
        ask(first, 64)
        await until(lambda: part.tuning.now.real)
        await first.close()
        known = part.tuning.now
        part.tuning.now = Tuning.untuned(breadth_name="ef", max_breadth=600, quantised=False, rows=600, dim=DIM)
        assert known.measures.remote
        second = tuner(FixedReading([part]), pools, tmp_path)
        await until(lambda: part.tuning.now.trusted)
        assert part.tuning.now.measures.remote == known.measures.remote
        await second.close()

    asyncio.run(run())


def test_what_waits_for_a_lull_is_measured_at_once_when_it_is_asked_for(part, pools, tmp_path, monkeypatch):
    monkeypatch.setattr(tuning_plan, "QUIET_S", 1e9)
    monkeypatch.setattr(tuning_plan, "PATIENCE_S", 1e9)

    async def run():
        reading = FixedReading([])
        background = tuner(reading, pools, tmp_path)
        ask(background, 1)
        reading.parts = [part]
        await background.measure_pending(30.0)
        assert part.tuning.now.provisional
        rows_only = part.tuning.now
        await background.measure_pending(30.0)
        assert part.tuning.now is rows_only, "nothing new is known"
        pools.builds_running = 1
        ask(background, 62)
        await background.measure_pending(0.0)
        assert part.tuning.now is rows_only
        background.offer(clustered(9, 1, DIM))
        await background.measure_pending(30.0)
        assert part.tuning.now.real
        pools.builds_running = 0
        await background.close()

    asyncio.run(run())


@pytest.mark.parametrize("worse", [0.0, 1e6])
def test_a_measurement_on_rows_is_confirmed_or_doubted_by_the_first_queries(part, pools, tmp_path, worse):
    class Watched(FixedReading):
        def search(self, view, call: ShardSearch) -> ShardFound:
            found = super().search(view, call)
            added = 0.0 if isinstance(call.accuracy, Exact) else worse
            return ShardFound(hits=type(found.hits)(counts=found.hits.counts, ids=found.hits.ids, scores=found.hits.scores + added))

    async def run():
        background = tuner(Watched([part]), pools, tmp_path)
        await until(lambda: part.tuning.now.provisional)
        tuning = part.tuning.now
        assert not tuning.choice(10, 0.95).exact
        assert tuning.choice(10, 0.95, module.CONFIRMING * 10).exact, "not for a large batch"
        ask(background, module.CONFIRMING)
        await until(lambda: tuning.confirmed(0.95) or tuning.likeness.doubted)
        assert tuning.likeness.doubted == (worse > 0)
        assert tuning.choice(10, 0.95, module.CONFIRMING * 10).exact == (worse > 0)
        await background.close()

    asyncio.run(run())


def test_a_measurement_after_optimize_does_not_wait_for_builds_of_other_replicas(part, pools, tmp_path, monkeypatch):
    monkeypatch.setattr(tuning_plan, "QUIET_S", 1e9)
    monkeypatch.setattr(tuning_plan, "PATIENCE_S", 1e9)

    async def run():
        reading = FixedReading([])
        background = tuner(reading, pools, tmp_path)
        ask(background, 1)
        reading.parts = [part]
        built = threading.Event()
        building = asyncio.create_task(pools.build(built.wait, asyncio.Event()))
        pools.builds_running = 1
        try:
            await background.measure_pending(30.0)
            assert part.tuning.now.provisional
        finally:
            built.set()
            await building
        pools.builds_running = 0
        await background.close()

    asyncio.run(run())
