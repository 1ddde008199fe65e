from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from functools import partial

import numpy as np
import pytest

from shoal.core.alteration import Alteration
from shoal.core.cluster_map import LeaderEntry
from shoal.core.collection import Collection, CollectionState
from shoal.core.errors import AlreadyExists, DeadlineExceeded, InvalidArgument, NotFound, Unavailable
from shoal.core.health import ReplicaRole
from shoal.core.ids import CollectionId, Revision, Seq, ShardId, Term, WorkerId
from shoal.core.requests import AlterCollection, CreateCollection, DropCollection, MeasureRecall, TuneCollection
from shoal.core.shard_calls import Consistency, ShardCount, ShardStats
from shoal.core.tuning_calls import SegmentCurve, ShardMeasureRecall, ShardRecall, ShardTune
from shoal.router.logic.gather import gather_figures
from tests.twins.cluster import TwinCluster

REQUEST = CreateCollection(name="a", dim=4, shards=2, request_id="mine")


def create(cluster: TwinCluster, request_id: str = "mine", timeout_s: float = 10.0) -> str:
    return asyncio.run(cluster.router.administration.create(dataclasses.replace(REQUEST, request_id=request_id), timeout_s))


def drop(cluster: TwinCluster, name: str = "a", collection: str = "", timeout_s: float = 10.0) -> None:
    asyncio.run(cluster.router.administration.drop(DropCollection(name=name, collection_id=collection), timeout_s))


def forget(cluster: TwinCluster) -> None:
    cluster.change(collections={}, shards={})


def test_creation_is_forwarded_to_the_leader_and_ends_when_the_view_knows_it() -> None:
    cluster = TwinCluster()
    cluster.view.events = [lambda: cluster.add("a", state=CollectionState.CREATING), lambda: cluster.add("a")]
    assert create(cluster) == "id-a"
    assert cluster.leader.calls == [("create", "lead:1", REQUEST, 10.0)]
    assert cluster.view.current.by_name["a"].state is CollectionState.ACTIVE


def test_a_creation_that_this_view_never_shows_exists_and_ends_at_the_deadline() -> None:
    cluster = TwinCluster()
    with pytest.raises(DeadlineExceeded, match="collection 'a' exists, but this router's map does not show it yet"):
        create(cluster)
    assert cluster.clock.now == 110.0


def test_a_collection_that_is_dropped_before_it_was_usable_is_not_found() -> None:
    for end in (forget, lambda each: each.add("a", state=CollectionState.DROPPING)):
        cluster = TwinCluster()
        cluster.view.events = [partial(cluster.add, "a", state=CollectionState.CREATING), partial(end, cluster)]
        with pytest.raises(NotFound, match="'a' was dropped while it was being created"):
            create(cluster)


def counted(cluster: TwinCluster) -> Counter[int]:
    calls = [call for worker in cluster.workers.values() for call in worker.calls if isinstance(call, ShardCount)]
    assert all(call.terms.consistency is Consistency.PRIMARY for call in calls)
    return Counter(call.shard.number for call in calls)


def test_creation_ends_when_every_primary_serves_and_asks_only_those_that_did_not() -> None:
    cluster = TwinCluster()
    cluster.leader.answers = [lambda: cluster.add("a")]
    cluster.workers[WorkerId("w1")].before = [Unavailable("is opening it")] * 3
    assert create(cluster) == "id-a"
    assert counted(cluster) == {0: 1, 1: 4}


def test_a_creation_whose_shards_do_not_serve_in_time_says_that_it_exists_and_how_many_serve() -> None:
    cluster = TwinCluster()
    cluster.leader.answers = [lambda: cluster.add("a")]
    cluster.workers[WorkerId("w1")].before = [Unavailable("is opening it")] * 1_000
    with pytest.raises(DeadlineExceeded, match="collection 'a' exists, but only 1 of its 2 shards serve yet; the others follow: ") as late:
        create(cluster)
    assert late.value.details.shard == "a/1"
    assert "is opening it" in late.value.message
    assert 109.0 < cluster.clock.now <= 110.0
    assert counted(cluster)[1] < 40, "the pauses grow"


def test_a_creation_of_what_is_dropped_meanwhile_is_not_found() -> None:
    cluster = TwinCluster()
    cluster.leader.answers = [lambda: cluster.add("a")]
    cluster.workers[WorkerId("w1")].before = [Unavailable("is opening it")] * 5
    cluster.view.events = [lambda: cluster.change(collections={})]
    with pytest.raises(NotFound, match="'a' was dropped"):
        create(cluster)


