"""Collections with several named vectors on a real cluster: through the SDK by both transports, plain gRPC, curl and
the shell, and every snippet of the page about them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

import shoal
from shoal import Dense, Text
from shoal.core.errors import AlreadyExists, InvalidArgument
from shoal.v1 import common_pb2, points_pb2, points_pb2_grpc, search_pb2, search_pb2_grpc
from tests.support.cluster.role_cluster import RoleCluster
from tests.support.repository import ROOT

PAGE = (ROOT / "docs/guide/named-vectors.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(python|sh|json)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
SHOAL = Path(sys.executable).with_name("shoal")

NAME = "named-live"
COUNT, LABELS = 600, 5
DIMS = {"image": 8, "text": 6, "sound": 3}
METRICS = {"image": "l2", "text": "cosine", "sound": "ip"}
K = 12


def made(seed: int) -> dict[int, dict[str, np.ndarray]]:
    """Return the vectors of each point, by name. Some points lack some, one in eight lacks all."""
    chance = np.random.default_rng(seed)
    return {
        point: {name: chance.normal(size=dim).astype(np.float32) for bit, (name, dim) in enumerate(DIMS.items()) if point % 8 >> bit & 1}
        for point in range(COUNT)
    }


def payload_of(point: int) -> dict[str, Any]:
    return {"label": point % LABELS, "body": f"word{point} shared"}


def columns_of(points: Mapping[int, Mapping[str, np.ndarray]]) -> dict[str, list[np.ndarray | None]]:
    return {name: [vectors.get(name) for vectors in points.values()] for name in DIMS}


def score(name: str, query: np.ndarray, vector: np.ndarray) -> float:
    asked, own = query.astype(np.float64), vector.astype(np.float64)
    match METRICS[name]:
        case "l2":
            return float(np.square(own - asked).sum())
        case "ip":
            return float(own @ asked)
        case _:
            return float(own @ asked / np.linalg.norm(own) / np.linalg.norm(asked))


def best(points: Mapping[int, Mapping[str, np.ndarray]], name: str, query: np.ndarray, k: int, label: int | None = None) -> list[int]:
    """Return the ids of the nearest by one vector, by brute force."""
    scores = {
        point: score(name, query, vectors[name])
        for point, vectors in points.items()
        if name in vectors and (label is None or point % LABELS == label)
    }
    sign = 1 if METRICS[name] == "l2" else -1
    return sorted(scores, key=lambda point: (sign * scores[point], point))[:k]


def read(points: list[Any]) -> dict[int, dict[str, list[float]]]:
    """Return the vectors of points that were read, as lists."""
    return {point.id: {name: vector.tolist() for name, vector in point.vector.items()} for point in points}


def plain(points: Mapping[int, Mapping[str, np.ndarray]]) -> dict[int, dict[str, list[float]]]:
    return {point: {name: vector.tolist() for name, vector in vectors.items()} for point, vectors in points.items()}


@pytest.fixture(params=["http", "grpc"])
def named(shared_cluster: RoleCluster, request: pytest.FixtureRequest) -> Iterator[shoal.Client]:
    """Return a client by one of the transports, and a filled collection."""
    with shoal.connect(shared_cluster.address, transport=request.param) as client:
        vectors = {name: {"dim": dim, "metric": METRICS[name], "index": "hnsw"} for name, dim in DIMS.items()}
        client.create_collection(NAME, vectors=vectors, shards=2, text={"body": "auto"})
        points = made(1)
        client.upsert(NAME, list(points), columns_of(points), [payload_of(point) for point in points])
        yield client
        client.drop_collection(NAME)


def test_every_vector_is_searched_by_its_name_and_what_is_read_is_what_was_written(named: shoal.Client) -> None:
    points, chance = made(1), np.random.default_rng(2)
    for sealed in (False, True):
        if sealed:
            named.optimize(NAME)
        assert read(list(named.scroll(NAME, with_vectors=True))) == plain(points)
        assert read(named.get(NAME, [0, 7, 599], with_vectors=True)) == plain({point: points[point] for point in (0, 7, 599)})
        assert (named.count(NAME), named.count(NAME, {"label": 3})) == (COUNT, COUNT // LABELS)
        for name, dim in DIMS.items():
            queries = chance.normal(size=(3, dim)).astype(np.float32)
            for query in queries:
                hits = named.search(NAME, query, K, using=name, exact=True, with_vectors=True)
                assert [hit.id for hit in hits] == best(points, name, query, K)
                assert read(hits) == plain({hit.id: points[hit.id] for hit in hits})
                np.testing.assert_allclose(
                    [hit.score for hit in hits], [score(name, query, points[hit.id][name]) for hit in hits], rtol=1e-4
                )
                near = named.search(NAME, query, K, filter={"label": 2}, using=name, exact=True)
                assert [hit.id for hit in near] == best(points, name, query, K, 2)
            many = named.search_many(NAME, queries, K, using=name, recall=1.0, explain=True)
            assert [[hit.id for hit in hits] for hits in many] == [best(points, name, query, K) for query in queries]
            assert {each.vector for hits in many for each in hits.explain} == {name}
    assert {each.vector for each in named.tune(NAME)} <= set(DIMS)
    assert all(each.queries for each in named.measure_recall(NAME, sample=20, using="image"))


def test_several_vectors_and_words_are_fused(named: shoal.Client) -> None:
    points = made(1)
    both = {"image": points[3]["image"], "text": points[3]["text"]}
    hits = named.search(NAME, both, 5, explain=True)
    assert hits[0].id == 3
    assert {name: leg.rank for name, leg in hits[0].legs.items()} == {"image": 1, "text": 1}
    assert {each.leg for each in hits.explain.legs} == {"image", "text"}
    for hit in hits:
        assert set(hit.legs) <= set(points[hit.id])
    one, two = Dense(points[1]["image"], using="image"), Dense(points[2]["text"], using="text", name="title", weight=2)
    legs = [one, two, Text("word4", weight=0.5)]
    found = named.search(NAME, legs=legs, k=50, filter={"label": {"$in": [1, 2, 4]}})
    assert {1, 2, 4} <= {hit.id for hit in found}
    ranked = {hit.id: hit.legs for hit in found}
    assert (ranked[1]["image"].rank, ranked[2]["title"].rank, ranked[4]["text"].rank) == (1, 1, 1)
    pages = [named.search(NAME, both, 4, offset=offset) for offset in (0, 4)]
    assert [hit.id for page in pages for hit in page] == [hit.id for hit in named.search(NAME, both, 8)]


def test_an_update_keeps_the_vectors_it_does_not_name_and_an_upsert_is_the_whole_point(named: shoal.Client) -> None:
    points, changes = made(1), made(3)
    ids = range(0, COUNT, 3)
    texts = {point: changes[point]["text"] for point in ids if "text" in changes[point]}
    assert named.update_vectors(NAME, [*texts, COUNT + 5], {"text": [*texts.values(), np.ones(6)]}) == len(texts)
    for point, vector in texts.items():
        points[point]["text"] = vector
    named.set_payload(NAME, {"seen": True}, filter={"label": 1})
    named.upsert(NAME, [5, 6], {"sound": np.ones((2, 3))}, [payload_of(5), payload_of(6)])
    points[5] = points[6] = {"sound": np.ones(3, dtype=np.float32)}
    named.delete(NAME, [9])
    del points[9]
    assert read(list(named.scroll(NAME, with_vectors=True))) == plain(points)
    assert named.count(NAME, {"seen": True}) == COUNT // LABELS - 1
    for name, dim in DIMS.items():
        query = np.full(dim, 0.5, dtype=np.float32)
        assert [hit.id for hit in named.search(NAME, query, K, using=name, exact=True)] == best(points, name, query, K)


def test_wrong_calls_say_which_names_there_are_and_change_nothing(named: shoal.Client) -> None:
    before = read(list(named.scroll(NAME, with_vectors=True)))
    ones = np.ones((1, 8), dtype=np.float32)
    wrong: list[Any] = [
        lambda: named.search(NAME, ones[0]),
        lambda: named.search(NAME, ones[0], using="pic"),
        lambda: named.search_many(NAME, ones, using="pic"),
        lambda: named.search(NAME, {"image": ones[0], "pic": ones[0]}),
        lambda: named.upsert(NAME, [1], ones),
        lambda: named.upsert(NAME, [1], {"pic": ones}),
        lambda: named.update_vectors(NAME, [1], ones),
        lambda: named.update_vectors(NAME, [1], {"pic": ones, "image": ones}),
        lambda: named.alter_collection(NAME, index={"pic": "flat"}),
        lambda: named.measure_recall(NAME),
    ]
    for call in wrong:
        with pytest.raises(InvalidArgument, match="image, text, sound"):
            call()
    for call in (
        lambda: named.search(NAME, ones[0, :5], using="image"),
        lambda: named.upsert(NAME, [1], {"image": ones[:, :5]}),
        lambda: named.update_vectors(NAME, [1], {"text": ones}),
        lambda: named.upsert(NAME, [1], {"text": np.zeros((1, 6))}),
    ):
        with pytest.raises(InvalidArgument):
            call()
    with pytest.raises(AlreadyExists):
        named.create_collection(NAME, 8)
    assert read(list(named.scroll(NAME, with_vectors=True))) == before


def test_plain_grpc_writes_searches_and_reads_by_name(named: shoal.Client, shared_cluster: RoleCluster) -> None:
    with grpc.insecure_channel(shared_cluster.address) as channel:
        points: Any = points_pb2_grpc.PointsStub(channel)  # type: ignore[no-untyped-call]
        search: Any = search_pb2_grpc.SearchStub(channel)  # type: ignore[no-untyped-call]
        image, sound = [7.0] * 8, [1.0, 2.0, 3.0]
        batch = common_pb2.PointBatch(
            ids=common_pb2.PointIds(integers=[1_000, 1_001]),
            named=[
                common_pb2.NamedVectors(name="image", vectors=common_pb2.Vectors(dim=8, values=image), positions=[1]),
                common_pb2.NamedVectors(name="sound", vectors=common_pb2.Vectors(dim=3, values=sound * 2)),
            ],
        )
        points.Upsert(points_pb2.UpsertRequest(collection=NAME, points=batch), timeout=30)
        leg = search_pb2.SearchLeg(field="image", vectors=common_pb2.Vectors(dim=8, values=image))
        answer = search.Search(search_pb2.SearchRequest(collection=NAME, k=1, legs=[leg], with_vectors=True), timeout=30)
        assert list(answer.hits.ids.integers) == [1_001]
        answered = {each.name: np.frombuffer(each.vectors.data, "<f4").tolist() for each in answer.hits.named}
        assert answered == {"image": image, "text": [], "sound": sound}
        assert len(answer.hits.vectors.data) == 0
        named_batch = common_pb2.NamedVectors(name="image", vectors=common_pb2.Vectors(dim=8, values=image))
        twice = common_pb2.PointBatch(ids=common_pb2.PointIds(integers=[1_000]), named=[named_batch, named_batch])
        with pytest.raises(grpc.RpcError) as refused:
            points.Upsert(points_pb2.UpsertRequest(collection=NAME, points=twice), timeout=30)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT  # type: ignore[attr-defined]
    assert read(named.get(NAME, [1_000, 1_001], with_vectors=True)) == {1_000: {"sound": sound}, 1_001: {"image": image, "sound": sound}}


def contains(answer: Any, shown: Any) -> bool:
    """Return whether an answer has everything that the page shows."""
    if isinstance(shown, dict):
        return isinstance(answer, dict) and all(name in answer and contains(answer[name], value) for name, value in shown.items())
    return bool(answer == shown)


def ran(cluster: RoleCluster, command: str, folder: Path) -> str:
    """Run a command of a shell with the `shoal` of this environment, and return what it prints."""
    environment = {**os.environ, "SHOAL_ADDRESS": cluster.address, "PATH": f"{SHOAL.parent}:{os.environ['PATH']}"}
    environment["SHOAL_CONFIG"] = str(folder / "config.toml")
    ended = subprocess.run(["bash", "-ec", command], check=False, capture_output=True, text=True, timeout=120, cwd=folder, env=environment)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_an_export_is_imported_bit_for_bit(named: shoal.Client, shared_cluster: RoleCluster, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    options = " ".join(f"--vector {name}={dim},{METRICS[name]}" for name, dim in DIMS.items())
    for number, file in enumerate(("p.jsonl", "p.parquet")):
        other = f"{NAME}-{number}"
        ran(shared_cluster, f"shoal export {NAME} {file}; shoal collection create {other} {options}", tmp_path)
        ran(shared_cluster, f"shoal import {file} --collection {other}", tmp_path)
        try:
            one, two = ({p.id: p.payload for p in named.scroll(name)} for name in (NAME, other))
            assert one == two
            assert read(list(named.scroll(other, with_vectors=True))) == plain(made(1))
        finally:
            named.drop_collection(other)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl IS MISSING: the examples of docs/guide/named-vectors.md are not tested")
def test_the_page_does_what_it_shows(client: shoal.Client, shared_cluster: RoleCluster, tmp_path: Path) -> None:
    scope: dict[str, Any] = {"client": client}
    answer, answers, shown = "", 0, {}
    try:
        for kind, text in BLOCKS:
            if kind == "python":
                exec(text, scope)
            elif kind == "json":
                assert contains(json.loads(answer), json.loads(text)), answer
                answers += 1
            else:
                answer = ran(shared_cluster, text.replace("localhost:7680", f"127.0.0.1:{shared_cluster.http_port}"), tmp_path)
                shown[text.split("\n")[0][:60]] = answer
        assert answers == 2
        assert [hit.id for hit in scope["hits"]] == [1, 2]
        assert {hit.id for hit in scope["both"]} == {1, 2}
        assert (scope["changed"], scope["image"].tolist(), scope["hit"].id) == (2, [0, 0, 0, 1], 3)
        assert [hit.id for hit in scope["near"]] == [1, 3]
        assert [hits[0].id for hits in scope["many"]] == [1, 2, 3]
        assert {leg for hit in scope["fused"] for leg in hit.legs} == {"image", "title"}
        assert [each.index for each in client.describe_collection("shop").spec.vectors] == ["flat", "hnsw"]
        assert [json.loads(line) for line in (tmp_path / "books.jsonl").read_text().splitlines()] == [
            {"id": 1, "cover": [1, 0], "title": [1, 0, 0], "payload": {"year": 1999}},
            {"id": 2, "cover": [0, 1], "title": [0, 1, 0], "payload": {"year": 2004}},
        ]
        assert [line.split()[1] for line in shown["shoal search books --vector '[1, 0]' --using cover"].splitlines()[1:]] == ["1", "2"]
    finally:
        for name in ("shop", "books", "named-curled"):
            if client.collection_exists(name):
                client.drop_collection(name)
