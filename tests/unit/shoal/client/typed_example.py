"""Show a program of a user to a type checker. It is never run: test_typing checks it with mypy strict."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, assert_type

import numpy as np

import shoal


def batches() -> Iterator[tuple[range, Any]]:
    for start in range(0, 100, 10):
        yield range(start, start + 10), np.zeros((10, 4))


async def batches_from_afar() -> AsyncIterator[tuple[list[str], list[list[float]], list[dict[str, str]]]]:
    yield ["a"], [[0.0, 1.0, 2.0, 3.0]], [{"title": "x"}]


def told(acknowledged: int, of: int) -> None:
    print(f"{acknowledged} of {of}")


def blocking() -> None:
    with shoal.connect(["one:7600", "two:7600"], timeout=5) as client:
        assert_type(client, shoal.Client)
        client.create_collection("things", dim=4, metric="cosine", shards=2)
        assert_type(client.upsert("things", range(10), np.zeros((10, 4)), progress=told), int)
        assert_type(client.upsert_batches("things", batches(), progress=True), int)
        for hit in client.search("things", [0, 0, 0, 1], k=3):
            assert_type(hit, shoal.Hit)
            assert_type(hit.score, float)
            assert_type(hit.payload, dict[str, Any] | None)
        assert_type([hits.missing_shards for hits in client.search_many("things", np.zeros((2, 4)))], list[tuple[str, ...]])
        assert_type([point.id for point in client.scroll("things")], list[int | str])
        hits = client.search("things", [0, 0, 0, 1], filter={"label": 3, "price": {"$lt": 10}}, radius=2.5, recall=0.9, explain=True)
        assert_type((hits.more, hits.missing_shards), tuple[bool, tuple[str, ...]])
        assert_type([each.plan for each in hits.explain], list[str])
        client.search_many("things", np.zeros((2, 4)), k=[3, 5], filter=[{"label": 3}, None], params={"ef": 64})
        client.search_many("things", np.zeros((2, 4)), k=np.array([3, 5]), filter={"tags": {"$in": ["a", "b"]}})
        client.create_collection("small", dim=4, index="HNSW16,SQ8", recall=0.9)
        client.alter_collection("small", index="ivf")
        assert_type(
            [(curve.segment, [point.recall for point in curve.points]) for curve in client.tune("small")], list[tuple[str, list[float]]]
        )
        assert_type([measured.recall for measured in client.measure_recall("small", sample=50)], list[float])
        assert_type(client.delete("things", filter={"label": {"$in": [1, 2]}}), int)
        assert_type([(worker.memory_used, worker.memory_budget) for worker in client.cluster().workers], list[tuple[int, int]])


async def awaited() -> None:
    async with shoal.connect_async("localhost:7600") as client:
        assert_type(client, shoal.AsyncClient)
        await client.create_collection("things", dim=4)
        assert_type(await client.upsert_batches("things", batches()), int)
        assert_type(await client.upsert_batches("things", batches_from_afar()), int)
        assert_type(await client.search("things", [0, 0, 0, 1]), shoal.Hits)
        as_list: list[shoal.Hit] = await client.search("things", [0, 0, 0, 1])
        assert_type(as_list[0].id, int | str)
        assert_type(await client.count("things", filter={"label": 3}), int)
        async for point in client.scroll("things", with_vectors=True):
            assert_type(point, shoal.Point)
        assert_type((await client.describe_collection("things")).points, int)
        try:
            await client.delete("things", [1, "a"])
        except shoal.Unavailable as error:
            assert_type(error.details, shoal.ErrorDetails)
