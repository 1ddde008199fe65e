"""Searches by named vectors over real replicas are the same by every way: in this process, shard by shard, behind a hop
as values and in bytes, and from JSON."""

from __future__ import annotations

import asyncio
import dataclasses
import math
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shoal.core.collection import CollectionSpec
from shoal.core.filter import In
from shoal.core.fused_search import DenseLeg, FusedSearch, TextLeg
from shoal.core.ids import RequestId
from shoal.core.metric import Metric
from shoal.core.named_vectors import NamedVector, VectorColumn
from shoal.core.point_change import UpdateNamed
from shoal.core.points import PointColumns, id_array
from shoal.core.requests import Get, Search, Update, Upsert
from shoal.core.scoring import prepared, scores
from shoal.core.shard_calls import Exact, QueryGroup
from shoal.core.text_fields import TextField
from shoal.core.text_query import TextAsk
from shoal.core.topk import HitColumns
from shoal.router.shards import express
from shoal.shard_worker.rpc import worker_service
from shoal.v1 import search_pb2
from shoal.wire.connect_json import message_from_json, message_to_json
from shoal.wire.fused_searches import fused_to_message
from shoal.wire.search_bytes import bytes_before_queries, bytes_of_search, head_of
from shoal.wire.searches import found_from_message, search_to_message
from tests.support.worker.hop import CallerContext, search_in_bytes
from tests.support.worker.local_shards import LocalShards, local_shards

CALL_S = 20.0
COUNT = 240
VECTORS = (
    NamedVector(name="image", dim=8),
    NamedVector(name="text", dim=6, metric=Metric.COSINE),
    NamedVector(name="dot", dim=4, metric=Metric.IP, index="flat"),
)
RNG = np.random.default_rng(5)
ROWS = {each.name: RNG.normal(size=(COUNT, each.dim)).astype(np.float32) for each in VECTORS}
HAVE = {"image": np.arange(COUNT), "text": np.arange(0, COUNT, 5), "dot": np.arange(0, COUNT, 3)}
"""Points that have a vector."""

POINTS = PointColumns(
    ids=id_array(range(COUNT)),
    vectors=np.empty((COUNT, 0), np.float32),
    payloads=tuple(b'{"label":%d,"body":"w%d"}' % (at % 4, at % 5) for at in range(COUNT)),
    named={name: VectorColumn(vectors=ROWS[name][at], positions=None if len(at) == COUNT else at) for name, at in HAVE.items()},
)
LABEL_1 = In(("label",), (1,))


def over_shards(folder: Path, shards: int, work: Callable[[LocalShards], Awaitable[Any]]) -> Any:
    spec = CollectionSpec(name="kb", dim=0, shards=shards, vectors=VECTORS, text=(TextField(name="body"),))

    async def run() -> Any:
        async with local_shards(folder, spec, growing_rows=1_000) as parts:
            await parts.router.writes.upsert(Upsert(collection="kb", points=POINTS), CALL_S)
            return await work(parts)

    return asyncio.run(run())


def question(vector: NamedVector, *, filtered: bool = False, **options: Any) -> Search:
    queries = np.random.default_rng(6).normal(size=(2, vector.dim)).astype(np.float32)
    groups = (QueryGroup(k=7, filter=LABEL_1 if filtered else None),)
    return Search(collection="kb", queries=queries, groups=groups, vector=vector.name, accuracy=Exact(), **options)


def nearest(vector: NamedVector, asked: Search) -> list[list[int]]:
    """Return the nearest points of each query, by comparing with all that have the vector."""
    ids = [each for each in HAVE[vector.name].tolist() if asked.groups[0].filter is None or each % 4 == 1]
    rows, found = prepared(ROWS[vector.name][ids], vector.metric), []
    for query in prepared(asked.queries, vector.metric):
        values = scores(query, rows, vector.metric)
        order = np.argsort(values if vector.metric.smaller_is_better else -values, kind="stable")
        found.append([ids[at] for at in order[: asked.groups[0].k]])
    return found


def said(hits: HitColumns) -> Any:
    named = None
    if hits.named is not None:
        named = {
            name: (column.vectors.tolist(), None if column.positions is None else column.positions.tolist())
            for name, column in hits.named.items()
        }
    return hits.counts.tolist(), hits.ids.tolist(), hits.scores.tolist(), hits.payloads, hits.vectors, named


async def answers(parts: LocalShards, asked: Search) -> list[HitColumns]:
    """Return the hits of a search by each way."""
    express, general = await parts.both(asked)
    found = [express.hits, general.hits]
    head = bytes_of_search(head_of(asked), b"", bytes_before_queries(*asked.queries.shape, asked.vector), asked.queries)
    in_json = message_from_json(search_pb2.SearchRequest, message_to_json(search_to_message(asked))).SerializeToString()
    for data in (search_to_message(asked).SerializeToString(), head, in_json):
        for router in (parts.router, parts.general, parts.behind):
            service = dataclasses.replace(parts, router=router).service()
            for _ in range(2):
                answer, _ = await search_in_bytes(service, data, "me")
                found.append(found_from_message(search_pb2.SearchResponse.FromString(answer)).hits)
    return found