def test_retries_go_to_the_new_leader_with_the_same_request_id() -> None:
    cluster = TwinCluster()
    cluster.leader.answers = [Unavailable("not the leader"), Unavailable("connection lost"), lambda: cluster.add("a")]
    cluster.view.events = [
        lambda: cluster.change(leader=None),
        lambda: cluster.change(leader=LeaderEntry(address="lead:2", created=Revision(8))),
    ]
    create(cluster, request_id="")
    assert [call[1] for call in cluster.leader.calls] == ["lead:1", "lead:2", "lead:2"]
    assert len({call[2].request_id for call in cluster.leader.calls}) == 1
    assert cluster.leader.calls[0][2].request_id


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
    assert cluster.leader.calls == [("drop", "lead:1", DropCollection(name="a"), 10.0)]


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
    assert [call[:3] for call in cluster.leader.calls] == [("drop", "lead:1", DropCollection(name="a", collection_id="id-a"))] * 2
    cluster.leader.answers = [Unavailable("connection lost"), NotFound("no such")]
    cluster.add("a")
    with pytest.raises(NotFound):
        drop(cluster, collection=collection.id)


def test_a_drop_by_the_id_of_another_does_not_wait_for_the_name() -> None:
    cluster = TwinCluster()
    cluster.add("a")
    drop(cluster, collection="id-of-an-earlier-one")
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


def test_what_is_being_dropped_is_not_listed_and_drop_returns_only_then() -> None:
    cluster = TwinCluster()
    going = cluster.add("a")
    cluster.add("b")
    dropped = dataclasses.replace(going, state=CollectionState.DROPPING)
    cluster.view.events = [cluster.change, lambda: cluster.change(collections={**cluster.view.current.collections, going.id: dropped})]
    drop(cluster, "a")
    assert [each.spec.name for each in cluster.router.administration.listed()] == ["b"]
    assert len(cluster.view.waits) == 2


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
    assert (figures.state, figures.points) == ("creating", 0)
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


def alter(cluster: TwinCluster, alteration: Alteration, timeout_s: float = 10.0, name: str = "a") -> None:
    asyncio.run(cluster.router.administration.alter(AlterCollection(name=name, **dataclasses.asdict(alteration)), timeout_s))


def publish_altered(cluster: TwinCluster, collection: Collection, **changes: object) -> None:
    spec = dataclasses.replace(collection.spec, **changes)  # type: ignore[arg-type]
    cluster.change(collections={collection.id: dataclasses.replace(collection, spec=spec)})


def test_an_alteration_is_forwarded_and_ends_when_the_view_knows_it() -> None:
    cluster = TwinCluster()
    collection = cluster.add("a")
    alteration = Alteration(index="flat", recall=0.5)
    cluster.view.events = [
        lambda: publish_altered(cluster, collection, index="flat"),
        lambda: publish_altered(cluster, collection, index="flat", recall=0.5),
    ]
    alter(cluster, alteration)
    assert cluster.leader.calls == [("alter", "lead:1", AlterCollection(name="a", index="flat", recall=0.5), 10.0)]
    assert cluster.view.current.by_name["a"].spec.recall == 0.5
    assert cluster.clock.now == 100.0


def test_an_alteration_is_asked_again_until_a_leader_answers_and_what_it_refuses_is_passed_on() -> None:
    cluster = TwinCluster()
    cluster.add("a")
    cluster.leader.answers = [Unavailable("not the leader"), InvalidArgument("index")]
    with pytest.raises(InvalidArgument):
        alter(cluster, Alteration(index="flat"))
    assert [call[0] for call in cluster.leader.calls] == ["alter", "alter"]


def test_an_alteration_of_what_was_dropped_and_made_anew_does_not_wait() -> None:
    cluster = TwinCluster()
    collection = cluster.add("a")
    again = dataclasses.replace(collection, id=CollectionId("another"))
    cluster.view.events = [lambda: cluster.change(collections={again.id: again})]
    alter(cluster, Alteration(recall=0.5))
    assert cluster.clock.now == 100.0


def test_an_alteration_of_an_ill_name_is_not_forwarded() -> None:
    cluster = TwinCluster()
    with pytest.raises(InvalidArgument, match="must match"):
        alter(cluster, Alteration(recall=0.5), name="a/b")
    assert cluster.leader.calls == []


