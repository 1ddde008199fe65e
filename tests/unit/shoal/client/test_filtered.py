"""Test filters, radius, recall and the explanation of a search through the client."""

import dataclasses

import numpy as np
import pytest

import shoal
from shoal.core.collection import CollectionSpec
from shoal.core.errors import DeadlineExceeded, InvalidArgument, Unavailable
from shoal.core.requests import AlterCollection, Delete, DeleteMatching, MeasureRecall, Search, TuneCollection
from shoal.core.shard_calls import RecallTarget
from tests.twins.router_answers import CURVE, EXPLAINED, MEASURED, DictCluster, PausingClock, client_with
from tests.twins.router_bytes import bytes_client_with

PAYLOADS = [{"n": n, "tag": "even" if n % 2 == 0 else "odd"} for n in range(10)]


@pytest.fixture
def cluster():
    return DictCluster()


@pytest.fixture(params=[client_with, bytes_client_with])
def client(request, cluster):
    """Return a client of a collection with ten points on a line. Point n is at (n, 0)."""
    with request.param(cluster) as made:
        made.create_collection("c", dim=2)
        made.upsert("c", range(10), [[n, 0] for n in range(10)], PAYLOADS)
        yield made


def ids(found):
    return [each.id for each in found]


def test_a_filter_holds_in_every_read(client):
    even = {"tag": "even", "n": {"$gte": 4}}
    assert ids(client.search("c", [0, 0], filter=even)) == [4, 6, 8]
    assert [ids(hits) for hits in client.search_many("c", [[0, 0], [9, 0]], k=2, filter=even)] == [[4, 6], [8, 6]]
    assert client.count("c", filter=even) == 3
    assert client.count("c", {"$id": [1, 99]}) == 1
    assert ids(client.scroll("c", filter=even, batch=2)) == [4, 6, 8]
    assert ids(client.scroll("c", {"n": {"$lt": 0}})) == []
    assert client.count("c", filter={}) == 10


def test_queries_of_one_batch_may_differ_in_k_and_filter(client):
    answers = client.search_many("c", [[0, 0]] * 4, k=[1, 2, 1, 3], filter=[None, {"tag": "odd"}, {"tag": "odd"}, {"n": {"$in": [8, 7]}}])
    assert [ids(hits) for hits in answers] == [[0], [1, 3], [1], [7, 8]]
    (request,) = client.mock.requests(Search)
    assert len(request.groups) == 4


def test_a_radius_gives_all_within_it_and_says_when_k_cut_them_off(client):
    everything = client.search("c", [0, 0], radius=9.0)
    assert (ids(everything), everything.more) == ([0, 1, 2, 3], False)
    cut = client.search("c", [0, 0], k=3, radius=9.0)
    assert (ids(cut), cut.more) == ([0, 1, 2], True)
    assert not client.search("c", [0, 0], k=3).more
    assert client.search("c", [0, 0], radius=0) == [shoal.Hit(0, 0.0, PAYLOADS[0])]
    answers = client.search_many("c", [[0, 0], [9, 0]], k=[1, 5], radius=1.0)
    assert [(ids(hits), hits.more) for hits in answers] == [([0], True), ([9, 8], False)]


def test_with_ip_and_cosine_a_radius_is_a_lower_bound(client):
    client.create_collection("ip", dim=2, metric="ip")
    client.upsert("ip", range(4), [[n, 0] for n in range(4)])
    assert ids(client.search("ip", [1, 0], radius=2.0)) == [3, 2]


def test_each_query_is_told_how_its_group_was_searched(client, cluster):
    cluster.explained = tuple(dataclasses.replace(EXPLAINED, group=number, shard=shard) for shard in (0, 1) for number in (0, 1))
    answers = client.search_many("c", [[0, 0]] * 3, k=[1, 2, 1], explain=True)
    assert [[(each.shard, each.group) for each in hits.explain] for hits in answers] == [
        [(0, 0), (1, 0)],
        [(0, 1), (1, 1)],
        [(0, 0), (1, 0)],
    ]
    assert client.search("c", [0, 0]).explain == ()
    assert isinstance(client.search("c", [0, 0], explain=True).explain[0], shoal.SegmentExplain)


