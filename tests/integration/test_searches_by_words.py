"""Searches by words, by both, and fit, as a user has them: SDK and command line on a real cluster, over every wire."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import shoal
from shoal import Dense, Text
from shoal.cli.connection import Connection
from shoal.cli.main import app
from tests.support.cluster.role_cluster import RoleCluster

DIM = 4
TOPICS = [
    ("TiKV 扩容", "如何扩容 TiKV 集群：增加节点，然后均衡副本"),
    ("Backup", "How to back up a cluster with BR"),
    ("HNSW", "HNSW graphs are searched with ef; in-memory replicas are quantised"),
    ("Scale out", "Scale out TiKV by adding nodes"),
    ("tidb_mem_quota", "tidb_mem_quota_query limits the memory of a query"),
]
POINTS = 100
SECONDS = 60.0
PAYLOADS = [
    {"title": TOPICS[n % 5][0], "body": TOPICS[n % 5][1], "doc": f"d{n % 5}", "n": n, "tags": ["seldom", f"t{n}"]} for n in range(POINTS)
]
VECTORS = np.random.default_rng(0).normal(size=(POINTS, DIM)).astype(np.float32)


@pytest.fixture
def kb(client: shoal.Client) -> Iterator[str]:
    name = f"kb-{uuid.uuid4().hex[:8]}"
    client.create_collection(name, DIM, "cosine", shards=3, text={"title": "auto", "body": "auto"})
    client.upsert(name, range(POINTS), VECTORS, PAYLOADS)
    yield name
    client.drop_collection(name)


@pytest.fixture(params=["http", "grpc"])
def wired(request: pytest.FixtureRequest, shared_cluster: RoleCluster) -> Iterator[shoal.Client]:
    with shoal.connect(shared_cluster.address, transport="grpc" if request.param == "grpc" else "auto") as client:
        client.list_collections()
        yield client


def test_what_was_written_is_found_by_its_words(wired: shoal.Client, kb: str) -> None:
    hits = wired.search(kb, text="如何扩容", k=3, filter={"n": {"$gte": 50}}, highlight=True, explain=True)
    assert [(hit.id, hit.legs["text"].rank) for hit in hits] == [(50, 1), (55, 2), (60, 3)]
    assert [hit.highlighted("body", "<", ">") for hit in hits] == ["<如何扩容> TiKV 集群：增加节点，然后均衡副本"] * 3
    assert {word.field for word in hits[0].legs["text"].words} == {"title", "body"}
    assert sum(word.share for word in hits[0].legs["text"].words) == pytest.approx(hits[0].legs["text"].score)
    assert hits.complete
    assert sum(each.rows for each in hits.explain.texts) == POINTS
    wired.upsert(kb, [1000], VECTORS[:1], [{"body": "nonesuch"}])
    assert [hit.id for hit in wired.search(kb, text="nonesuch")] == [1000]
    wired.delete(kb, [1000])
    assert wired.search(kb, text="nonesuch") == []


def test_a_text_of_stop_words_only_finds_nothing_and_says_so(wired: shoal.Client, kb: str) -> None:
    stopped = {"kind": "auto", "stop_words": ["how", "to", "的"]}
    name = f"{kb}-stopped"
    wired.create_collection(name, DIM, shards=2, text={"body": stopped})
    try:
        wired.upsert(name, range(POINTS), VECTORS, PAYLOADS)
        for text in ("How to", "的", "\0", "?!"):
            hits = wired.search(name, text=text, highlight=True, explain=True)
            assert (list(hits), hits.wordless, hits.complete) == ([], ("text",), True)
        assert wired.search(name, text="nonesuch").wordless == ()
        assert wired.search(name, text="how to back up").wordless == ()
        both = wired.search(name, VECTORS[7], text="how to")
        assert (both.wordless, [hit.id for hit in both]) == (("text",), [hit.id for hit in wired.search(name, VECTORS[7])])
        assert [list(hit.legs) for hit in both] == [["dense"]] * 10
        many = wired.search_many(name, VECTORS[:3], text=["how", "HNSW", "to"])
        assert [each.wordless for each in many] == [("text",), (), ("text",)]
    finally:
        wired.drop_collection(name)


def test_a_page_is_a_slice_and_groups_are_whole(wired: shoal.Client, kb: str) -> None:
    whole = wired.search(kb, VECTORS[7], text="TiKV cluster", k=20)
    pages = [hit for offset in (0, 10) for hit in wired.search(kb, VECTORS[7], text="TiKV cluster", k=10, offset=offset)]
    assert [(hit.id, hit.score, dict(hit.legs)) for hit in whole] == [(hit.id, hit.score, dict(hit.legs)) for hit in pages]
    assert all(0.0 <= hit.score <= 1.0 for hit in whole)
    grouped = wired.search(kb, VECTORS[7], text="TiKV cluster", k=4, group_by="doc", group_size=2, diversity=0.25)
    assert len({hit.group for hit in grouped}) == 4
    assert all(hit.payload is not None and hit.payload["doc"] == hit.group for hit in grouped)
    assert len(grouped) == 8


def test_conditions_on_words_hold(wired: shoal.Client, kb: str) -> None:
    leg = Text("replicas", fields={"title": 2, "body": 1}, must=["HNSW"], must_not=["GPU"], phrases=["in-memory replicas"], prefix="quanti")
    hits = wired.search(kb, legs=[Dense(VECTORS[0], weight=0.4), leg], fusion="rrf", c=60, candidates=POINTS, k=20)
    assert [hit.id % 5 for hit in hits if "text" in hit.legs] == [2] * len([hit for hit in hits if "text" in hit.legs])
    assert {hit.id for hit in wired.search(kb, legs=[leg], k=50)} == set(range(2, POINTS, 5))
    assert wired.search(kb, legs=[Text("HNSW", must_not=["graphs"])]) == []
    assert wired.search(kb, legs=[Text("HNSW backup", match="all")]) == []


def test_many_searches_are_the_single_ones(wired: shoal.Client, kb: str) -> None:
    texts, filters = ["tidb mem quota", "HNSW", "扩容"], [None, {"n": {"$lt": 50}}, None]
    many = wired.search_many(kb, VECTORS[:3], text=texts, k=[3, 5, 2], filter=filters, highlight=True)
    one_by_one = [
        wired.search(kb, vector, text=text, k=k, filter=filter, highlight=True)
        for vector, text, k, filter in zip(VECTORS[:3], texts, [3, 5, 2], filters, strict=True)
    ]
    assert many == one_by_one

    async def awaited() -> list[shoal.Hits]:
        async with shoal.connect_async(wired._verbs.routers.addresses) as client:
            return [await client.search(kb, VECTORS[0], text=texts[0], k=3, highlight=True)]

    assert asyncio.run(awaited()) == one_by_one[:1]


def test_a_field_is_added_while_searches_go_on(wired: shoal.Client, kb: str) -> None:
    wired.alter_collection(kb, text={"title": "auto", "body": "auto", "tags": "auto"}, search_defaults={"boosts": {"tags": 4}})
    assert wired.describe_collection(kb).spec.defaults.boosts == (("tags", 4.0),)
    deadline, refused = time.monotonic() + SECONDS, []
    while True:
        assert len(wired.search(kb, legs=[Text("HNSW", fields={"body": 1})], k=50)) == POINTS // 5
        try:
            hits = wired.search(kb, legs=[Text("t42", fields={"tags": 1})], highlight=True)
            break
        except shoal.PreconditionFailed as error:
            refused.append(error.message)
            assert time.monotonic() < deadline
    assert all("still being indexed" in message for message in refused)
    assert [(hit.id, hit.highlighted("tags")) for hit in hits] == [(42, "seldom\n**t42**")]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"legs": [Text("x", fields={"nope": 1})]}, shoal.InvalidArgument, "the text fields of the collection are body, title"),
        ({"vector": [0.0, 1.0], "text": "x"}, shoal.InvalidArgument, "vectors have dimension 2, the collection has 4"),
        ({"legs": [Text(prefix="two words")]}, shoal.InvalidArgument, "give the beginning of one word"),
        ({"text": "x", "group_by": "a..b"}, shoal.InvalidArgument, "group_by|a..b"),
        ({"text": "x", "k": 20_000, "candidates": 30_000}, shoal.InvalidArgument, "16384|16,384"),
    ],
)
def test_what_only_the_cluster_knows_is_refused_there(
    wired: shoal.Client, kb: str, arguments: dict[str, Any], error: Any, words: str
) -> None:
    with pytest.raises(error, match=words):
        wired.search(kb, **arguments)


def test_a_collection_without_text_says_so(wired: shoal.Client) -> None:
    name = f"plain-{uuid.uuid4().hex[:8]}"
    wired.create_collection(name, DIM)
    with pytest.raises(shoal.InvalidArgument, match="has no text field"):
        wired.search(name, text="x")
    wired.drop_collection(name)


def command(cluster: RoleCluster, *words: Any) -> tuple[int, str, str]:
    ended = CliRunner().invoke(app, ["--address", cluster.address, *map(str, words)], obj=Connection())
    return ended.exit_code, ended.stdout, ended.stderr


def test_the_command_line_searches_alters_and_fits(shared_cluster: RoleCluster, client: shoal.Client, kb: str, tmp_path: Path) -> None:
    code, out, err = command(shared_cluster, "search", kb, "--text", "扩容", "--highlight", "-k", 2, "--filter", "n=5")
    assert (code, err) == (0, "")
    assert out.splitlines()[1].endswith("body: 如何扩容 TiKV 集群：增加节点，然后均衡副本")
    assert command(shared_cluster, "collection", "alter", kb, "--drop-text", "title")[0] == 0
    assert [each.name for each in client.describe_collection(kb).spec.text] == ["body"]
    words = ["扩容 节点", "back up", "HNSW ef", "adding nodes", "memory query"]
    queries = [{"id": n, "text": words[n % 5], "vector": np.random.default_rng(n).normal(size=DIM).tolist()} for n in range(50)]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, queries)))
    (tmp_path / "r.tsv").write_text("".join(f"{n}\t{point}\t1\n" for n in range(50) for point in range(n % 5, POINTS, 5)))
    client.alter_collection(kb, search_defaults={"dense_weight": 9})
    fit = ["collection", "fit", kb, "--queries", tmp_path / "q.jsonl", "--qrels", tmp_path / "r.tsv"]
    code, out, err = command(shared_cluster, *fit, "--save", "--json")
    assert code == 0, err
    told = json.loads(out)
    defaults = client.describe_collection(kb).spec.defaults
    assert told["saved"]
    assert told["low"] > 0
    assert defaults.text_weight > defaults.dense_weight
    assert told["text"] == pytest.approx(1.0)
    found = client.search_many(kb, [each["vector"] for each in queries], text=[each["text"] for each in queries])
    right = [hit.id % 5 == n % 5 for n, hits in enumerate(found) for hit in hits]
    assert np.mean(right) == pytest.approx(told["on_all"], abs=0.02)
