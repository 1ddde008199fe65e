"""Searches by different vectors of one collection never travel as one, and what a query takes is learnt for each."""

from __future__ import annotations

import asyncio

import numpy as np

from shoal.core.metric import Metric
from shoal.core.named_vectors import NamedVector, VectorColumn
from shoal.core.points import PointColumns
from shoal.core.requests import ReadAs, Search, Upsert
from shoal.core.shard_calls import QueryGroup, ShardsSearch
from tests.twins.cluster import TwinCluster
from tests.twins.virtual_time import FakeClock, run

QUICK_S, COUNT = 0.0005, 30
NAMES = ("near", "large")
VECTORS = (NamedVector(name="near", dim=2), NamedVector(name="large", dim=2, metric=Metric.IP))


def question(vector: str, number: int) -> Search:
    queries = np.array([[number, 0]], np.float32)
    return Search(collection="a", queries=queries, groups=(QueryGroup(k=3),), vector=vector, read=ReadAs(caller="me"))


def test_searches_by_the_same_vector_travel_together_and_others_apart() -> None:
    cluster = TwinCluster(workers=2, clock=FakeClock())
    cluster.add("a", shards=4, vectors=VECTORS)
    rows = np.array([[at, 1] for at in range(COUNT)], np.float32)
    points = PointColumns(
        ids=np.arange(COUNT),
        vectors=np.empty((COUNT, 0), np.float32),
        payloads=None,
        named={name: VectorColumn(vectors=rows) for name in NAMES},
    )
    workers = list(cluster.workers.values())

    async def searched() -> list[list[int]]:
        await cluster.router.writes.upsert(Upsert(collection="a", points=points), 10.0)
        for worker in workers:
            worker.delay_s = QUICK_S
        for name in NAMES:
            await cluster.router.reads.search(question(name, 1), 5.0)
        for worker in workers:
            worker.calls.clear()
        asked = [question(name, number) for number in range(1, 9) for name in NAMES]
        found = await asyncio.gather(*(cluster.router.reads.search(each, 5.0) for each in asked))
        return [each.hits.ids.tolist() for each in found]

    found = run(cluster.clock, searched())
    assert found[0::2] == [[number, number - 1, number + 1] for number in range(1, 9)]
    assert found[1::2] == [[COUNT - 1, COUNT - 2, COUNT - 3]] * 8
    calls = [call for call in workers[0].calls if isinstance(call, ShardsSearch)]
    for name in NAMES:
        sizes = [len(call.queries) for call in calls if call.vector == name]
        assert sum(sizes) == 8
        assert max(sizes) > 1