class Measured:
    """Answers questions about recall for all workers. The answers of the shards differ."""

    def __init__(self, cluster: TwinCluster) -> None:
        self.asked: list[object] = []
        self.given: list[np.ndarray] = []
        for worker in cluster.workers.values():
            worker.tune = self.tune  # type: ignore[method-assign, assignment]
            worker.measure_recall = self.measure_recall  # type: ignore[method-assign, assignment]

    async def tune(self, call: ShardTune, timeout_s: float) -> tuple[SegmentCurve, ...]:
        self.asked.append((call.k, timeout_s))
        if call.queries is not None:
            self.given.append(call.queries)
        curve = SegmentCurve(
            shard=call.shard.number,
            segment="s",
            index="hnsw",
            rows=1,
            breadth_name="ef",
            queries=1,
            real_queries=True,
            points=(),
            exact_us=1.0,
        )
        return (curve, dataclasses.replace(curve, segment="t"))

    async def measure_recall(self, call: ShardMeasureRecall, timeout_s: float) -> ShardRecall:
        self.asked.append((call.k, call.sample, call.recall))
        return ShardRecall(
            shard=call.shard.number, queries=call.sample, real_queries=True, recall=1.0, lowest=1.0, search_us=1.0, exact_us=1.0
        )


def test_curves_of_all_shards_come_in_their_order() -> None:
    cluster = TwinCluster()
    cluster.add("a", shards=3)
    measured = Measured(cluster)
    curves = asyncio.run(cluster.router.administration.tune(TuneCollection(name="a", k=7), 50.0))
    assert [(each.shard, each.segment) for each in curves] == [(number, name) for number in range(3) for name in "st"]
    assert measured.asked == [(7, 50.0)] * 3


def test_the_queries_of_a_call_reach_every_shard_or_are_refused_by_name() -> None:
    cluster = TwinCluster()
    dim = cluster.add("a", shards=3).spec.dim
    measured = Measured(cluster)
    queries = np.ones((2, dim), dtype=np.float32)
    asyncio.run(cluster.router.administration.tune(TuneCollection(name="a", queries=queries), 50.0))
    assert [each.shape for each in measured.given] == [(2, dim)] * 3
    for bad, words in (
        (queries[:0], "queries are empty"),
        (queries[:, 1:], f"queries have dimension {dim - 1}"),
        (queries * np.nan, r"queries\[0\] holds NaN"),
        (np.ones((4_097, dim), dtype=np.float32), "4097 queries, at most 4096"),
    ):
        with pytest.raises(InvalidArgument, match=words) as caught:
            asyncio.run(cluster.router.administration.tune(TuneCollection(name="a", queries=bad), 50.0))
        assert caught.value.details.field == "queries"
    assert len(measured.given) == 3


def test_recall_is_measured_at_the_target_asked_for_or_at_that_of_the_collection() -> None:
    cluster = TwinCluster()
    collection = cluster.add("a")
    publish_altered(cluster, collection, recall=0.7)
    measured = Measured(cluster)
    for recall in (None, 0.9):
        found = asyncio.run(cluster.router.administration.measure_recall(MeasureRecall(name="a", k=3, sample=20, recall=recall), 9.0))
        assert [each.shard for each in found] == [0, 1]
    assert measured.asked == [(3, 20, 0.7)] * 2 + [(3, 20, 0.9)] * 2


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"k": 0}, "k"), ({"k": 20_000}, "k"), ({"sample": 0}, "sample"), ({"sample": 10_001}, "sample"), ({"recall": 0.0}, "recall")],
)
def test_measurements_that_cannot_be_are_refused_by_name(changes: dict[str, float], field: str) -> None:
    cluster = TwinCluster()
    cluster.add("a")
    asked = {"k": 1, "sample": 1, "recall": None, **changes}
    with pytest.raises(InvalidArgument) as caught:
        asyncio.run(cluster.router.administration.measure_recall(MeasureRecall(name="a", **asked), 1.0))  # type: ignore[arg-type]
    assert caught.value.details.field == field


def test_what_builds_wait_for_is_told_once_and_bounded() -> None:
    stats = ShardStats(
        shard=ShardId(CollectionId("c"), 0),
        role=ReplicaRole.PRIMARY,
        term=Term(1),
        applied_seq=Seq(1),
        points=0,
        growing_rows=0,
        sealed_rows=0,
        segments=0,
        builds_pending=0,
        bytes=0,
        memory_bytes=0,
    )
    collection = TwinCluster().add("a")

    def waiting(*texts: str) -> str:
        return gather_figures(collection, [dataclasses.replace(stats, waiting=text) for text in texts]).waiting

    assert waiting("", "") == ""
    assert waiting("memory", "", "rows", "memory") == "memory; rows"
    assert waiting(*"abcdefa") == "a; b; c; d; and 2 more"
