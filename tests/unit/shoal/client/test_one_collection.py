"""The collection of an adapter, over a cluster in a dictionary: made when it is missing, emptied, from many loops."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import shoal
from shoal.client.one_collection import OneCollection
from tests.twins.router_answers import DictCluster, async_client_with, client_with

ROWS: Any = (["a", "b"], [[1.0, 0.0], [0.0, 1.0]], [{"x": 1}, {"x": 2}])


class Both:
    """A collection, and the clients that it made."""

    def __init__(self, options: Any) -> None:
        self.cluster = DictCluster()
        self.blocking: list[Any] = []
        self.awaited: list[Any] = []
        self.one = OneCollection("c", options=options, blocking=self._blocking, awaited=self._awaited)

    def _blocking(self) -> Any:
        self.blocking.append(client_with(self.cluster))
        return self.blocking[-1]

    def _awaited(self) -> Any:
        self.awaited.append(async_client_with(self.cluster))
        return self.awaited[-1]


def test_a_missing_collection_is_created_by_the_first_write():
    both = Both({"metric": "ip", "shards": 2})
    both.one.upsert(([], [], []))
    assert both.cluster.specs == {}
    both.one.upsert(ROWS)
    spec = both.cluster.specs["c"]
    assert (spec.dim, str(spec.metric), spec.shards, both.one.metric()) == (2, "ip", 2, "ip")
    assert not both.one.create(9)
    assert [(point.id, point.payload) for point in both.one.get(["b", "none", "a"])] == [("b", {"x": 2}), ("a", {"x": 1})]
    assert both.one.get([]) == []


def test_without_options_a_missing_collection_is_an_error():
    both = Both(None)
    with pytest.raises(shoal.NotFound, match="'c' does not exist"):
        both.one.upsert(ROWS)
    with pytest.raises(shoal.NotFound, match="'c' does not exist"):
        asyncio.run(both.one.aupsert(ROWS))
    assert both.cluster.specs == {}


def test_points_are_deleted_by_id_by_filter_and_all():
    both = Both({})
    both.one.upsert(ROWS)
    both.one.delete([])
    assert both.one.client.count("c") == 2
    both.one.delete(["a", "none"])
    both.one.delete(filter={"x": 3})
    assert both.one.client.count("c") == 1
    both.one.upsert(ROWS)
    both.one.clear()
    both.one.clear()
    assert both.one.client.count("c") == 0


def test_awaited_verbs_do_the_same():
    both = Both({"dim": 2})
    assert both.one.dim_of_options == 2

    async def whole() -> None:
        await both.one.aupsert(([], [], []))
        await both.one.aupsert(ROWS)
        assert not await both.one.acreate(9)
        assert await both.one.ametric() == "l2"
        assert [point.id for point in await both.one.aget(["b", "none", "a"])] == ["b", "a"]
        assert await both.one.aget([]) == []
        await both.one.adelete([])
        await both.one.adelete(["a"])
        await both.one.adelete(filter={"x": 3})
        assert [point.id for point in await both.one.aget(["b", "a"])] == ["b"]
        await both.one.aclear()
        await both.one.aclear()
        assert await both.one.aget(["b"]) == []

    asyncio.run(whole())
    assert len(both.awaited) == 1
    assert both.blocking == []


def test_one_client_serves_every_loop():
    both = Both({})
    both.one.upsert(ROWS)
    for _ in range(3):
        assert [point.id for point in asyncio.run(both.one.aget(["a"]))] == ["a"]
    assert len(both.awaited) == 1


def test_closing_ends_both_clients_and_a_later_use_makes_new_ones():
    both = Both({})

    async def whole() -> None:
        await both.one.aupsert(ROWS)
        both.one.get(["a"])
        await both.one.aclose()
        assert both.awaited[0].mock.closed
        assert both.blocking[0].mock.closed

    asyncio.run(whole())
    assert [point.id for point in both.one.get(["a"])] == ["a"]
    assert len(both.blocking) == 2
    both.one.close()
    both.one.close()
    assert both.blocking[1].mock.closed


def test_an_adapter_writes_one_vector_and_says_so_where_there_are_several():
    with pytest.raises(shoal.InvalidArgument, match="create has vectors, but one vector without a name is written"):
        OneCollection("c", options={"vectors": {"image": 2}})
    both = Both({})
    both.one.client.create_collection("c", vectors={"image": 2, "text": {"dim": 2, "metric": "cosine"}})
    with pytest.raises(shoal.InvalidArgument, match="'c' has several vectors, give them by name: image, text"):
        both.one.upsert(ROWS)
    with pytest.raises(shoal.InvalidArgument, match="give the name of one: image, text"):
        both.one.metric()
    assert (both.one.metric("image"), asyncio.run(both.one.ametric("text"))) == ("l2", "cosine")
    with pytest.raises(shoal.InvalidArgument, match="has no vector 'sound', it has image, text"):
        asyncio.run(both.one.ametric("sound"))
