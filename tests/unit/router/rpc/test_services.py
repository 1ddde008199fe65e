from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from shoal.core.errors import AlreadyExists, InvalidArgument, ResourceExhausted
from shoal.core.limits import Limits
from shoal.core.points import id_array
from shoal.core.shard_calls import Accuracy, Breadth, Exact, RecallTarget
from shoal.router.rpc.caller import timeout_of
from shoal.router.rpc.cluster_service import ClusterService
from shoal.router.rpc.collections_service import CollectionsService
from shoal.router.rpc.points_service import PointsService
from shoal.router.rpc.search_service import SearchService
from shoal.v1 import cluster_pb2, collections_pb2, common_pb2, points_pb2, search_pb2
from shoal.wire.columns import ids_from_message, ids_to_message, vectors_from_message, vectors_to_message
from shoal.wire.connect_json import message_from_json, message_to_json
from tests.twins.cluster import TwinCluster

VECTORS = np.arange(24, dtype=np.float32).reshape(6, 4)
IDS = [5, "x", 3, "1", 1, -2]


class Context:
    def __init__(self, remaining_s: float | None = None) -> None:
        self.remaining_s = remaining_s

    def time_remaining(self) -> float | None:
        return self.remaining_s

    def peer(self) -> str:
        return "ipv4:127.0.0.1:5000"


