"""Test updates of points through the client: what is sent, how it is cut, and what is refused."""

import asyncio
import datetime
import json
import uuid

import numpy as np
import pandas as pd
import pytest

import shoal
from shoal.client import updates
from shoal.core.errors import DeadlineExceeded, InvalidArgument, Unavailable
from shoal.core.filter import In
from shoal.core.point_change import DeletePayload, SetPayload
from shoal.core.requests import ListCollections, Update
from tests.twins.router_answers import DictCluster, PausingClock, async_client_with, client_with
from tests.twins.router_bytes import bytes_client_with


@pytest.fixture
def cluster():
    return DictCluster()


@pytest.fixture(params=[client_with, bytes_client_with])
def client(request, cluster):
    """Return a client of a collection with ten points on a line. Point n is at (n, 0)."""
    with request.param(cluster) as made:
        made.create_collection("c", dim=2)
        made.upsert("c", range(10), [[n, 0] for n in range(10)], [{"n": n, "author": {"name": "x", "age": n}} for n in range(10)])
        yield made


def payloads(cluster):
    return {key: json.loads(text) for key, (_, text) in cluster.points["c"].items()}


def test_keys_are_set_by_ids_and_by_filter(client, cluster):
    assert client.set_payload("c", {"author": "y", "new": None}, ids=[1, 1, 99]) == 1
    assert payloads(cluster)[1] == {"n": 1, "author": "y", "new": None}
    assert client.set_payload("c", {"late": True}, filter={"n": {"$gte": 8}}) == 2
    assert client.set_payload("c", {"both": 1}, [1, 2, 9], {"late": True}) == 1
    assert payloads(cluster)[9] == {"n": 9, "author": {"name": "x", "age": 9}, "late": True, "both": 1}
    assert [key for key, payload in payloads(cluster).items() if "late" in payload or "both" in payload] == [8, 9]


def test_a_payload_is_replaced_and_fields_are_removed(client, cluster):
    assert client.replace_payload("c", {"a.b": {"c": 1}, "$d": 2, "e": 3}, [4, 5]) == 2
    assert client.delete_payload("c", [r"a\.b.c", r"\$d"], filter={"e": 3}) == 2
    assert payloads(cluster)[4] == payloads(cluster)[5] == {"a.b": {}, "e": 3}
    assert client.delete_payload("c", ("author.name", "none"), ids=[6]) == 1
    assert payloads(cluster)[6] == {"n": 6, "author": {"age": 6}}
    assert client.replace_payload("c", {}, ids=[7]) == 1
    assert payloads(cluster)[7] == {}


def test_vectors_are_replaced_and_payloads_stay(client, cluster):
    before = payloads(cluster)
    assert client.update_vectors("c", np.array([7, 99, 3]), np.array([[1, 2], [3, 4], [5, 6]])) == 2
    frame = pd.DataFrame({"id": [8], "vector": [[9.0, 9.0]]})
    assert client.update_vectors("c", frame["id"], frame["vector"]) == 1
    vectors = {key: row.tolist() for key, (row, _) in cluster.points["c"].items()}
    assert (vectors[7], vectors[3], vectors[8], vectors[4]) == ([1, 2], [5, 6], [9, 9], [4, 0])
    assert payloads(cluster) == before
    assert {row.dtype for row, _ in cluster.points["c"].values()} == {np.dtype(np.float32)}


def test_values_are_those_that_an_upsert_takes(client, cluster):
    at, name = datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.UTC), uuid.UUID(int=5)
    given = {"at": at, "day": at.date(), "name": name, "n": np.int64(3), "x": np.float32(0.5), "t": (1, 2)}
    client.upsert("c", [1], [[0, 0]], [given])
    client.replace_payload("c", given, ids=[2])
    client.replace_payload("c", {}, ids=[3])
    client.set_payload("c", given, ids=[3])
    assert cluster.points["c"][1][1] == cluster.points["c"][2][1] == cluster.points["c"][3][1]
    assert payloads(cluster)[2]["name"] == str(name)


def test_large_calls_are_cut_and_each_message_has_a_request_id_of_its_own(client, cluster, monkeypatch):
    monkeypatch.setattr(updates, "MESSAGE_BYTES", 60)
    assert client.set_payload("c", {"m": 1}, ids=range(10)) == 10
    sent = client.mock.requests(Update)
    assert [(len(each.ids), each.change) for each in sent] == [(5, SetPayload(b'{"m":1}'))] * 2
    assert len({each.request_id for each in sent}) == 2
    assert client.update_vectors("c", range(10), [[0, n] for n in range(10)]) == 10
    assert [row.tolist() for row, _ in cluster.points["c"].values()] == [[0, n] for n in range(10)]
    assert [len(each.ids) for each in client.mock.requests(Update)[2:]] == [3, 3, 3, 1]
    assert len(client.mock.requests(ListCollections)) == 1


