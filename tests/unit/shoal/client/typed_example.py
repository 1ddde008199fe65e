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
        by_words(client)
        by_name(client)
        client.create_collection("small", dim=4, index="HNSW16,SQ8", recall=0.9)
        client.alter_collection("small", index="ivf")
        assert_type(
            [(curve.segment, [point.recall for point in curve.points]) for curve in client.tune("small")], list[tuple[str, list[float]]]
        )
        assert_type([measured.recall for measured in client.measure_recall("small", sample=50)], list[float])
        assert_type(client.delete("things", filter={"label": {"$in": [1, 2]}}), int)
        assert_type(client.set_payload("things", {"seen": True}, filter={"label": 1}), int)
        assert_type(client.delete_payload("things", ["seen", "author.name"], [1, "a"]), int)
        assert_type(client.delete_payload("things", "seen", filter={"label": 1}), int)
        assert_type(client.delete_payload("things", [["author", "name"]], [1]), int)
        assert_type(client.update_vectors("things", [1, "a"], np.zeros((2, 4))), int)
        assert_type([(worker.memory_used, worker.memory_budget) for worker in client.cluster().workers], list[tuple[int, int]])


def by_words(client: shoal.Client) -> None:
    client.create_collection("kb", dim=4, text={"title": "auto", "body": {"kind": "auto", "stem": "none"}})
    client.alter_collection("kb", text={"body": "auto"}, search_defaults={"fusion": "rrf", "c": 60})
    client.alter_collection("kb", search_defaults=shoal.SearchDefaults(text_weight=2.0))
    hits = client.search("kb", [0, 0, 0, 1], text="how", k=3, highlight=True, group_by="doc", group_size=2, offset=1, diversity=0.3)
    assert_type([hit.legs["text"].rank for hit in hits], list[int])
    assert_type(hits[0].highlights["body"], tuple[tuple[int, int], ...])
    assert_type((hits[0].highlighted("body"), hits.complete), tuple[str, bool])
    assert_type([each.arithmetic for each in hits.explain.hits], list[str])
    legs = [shoal.Dense([0, 0, 0, 1], weight=0.4), shoal.Text("how", fields={"title": 2}, must=["HNSW"], weight=0.6)]
    assert_type(client.search("kb", legs=legs, fusion="rrf", c=60, candidates=200, threshold=0.1), shoal.Hits)
    client.search_many("kb", np.zeros((2, 4)), text=["a", "b"], k=[3, 5])
    client.search_many("kb", legs=[shoal.Dense(np.zeros((2, 4))), [shoal.Text("a"), shoal.Text("b", prefix="c")]])
    assert_type(shoal.highlighted("red", [(0, 3)], before="<", after=">"), str)


def by_name(client: shoal.Client) -> None:
    client.create_collection("films", vectors={"image": 4, "text": {"dim": 2, "metric": "cosine", "index": "hnsw"}}, replicas=1)
    client.alter_collection("films", index={"image": "flat"})
    vectors: dict[str, Any] = {"image": np.zeros((2, 4)), "text": [[0, 1], None]}
    assert_type(client.upsert("films", [1, 2], vectors), int)
    client.upsert_batches("films", [([3], {"image": np.zeros((1, 4))})])
    assert_type(client.update_vectors("films", [2], {"text": [[1, 0]]}), int)
    assert_type(client.search("films", [0, 1], using="text", with_vectors=True), shoal.Hits)
    for hit in client.search("films", {"image": [0, 0, 0, 1], "text": [0, 1]}, text="how", fusion="rrf"):
        assert_type(hit.legs["image"].score, float)
        assert_type(hit.vector, Any | None)
    client.search_many("films", {"text": np.zeros((3, 2))}, 5)
    client.search("films", legs=[shoal.Dense([0, 1], 0.5, using="text"), shoal.Text("how")])
    assert_type([curve.vector for curve in client.tune("films", using="image")], list[str])
    client.measure_recall("films", using="image")
    assert_type([each.dim for each in client.describe_collection("films").spec.vectors], list[int])


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