class Front:
    """All services of a router over one twin cluster."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.cluster = TwinCluster(limits=limits)
        self.cluster.add("a")
        router = self.cluster.router
        timeouts = {"default_timeout_s": 10.0}
        conversions = router.conversions
        self.search = SearchService(reads=router.reads, fused=router.fused, limits=router.limits, conversions=conversions, **timeouts)
        self.points = PointsService(
            reads=router.reads,
            writes=router.writes,
            updates=router.updates,
            limits=router.limits,
            conversions=conversions,
            **timeouts,
        )
        self.collections = CollectionsService(administration=router.administration, optimize_timeout_s=100.0, **timeouts)
        self.whole = ClusterService(overview=router.overview, **timeouts)

    def timeouts(self) -> set[float]:
        return {left for worker in self.cluster.workers.values() for left in worker.timeouts}


def run(call: Callable[..., Any], request: Any, remaining_s: float | None = None) -> Any:
    return asyncio.run(call(request, Context(remaining_s)))


def batch(ids: list[int | str] = IDS, payloads: tuple[str, ...] = ('{"a":1}', "", "{}", "", "", "")) -> common_pb2.PointBatch:
    return common_pb2.PointBatch(ids=ids_to_message(id_array(ids)), vectors=vectors_to_message(VECTORS[: len(ids)]), payloads=payloads)


def loaded(limits: Limits | None = None) -> Front:
    front = Front(limits)
    run(front.points.Upsert, points_pb2.UpsertRequest(collection="a", points=batch()))
    for worker in front.cluster.workers.values():
        worker.timeouts.clear()
    return front


def search_request(**parts: Any) -> search_pb2.SearchRequest:
    leg = search_pb2.SearchLeg(vectors=vectors_to_message(VECTORS[:2]))
    return search_pb2.SearchRequest(**{"collection": "a", "legs": [leg], "k": 2, **parts})


def test_a_search_answers_in_columns() -> None:
    response = run(loaded().search.Search, search_request(with_payload=True, with_vectors=True))
    hits = response.hits
    assert list(hits.counts) == [2, 2]
    assert ids_from_message(hits.ids).tolist() == [5, "x", "x", 3]
    assert list(hits.scores) == [0.0, 64.0, 0.0, 64.0]
    assert list(hits.payloads) == ['{"a":1}', "", "", "{}"]
    assert np.array_equal(vectors_from_message(hits.vectors), VECTORS[[0, 1, 1, 2]])
    assert list(response.missing_shards) == []


def test_a_search_with_plain_floats_and_without_extras() -> None:
    leg = search_pb2.SearchLeg(vectors=common_pb2.Vectors(dim=4, values=VECTORS[1].tolist()))
    hits = run(loaded().search.Search, search_request(legs=[leg])).hits
    assert ids_from_message(hits.ids).tolist() == ["x", 3]
    assert not hits.payloads
    assert not hits.HasField("vectors")


def test_missing_shards_are_flagged() -> None:
    front = loaded()
    front.cluster.remove_worker("w1")
    response = run(front.search.Search, search_request(allow_partial=True))
    assert list(response.missing_shards) == ["a/1"]


def texts(*queries: str) -> search_pb2.SearchLeg:
    return search_pb2.SearchLeg(texts=search_pb2.TextQueries(queries=[{"text": text} for text in queries]))


def fused_front() -> Front:
    """Return services whose collection has a text field."""
    front = Front()
    front.cluster.add("t", text=("body",))
    words = tuple(f'{{"body":"word{at} all"}}' for at in range(len(IDS)))
    run(front.points.Upsert, points_pb2.UpsertRequest(collection="t", points=batch(payloads=words)))
    return front


def test_a_search_of_several_legs_answers_by_the_same_call() -> None:
    legs = [search_pb2.SearchLeg(vectors=vectors_to_message(VECTORS[:2])), texts("word2", "word4 all")]
    request = search_request(collection="t", legs=legs, candidates=6, with_payload=True, explain=True, highlight=True)
    response = run(fused_front().search.Search, request)
    assert list(response.hits.counts) == [2, 2]
    assert ids_from_message(response.hits.ids).tolist()[:2] == [3, 5]
    assert [leg.name for leg in response.fused.legs] == ["dense", "text"]
    assert list(response.fused.complete) == [True, True]
    assert response.hits.payloads[0] == '{"body":"word2 all"}'
    assert [(each.field, list(each.begins), list(each.ends)) for each in response.fused.highlights[0].fields] == [("body", [0], [5])]
    assert response.fused.explain.hits[0].words[0].word == "word2"
    assert response.explain


def test_a_search_by_text_comes_and_goes_in_json() -> None:
    asked = b'{"collection": "t", "k": 1, "legs": [{"texts": {"queries": [{"text": "word3"}]}}], "withPayload": true}'
    answer = json.loads(message_to_json(run(fused_front().search.Search, message_from_json(search_pb2.SearchRequest, asked))))
    assert answer["hits"]["ids"] == {"strings": ["1"]}
    assert answer["hits"]["payloads"] == ['{"body":"word3 all"}']
    assert answer["fused"]["legs"][0]["ranks"] == [1]
    assert answer["fused"]["legs"][0]["scores"][0] == pytest.approx(answer["hits"]["scores"][0])


def test_a_search_of_several_legs_is_never_answered_as_one_by_vectors() -> None:
    legs = [search_pb2.SearchLeg(vectors=vectors_to_message(VECTORS[:1])), texts("word2")]
    for request in (search_request(legs=legs), search_request(offset=1), search_request(legs=[texts("a")])):
        assert Front().search.search_at_once(request.SerializeToString(), Context()) is None


LABEL = {"filter": {"field": {"path": ["a"], "in": {"values": [{"integer": 1}]}}}}
"""Matches only point 5."""


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ({"filter": {"field": {"path": ["a"]}}}, "filter"),
        ({"params": {"efSearch": 64}}, "params"),
        ({"params": {"ef": 64.5}}, "params"),
        ({"params": {"ef": float("nan")}}, "params"),
        ({"params": {"ef": 0}}, "params"),
        ({"params": {"ef": 1, "nprobe": 1}}, "params"),
        ({"params": {"ef": 1}, "exact": True}, "params"),
        ({"params": {"ef": 1}, "recall": 0.9}, "params"),
        ({"recall": 0.9, "exact": True}, "recall"),
        ({"recall": 0.0}, "recall"),
        ({"radius": float("inf")}, "radius"),
        ({"groups": [{"k": 2}]}, "k"),
        ({"groups": [{"k": 2}], "k": 0, **LABEL}, "filter"),
        ({"groups": [{"k": 2, "queries": [0]}], "k": 0}, "groups"),
        ({"legs": []}, "legs"),
        ({"legs": [{"vectors": {"dim": 4}}] * 2}, "legs"),
        ({"legs": [{"field": "title", "vectors": {"dim": 4, "values": [1] * 4}}]}, "vector"),
        ({"legs": [{"field": "title", "vectors": {"dim": 4, "values": [1] * 4}}], "offset": 1}, "vector"),
        ({"legs": [{"field": "title", "texts": texts("a").texts}]}, "field"),
        ({"legs": [texts("a", "b")]}, "fields"),
        ({"legs": [texts("a", "b"), texts("a", "b")]}, "legs"),
        ({"candidates": 1}, "k"),
        ({"offset": 99}, "offset"),
        ({"diversity": float("nan")}, "diversity"),
        ({"radius": 1.0, "offset": 1}, "radius"),
        ({"group_by": {"path": "a..b"}}, "group_by"),
        ({"highlight": True}, "highlight"),
        ({"consistency": 9}, "consistency"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(parts: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        run(Front().search.Search, search_request(**parts))
    assert caught.value.details.field == field


@pytest.mark.parametrize(
    ("parts", "accuracy"),
    [
        ({}, RecallTarget(0.95)),
        ({"recall": 0.5}, RecallTarget(0.5)),
        ({"exact": True}, Exact()),
        ({"params": {"ef": 64}}, Breadth(ef=64)),
        ({"params": {"nprobe": 8}}, Breadth(nprobe=8)),
    ],
)
def test_how_accurate_a_search_is_reaches_the_shards(parts: dict[str, Any], accuracy: Accuracy) -> None:
    front = Front()
    run(front.search.Search, search_request(**parts))
    assert [worker.calls[-1].accuracy for worker in front.cluster.workers.values()] == [accuracy] * 2


def test_a_search_by_filter_radius_and_groups() -> None:
    front = loaded()
    hits = run(front.search.Search, search_request(**LABEL)).hits
    assert (list(hits.counts), ids_from_message(hits.ids).tolist()) == ([1, 1], [5, 5])
    hits = run(front.search.Search, search_request(radius=0.0)).hits
    assert (list(hits.counts), ids_from_message(hits.ids).tolist()) == ([1, 1], [5, "x"])
    groups = [{"k": 3, "queries": [1]}, {"k": 1, "queries": [0], "filter": {"not": LABEL["filter"]}}]
    hits = run(front.search.Search, search_request(k=0, groups=groups)).hits
    assert (list(hits.counts), ids_from_message(hits.ids).tolist()) == ([1, 3], ["x", "x", 3, 5])


def test_a_filter_that_matches_every_point_is_none() -> None:
    front = Front()
    none = {"field": {"path": ["a"], "in": {"values": []}}}
    for parts in (
        {"filter": {}},
        {"filter": {"all": {"filters": [{}]}}},
        {"filter": {"not": none}},
        {"k": 0, "groups": [{"k": 1, "filter": {}}]},
    ):
        run(front.search.Search, search_request(**parts))
    run(front.points.Count, points_pb2.CountRequest(collection="a", filter={}))
    run(front.points.Scroll, points_pb2.ScrollRequest(collection="a", filter={}))
    calls = front.cluster.workers["w0"].calls
    assert [call.groups[0].filter for call in calls[:4]] == [None] * 4
    assert [call.filter for call in calls[4:]] == [None] * 2


def test_a_filter_that_matches_every_point_is_checked_all_the_same() -> None:
    bad = {"any": {"filters": [{}, {"field": {"path": ["a"], "in": {"values": [{"number": float("nan")}]}}}]}}
    front = Front()
    for parts in ({"filter": bad}, {"k": 0, "groups": [{"k": 1, "filter": bad}]}):
        with pytest.raises(InvalidArgument, match="nan is not a value"):
            run(front.search.Search, search_request(**parts))
    with pytest.raises(InvalidArgument, match="nan is not a value"):
        run(front.points.Count, points_pb2.CountRequest(collection="a", filter=bad))


def test_a_search_explains_itself_shard_by_shard() -> None:
    front = Front()
    assert not run(front.search.Search, search_request()).explain
    explain = run(front.search.Search, search_request(explain=True)).explain
    assert [(each.shard, each.plan, each.queries) for each in explain] == [(0, "exact", 2), (1, "exact", 2)]


def test_points_are_counted_scrolled_and_deleted_by_filter() -> None:
    front = loaded()
    assert run(front.points.Count, points_pb2.CountRequest(collection="a", **LABEL)).count == 1
    page = run(front.points.Scroll, points_pb2.ScrollRequest(collection="a", **LABEL))
    assert (ids_from_message(page.points.ids).tolist(), page.more) == ([5], False)
    response = run(front.points.Delete, points_pb2.DeleteRequest(collection="a", **LABEL))
    assert (response.deleted, [(each.shard, each.seq) for each in response.written]) == (1, [(0, 3), (1, 3)])
    assert run(front.points.Count, points_pb2.CountRequest(collection="a")).count == 5


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({"filter": {}}, "would delete every point"),
        ({"ids": {"integers": [5]}, **LABEL}, "give ids or a filter, not both"),
        ({}, "ids are empty"),
        ({"filter": {"field": {"path": ["a"]}}}, "filter: at a: a field test needs one of"),
    ],
)
def test_a_delete_names_either_ids_or_a_filter_that_says_something(parts: dict[str, Any], text: str) -> None:
    front = loaded()
    with pytest.raises(InvalidArgument, match=text):
        run(front.points.Delete, points_pb2.DeleteRequest(collection="a", **parts))
    assert len(front.cluster.points()) == 6


def test_an_update_comes_as_json_and_says_where_it_is_written() -> None:
    front = loaded()
    ids, change = b'{"integers": [5, 99], "strings": ["x"], "stringPositions": [2]}', b'{"setPayload": "{\\"b\\":2}"}'
    text = b'{"collection": "a", "ids": %b, "change": %b}' % (ids, change)
    response = run(front.points.Update, message_from_json(points_pb2.UpdateRequest, text))
    assert (response.updated, {each.seq for each in response.written}) == (2, {3})
    payloads = {key: payload for key, (_, payload) in front.cluster.points().items()}
    assert (payloads[5], payloads["x"]) == (b'{"a":1,"b":2}', b'{"b":2}')
    paths = {"delete_payload": {"paths": [{"keys": ["a"]}]}}
    assert run(front.points.Update, points_pb2.UpdateRequest(collection="a", change=paths, **LABEL)).updated == 1
    assert front.cluster.points()[5][1] == b'{"b":2}'
    with pytest.raises(InvalidArgument, match="an update needs one of"):
        run(front.points.Update, points_pb2.UpdateRequest(collection="a", **LABEL))


def test_an_answer_larger_than_a_message_is_refused() -> None:
    front = loaded(Limits(message_bytes=30))
    with pytest.raises(ResourceExhausted, match="smaller k"):
        run(front.search.Search, search_request())
    with pytest.raises(ResourceExhausted, match="fewer ids"):
        run(front.points.Get, points_pb2.GetRequest(collection="a", ids=ids_to_message(id_array(["x" * 40, *IDS, *IDS, *IDS]))))


def test_upsert_and_delete_say_where_they_are_written() -> None:
    front = Front()
    request_id = common_pb2.RequestId(client="me", number=3)
    written = run(front.points.Upsert, points_pb2.UpsertRequest(collection="a", points=batch(), request_id=request_id)).written
    assert [(each.collection_id, each.shard, each.seq) for each in written] == [("id-a", 0, 2), ("id-a", 1, 2)]
    again = run(front.points.Upsert, points_pb2.UpsertRequest(collection="a", points=batch(), request_id=request_id)).written
    assert again == written
    response = run(front.points.Delete, points_pb2.DeleteRequest(collection="a", ids=ids_to_message(id_array(["x", 1, 99, "x"]))))
    assert response.deleted == 2
    assert run(front.points.Count, points_pb2.CountRequest(collection="a")).count == 4


@pytest.mark.parametrize("request_id", [{"client": ""}, {"client": "x" * 65}, {"client": "me", "number": 2**63}])
def test_a_request_id_that_cannot_be_remembered_is_refused(request_id: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match="request_id"):
        run(Front().points.Upsert, points_pb2.UpsertRequest(collection="a", points=batch(), request_id=request_id))


def test_get_and_scroll_give_points_back_as_they_came() -> None:
    front = loaded()
    asked = ids_to_message(id_array(["1", 7, 5]))
    points = run(front.points.Get, points_pb2.GetRequest(collection="a", ids=asked, with_payload=True, with_vectors=True)).points
    assert ids_from_message(points.ids).tolist() == ["1", 5]
    assert list(points.payloads) == ["", '{"a":1}']
    assert np.array_equal(vectors_from_message(points.vectors), VECTORS[[3, 0]])
    first = run(front.points.Scroll, points_pb2.ScrollRequest(collection="a", limit=4))
    assert (ids_from_message(first.points.ids).tolist(), first.more) == ([-2, 1, 3, 5], True)
    after = ids_to_message(id_array([5]))
    rest = run(front.points.Scroll, points_pb2.ScrollRequest(collection="a", limit=4, after=after))
    assert (ids_from_message(rest.points.ids).tolist(), rest.more) == (["1", "x"], False)
    with pytest.raises(InvalidArgument, match="after holds 2 ids"):
        run(front.points.Scroll, points_pb2.ScrollRequest(collection="a", after=ids_to_message(id_array([1, 2]))))


def test_session_positions_reach_the_shards() -> None:
    front = loaded()
    seqs = [common_pb2.ShardSeq(collection_id="id-a", shard=1, seq=2)]
    run(front.points.Count, points_pb2.CountRequest(collection="a", min_seqs=seqs))
    assert [worker.calls[-1].terms.min_seq for worker in front.cluster.workers.values()] == [0, 2]


@pytest.mark.parametrize(("remaining_s", "timeout_s"), [(None, 10.0), (4.0, 3.95), (0.1, 0.09), (0.0, 0.0)])
def test_the_deadline_is_handed_down_less_a_margin(remaining_s: float | None, timeout_s: float) -> None:
    assert timeout_of(Context(remaining_s), 10.0) == pytest.approx(timeout_s)
    if timeout_s:
        front = loaded()
        run(front.search.Search, search_request(), remaining_s)
        assert list(front.timeouts()) == [pytest.approx(timeout_s)]


def test_collections_by_grpc() -> None:
    front = Front()
    listed = run(front.collections.List, collections_pb2.ListCollectionsRequest()).collections
    assert [(each.id, each.spec.name, each.spec.dim, each.spec.metric, each.state) for each in listed] == [("id-a", "a", 4, "l2", "active")]
    described = run(front.collections.Describe, collections_pb2.DescribeCollectionRequest(name="a"))
    assert (described.collection.spec.shards, described.sealed_rows, described.memory_bytes) == (2, 4, 10)
    run(front.collections.Optimize, collections_pb2.OptimizeCollectionRequest(name="a"))
    assert front.timeouts() == {2 * 5.0, 100.0}
    front.cluster.leader.answers = [lambda: front.cluster.add("b")]
    spec = collections_pb2.CollectionSpec(name="b", dim=8)
    created = run(front.collections.Create, collections_pb2.CreateCollectionRequest(spec=spec, request_id="r1"))
    assert created.collection_id == "id-b"
    sent = front.cluster.leader.calls[0][2]
    assert (sent.metric, sent.shards, sent.replicas, sent.index) == ("l2", 1, 1, "auto")
    front.cluster.leader.answers = [lambda: front.cluster.change(collections={})]
    run(front.collections.Drop, collections_pb2.DropCollectionRequest(name="b"))
    run(front.collections.Drop, collections_pb2.DropCollectionRequest(name="b", collection_id="id-b"))
    assert [call[0] for call in front.cluster.leader.calls] == ["create", "drop", "drop"]
    assert [call[2].collection_id for call in front.cluster.leader.calls[1:]] == ["", "id-b"]


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"name": "a b", "dim": 4}, "name"),
        ({"name": "b", "dim": 0}, "dim"),
        ({"name": "b", "dim": 65_537}, "dim"),
        ({"name": "b", "dim": 4, "metric": "l3"}, "metric"),
        ({"name": "b", "dim": 4, "shards": 1_025}, "shards"),
        ({"name": "b", "dim": 4, "replicas": 8}, "replicas"),
        ({"name": "b", "dim": 4, "replicas": 2, "min_isr": 3}, "min_isr"),
        ({"name": "b", "dim": 4, "index": "btree"}, "index"),
    ],
)
def test_ill_specifications_are_refused_before_the_leader_is_asked(spec: dict[str, Any], field: str) -> None:
    front = Front()
    with pytest.raises(InvalidArgument) as caught:
        run(front.collections.Create, collections_pb2.CreateCollectionRequest(spec=spec))
    assert caught.value.details.field == field
    assert front.cluster.leader.calls == []


def test_a_long_request_id_is_refused_and_errors_of_the_leader_pass() -> None:
    front, spec = Front(), {"name": "b", "dim": 4}
    with pytest.raises(InvalidArgument, match="request_id has 65"):
        run(front.collections.Create, collections_pb2.CreateCollectionRequest(spec=spec, request_id="x" * 65))
    with pytest.raises(InvalidArgument, match="collection_id has 65"):
        run(front.collections.Drop, collections_pb2.DropCollectionRequest(name="b", collection_id="x" * 65))
    front.cluster.leader.answers = [AlreadyExists("collection 'b' exists")]
    with pytest.raises(AlreadyExists):
        run(front.collections.Create, collections_pb2.CreateCollectionRequest(spec=spec))


def test_the_cluster_by_grpc() -> None:
    front = Front()
    response = run(front.whole.Describe, cluster_pb2.DescribeClusterRequest())
    assert (response.cluster_id, response.leader) == ("c", "lead:1")
    worker = response.workers[0]
    assert (worker.id, worker.address, worker.pid, worker.node, worker.zone, worker.state, worker.memory_bytes) == (
        "w0", "w0:1", 7, "n", "z", "up", 1_000,
    )  # fmt: skip
    shard = response.shards[1]
    assert (shard.collection, shard.shard, shard.term, shard.primary, list(shard.isr), list(shard.learners)) == (
        "a",
        1,
        1,
        "w1",
        ["w1"],
        [],
    )
    assert (shard.state, shard.detail) == ("ok", "")


def test_more_ids_than_a_message_may_have_are_refused() -> None:
    front, ids = Front(Limits(upsert_points=3)), ids_to_message(id_array([1, 2, 3, 4]))
    for call, request in (
        (front.points.Get, points_pb2.GetRequest(collection="a", ids=ids)),
        (front.points.Delete, points_pb2.DeleteRequest(collection="a", ids=ids)),
    ):
        with pytest.raises(InvalidArgument, match="4 ids, at most 3 a message") as caught:
            run(call, request)
        assert (caught.value.details.field, caught.value.details.limit) == ("ids", "upsert_points")
        request.ids.CopyFrom(ids_to_message(id_array([1, 2, 3])))
        run(call, request)
