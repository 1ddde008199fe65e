"""Test updates of points on a cluster with replicas: each verb by ids and by a filter, and wrong input through the SDK
and by HTTP.
"""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import shoal
from tests.support.cluster.role_cluster import RoleCluster

COUNT, DIM = 3_000, 8
IDS: list[Any] = [n if n % 3 else f"p{n}" for n in range(COUNT)]
VECTORS = np.random.default_rng(3).normal(size=(COUNT, DIM)).astype(np.float32)
Payload = dict[str, Any]
Points = dict[Any, Payload]


def payload_of(n: int) -> Payload:
    return {"n": n, "title": f"word{n}", "author": {"name": "x", "age": n}}


@pytest.fixture(scope="module", params=["grpc", "http"])
def filled(request: pytest.FixtureRequest, shared_cluster: RoleCluster) -> Iterator[shoal.Client]:
    """Return a client, over each transport, of a collection "updated" with two shards of two replicas."""
    with shoal.connect(shared_cluster.address, transport=request.param) as client:
        client.create_collection("updated", dim=DIM, shards=2, replicas=2, text={"title": "auto"})
        client.upsert("updated", IDS, VECTORS, [payload_of(n) for n in range(COUNT)])
        yield client
        client.drop_collection("updated")


def held(client: shoal.Client, consistency: str = "session") -> Points:
    return {point.id: point.payload or {} for point in client.scroll("updated", consistency=consistency)}


@pytest.fixture
def wanted(filled: shoal.Client) -> Iterator[Points]:
    """Return the payloads that the points have. The test changes them as it changes the points; both are compared after
    it.
    """
    points = held(filled)
    yield points
    assert held(filled) == points
    assert held(filled, "primary") == points


def test_set_payload(filled: shoal.Client, wanted: Points) -> None:
    assert filled.set_payload("updated", {"color": "red", "title": "quokka"}, ids=[1, "p0", 1, "none"]) == 2
    for each in (1, "p0"):
        wanted[each] |= {"color": "red", "title": "quokka"}
    assert {hit.id for hit in filled.search("updated", text="quokka")} == {1, "p0"}
    matching = [each for each, payload in wanted.items() if payload["n"] >= 100]
    assert len(matching) > 2_000, "each shard has to need more than one page"
    assert filled.set_payload("updated", {"late": [1, {"a": None}]}, filter={"n": {"$gte": 100}}) == len(matching)
    for each in matching:
        wanted[each]["late"] = [1, {"a": None}]
    assert filled.count("updated", {"late": {"$exists": True}}) == len(matching)
    assert filled.set_payload("updated", {"color": "blue"}, ids=[1, 2, "p0"], filter={"color": "red"}) == 2
    for each in (1, "p0"):
        wanted[each]["color"] = "blue"


def test_replace_payload(filled: shoal.Client, wanted: Points) -> None:
    assert filled.replace_payload("updated", {"n": -1, "title": "numbat"}, ids=[4, 5]) == 2
    assert filled.replace_payload("updated", {"n": -2, "title": ""}, filter={"n": {"$gte": 10, "$lt": 20}}) == 10
    for each, payload in wanted.items():
        if each in (4, 5):
            wanted[each] = {"n": -1, "title": "numbat"}
        elif 10 <= payload["n"] < 20:
            wanted[each] = {"n": -2, "title": ""}
    assert {hit.id for hit in filled.search("updated", text="numbat")} == {4, 5}
    assert filled.search("updated", text="word10") == []


def test_delete_payload(filled: shoal.Client, wanted: Points) -> None:
    assert filled.delete_payload("updated", ["author.name", "none"], ids=["p30", 31]) == 2
    assert filled.delete_payload("updated", ["title"], filter={"n": {"$in": [40, 41]}}) == 2
    for each in ("p30", 31):
        del wanted[each]["author"]["name"]
    for each in (40, 41):
        del wanted[each]["title"]
    assert filled.count("updated", {"author.name": {"$exists": False}, "n": {"$gte": 30}}) == 2
    assert filled.search("updated", text="word40") == []


def test_update_vectors(filled: shoal.Client, wanted: Points) -> None:
    moved = np.full((2, DIM), 50, dtype=np.float32) + np.eye(2, DIM, dtype=np.float32)
    assert filled.update_vectors("updated", [50, "none", "p51"], [moved[0], VECTORS[0], moved[1]]) == 2
    assert [hit.id for hit in filled.search("updated", moved[1], k=2)] == ["p51", 50]
    vectors = [point.vector for point in filled.get("updated", [50, "p51"], with_vectors=True)]
    assert np.array_equal(np.stack([row for row in vectors if row is not None]), moved)
    assert 50 not in [hit.id for hit in filled.search("updated", VECTORS[50], k=1, exact=True)]
    assert filled.get("updated", [50])[0].payload == wanted[50]


def test_a_change_in_several_messages_and_an_awaited_one(filled: shoal.Client, wanted: Points, shared_cluster: RoleCluster) -> None:
    assert filled.update_vectors("updated", IDS, VECTORS) == COUNT
    large = {"large": "x" * 100_000}
    assert filled.set_payload("updated", large, ids=list(range(1_001, 1_700))) == sum(n % 3 != 0 for n in range(1_001, 1_700))

    async def awaited() -> list[int]:
        async with shoal.connect_async(shared_cluster.address) as client:
            return [
                await client.set_payload("updated", {"large": 1}, filter={"large": {"$exists": True}}),
                await client.delete_payload("updated", ["large"], filter={"large": 1}),
                await client.replace_payload("updated", {"n": 7_000, "title": ""}, ids=[70]),
                await client.update_vectors("updated", [70], [VECTORS[70]]),
            ]

    assert asyncio.run(awaited()) == [466, 466, 1, 1]
    wanted[70] = {"n": 7_000, "title": ""}