async def searched_by_every_way(parts: LocalShards) -> None:
    for vector in VECTORS:
        for filtered in (False, True):
            for with_vectors in (False, True):
                asked = question(vector, filtered=filtered, with_vectors=with_vectors)
                wanted = nearest(vector, asked)
                found = await answers(parts, asked)
                first = said(found[0])
                assert [said(each) for each in found] == [first] * len(found)
                assert first[1] == [each for hits in wanted for each in hits]
                if with_vectors:
                    check_vectors(found[0])
                else:
                    assert first[5] is None


def check_vectors(hits: HitColumns) -> None:
    """Raise AssertionError unless each hit has exactly its vectors."""
    ids = hits.ids.tolist()
    assert hits.named is not None
    for name, column in hits.named.items():
        at = range(len(ids)) if column.positions is None else column.positions.tolist()
        assert [ids[place] for place in at] == [each for each in ids if each in set(HAVE[name].tolist())]
        assert column.vectors.tolist() == [ROWS[name][ids[place]].tolist() for place in at]


def test_a_search_by_name_is_the_same_by_every_way(tmp_path: Path) -> None:
    for shards in (1, 3):
        over_shards(tmp_path / str(shards), shards, searched_by_every_way)


def test_the_quick_ways_are_taken_where_vectors_are_not_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Whether a search is short enough depends on how busy the machine is, which is not what is asked here.
    for module in (express, worker_service):
        monkeypatch.setattr(module, "ON_LOOP_US", math.inf)

    async def work(parts: LocalShards) -> None:
        for vector in VECTORS:
            asked = question(vector)
            # Of several queries under cosine, each is looked at.
            asked = dataclasses.replace(asked, queries=asked.queries[:1])
            data = search_to_message(asked).SerializeToString()
            assert parts.service().search_at_once(data, CallerContext("me")) is not None
            assert (await parts.over_hop(asked))[1]
            with_vectors = search_to_message(dataclasses.replace(asked, with_vectors=True)).SerializeToString()
            assert parts.service().search_at_once(with_vectors, CallerContext("me")) is None

    over_shards(tmp_path, 2, work)


def test_several_vectors_are_fused_over_real_replicas(tmp_path: Path) -> None:
    queries = {each.name: np.random.default_rng(7).normal(size=(1, each.dim)).astype(np.float32) for each in VECTORS}
    legs = tuple(DenseLeg(queries=query, name=name, vector=name) for name, query in queries.items())
    asked = FusedSearch(
        collection="kb",
        legs=(*legs, TextLeg(asks=(TextAsk(text="w1", fields=(("body", 1.0),)),), name="words")),
        groups=(QueryGroup(k=12, filter=LABEL_1),),
        accuracy=Exact(),
        with_vectors=True,
        explain=True,
        diversity=0.2,
    )

    async def work(parts: LocalShards) -> None:
        found = [await router.fused.search(asked, CALL_S) for router in (parts.router, parts.general, parts.behind)]
        assert len({repr(said(each.hits)) for each in found}) == 1
        check_vectors(found[0].hits)
        for each in found:
            assert each.explain is not None
            assert {segment.vector for segment in each.explain.segments} == set(queries)
        service = parts.service(express=False)
        answer, _ = await search_in_bytes(service, fused_to_message(asked).SerializeToString(), "me")
        assert said(found_from_message(search_pb2.SearchResponse.FromString(answer)).hits) == said(found[0].hits)

    over_shards(tmp_path, 2, work)


def test_an_update_by_name_reaches_real_replicas(tmp_path: Path) -> None:
    async def work(parts: LocalShards) -> None:
        given = UpdateNamed({"dot": VectorColumn(vectors=np.full((3, 4), 9, np.float32))})
        order = Update(collection="kb", change=given, ids=id_array([1, 2, 3]), filter=In(("label",), (1, 2)))
        for number, router in enumerate((parts.router, parts.behind)):
            numbered = dataclasses.replace(order, request_id=RequestId("me", number))
            assert (await router.updates.update(numbered, CALL_S)).affected == 2
        got = await parts.general.reads.get(Get(collection="kb", ids=id_array([1, 2, 3]), with_vectors=True), CALL_S)
        assert got.points.named is not None
        columns = got.points.named
        assert columns["dot"].positions is None
        assert columns["dot"].vectors.tolist() == [[9] * 4, [9] * 4, ROWS["dot"][3].tolist()]
        assert columns["image"].vectors.tolist() == ROWS["image"][1:4].tolist()
        assert columns["text"].positions is not None
        assert columns["text"].positions.tolist() == []

    over_shards(tmp_path, 3, work)