def test_a_large_payload_is_sent_for_fewer_ids_at_once(client, monkeypatch):
    monkeypatch.setattr(updates, "PAYLOAD_BYTES", 30)
    client.set_payload("c", {"text": "0123456789"}, ids=range(3))
    client.replace_payload("c", {"m": 1}, ids=range(5))
    client.delete_payload("c", ["m"], ids=range(9))
    assert [len(each.ids) for each in client.mock.requests(Update)] == [1, 1, 1, 4, 1, 9]


def test_vectors_of_a_wrong_dimension_refuse_the_whole_call(client, cluster, monkeypatch):
    monkeypatch.setattr(updates, "MESSAGE_BYTES", 60)
    with pytest.raises(InvalidArgument, match="dimension 3"):
        client.update_vectors("c", range(10), np.zeros((10, 3)))
    assert client.mock.requests(Update) == []


def test_a_retry_keeps_the_request_id_and_later_reads_see_the_change():
    cluster, outcomes = DictCluster(), [Unavailable("down")]

    def answer(address, request, timeout_s):
        if isinstance(request, Update) and outcomes:
            raise outcomes.pop()
        return cluster(address, request, timeout_s)

    client = client_with(answer, clock=PausingClock(), address=["one:1", "two:2"])
    client.create_collection("c", dim=2)
    client.set_payload("c", {"a": 1}, filter={"n": 1})
    client.count("c")
    first, second = client.mock.requests(Update)
    assert first.request_id == second.request_id
    assert {token.seq for token in client.mock.sent[-1][1].read.tokens} == {cluster.seq}
    assert {timeout_s for _, request, timeout_s in client.mock.sent if isinstance(request, Update)} == {60.0}
    assert (first.change, first.ids, first.filter) == (SetPayload(b'{"a":1}'), None, In(("n",), (1,)))


def test_an_update_that_ran_out_of_time_says_that_it_may_be_done_in_part():
    def answer(address, request, timeout_s):
        raise DeadlineExceeded("too slow")

    with pytest.raises(DeadlineExceeded, match="may have been applied, calling again with the same input is safe"):
        client_with(answer).delete_payload("c", ["a"], filter={"n": 1})


LONG = {"text": "x" * 1_048_576}


@pytest.mark.parametrize(
    ("verb", "given", "which", "field", "words"),
    [
        ("set_payload", {"a": 1}, {}, "ids", "give ids, a filter or both"),
        ("set_payload", {"a": 1}, {"ids": []}, "ids", "ids is empty"),
        ("set_payload", {"a": 1}, {"ids": [1.5]}, "ids", r"ids\[0\]"),
        ("set_payload", {"a": 1}, {"filter": {}}, "filter", "would change every point"),
        ("replace_payload", {"a": 1}, {"filter": {"$or": [{}]}}, "filter", "would change every point"),
        ("delete_payload", ["a"], {"filter": {"n": {"$near": 1}}}, "filter", "near"),
        ("set_payload", {"a": 1}, {"ids": [1], "filter": {"n": {"$near": 1}}}, "filter", "near"),
        ("set_payload", None, {"ids": [1]}, "payload", "payload is None, it must be a dict"),
        ("replace_payload", [1], {"ids": [1]}, "payload", r"payload is \[1\], it must be a dict"),
        ("set_payload", {"a": float("nan")}, {"ids": [1]}, "payload", "payload.a is nan"),
        ("set_payload", {"a": {1}}, {"ids": [1]}, "payload", "payload.a"),
        ("set_payload", LONG, {"ids": [1]}, "payload", "1048576"),
        ("delete_payload", b"a", {"ids": [1]}, "keys", "keys is b'a', it must be a path such as 'author.name', or a list"),
        ("delete_payload", None, {"ids": [1]}, "keys", "keys is None"),
        ("delete_payload", {"a": 1}, {"ids": [1]}, "keys", "keys is {'a': 1}"),
        ("delete_payload", "", {"ids": [1]}, "keys", r"keys\[0\] is '': a path must not have an empty key"),
        ("delete_payload", [["a", 5]], {"ids": [1]}, "keys", r"keys\[0\] is \['a', 5\], it must be a text"),
        ("delete_payload", ["a", []], {"ids": [1]}, "keys", r"keys\[1\] is \[\], it must be a text"),
        ("delete_payload", [["a", ""]], {"ids": [1]}, "keys", "empty key"),
        ("delete_payload", [["a"] * 129], {"ids": [1]}, "keys", "a path has 129 keys, 1-128 are allowed"),
        ("delete_payload", ["\ud800"], {"ids": [1]}, "keys", "not valid Unicode"),
        ("delete_payload", [], {"ids": [1]}, "keys", "keys is empty"),
        ("delete_payload", 5, {"ids": [1]}, "keys", "keys is 5"),
        ("delete_payload", ["a", 5], {"ids": [1]}, "keys", r"keys\[1\] is 5, it must be a text"),
        ("delete_payload", ["a..b"], {"ids": [1]}, "keys", r"keys\[0\] is 'a\.\.b': a path must not have an empty key"),
        ("delete_payload", [r"a\x"], {"ids": [1]}, "keys", r"keys\[0\] is .*is no escape"),
    ],
)
def test_what_is_not_clear_is_refused_before_anything_is_sent(client, cluster, verb, given, which, field, words):
    sent, before = len(client.mock.sent), payloads(cluster)
    with pytest.raises(InvalidArgument, match=words) as caught:
        getattr(client, verb)("c", given, **which)
    assert caught.value.details.field == field
    assert (len(client.mock.sent), payloads(cluster)) == (sent, before)


