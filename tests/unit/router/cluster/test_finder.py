from __future__ import annotations

import asyncio

import pytest

from shoal.core.collection import Collection, CollectionState
from shoal.core.errors import InvalidArgument, NotFound, Unavailable
from shoal.core.ids import Revision
from shoal.router.cluster.finder import Finder, StoreNames
from shoal.router.logic.retry import patience_of
from shoal.store.interface import Put, Transaction
from shoal.store.keys import Keys
from tests.twins.cluster import TwinCluster
from tests.twins.store.client import MemoryStore
from tests.twins.store.cluster import MemoryCluster


def find(cluster: TwinCluster, name: str, timeout_s: float = 10.0) -> Collection:
    finder = Finder(view=cluster.view, names=cluster.names, limits=cluster.limits)
    return asyncio.run(finder.usable(name, patience_of(clock=cluster.clock, timeout_s=timeout_s, patience_s=2.0)))


def test_a_known_collection_is_found_without_asking_the_store() -> None:
    cluster = TwinCluster()
    assert find(cluster, cluster.add("a").spec.name).id == "id-a"
    assert cluster.names.asked == []


def test_a_name_that_is_free_in_the_store_is_not_found() -> None:
    cluster = TwinCluster()
    cluster.add("a")
    with pytest.raises(NotFound, match=r"'b' does not exist \(there are: a\)"):
        find(cluster, "b")
    assert cluster.names.asked == ["b"]
    assert cluster.view.waits == []


def test_a_name_that_is_taken_in_the_store_is_waited_for() -> None:
    cluster = TwinCluster()
    cluster.names.taken["b"] = Revision(cluster.view.current.revision + 2)
    cluster.view.events = [cluster.change, lambda: cluster.add("b")]
    assert find(cluster, "b").spec.name == "b"
    assert len(cluster.view.waits) == 2


def test_a_view_that_does_not_catch_up_is_unavailable_not_not_found() -> None:
    cluster = TwinCluster()
    cluster.names.taken["b"] = Revision(99)
    with pytest.raises(Unavailable, match="lags behind"):
        find(cluster, "b")
    assert cluster.clock.now == 102.0


def test_a_store_that_cannot_be_asked_is_unavailable_not_not_found() -> None:
    cluster = TwinCluster()
    cluster.names.error = Unavailable("etcd is down")
    with pytest.raises(Unavailable, match=r"'b' is not known here.*etcd is down"):
        find(cluster, "b")


def test_a_name_dropped_between_the_question_and_the_answer_is_not_found() -> None:
    cluster = TwinCluster()
    cluster.names.taken["b"] = cluster.view.current.revision
    with pytest.raises(NotFound):
        find(cluster, "b")


def test_a_collection_being_created_is_waited_for() -> None:
    cluster = TwinCluster()
    collection = cluster.add("a", state=CollectionState.CREATING)
    cluster.view.events = [lambda: cluster.set_state(collection, CollectionState.ACTIVE)]
    assert find(cluster, "a").state is CollectionState.ACTIVE


def test_a_collection_that_stays_in_creation_is_unavailable() -> None:
    cluster = TwinCluster()
    cluster.add("a", state=CollectionState.CREATING)
    with pytest.raises(Unavailable, match="still being created"):
        find(cluster, "a")
    assert cluster.clock.now == 102.0


def test_what_can_be_no_name_is_refused() -> None:
    cluster = TwinCluster()
    with pytest.raises(InvalidArgument, match="must match"):
        find(cluster, "a b")
    assert cluster.names.asked == []


def test_names_are_read_from_the_store() -> None:
    async def read() -> tuple[Revision | None, Revision | None]:
        store, keys = MemoryStore(MemoryCluster(lambda: 0.0)), Keys("default")
        names = StoreNames(store, keys)
        free = await names.revision_of("a", 1.0)
        committed = await store.commit(Transaction(then=(Put(key=keys.name("a"), value=b"id"),)), 1.0)
        assert committed.revision == await names.revision_of("a", 1.0)
        return free, committed.revision

    free, taken = asyncio.run(read())
    assert free is None
    assert taken
