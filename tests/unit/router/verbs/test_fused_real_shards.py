"""Searches of several legs over real replicas: in this process, shard by shard, and behind a hop."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np

from shoal.core.collection import CollectionSpec
from shoal.core.filter import In, Range
from shoal.core.fused_search import DenseLeg, FusedFound, FusedSearch, GroupBy, TextLeg
from shoal.core.metric import Metric
from shoal.core.points import PointColumns, id_array
from shoal.core.requests import Delete, Upsert
from shoal.core.shard_calls import Exact, QueryGroup
from shoal.core.text_fields import TextField
from shoal.core.text_query import Match, TextAsk
from tests.support.worker.local_shards import LocalShards, local_shards

DIM = 8
WORDS = ("raft", "quorum", "leader", "log", "segment", "vector", "graph", "扩容", "数据库")
CALL_S = 20.0


def spec(shards: int) -> CollectionSpec:
    return CollectionSpec(name="kb", dim=DIM, metric=Metric.COSINE, shards=shards, text=(TextField(name="body"), TextField(name="title")))


def points(count: int = 300) -> PointColumns:
    rng = np.random.default_rng(3)
    payloads = []
    for at in range(count):
        payload: dict[str, Any] = {"at": at, "doc": f"d{at % 37}", "body": " ".join(rng.choice(WORDS, size=int(rng.integers(1, 20))))}
        if at % 3:
            payload["title"] = " ".join(rng.choice(WORDS, size=2))
        payloads.append(json.dumps(payload).encode())
    return PointColumns(ids=id_array(range(count)), vectors=rng.normal(size=(count, DIM)).astype(np.float32), payloads=tuple(payloads))


POINTS = points()
QUERIES = np.random.default_rng(4).normal(size=(2, DIM)).astype(np.float32)
ASKS = (
    TextAsk(text="raft leader 扩容", fields=(("body", 1.0), ("title", 2.0))),
    TextAsk(text="log", must=("segment",), must_not=("graph",), match=Match.ALL),
)
QUESTION = FusedSearch(
    collection="kb",
    legs=(DenseLeg(queries=QUERIES), TextLeg(asks=ASKS)),
    groups=(QueryGroup(k=10, queries=np.array([0])), QueryGroup(k=8, filter=Range(("at",), lt=150), queries=np.array([1]))),
    accuracy=Exact(),
    with_vectors=True,
    highlight=True,
)
QUESTIONS = {
    "plain": QUESTION,
    "diverse": dataclasses.replace(QUESTION, diversity=0.4),
    "grouped": dataclasses.replace(QUESTION, group_by=GroupBy(path="doc", size=2), candidates=12),
    "text": dataclasses.replace(QUESTION, legs=QUESTION.legs[1:]),
    "vectors": dataclasses.replace(QUESTION, legs=QUESTION.legs[:1], highlight=False),
    "filtered": dataclasses.replace(QUESTION, groups=(QueryGroup(k=10, filter=In(("doc",), ("d3", "d4"))),)),
}


def over_shards(folder: Path, shards: int, work: Callable[[LocalShards], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with local_shards(folder, spec(shards), growing_rows=60) as parts:
            await parts.router.writes.upsert(Upsert(collection="kb", points=POINTS), CALL_S)
            await parts.router.writes.delete(Delete(collection="kb", ids=id_array(range(0, 300, 11))), CALL_S)
            return await work(parts)

    return asyncio.run(run())


def said(found: FusedFound) -> Any:
    """Return everything that an answer says, so that it can be compared."""
    return (
        found.hits.counts.tolist(),
        found.hits.ids.tolist(),
        found.hits.scores.tobytes(),
        found.hits.payloads,
        None if found.hits.vectors is None else found.hits.vectors.tobytes(),
        [(leg.name, leg.ranks.tolist(), leg.scores.tobytes(), leg.wordless) for leg in found.legs],
        found.highlights,
        found.group_values,
        found.complete,
        found.missing_shards,
    )


async def all_answers(parts: LocalShards) -> dict[str, list[Any]]:
    routers = (parts.router, parts.general, parts.behind)
    return {name: [said(await each.fused.search(question, CALL_S)) for each in routers] for name, question in QUESTIONS.items()}


def test_every_router_and_any_number_of_shards_give_the_same_answer(tmp_path: Path) -> None:
    several, one = over_shards(tmp_path / "4", 4, all_answers), over_shards(tmp_path / "1", 1, all_answers)
    for name, (express, general, behind) in several.items():
        assert express == general == behind, name
        assert one[name] == [express] * 3, name
        assert sum(express[0]) > 8, name


def test_a_leg_without_a_word_to_search_for_is_named_and_the_others_count(tmp_path: Path) -> None:
    asks = (TextAsk(text="!?"), TextAsk(text="raft"))
    legs = (*QUESTION.legs[:1], TextLeg(asks=asks), TextLeg(asks=asks[::-1], name="other"))

    async def work(parts: LocalShards) -> list[FusedFound]:
        question = dataclasses.replace(QUESTION, legs=legs)
        return [await each.fused.search(question, CALL_S) for each in (parts.router, parts.general, parts.behind)]

    for found in over_shards(tmp_path, 3, work):
        assert [(leg.name, leg.wordless) for leg in found.legs] == [("dense", ()), ("text", (0,)), ("other", (1,))]
        assert found.hits.counts.tolist() == [10, 8]


def test_hits_hold_the_words_and_the_marks_show_them(tmp_path: Path) -> None:
    async def work(parts: LocalShards) -> FusedFound:
        question = dataclasses.replace(QUESTIONS["text"], explain=True)
        return await parts.behind.fused.search(question, CALL_S)

    found = over_shards(tmp_path, 3, work)
    assert found.hits.counts.tolist() == [10, 8]
    for number, (payload, marks) in enumerate(zip(found.hits.payloads, found.highlights, strict=True)):
        texts = json.loads(payload)
        shown = {texts[each.field][begin:end] for each in marks for begin, end in each.spans}
        assert shown <= ({"raft", "leader", "扩容"} if number < 10 else {"log", "segment"})
        assert shown
    assert len(found.explain.texts) >= 3
    assert [leg.leg for leg in found.explain.legs] == ["text", "text"]
    for hit, score in zip(found.explain.hits, found.legs[0].scores, strict=True):
        assert abs(sum(word.share for word in hit.words) - score) < 1e-9
