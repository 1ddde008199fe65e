from __future__ import annotations

import asyncio

import pytest

from shoal.core.cluster_map import LeaderEntry
from shoal.core.collection import CollectionSpec, CollectionState
from shoal.core.errors import AlreadyExists, InvalidArgument, NotFound, Unavailable
from shoal.core.ids import CollectionId, Revision
from tests.unit.router.twin import TwinCluster

SPEC = CollectionSpec(name="a", dim=4, shards=2)


def create(cluster: TwinCluster, request_id: str = "mine", timeout_s: float = 10.0) -> str:
    return asyncio.run(cluster.router.administration.create(SPEC, request_id, timeout_s))


def drop(cluster: TwinCluster, name: str = "a", collection: CollectionId | None = None, timeout_s: float = 10.0) -> None:
    asyncio.run(cluster.router.administration.drop(name, collection, timeout_s))


def forget(cluster: TwinCluster) -> None:
    cluster.change(collections={}, shards={})


def test_creation_is_forwarded_to_the_leader_and_ends_when_the_view_knows_it() -> None:
    cluster = TwinCluster()
    cluster.view.events = [lambda: cluster.add("a", state=CollectionState.CREATING), lambda: cluster.add("a")]
    assert create(cluster) == "id-a"
    assert cluster.leader.calls == [("create", "lead:1", SPEC, "mine", 10.0)]
    assert cluster.view.current.by_name["a"].state is CollectionState.ACTIVE


def test_a_view_that_lags_for_long_does_not_fail_the_creation() -> None:
    cluster = TwinCluster()
    assert create(cluster) == "id-a"
    assert cluster.clock.now == 102.0


def test_retries_go_to_the_new_leader_with_the_same_request_id() -> None:
    cluster = TwinCluster()
    cluster.leader.answers = [Unavailable("not the leader"), Unavailable("connection lost"), lambda: cluster.add("a")]
    cluster.view.events = [
        lambda: cluster.change(leader=None),
        lambda: cluster.change(leader=LeaderEntry(address="lead:2", created=Revision(8))),
    ]
    create(cluster, request_id="")
    assert [call[1] for call in cluster.leader.calls] == ["lead:1", "lead:2", "lead:2"]
    assert len({call[3] for call in cluster.leader.calls}) == 1
    assert cluster.leader.calls[0][3]


def test_without_a_leader_the_call_ends_at_its_deadline() -> None:
    cluster = TwinCluster()
    cluster.change(leader=None)
    with pytest.raises(Unavailable, match="no coordinator leads"):
        create(cluster)
    assert 109.9 < cluster.clock.now <= 110.0


def test_what_the_leader_refuses_is_passed_on_at_once() -> None:
    cluster = TwinCluster()
    cluster.leader.answers = [AlreadyExists("collection 'a' exists")]
    with pytest.raises(AlreadyExists):
        create(cluster)
    assert cluster.view.waits == []


def test_drop_ends_when_the_view_has_let_go_of_the_name() -> None:
    cluster = TwinCluster()
    collection = cluster.add("a")
    cluster.view.events = [lambda: cluster.set_state(collection, CollectionState.DROPPING)]
    drop(cluster)
    assert "a" not in cluster.view.current.by_name
    assert cluster.leader.calls == [("drop", "lead:1", "a", None, 10.0)]


def test_a_drop_whose_answer_got_lost_is_done() -> None:
    cluster = TwinCluster()
    cluster.add("a")
    cluster.leader.answers = [Unavailable("connection lost"), NotFound("collection 'a' does not exist")]
    cluster.view.events = [lambda: forget(cluster)]
    drop(cluster)
    assert len(cluster.leader.calls) == 2


def test_dropping_what_never_was_is_not_found_also_after_a_retry() -> None:
    cluster = TwinCluster()
    cluster.leader.answers = [Unavailable("not the leader"), NotFound("no such")]
    with pytest.raises(NotFound):
        drop(cluster)


def test_dropping_what_is_there_but_not_at_the_leader_is_not_found() -> None:
    cluster = TwinCluster()
    cluster.add("a")
    cluster.leader.answers = [NotFound("no such")]
    with pytest.raises(NotFound):
        drop(cluster)


def test_a_drop_by_id_names_the_id_at_every_attempt_and_what_the_leader_says_holds() -> None:
    cluster = TwinCluster()
    collection = cluster.add("a")
    cluster.leader.answers = [Unavailable("connection lost"), None]
    cluster.view.events = [lambda: forget(cluster)]
    drop(cluster, collection=collection.id)
    assert [call[:4] for call in cluster.leader.calls] == [("drop", "lead:1", "a", "id-a")] * 2
    cluster.leader.answers = [Unavailable("connection lost"), NotFound("no such")]
    cluster.add("a")
    with pytest.raises(NotFound):
        drop(cluster, collection=collection.id)


def test_a_drop_by_the_id_of_another_does_not_wait_for_the_name() -> None:
    cluster = TwinCluster()
    cluster.add("a")
    drop(cluster, collection=CollectionId("id-of-an-earlier-one"))
    assert cluster.view.waits == []


def test_an_ill_name_is_not_forwarded() -> None:
    cluster = TwinCluster()
    with pytest.raises(InvalidArgument, match="must match"):
        drop(cluster, "a/b")
    assert cluster.leader.calls == []


def test_collections_are_listed_by_name() -> None:
    cluster = TwinCluster()
    for name in "cab":
        cluster.add(name)
    assert [each.spec.name for each in cluster.router.administration.listed()] == ["a", "b", "c"]


def test_figures_are_the_sum_over_all_shards() -> None:
    cluster = TwinCluster()
    cluster.add("a", shards=3)
    figures = asyncio.run(cluster.router.administration.describe("a", 5.0))
    assert (figures.points, figures.growing_rows, figures.sealed_rows, figures.segments) == (0, 0, 6, 3)
    assert (figures.builds_pending, figures.bytes, figures.memory_bytes) == (9, 12, 15)


def test_a_collection_in_creation_is_described_without_asking_its_shards() -> None:
    cluster = TwinCluster()
    cluster.add("a", state=CollectionState.CREATING)
    figures = asyncio.run(cluster.router.administration.describe("a", 5.0))
    assert (figures.collection.state, figures.points) == (CollectionState.CREATING, 0)
    assert not any(worker.calls for worker in cluster.workers.values())


def test_describing_what_does_not_exist_is_not_found_and_a_missing_shard_is_named() -> None:
    cluster = TwinCluster()
    with pytest.raises(NotFound):
        asyncio.run(cluster.router.administration.describe("a", 5.0))
    cluster.add("a")
    cluster.remove_worker("w1")
    with pytest.raises(Unavailable, match="a/1"):
        asyncio.run(cluster.router.administration.describe("a", 5.0))


def test_optimize_asks_every_shard_and_goes_on_until_the_deadline() -> None:
    cluster = TwinCluster()
    cluster.add("a")
    cluster.workers["w1"].before = [Unavailable("restarting")] * 8
    asyncio.run(cluster.router.administration.optimize("a", 100.0))
    assert [len(worker.calls) for worker in cluster.workers.values()] == [1, 9]
    assert cluster.workers["w0"].timeouts == [100.0]