def test_a_payload_that_would_grow_beyond_the_bound_changes_nothing(filled: shoal.Client, wanted: Points) -> None:
    assert filled.set_payload("updated", {"text": "x" * 700_000}, ids=[80]) == 1
    wanted[80]["text"] = "x" * 700_000
    for which in ({"ids": [80]}, {"filter": {"text": {"$exists": True}}}):
        with pytest.raises(shoal.InvalidArgument, match=r"point 80 would have a payload that is not allowed.*1048576") as caught:
            filled.set_payload("updated", {"more": "y" * 700_000}, **which)
        assert set(caught.value.details.applied.values()) <= {"no", "yes"}
    assert filled.delete_payload("updated", ["text"], ids=[80]) == 1
    del wanted[80]["text"]


WRONG: list[tuple[Callable[[shoal.Client], object], str]] = [
    (lambda to: to.set_payload("updated", {"a": 1}), "give ids, a filter or both"),
    (lambda to: to.set_payload("updated", {"a": 1}, ids=[]), "ids is empty"),
    (lambda to: to.set_payload("updated", {"a": 1}, filter={}), "would change every point"),
    (lambda to: to.set_payload("updated", {"a": float("inf")}, ids=[1]), "payload.a is inf"),
    (lambda to: to.replace_payload("updated", "text", ids=[1]), "payload is 'text'"),  # type: ignore[arg-type]
    (lambda to: to.delete_payload("updated", ["a", ""], ids=[1]), r"keys\[1\]"),
    (lambda to: to.delete_payload("updated", [str(n) for n in range(1_025)], ids=[1]), "1025 paths are given"),
    (lambda to: to.update_vectors("updated", [1], [[1.0] * 3]), "dimension 3.*8"),
    (lambda to: to.update_vectors("updated", [1, 1], [[1.0] * DIM] * 2), r"ids\[1\]: 1 is given twice"),
    (lambda to: to.update_vectors("updated", [1], [[float("nan")] * DIM]), r"vectors\[0\]"),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_wrong_input_through_the_sdk(filled: shoal.Client, wanted: Points, number: int) -> None:
    call, said = WRONG[number]
    with pytest.raises(shoal.InvalidArgument, match=said):
        call(filled)


def test_an_unknown_collection_is_not_found(filled: shoal.Client) -> None:
    with pytest.raises(shoal.NotFound, match="nowhere"):
        filled.delete_payload("nowhere", ["a"], ids=[1])


def posted(port: int, body: Payload) -> tuple[int, Payload]:
    """Return the status and the body of the answer to an update as JSON."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        line.request("POST", "/shoal.v1.Points/Update", json.dumps({"collection": "updated", **body}), {"content-type": "application/json"})
        answer = line.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        line.close()


ONE = {"integers": [1]}
SET = {"setPayload": '{"a":1}'}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"ids": ONE}, "an update needs one of set_payload"),
        ({"ids": ONE, "change": {**SET, "replacePayload": "{}"}}, "oneof"),
        ({"change": SET}, "give ids, a filter or both"),
        ({"ids": {}, "change": SET}, "ids are empty"),
        ({"filter": {}, "change": SET}, "would change every point"),
        ({"ids": {"strings": ["x" * 513]}, "change": SET}, "513 bytes"),
        ({"ids": ONE, "change": {"setPayload": "[1]"}}, "payload is not a JSON object"),
        ({"ids": ONE, "change": {"replacePayload": '{"a":1,"a":2}'}}, "gives the key 'a' twice"),
        ({"ids": ONE, "change": {"deletePayload": {}}}, "0 paths are given"),
        ({"ids": ONE, "change": {"deletePayload": {"paths": [{"keys": ["a"]}, {}]}}}, "paths[1] has 0 keys"),
        ({"ids": ONE, "change": {"vectors": {"dim": 3, "values": [1, 2, 3]}}}, "dimension 3"),
        ({"ids": ONE, "change": {"vectors": {"dim": DIM, "values": [1] * 2 * DIM}}}, "2 vectors are given for 1 ids"),
        ({"filter": {"ids": ONE}, "change": {"vectors": {"dim": DIM, "values": [1] * DIM}}}, "vectors are given without ids"),
        ({"ids": {"integers": [1, 1]}, "change": {"vectors": {"dim": DIM, "values": [1] * 2 * DIM}}}, "1 is given twice"),
    ],
)
def test_wrong_input_by_http(filled: shoal.Client, wanted: Points, shared_cluster: RoleCluster, body: Payload, said: str) -> None:
    status, answer = posted(shared_cluster.http_port, body)
    assert (status, answer["code"]) == (400, "invalid_argument"), answer
    assert said in answer["message"]


def test_an_update_by_http(filled: shoal.Client, wanted: Points, shared_cluster: RoleCluster) -> None:
    status, answer = posted(shared_cluster.http_port, {"ids": {"integers": [91, 92, -5]}, "change": SET})
    assert (status, answer["updated"]) == (200, "2")
    assert answer["written"]
    for each in (91, 92):
        wanted[each]["a"] = 1