@pytest.mark.parametrize(
    ("ids", "vectors", "words"),
    [
        ([1, 2, 1], [[0, 0]] * 3, r"ids\[2\]: 1 is given twice"),
        ([1, 2], [[0, 0]], "1 vectors are given for 2 ids"),
        ([1, 2], [[0, 0], [0, float("inf")]], r"vectors\[1\]"),
        ({1}, [[0, 0]], "no order"),
        ([], [], "ids is empty"),
        ([1], [[]], "dimension 0"),
    ],
)
def test_vectors_that_do_not_belong_to_ids_are_refused_before_anything_is_sent(client, ids, vectors, words):
    sent = len(client.mock.sent)
    with pytest.raises(InvalidArgument, match=words):
        client.update_vectors("c", ids, vectors)
    assert len(client.mock.sent) == sent


def test_an_unknown_collection_is_not_found(client):
    with pytest.raises(shoal.NotFound):
        client.set_payload("nowhere", {"a": 1}, ids=[1])


@pytest.mark.parametrize(
    ("keys", "paths"),
    [
        ("a", (("a",),)),
        ("author.name", (("author", "name"),)),
        (["a", "b.c", "a"], (("a",), ("b", "c"))),
        ([["a.b", "c"], ("d",)], (("a.b", "c"), ("d",))),
        (np.array(["a", "b"]), (("a",), ("b",))),
        (pd.Series(["a"]), (("a",),)),
        (r"\$price", (("$price",),)),
    ],
)
def test_keys_are_paths_as_filters_write_them_or_lists_of_keys(keys, paths):
    assert updates.delete_payload(keys) == DeletePayload(paths)


def test_many_ids_travel_in_messages_of_bounded_size_and_a_large_payload_in_smaller_ones(client):
    assert client.set_payload("c", {"a": 1}, range(2_500)) == 10
    assert sorted(len(each.ids) for each in client.mock.requests(Update)) == [500, 1_000, 1_000]
    client.mock.sent.clear()
    assert client.replace_payload("c", {"a": "x" * 1_000_000}, range(100), {"n": 1}) == 1
    assert sorted(len(each.ids) for each in client.mock.requests(Update)) == [33, 67]


def test_integers_become_float32_message_by_message(client):
    count = 300_000
    assert client.update_vectors("c", range(count), np.ones((count, 2), dtype=np.int8)) == 10
    assert {each.change.vectors.dtype for each in client.mock.requests(Update)} == {np.dtype(np.float32)}


def test_an_asyncio_client_changes_the_same():
    async def run():
        cluster = DictCluster()
        async with async_client_with(cluster) as client:
            await client.create_collection("c", dim=2)
            await client.upsert("c", range(4), [[n, 0] for n in range(4)], [{"n": n, "of": {"x": n}} for n in range(4)])
            assert await client.set_payload("c", {"a": 1}, filter={"n": {"$gte": 2}}) == 2
            assert await client.replace_payload("c", {"b": 1}, [1], {"n": 1}) == 1
            assert await client.delete_payload("c", "of.x", ids=[0, 99]) == 1
            assert await client.update_vectors("c", [0], [[5, 5]]) == 1
            assert list(payloads(cluster).values())[:3] == [{"n": 0, "of": {}}, {"b": 1}, {"n": 2, "of": {"x": 2}, "a": 1}]
            assert cluster.points["c"][0][0].tolist() == [5, 5]
            with pytest.raises(InvalidArgument, match="give ids, a filter or both"):
                await client.set_payload("c", {"a": 1})

    asyncio.run(run())


def test_the_changes_that_are_made():
    assert updates.delete_payload({"a.b"}) == DeletePayload((("a", "b"),))
    assert updates.set_payload({"é": 1}) == SetPayload('{"é":1}'.encode())
