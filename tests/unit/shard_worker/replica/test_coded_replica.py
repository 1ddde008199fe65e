"""Test that a replica keeps the kind of its automatic graph, and leaves bytes when measurements say so (ADR 21)."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shoal.core.collection import CollectionSpec
from shoal.core.index_spec import CODED_DIM
from shoal.core.metric import Metric
from shoal.core.tuning_calls import ShardTune
from shoal.shard_worker.index.replica_index import ReplicaIndex
from shoal.shard_worker.index.tuning import Tuning
from shoal.shard_worker.replica import engine
from shoal.shard_worker.tuning import measuring
from tests.support.worker.fleet import until
from tests.support.worker.made_segments import clustered
from tests.support.worker.replica_bench import SHARD, Bench, opened

ROWS = 400
SPEC = CollectionSpec(name="c", dim=CODED_DIM, metric=Metric.L2, index="auto")


@pytest.fixture(autouse=True)
def graphs_of_few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "ReplicaIndex", functools.partial(ReplicaIndex, flat_rows=100))


def never_enough(part: Any, sample: Any, **how: Any) -> Tuning:
    """Return what `calibrate` would, if no breadth found more than half of the hits."""
    known = part.tuning.now
    measures = known.measures
    half = np.full_like(measures.expected, 0.5)
    return Tuning(
        known.shape, dataclasses.replace(measures, expected=half, surely=half, us=(1e6,) * len(measures.us), queries=100, real=True)
    )


def kinds(bench: Bench) -> list[str]:
    return [part.index for part in bench.engine.reading.view().parts]


def test_a_replica_keeps_its_kind_of_graph_and_leaves_bytes_when_they_do_not_reach_the_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def first_life() -> None:
        async with opened(tmp_path, term=1, spec=SPEC) as bench:
            await bench.upsert(range(ROWS), clustered(1, ROWS, CODED_DIM))
            await bench.replica.optimize(60.0)
            assert kinds(bench) == ["HNSW16,SQ8"]

    async def second_life() -> None:
        async with opened(tmp_path, term=2, spec=SPEC) as bench:
            assert kinds(bench) == ["HNSW16,SQ8"]
            await bench.replica.tune(ShardTune(shard=SHARD, k=10, queries=clustered(9, 100, CODED_DIM)), 60.0)
            await until(lambda: kinds(bench) == ["HNSW16,Flat"])
            await bench.replica.optimize(60.0)
            assert kinds(bench) == ["HNSW16,Flat"]

    async def third_life() -> None:
        async with opened(tmp_path, term=3, spec=SPEC) as bench:
            await bench.upsert(range(ROWS, ROWS + 50), clustered(2, 50, CODED_DIM))
            await bench.replica.optimize(60.0)
            assert kinds(bench) == ["HNSW16,Flat"]

    asyncio.run(first_life())
    monkeypatch.setattr(measuring, "calibrate", never_enough)
    asyncio.run(second_life())
    asyncio.run(third_life())