def test_delete_takes_ids_or_a_filter(client, cluster):
    assert client.delete("c", filter={"tag": "odd"}) == 5
    assert client.delete("c", filter={"tag": "odd"}) == 0
    assert client.delete("c", [0, 1, 2]) == 2
    assert sorted(cluster.points["c"]) == [4, 6, 8]
    assert len(client.mock.requests(DeleteMatching)) == 2
    assert len({request.request_id for kind in (Delete, DeleteMatching) for request in client.mock.requests(kind)}) == 3


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "either ids or a filter"),
        ({"ids": [1], "filter": {"n": 1}}, "either ids or a filter"),
        ({"filter": {}}, "would delete every point.*drop the collection"),
        ({"filter": {"$or": [{}]}}, "would delete every point"),
        ({"filter": {"$not": {"$id": []}}}, "would delete every point"),
        ({"filter": {"$not": {"a": {"$in": []}}}}, "would delete every point"),
        ({"filter": {"n": {"$near": 1}}}, "near"),
        ({"ids": []}, "empty"),
    ],
)
def test_a_delete_that_is_not_clear_deletes_nothing(client, cluster, given, words):
    sent = len(client.mock.sent)
    with pytest.raises(InvalidArgument, match=words):
        client.delete("c", **given)
    assert (len(client.mock.sent), len(cluster.points["c"])) == (sent, 10)


def test_a_delete_by_filter_is_seen_by_later_reads_and_keeps_its_request_id():
    cluster, outcomes = DictCluster(), [Unavailable("down")]

    def answer(address, request, timeout_s):
        if isinstance(request, DeleteMatching) and outcomes:
            raise outcomes.pop()
        return cluster(address, request, timeout_s)

    client = client_with(answer, clock=PausingClock(), address=["one:1", "two:2"])
    client.create_collection("c", dim=2)
    client.delete("c", filter={"n": 1})
    client.count("c")
    first, second = client.mock.requests(DeleteMatching)
    assert first.request_id == second.request_id
    assert {token.seq for token in client.mock.sent[-1][1].read.tokens} == {cluster.seq}
    assert {timeout_s for _, request, timeout_s in client.mock.sent if isinstance(request, DeleteMatching)} == {60.0}


def test_a_delete_by_filter_that_ran_out_of_time_says_that_it_may_be_done_in_part():
    def answer(address, request, timeout_s):
        raise DeadlineExceeded("too slow")

    with pytest.raises(DeadlineExceeded, match="may have been applied, calling again with the same input is safe"):
        client_with(answer).delete("c", filter={"n": 1})


def test_a_collection_has_an_index_and_a_recall_that_can_be_altered(client):
    client.create_collection("d", 2, index="HNSW16,SQ8", recall=0.9)
    assert client.describe_collection("d").spec == CollectionSpec(name="d", dim=2, index="HNSW16,SQ8", recall=0.9)
    assert client.describe_collection("c").spec.recall == 0.95
    client.alter_collection("d", index="flat")
    client.alter_collection("d", recall=np.float32(0.5))
    assert client.describe_collection("d").spec == CollectionSpec(name="d", dim=2, index="flat", recall=0.5)
    first, second = client.mock.requests(AlterCollection)
    assert (first.recall, second.index) == (None, None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "nothing to change"),
        ({"recall": 0}, "above 0"),
        ({"recall": True}, "above 0"),
        ({"index": 7}, "factory"),
        ({"index": "a\n"}, "factory"),
    ],
)
def test_bad_alterations_are_refused_at_once(client, options, words):
    with pytest.raises(InvalidArgument, match=words):
        client.alter_collection("c", **options)
    assert client.mock.requests(AlterCollection) == []
    with pytest.raises(InvalidArgument):
        client.create_collection("x", 2, **(options or {"recall": 2}))


def test_recall_is_measured_and_tuned(client):
    assert client.tune("c", k=np.int64(5)) == [CURVE]
    assert client.measure_recall("c") == [MEASURED]
    assert client.measure_recall("c", k=3, sample=7, recall=0.8, timeout=9) == [MEASURED]
    assert client.mock.requests(TuneCollection) == [TuneCollection(name="c", k=5)]
    assert client.mock.requests(MeasureRecall) == [
        MeasureRecall(name="c", k=10, sample=100, recall=None),
        MeasureRecall(name="c", k=3, sample=7, recall=0.8),
    ]
    assert [timeout_s for _, _, timeout_s in client.mock.sent[-3:]] == [600.0, 600.0, 9.0]
    for bad in ({"k": 0}, {"sample": 0}, {"recall": 1.5}):
        with pytest.raises(InvalidArgument):
            client.measure_recall("c", **bad)


def test_a_collection_is_tuned_with_queries_of_the_caller(client):
    client.tune("c", queries=[[1, 2], [3, 4]])
    (request,) = client.mock.requests(TuneCollection)
    assert request.queries.dtype == np.float32
    assert request.queries.tolist() == [[1, 2], [3, 4]]
    for bad in ([], [[1, "x"]], [[1, 2], [3]]):
        with pytest.raises(InvalidArgument, match="queries"):
            client.tune("c", queries=bad)


def test_a_target_recall_reaches_the_router(client):
    client.search("c", [0, 0], recall=0.8)
    client.search("c", [0, 0])
    assert [request.accuracy for request in client.mock.requests(Search)] == [RecallTarget(0.8), None]
