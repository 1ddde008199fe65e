"""Named vectors through the public services, with messages as any client may write them, in JSON too."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.message import Message

from shoal.core.errors import InvalidArgument
from shoal.core.metric import Metric
from shoal.core.named_vectors import NamedVector
from shoal.core.requests import AlterCollection, CreateCollection
from shoal.v1 import collections_pb2, points_pb2, search_pb2
from shoal.wire.connect_json import message_from_json, message_to_json
from tests.unit.router.rpc.test_services import Front, run

VECTORS = (NamedVector(name="image", dim=2), NamedVector(name="text", dim=1, metric=Metric.IP))


def asked(call: Any, kind: type[Message], request: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to a request, both in JSON."""
    found: dict[str, Any] = json.loads(message_to_json(run(call, message_from_json(kind, json.dumps(request).encode()))))
    return found


def named_front() -> Front:
    front = Front()
    front.cluster.add("n", vectors=VECTORS, text=["body"])
    upsert(front, {"integers": ["1", "2", "3"]}, [IMAGES, {"name": "text", "vectors": {"dim": 1, "values": [5, 7]}, "positions": [1, 2]}])
    return front


IMAGES = {"name": "image", "vectors": {"dim": 2, "values": [1, 1, 2, 2, 3, 3]}}


def upsert(front: Front, ids: dict[str, Any], named: list[dict[str, Any]], **more: Any) -> None:
    asked(front.points.Upsert, points_pb2.UpsertRequest, {"collection": "n", "points": {"ids": ids, "named": named, **more}})


def vectors_of(named: list[dict[str, Any]]) -> dict[str, Any]:
    """Return dim, number of bytes and positions of each name in an answer."""
    return {each["name"]: (each["vectors"]["dim"], each["vectors"].get("data"), each.get("positions")) for each in named}


def test_points_are_written_read_and_updated_by_name_in_json() -> None:
    front = named_front()
    request = {"collection": "n", "ids": {"integers": ["1", "3"]}, "withVectors": True, "inParts": True}
    points = asked(front.points.Get, points_pb2.GetRequest, request)["points"]
    assert "vectors" not in points
    assert vectors_of(points["named"]) == {"image": (2, "AACAPwAAgD8AAEBAAABAQA==", None), "text": (1, "AADgQA==", [1])}
    change = {"named": {"vectors": [{"name": "text", "vectors": {"dim": 1, "values": [9]}, "positions": [0]}]}}
    updated = asked(front.points.Update, points_pb2.UpdateRequest, {"collection": "n", "ids": {"integers": ["1", "2"]}, "change": change})
    assert updated["updated"] == "2"
    page = asked(front.points.Scroll, points_pb2.ScrollRequest, {"collection": "n", "limit": 2, "withVectors": True})
    assert vectors_of(page["points"]["named"])["text"] == (1, "AAAQQQAAoEA=", None)


def test_a_point_may_have_no_vector_at_all() -> None:
    front = named_front()
    upsert(front, {"integers": ["9"]}, [], payloads=['{"body":"a"}'])
    points = asked(front.points.Get, points_pb2.GetRequest, {"collection": "n", "ids": {"integers": ["9"]}, "withVectors": True})["points"]
    assert vectors_of(points["named"]) == {"image": (2, None, None), "text": (1, None, None)}


