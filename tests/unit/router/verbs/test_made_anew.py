"""Test calls at a router whose map lags behind: the collection it knows was dropped, and another one has its name."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from shoal.core.collection import CollectionState
from shoal.core.errors import NotFound, Unavailable
from shoal.core.filter import In
from shoal.core.fused_search import DenseLeg, FusedSearch
from shoal.core.ids import Revision
from shoal.core.point_change import SetPayload
from shoal.core.points import PointColumns, id_array
from shoal.core.replies import Found
from shoal.core.requests import Count, Delete, DeleteMatching, Get, Scroll, Search, SearchForm, Update, Upsert
from shoal.core.shard_calls import QueryGroup
from shoal.router.wiring import Router
from tests.twins.cluster import TwinCluster
from tests.twins.encoded import EncodedCluster

CALL_S = 10.0
POINTS = PointColumns(ids=id_array([1, 2]), vectors=np.eye(2, 4, dtype=np.float32), payloads=(b'{"at":1}', b'{"at":2}'))


def lagging(*, made_anew: bool = True, kind: type[TwinCluster] = TwinCluster) -> TwinCluster:
    """Return a cluster whose view shows the collection of before. Its shards are closed already. The next change of the
    view shows that it was dropped, and the new collection "a", which has POINTS.
    """
    cluster = kind(workers=1) if kind is EncodedCluster else kind()
    added = cluster.add("b", shards=2)
    asyncio.run(cluster.router.writes.upsert(Upsert(collection="b", points=POINTS), CALL_S))
    newest = dataclasses.replace(added, spec=dataclasses.replace(added.spec, name="a"))
    entries = cluster.view.current.shards
    cluster.change(collections={}, shards={})
    before = cluster.add("a", shards=3)
    for worker in cluster.workers.values():
        worker.shards = {shard: held for shard, held in worker.shards.items() if shard.collection == newest.id}
    gone = dataclasses.replace(before, state=CollectionState.DROPPING)
    known = {gone.id: gone, newest.id: newest} if made_anew else {gone.id: gone}
    cluster.view.events = [lambda: cluster.change(collections=known, shards=dict(entries))]
    return cluster


CALLS: dict[str, tuple[Callable[[Router], Awaitable[Any]], Callable[[Any], object], object]] = {
    "upsert": (lambda to: to.writes.upsert(Upsert(collection="a", points=POINTS), CALL_S), lambda done: done.affected, 2),
    "delete": (lambda to: to.writes.delete(Delete(collection="a", ids=id_array([1, 9])), CALL_S), lambda done: done.affected, 1),
    "delete by filter": (
        lambda to: to.writes.delete_matching(DeleteMatching(collection="a", filter=In(("at",), (2,))), CALL_S),
        lambda done: done.affected,
        1,
    ),
    "update": (
        lambda to: to.updates.update(Update(collection="a", ids=id_array([1, 9]), change=SetPayload(b"{}")), CALL_S),
        lambda done: done.affected,
        1,
    ),
    "update by filter": (
        lambda to: to.updates.update(Update(collection="a", filter=In(("at",), (2,)), change=SetPayload(b"{}")), CALL_S),
        lambda done: done.affected,
        1,
    ),
    "search": (
        lambda to: to.reads.search(Search(collection="a", queries=np.eye(1, 4, dtype=np.float32), groups=(QueryGroup(k=1),)), CALL_S),
        lambda found: found.hits.ids.tolist(),
        [1],
    ),
    "fused search": (
        lambda to: to.fused.search(
            FusedSearch(collection="a", legs=(DenseLeg(queries=np.eye(1, 4, dtype=np.float32)),), groups=(QueryGroup(k=1),)), CALL_S
        ),
        lambda found: found.hits.ids.tolist(),
        [1],
    ),
    "get": (lambda to: to.reads.get(Get(collection="a", ids=id_array([2])), CALL_S), lambda got: got.points.ids.tolist(), [2]),
    "count": (lambda to: to.reads.count(Count(collection="a"), CALL_S), lambda count: count, 2),
    "scroll": (
        lambda to: to.reads.scroll(Scroll(collection="a"), CALL_S),
        lambda page: (page.collection_id, len(page.points)),
        ("id-b", 2),
    ),
}


async def answer(work: Awaitable[Any]) -> Any:
    return await work


@pytest.mark.parametrize("name", CALLS)
def test_a_call_goes_to_the_collection_that_has_the_name_by_now(name: str) -> None:
    call, shown, expected = CALLS[name]
    cluster = lagging()
    assert shown(asyncio.run(answer(call(cluster.router)))) == expected
    assert cluster.view.events == []


@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_not_found_if_nothing_has_the_name_by_now(name: str) -> None:
    cluster = lagging(made_anew=False)
    with pytest.raises(NotFound, match="'a' was dropped"):
        asyncio.run(answer(CALLS[name][0](cluster.router)))
    assert cluster.names.asked == ["a"]


def test_a_new_collection_that_the_view_does_not_show_yet_is_waited_for() -> None:
    cluster = lagging()
    (made,) = cluster.view.events
    before = cluster.view.current.by_name["a"]
    cluster.names.taken["a"] = Revision(cluster.view.current.revision + 2)
    cluster.view.events = [lambda: cluster.set_state(before, CollectionState.DROPPING), made]
    assert asyncio.run(answer(CALLS["count"][0](cluster.router))) == 2


def test_an_error_of_the_store_does_not_hide_that_the_collection_was_dropped() -> None:
    cluster = lagging(made_anew=False)
    cluster.names.error = Unavailable("etcd is down")
    with pytest.raises(NotFound, match="'a' was dropped"):
        asyncio.run(answer(CALLS["upsert"][0](cluster.router)))


def test_a_scroll_that_has_begun_ends_with_its_collection() -> None:
    cluster = lagging()
    with pytest.raises(NotFound, match="'a' was dropped"):
        asyncio.run(cluster.router.reads.scroll(Scroll(collection="a", collection_id="id-a"), CALL_S))


async def searched_in_bytes(cluster: TwinCluster) -> list[Any]:
    """Return the ids that a search finds which goes to its worker in bytes."""
    question = Search(collection="a", queries=np.eye(1, 4, dtype=np.float32), groups=(QueryGroup(k=1),), with_payload=False)
    work = cluster.router.reads.search_in_bytes(SearchForm(question), question.queries, "client", CALL_S)
    assert work is not None, "it went the general way"
    found = await work()
    assert isinstance(found, Found), "the worker that has no shards answered in bytes"
    return found.hits.ids.tolist()


def test_a_search_in_bytes_goes_there_too() -> None:
    assert asyncio.run(searched_in_bytes(lagging(kind=EncodedCluster))) == [1]


def test_a_search_in_bytes_is_not_found_if_nothing_has_the_name_by_now() -> None:
    with pytest.raises(NotFound, match="'a' was dropped"):
        asyncio.run(searched_in_bytes(lagging(made_anew=False, kind=EncodedCluster)))
