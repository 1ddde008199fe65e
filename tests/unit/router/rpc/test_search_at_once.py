"""The door that answers searches without waiting: what it answers, and what it leaves to the door that may wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shoal.core.collection import CollectionSpec
from shoal.core.errors import DeadlineExceeded, ResourceExhausted, ShoalError
from shoal.core.limits import Limits
from shoal.core.metric import Metric
from shoal.core.points import PointColumns, id_array
from shoal.core.requests import Upsert
from shoal.router.rpc.search_service import SearchService
from shoal.v1 import common_pb2, filter_pb2, search_pb2
from shoal.wire import search_forms
from shoal.wire.columns import vectors_to_message
from shoal.wire.search_forms import SearchForms
from shoal.wire.searches import search_from_message
from tests.support.worker.local_shards import LocalShards, local_shards

DIM = 4
QUERY = np.array([[1, 2, 3, 4]], dtype=np.float32)


class Context:
    def __init__(self, remaining_s: float | None = 5.0) -> None:
        self.remaining_s = remaining_s

    def time_remaining(self) -> float | None:
        return self.remaining_s

    def peer(self) -> str:
        return "ipv4:127.0.0.1:5000"

    def invocation_metadata(self) -> None:
        return None


def with_service(
    folder: Path,
    work: Callable[[SearchService, LocalShards], Awaitable[None]],
    *,
    metric: Metric = Metric.L2,
    limits: Limits | None = None,
) -> None:
    async def run() -> None:
        spec = CollectionSpec(name="a", dim=DIM, metric=metric, shards=2)
        async with local_shards(folder, spec, limits=limits) as shards:
            vectors = np.arange(1, 81, dtype=np.float32).reshape(20, DIM)
            ids = [f"id-{at}" if at % 2 else at for at in range(20)]
            points = PointColumns(ids=id_array(ids), vectors=vectors, payloads=(b'{"label":1}',) * 20)
            await shards.router.writes.upsert(Upsert(collection="a", points=points), 10.0)
            await work(shards.service(), shards)

    asyncio.run(run())


def request(queries: np.ndarray = QUERY, **parts: Any) -> search_pb2.SearchRequest:
    leg = search_pb2.SearchLeg(vectors=vectors_to_message(queries))
    return search_pb2.SearchRequest(**{"collection": "a", "legs": [leg], "k": 3, **parts})


def at_once(service: SearchService, asked: search_pb2.SearchRequest, context: Context) -> search_pb2.SearchResponse | None:
    """Return the answer of the door that takes bytes. A search is asked twice: the second time its form is known."""
    answers = [service.search_at_once(asked.SerializeToString(), context) for _ in range(2)]
    assert answers[0] == answers[1]
    return None if answers[0] is None else search_pb2.SearchResponse.FromString(answers[0])


def labelled(*values: int) -> filter_pb2.Filter:
    return filter_pb2.Filter(field={"path": ["label"], "in": {"values": [{"integer": value} for value in values]}})


ANSWERED = [
    request(),
    request(np.tile(QUERY, (9, 1))),
    request(recall=0.9),
    request(exact=True),
    request(with_payload=True, with_vectors=True),
    request(allow_partial=True, consistency=common_pb2.CONSISTENCY_PRIMARY),
    request(filter=labelled()),
]

LEFT = [
    search_pb2.SearchRequest(collection="a", k=3),
    request(collection="unknown"),
    request(collection=""),
    request(k=0),
    request(k=1 << 20),
    request(np.ones((1, DIM + 1), dtype=np.float32)),
    request(np.full((1, DIM), np.nan, dtype=np.float32)),
    request(np.full((1, DIM), np.inf, dtype=np.float32)),
    request(np.empty((0, DIM), dtype=np.float32)),
    request(np.ones((5_000, DIM), dtype=np.float32)),
    request(legs=[search_pb2.SearchLeg(field="x", vectors=vectors_to_message(QUERY))]),
    request(legs=[search_pb2.SearchLeg(vectors=common_pb2.Vectors(dim=DIM, data=b"123"))]),
    request(legs=[search_pb2.SearchLeg(vectors=common_pb2.Vectors(dim=0, data=b""))]),
    request(recall=0.0),
    request(recall=1.5),
    request(recall=0.9, exact=True),
    request(params={"ef": 0.5}),
    request(params={"depth": 3}),
    request(params={"ef": 1 << 30}),
    request(radius=float("nan")),
    request(consistency=17),
    request(filter=filter_pb2.Filter(field={"path": ["label"]})),
    request(filter=labelled(*range(70_000))),
    request(groups=[search_pb2.QueryGroup(k=1)]),
]
"""Faulty, each in its way."""


def test_plain_searches_are_answered_as_by_the_other_door(tmp_path: Path) -> None:
    async def work(service: SearchService, shards: LocalShards) -> None:
        general = shards.service(express=False)
        for each in ANSWERED:
            other = await general.Search(each, Context())
            assert at_once(service, each, Context()) == other
            assert at_once(service, each, Context(None)) == other
            assert await service.Search(each, Context()) == other

    with_service(tmp_path, work)


def test_a_long_batch_is_left_to_the_other_door_unread(tmp_path: Path) -> None:
    async def work(service: SearchService, shards: LocalShards) -> None:
        fits, batch = (request(np.tile(QUERY, (count, 1))) for count in (3, 4))
        with pytest.MonkeyPatch.context() as patch:
            read: list[object] = []
            patch.setattr(search_forms, "search_from_message", lambda message: read.append(message) or search_from_message(message))
            service._forms = SearchForms(fits.ByteSize())
            assert at_once(service, fits, Context()) is not None
            assert at_once(service, batch, Context()) is None
        assert read == [fits], "the form of the first is known after one reading"
        assert await service.Search(batch, Context()) == await shards.service(express=False).Search(batch, Context())

    with_service(tmp_path, work)


def test_what_it_does_not_answer_is_refused_as_ever(tmp_path: Path) -> None:
    async def work(service: SearchService, shards: LocalShards) -> None:
        general = shards.service(express=False)
        for each in LEFT:
            assert at_once(service, each, Context()) is None
            told = []
            for door in (service, general):
                with pytest.raises(ShoalError) as caught:
                    await door.Search(each, Context())
                told.append((type(caught.value), caught.value.message, caught.value.details))
            assert told[0] == told[1]

    with_service(tmp_path, work)


def test_a_zero_vector_under_cosine_is_refused_as_ever(tmp_path: Path) -> None:
    async def work(service: SearchService, _: LocalShards) -> None:
        assert at_once(service, request(), Context()) is not None
        zero = request(np.zeros((1, DIM), dtype=np.float32))
        assert at_once(service, zero, Context()) is None
        with pytest.raises(ShoalError, match="no direction"):
            await service.Search(zero, Context())
        batch = request(np.vstack([QUERY, QUERY]))
        assert at_once(service, batch, Context()) is None, "each vector of a batch has to be looked at"
        assert (await service.Search(batch, Context())).hits.counts == [3, 3]

    with_service(tmp_path, work, metric=Metric.COSINE)


def test_a_deadline_that_has_passed_has_the_error_of_a_search_shard_by_shard(tmp_path: Path) -> None:
    async def work(service: SearchService, shards: LocalShards) -> None:
        assert at_once(service, request(), Context(0.0)) is None
        told = []
        for door in (service, shards.service(express=False)):
            with pytest.raises(DeadlineExceeded) as caught:
                await door.Search(request(), Context(0.0))
            told.append((caught.value.message, caught.value.details))
        assert told[0] == told[1]

    with_service(tmp_path, work)


def test_an_answer_that_is_too_large_is_refused_by_the_other_door(tmp_path: Path) -> None:
    async def work(service: SearchService, _: LocalShards) -> None:
        assert at_once(service, request(k=1), Context()) is not None
        assert at_once(service, request(k=20, with_payload=True), Context()) is None
        with pytest.raises(ResourceExhausted, match="bytes"):
            await service.Search(request(k=20, with_payload=True), Context())

    with_service(tmp_path, work, limits=Limits(message_bytes=200))


def test_it_is_the_quick_door_of_the_call(tmp_path: Path) -> None:
    async def work(service: SearchService, _: LocalShards) -> None:
        (call,) = service.calls()
        assert call.at_once is not None
        answer = call.at_once(request().SerializeToString(), Context())
        assert answer == (await call.handle(request(), Context())).SerializeToString()

    with_service(tmp_path, work)
