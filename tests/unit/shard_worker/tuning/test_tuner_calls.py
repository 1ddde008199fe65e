"""Test what a tuner answers on demand: the recall of searches, and curves measured on queries of the caller."""

import asyncio
import threading

import numpy as np
import pytest

from shoal.core.errors import DeadlineExceeded, InvalidArgument
from shoal.core.tuning_calls import ShardMeasureRecall, ShardTune
from shoal.shard_worker.tuning.files import TuningFiles
from shoal.shard_worker.tuning.query_kinds import QueryKinds
from tests.support.worker.made_segments import clustered
from tests.unit.shard_worker.tuning.test_tuner import DIM, SHARD, FixedReading, ask, impatient, made, part, pools, tuner

__all__ = ["impatient", "made", "part", "pools"]


def test_measure_recall_samples_real_queries_or_points(part, pools, tmp_path):
    async def run():
        background = tuner(FixedReading([part]), pools, tmp_path)
        own = await background.measure_recall(ShardMeasureRecall(shard=SHARD, k=5, sample=9, recall=0.9), 30.0)
        assert (own.shard, own.queries, own.real_queries, own.recall, own.lowest) == (3, 9, False, 1.0, 1.0)
        assert own.search_us > 0
        assert own.exact_us > 0
        ask(background, 64)
        real = await background.measure_recall(ShardMeasureRecall(shard=SHARD, k=5, sample=1_000, recall=0.9), 30.0)
        assert (real.queries, real.real_queries) == (64, True)
        await background.close()

    asyncio.run(run())


def test_measure_recall_of_nothing_and_beyond_its_time(part, pools, tmp_path):
    async def run():
        reading = FixedReading([])
        background = tuner(reading, pools, tmp_path)
        nothing = await background.measure_recall(ShardMeasureRecall(shard=SHARD, k=5, sample=9, recall=0.9), 30.0)
        assert (nothing.queries, nothing.recall) == (0, 1.0)
        reading.parts = [part]
        release = threading.Event()
        reading.before_search = lambda: release.wait(10) and None
        with pytest.raises(DeadlineExceeded, match="answered 0 of 9 queries"):
            await background.measure_recall(ShardMeasureRecall(shard=SHARD, k=5, sample=9, recall=0.9), 0.05)
        release.set()
        await background.close()

    asyncio.run(run())


@pytest.mark.parametrize("bad", [{"k": 0}, {"sample": 0}, {"sample": 10_001}, {"recall": 0.0}, {"recall": 1.1}])
def test_calls_that_make_no_sense_are_refused(pools, tmp_path, bad):
    async def run():
        background = tuner(FixedReading([]), pools, tmp_path)
        with pytest.raises(InvalidArgument, match=next(iter(bad))):
            await background.measure_recall(ShardMeasureRecall(**{"shard": SHARD, "k": 1, "sample": 1, "recall": 0.9, **bad}), 1.0)
        if "k" in bad:
            with pytest.raises(InvalidArgument, match="k is 0"):
                await background.tune(ShardTune(shard=SHARD, k=0), 1.0)
        await background.close()

    asyncio.run(run())


def test_tune_with_queries_measures_on_them_and_keeps_them(part, pools, tmp_path):
    async def run():
        background = tuner(FixedReading([part]), pools, tmp_path)
        given = clustered(7, 100, DIM)
        (curve,) = await background.tune(ShardTune(shard=SHARD, k=10, queries=given), 30.0)
        assert (curve.queries, curve.real_queries) == (200, True), "as a part of all queries, and as a kind"
        assert part.tuning.now.trusted
        await background.close()
        known = QueryKinds(dim=DIM, seed=0)
        TuningFiles(tmp_path).load_queries(known)
        assert [len(sample) for sample in known.sample(1_000, np.random.default_rng(0))] == [100, 100]

    asyncio.run(run())
