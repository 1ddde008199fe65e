"""Named vectors on a cluster with replicas, through the SDK over each transport: each answer is that of plain numpy."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import shoal
from tests.support.cluster.role_cluster import RoleCluster

COUNT, DIMS = 2_000, {"image": 8, "title": 4}
Row = dict[str, np.ndarray]


def drawn(seed: int, count: int = COUNT) -> dict[str, list[np.ndarray | None]]:
    """Return random vectors by name; every fourth image and every third title is missing."""
    draw = np.random.default_rng(seed)
    images, titles = (draw.normal(size=(count, dim)).astype(np.float32) for dim in DIMS.values())
    return {
        "image": [None if at % 4 == 0 else row for at, row in enumerate(images)],
        "title": [None if at % 3 == 0 else row for at, row in enumerate(titles)],
    }


def rows_of(vectors: dict[str, Any], count: int = COUNT) -> dict[int, Row]:
    return {at: {name: column[at] for name, column in vectors.items() if column[at] is not None} for at in range(count)}


@pytest.fixture(scope="module", params=["grpc", "http"])
def filled(request: pytest.FixtureRequest, shared_cluster: RoleCluster) -> Iterator[tuple[shoal.Client, dict[int, Row]]]:
    """Return a client, over each transport, of a collection "named" with two shards of two replicas, and its points."""
    with shoal.connect(shared_cluster.address, transport=request.param) as client:
        vectors = {"image": DIMS["image"], "title": {"dim": DIMS["title"], "metric": "cosine", "index": "hnsw"}}
        client.create_collection("named", vectors=vectors, shards=2, replicas=2, text={"t": "auto"})
        given = drawn(1)
        assert client.upsert("named", range(COUNT), given, [{"n": at, "t": f"word{at % 50}"} for at in range(COUNT)]) == COUNT
        yield client, rows_of(given)
        client.drop_collection("named")


def best(rows: dict[int, Row], name: str, query: np.ndarray, k: int = 10) -> list[int]:
    """Return the ids that an exact search finds."""
    scored = []
    for key, row in rows.items():
        if name in row:
            vector = row[name].astype(np.float64)
            if name == "image":
                scored.append((float(((query - vector) ** 2).sum()), key))
            else:
                scored.append((-float(query @ vector / np.linalg.norm(vector) / np.linalg.norm(query)), key))
    return [key for _, key in sorted(scored)[:k]]


def same(read: Any, rows: dict[int, Row]) -> bool:
    """Return whether points have exactly these vectors."""
    told = {point.id: point.vector for point in read}
    assert told.keys() == rows.keys()
    return all(
        told[key].keys() == row.keys() and all((told[key][name] == vector).all() for name, vector in row.items())
        for key, row in rows.items()
    )


def test_points_are_read_with_the_vectors_they_have(filled: tuple[shoal.Client, dict[int, Row]]) -> None:
    client, rows = filled
    assert same(client.scroll("named", with_vectors=True), rows)
    assert same(client.scroll("named", with_vectors=True, consistency="primary"), rows)
    assert same(client.get("named", range(12)), {key: rows[key] for key in range(12)})
    assert client.get("named", [0])[0].vector == {}
    assert client.count("named") == COUNT
    spec = client.describe_collection("named").spec
    assert [(each.name, each.dim, each.metric, each.index) for each in spec.vectors] == [
        ("image", 8, "l2", "auto"),
        ("title", 4, "cosine", "hnsw"),
    ]


@pytest.mark.parametrize("name", DIMS)
def test_exact_searches_by_name_find_what_numpy_finds(filled: tuple[shoal.Client, dict[int, Row]], name: str) -> None:
    client, rows = filled
    queries = np.random.default_rng(5).normal(size=(8, DIMS[name])).astype(np.float32)
    wanted = [best(rows, name, query.astype(np.float64)) for query in queries]
    assert [[hit.id for hit in hits] for hits in client.search_many("named", queries, 10, using=name, exact=True)] == wanted
    assert [[hit.id for hit in client.search("named", query, using=name, exact=True)] for query in queries] == wanted
    some = {key: row for key, row in rows.items() if key < 200}
    hits = client.search("named", queries[0], using=name, exact=True, filter={"n": {"$lt": 200}}, with_vectors=True)
    assert [hit.id for hit in hits] == best(some, name, queries[0].astype(np.float64))
    assert same(hits, {hit.id: rows[hit.id] for hit in hits})
    explained = client.search("named", queries[0], using=name, exact=True, explain=True).explain
    assert {each.vector for each in explained} == {name}


def test_vectors_of_several_names_and_words_are_fused(filled: tuple[shoal.Client, dict[int, Row]], shared_cluster: RoleCluster) -> None:
    client, rows = filled
    image, title = np.ones(8, np.float32), np.array([1, 0, 0, 0], np.float32)
    hits = client.search("named", {"image": image, "title": title}, text="word7", fusion="rrf", c=60, k=5, exact=True, explain=True)
    assert {leg.leg for leg in hits.explain.legs} == {"image", "title", "text"}
    ranks = {"image": best(rows, "image", image.astype(float), 100), "title": best(rows, "title", title.astype(float), 100)}
    for hit in hits:
        for name, order in ranks.items():
            assert (hit.legs[name].rank if name in hit.legs else None) == (order.index(hit.id) + 1 if hit.id in order else None)
    alone = client.search("named", {"title": title}, exact=True)
    assert [hit.id for hit in alone] == best(rows, "title", title.astype(float))

    async def awaited() -> list[Any]:
        async with shoal.connect_async(shared_cluster.address) as other:
            return [hit.id for hit in await other.search("named", legs=[shoal.Dense(title, using="title")], exact=True)]

    assert asyncio.run(awaited()) == [hit.id for hit in alone]


def test_some_vectors_are_replaced_and_the_others_stay(filled: tuple[shoal.Client, dict[int, Row]]) -> None:
    client, rows = filled
    titles = np.random.default_rng(9).normal(size=(300, 4)).astype(np.float32)
    images: list[Any] = [np.full(8, at, np.float32) if at % 10 == 0 else None for at in range(300)]
    assert client.update_vectors("named", range(300), {"title": titles, "image": images}) == 300
    for at in range(300):
        rows[at] = {**rows[at], "title": titles[at]} | ({} if images[at] is None else {"image": images[at]})
    assert same(client.scroll("named", with_vectors=True), rows)
    assert same(client.scroll("named", with_vectors=True, consistency="primary"), rows)
    query = titles[17]
    assert [hit.id for hit in client.search("named", query, using="title", exact=True)] == best(rows, "title", query.astype(float))
    assert client.upsert("named", [5], {"image": [np.zeros(8)]}, [{"n": 5, "t": "word5"}]) == 1
    rows[5] = {"image": np.zeros(8, np.float32)}
    assert same(client.get("named", [5]), {5: rows[5]})


def test_indexes_are_altered_tuned_and_measured_by_name(filled: tuple[shoal.Client, dict[int, Row]]) -> None:
    client, rows = filled
    client.optimize("named")
    client.alter_collection("named", index={"image": "hnsw"})
    assert [each.index for each in client.describe_collection("named").spec.vectors] == ["hnsw", "hnsw"]
    client.optimize("named")
    assert {curve.vector for curve in client.tune("named")} <= {"image", "title"}
    assert {curve.vector for curve in client.tune("named", using="title", queries=np.eye(4))} == {"title"}
    assert all(measured.recall >= 0.9 for measured in client.measure_recall("named", using="title", recall=0.95))
    assert same(client.scroll("named", with_vectors=True), rows)
    query = np.ones(8, np.float32)
    assert [hit.id for hit in client.search("named", query, using="image", exact=True)] == best(rows, "image", query.astype(float))


@pytest.mark.parametrize(
    ("vectors", "said"),
    [
        (np.zeros((2, 8)), "collection 'named' has several vectors, give them by name: image, title"),
        ({"sound": np.zeros((2, 8))}, "has no vector 'sound', it has image, title"),
        ({"image": np.zeros((2, 7))}, r"vectors\['image'\] have dimension 7, vector 'image' has 8"),
        ({"title": [None, np.zeros(4)]}, r"vectors\['title'\]\[1\] is zero"),
    ],
)
def test_wrong_vectors_are_refused_whole(filled: tuple[shoal.Client, dict[int, Row]], vectors: Any, said: str) -> None:
    client, rows = filled
    for verb in (client.upsert, client.update_vectors):
        with pytest.raises(shoal.InvalidArgument, match=said):
            verb("named", [1, 2], vectors)
    assert same(client.get("named", [1, 2]), {key: rows[key] for key in (1, 2)})


def test_wrong_searches_are_refused(filled: tuple[shoal.Client, dict[int, Row]]) -> None:
    client, _ = filled
    for options, said in (
        ({"vector": np.zeros(8)}, "has several vectors, give the name of one: image, title"),
        ({"vector": np.zeros(8), "using": "sound"}, "has no vector 'sound', it has image, title"),
        ({"vector": np.zeros(7), "using": "image"}, "dimension 7"),
        ({"vector": {"image": np.zeros(8), "sound": np.zeros(8)}}, "has no vector 'sound', it has image, title"),
    ):
        with pytest.raises(shoal.InvalidArgument, match=said):
            client.search("named", **options)
    with pytest.raises(shoal.InvalidArgument, match="give the name of one: image, title"):
        client.measure_recall("named")