def test_one_vector_is_searched_and_several_are_fused_in_json() -> None:
    front = named_front()
    leg = {"field": "text", "vectors": {"dim": 1, "values": [1]}}
    found = asked(
        front.search.Search, search_pb2.SearchRequest, {"collection": "n", "k": 2, "legs": [leg], "withVectors": True, "explain": True}
    )
    assert found["hits"]["ids"] == {"integers": ["3", "2"]}
    assert vectors_of(found["hits"]["named"]) == {"image": (2, "AABAQAAAQEAAAABAAAAAQA==", None), "text": (1, "AADgQAAAoEA=", None)}
    assert {each["vector"] for each in found["explain"]} == {"text"}
    legs = [{"field": "image", "vectors": {"dim": 2, "values": [1, 1]}}, leg]
    found = asked(front.search.Search, search_pb2.SearchRequest, {"collection": "n", "k": 3, "legs": legs})
    assert [each["name"] for each in found["fused"]["legs"]] == ["image", "text"]
    assert sorted(found["hits"]["ids"]["integers"]) == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("points", "told"),
    [
        ({"named": [IMAGES, IMAGES]}, "'image' is given twice"),
        ({"named": [IMAGES], "vectors": IMAGES["vectors"]}, "give vectors or named, not both"),
        ({"vectors": IMAGES["vectors"]}, "several vectors, give them by name: image, text"),
        ({"named": [{**IMAGES, "positions": [0, 2, 1]}]}, "positions of vector 'image' must be ascending"),
        ({"named": [{**IMAGES, "positions": [0, 1, 3]}]}, "positions of vector 'image' must be ascending, from 0 to 2"),
        ({"named": [{**IMAGES, "positions": [0, 1]}]}, "'image': 2 positions are given for 3 vectors"),
        ({"named": [{**IMAGES, "name": "img"}]}, "no vector 'img', it has image, text"),
        ({"named": [{**IMAGES, "name": "text"}]}, r"vectors\['text'\] have dimension 2, vector 'text' has 1"),
    ],
)
def test_points_that_do_not_fit_are_refused(points: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidArgument, match=told):
        asked(
            named_front().points.Upsert, points_pb2.UpsertRequest, {"collection": "n", "points": {"ids": {"integers": [1, 2, 3]}, **points}}
        )


def test_a_collection_is_described_listed_created_and_altered_with_its_vectors() -> None:
    front = named_front()
    described = asked(front.collections.Describe, collections_pb2.DescribeCollectionRequest, {"name": "n"})["collection"]["spec"]
    wanted = [{"name": "image", "dim": 2, "metric": "l2", "index": "auto"}, {"name": "text", "dim": 1, "metric": "ip", "index": "auto"}]
    assert described["vectors"] == wanted
    assert "dim" not in described
    listed = asked(front.collections.List, collections_pb2.ListCollectionsRequest, {})["collections"]
    assert [each["spec"].get("vectors") for each in listed] == [None, wanted]
    leader = front.cluster.leader
    asked(front.collections.Alter, collections_pb2.AlterCollectionRequest, {"name": "n", "indexes": {"text": "flat"}})
    ((*_, request, _),) = leader.calls
    assert request == AlterCollection(name="n", indexes={"text": "flat"})


@pytest.mark.parametrize(
    ("spec", "field", "told"),
    [
        ({"dim": 3, "vectors": [{"name": "a", "dim": 3}]}, "dim", "with named vectors each has its own"),
        ({"vectors": [{"name": "a"}]}, "vectors", "dim of vector 'a' is 0"),
        ({"vectors": [{"name": "a b", "dim": 3}]}, "vectors", "the name of a vector is 'a b'"),
        ({"vectors": [{"name": "a", "dim": 3, "metric": "x"}]}, "metric", "metric of vector 'a'"),
        ({"vectors": [{"name": "a", "dim": 3}] * 2}, "vectors", "two vectors have the same name"),
        ({"vectors": [{"name": str(at), "dim": 1} for at in range(17)]}, "vectors", "at most 16"),
        ({"vectors": [{"name": "a", "dim": 60_000}, {"name": "b", "dim": 60_000}]}, "vectors", "dimensions together"),
        ({"vectors": [{"name": "a", "dim": 3, "index": "PQ2"}]}, "index", "PQ2"),
    ],
)
def test_a_specification_that_cannot_be_is_refused_before_the_leader_is_asked(spec: dict[str, Any], field: str, told: str) -> None:
    front = Front()
    with pytest.raises(InvalidArgument, match=told) as caught:
        asked(front.collections.Create, collections_pb2.CreateCollectionRequest, {"spec": {"name": "c", **spec}})
    assert caught.value.details.field == field
    assert front.cluster.leader.calls == []


def test_the_leader_is_asked_for_a_collection_with_its_vectors() -> None:
    front = Front()
    spec = {"name": "c", "metric": "ip", "vectors": [{"name": "a", "dim": 3}, {"name": "b", "dim": 2, "metric": "l2", "index": "flat"}]}
    front.cluster.leader.answers = [InvalidArgument("enough")]
    with pytest.raises(InvalidArgument, match="enough"):
        asked(front.collections.Create, collections_pb2.CreateCollectionRequest, {"spec": spec, "requestId": "r"})
    ((*_, request, _),) = front.cluster.leader.calls
    vectors = (NamedVector(name="a", dim=3, metric=Metric.IP), NamedVector(name="b", dim=2, index="flat"))
    assert request == CreateCollection(name="c", metric="ip", vectors=vectors, request_id="r")
