"""Searches of a collection with named vectors through both clients: one name, several, and beside texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import shoal
from shoal import Dense, Text
from shoal.client import many
from shoal.client.leg_input import legs_from_input
from shoal.core.errors import InvalidArgument
from shoal.core.fused_search import DenseLeg, FusedSearch, TextLeg
from shoal.core.requests import Search
from tests.unit.shoal.client.named_sides import SIDES, VECTORS, Side

IMAGES = [[0, 0], [1, 0], [2, 0], None, [4, 0]]
TEXTS = [[1, 0, 0], None, [0, 1, 0], [0, 0, 1], None]
NEAR_0, NEAR_4 = np.array([0, 0], np.float32), np.array([4, 0], np.float32)


@pytest.fixture(params=SIDES)
def side(request: pytest.FixtureRequest) -> Side:
    made = Side(SIDES[request.param])
    made.create_collection("c", vectors=VECTORS, text={"t": "auto"})
    made.create_collection("plain", dim=2)
    made.upsert("plain", [1], [[0, 0]])
    payloads = [{"t": "red fish", "n": 0}, {"t": "red", "n": 1}, {"n": 2}, {"t": "fish", "n": 3}, None]
    made.upsert("c", range(5), {"image": IMAGES, "text": TEXTS}, payloads)
    return made


def ids(hits: Any) -> list[Any]:
    return [hit.id for hit in hits]


def test_a_search_names_its_vector(side: Side) -> None:
    hits = side.search("c", NEAR_0, using="image", k=3)
    assert [(hit.id, hit.score) for hit in hits] == [(0, 0.0), (1, 1.0), (2, 4.0)]
    assert ids(side.search("c", [0.0, 1.0, 0.0], using="text", k=1)) == [2]
    assert ids(side.search("c", NEAR_4, using="image", filter={"n": {"$lte": 1}}, with_payload=False)) == [1, 0]
    assert ids(side.search("c", NEAR_0, using="image", radius=1.0)) == [0, 1]
    assert ids(side.search("plain", NEAR_0)) == [1]


def test_many_searches_name_their_vector(side: Side) -> None:
    both = np.stack([NEAR_0, NEAR_4])
    assert [ids(hits) for hits in side.search_many("c", both, 2, using="image")] == [[0, 1], [4, 2]]
    assert [ids(hits) for hits in side.search_many("c", both.tolist(), [1, 2], using="image", filter=[{"n": 1}, None])] == [[1], [4, 2]]
    assert [ids(hits) for hits in side.search_many("plain", both, 2)] == [[1], [1]]


def test_hits_have_the_vectors_that_were_asked_for(side: Side) -> None:
    for hits in (
        side.search("c", NEAR_0, using="image", with_vectors=True),
        side.search_many("c", [NEAR_0], using="image", with_vectors=True)[0],
        side.search("c", {"image": NEAR_0}, with_vectors=True),
        side.search("c", text="red", with_vectors=True),
    ):
        found = {hit.id: {name: vector.tolist() for name, vector in hit.vector.items()} for hit in hits}
        assert found[0] == {"image": [0, 0], "text": [1, 0, 0]}
        assert found[1] == {"image": [1, 0]}
    assert "<th>vector image</th><th>vector text</th>" in hits._repr_html_()
    assert [hit.vector for hit in side.search("c", NEAR_0, using="image")] == [None] * 4


def test_a_usual_search_by_name_is_sent_as_bytes_where_others_are(side: Side) -> None:
    side.search("c", NEAR_0, using="image")
    side.search_many("c", np.stack([NEAR_0, NEAR_4]), using="image")
    in_bytes = getattr(side.client.mock, "in_bytes", None)
    assert in_bytes in (None, [Search, Search])
    assert [request.vector for request in side.sent(Search)] == ["image", "image"]


def test_several_vectors_are_fused_by_name(side: Side) -> None:
    hits = side.search("c", {"image": NEAR_0, "text": [0, 1, 0]}, k=3)
    assert hits[0].id in (0, 2)
    told = {hit.id: {name: leg.rank for name, leg in hit.legs.items()} for hit in hits}
    assert told[0]["image"] == 1
    assert told[2] == {"image": 3, "text": 1}
    one = side.search("c", {"image": NEAR_4}, k=2)
    assert [(hit.id, list(hit.legs)) for hit in one] == [(4, ["image"]), (2, ["image"])]
    (request, *_) = side.sent(FusedSearch)
    assert [(leg.name, leg.vector, leg.weight) for leg in request.legs] == [("image", "image", None), ("text", "text", None)]


def test_all_options_of_legs_hold_beside_vectors_by_name(side: Side) -> None:
    options = {"fusion": "rrf", "c": 10, "candidates": 50, "offset": 1, "threshold": 0.0, "diversity": 0.3, "highlight": True}
    groups = {"group_by": "t", "group_size": 2}
    side.search("c", {"image": NEAR_0, "text": [0, 1, 0]}, 3, text="red", recall=0.9, filter={"n": 1}, **options, **groups)
    (request,) = side.sent(FusedSearch)
    assert [(leg.name, getattr(leg, "vector", None)) for leg in request.legs] == [("image", "image"), ("text", "text"), ("words", None)]
    assert (request.offset, request.candidates, request.diversity, request.highlight) == (1, 50, 0.3, True)
    assert (request.fusion.c, request.group_by.path, request.accuracy.recall) == (10.0, "t", 0.9)


def test_a_batch_has_a_query_of_each_name(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = {"image": np.stack([NEAR_0, NEAR_4, NEAR_0]), "text": [[1, 0, 0], [0, 0, 1], [0, 1, 0]]}
    whole = [[(hit.id, hit.score) for hit in hits] for hits in side.search_many("c", batch, [1, 2, 3])]
    assert list(map(len, whole)) == [1, 2, 3]
    monkeypatch.setattr(many, "_REQUEST_BYTES", 24)
    assert [[(hit.id, hit.score) for hit in hits] for hits in side.search_many("c", batch, [1, 2, 3])] == whole
    assert len(side.sent(FusedSearch)) > 2
    assert len(side.search_many("c", batch, text=["red", "fish", "x"], k=2)) == 3


def test_a_dense_leg_names_its_vector(side: Side) -> None:
    legs = [Dense(NEAR_0, 0.25, using="image"), Dense([0, 1, 0], using="text", name="meaning"), Text("red")]
    hits = side.search("c", legs=legs)
    assert {name for hit in hits for name in hit.legs} == {"image", "meaning", "text"}
    (request,) = side.sent(FusedSearch)
    assert [(leg.name, getattr(leg, "vector", ""), leg.weight) for leg in request.legs] == [
        ("image", "image", 0.25),
        ("meaning", "text", None),
        ("text", "", None),
    ]
    twice = side.search("c", legs=[Dense(NEAR_0, using="image"), Dense(NEAR_4, using="image", name="other")], k=5)
    assert {name for hit in twice for name in hit.legs} == {"image", "other"}


def test_a_vector_with_a_name_beside_a_text_is_a_leg_of_that_name(side: Side) -> None:
    side.search("c", NEAR_0, using="image", text="red")
    side.search_many("c", [NEAR_0, NEAR_4], using="image", text=["red", "fish"])
    for request in side.sent(FusedSearch):
        assert [(leg.name, getattr(leg, "vector", "")) for leg in request.legs] == [("image", "image"), ("text", "")]
    explained = side.search("c", {"image": NEAR_0}, explain=True).explain
    assert [leg.leg for leg in explained.legs] == ["image"]


@pytest.mark.parametrize(
    ("given", "options", "said"),
    [
        ("c", {"vector": NEAR_0}, "collection 'c' has several vectors, give the name of one: image, text"),
        ("c", {"vector": [0, 0, 0], "using": "image"}, "vectors have dimension 3, the collection has 2|dimension"),
        ("c", {"vector": NEAR_0, "using": "sound"}, "collection 'c' has no vector 'sound', it has image, text"),
        ("c", {"vector": {"image": NEAR_0, "sound": NEAR_0}}, "collection 'c' has no vector 'sound', it has image, text"),
        ("c", {"vector": NEAR_0, "text": "red"}, "give the name of one: image, text"),
        ("c", {"legs": [Dense(NEAR_0)]}, "give the name of one: image, text"),
        ("plain", {"vector": NEAR_0, "using": "image"}, "collection 'plain' has one vector without a name, not 'image'"),
        ("plain", {"vector": {"image": NEAR_0}}, "collection 'plain' has one vector without a name, not 'image'"),
        ("c", {"vector": {"image": NEAR_0}, "using": "image"}, r"using is 'image', but vector has names itself \(image\)"),
        ("c", {"legs": [Dense(NEAR_0, using="image")], "using": "image"}, "using is 'image', but legs are given"),
        ("c", {"text": "red", "using": "image"}, "using is 'image', but no vector is given"),
        ("c", {"using": "image"}, "using is 'image', but no vector is given"),
        ("c", {"vector": NEAR_0, "using": 3}, "using names the vector 3, a name is a text"),
        ("c", {"vector": NEAR_0, "using": ""}, "using names the vector ''"),
        ("c", {"vector": {}}, "vector is an empty dict, give a vector for at least one name"),
        ("c", {"vector": {"image": None}}, "vector 'image': vector is None"),
        ("c", {"vector": {"image": [[0, 0]]}}, r"vector 'image': vector must have the shape \(dim,\), not \(1, 2\)"),
        ("c", {"vector": {"image": [0, float("nan")]}}, r"vector 'image': .*NaN"),
        ("c", {"vector": {3: NEAR_0}}, "vector names the vector 3"),
        ("c", {"vector": {"image": NEAR_0}, "radius": 2.0}, "radius belongs to a search by one vector"),
        ("c", {"vector": {"image": NEAR_0}, "k": 200}, "k \\+ offset is 200, but candidates is 100"),
        ("c", {"legs": [Dense(NEAR_0, using=3)]}, r"legs\[0\]: using names the vector 3"),
        ("c", {"legs": [Dense(NEAR_0, using="image"), Dense(NEAR_4, using="image")]}, "two legs have the name 'image'"),
        ("c", {"legs": [Dense(NEAR_0, using="image")], "vector": {"image": NEAR_0}}, "vector and legs are given"),
    ],
)
def test_what_is_wrong_is_told(side: Side, given: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        side.search(given, **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"vectors": {"image": NEAR_0}}, r"vector 'image': vectors must have the shape \(n, dim\), not \(2,\)"),
        ({"vectors": {"image": [NEAR_0], "text": [[1, 0, 0]] * 2}}, "leg 'text' has 2 queries, leg 'image' has 1"),
        ({"vectors": {"image": [NEAR_0, None]}}, r"vector 'image': vectors\[1\] is None"),
        ({"vectors": {"image": [NEAR_0]}, "using": "image"}, "using is 'image', but vectors has names itself"),
        ({"vectors": {}}, "vectors is an empty dict"),
        ({"using": "image"}, "using is 'image', but no vectors is given"),
    ],
)
def test_what_is_wrong_with_a_batch_is_told(side: Side, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        side.search_many("c", **options)
    assert side.sent(FusedSearch) == side.sent(Search) == []


def test_a_leg_of_text_beside_the_vector_text_is_called_words() -> None:
    def names(*given: Any, many: bool = False) -> list[str]:
        return [leg.name for leg in legs_from_input(*given, many=many)]

    assert names({"text": [1.0]}, "x", None) == ["text", "words"]
    assert names({"text": [1.0]}, Text("x"), None) == ["text", "words"]
    assert names({"text": [[1.0]]}, ["x"], None, many=True) == ["text", "words"]
    assert names(None, None, [Text("x"), Dense([1.0], using="text")]) == ["words", "text"]
    assert names(None, None, [Text("x"), Dense([1.0], using="text", name="other")]) == ["text", "other"]
    assert names({"image": [1.0]}, "x", None) == ["image", "text"]
    with pytest.raises(InvalidArgument, match="two legs have the name 'text'"):
        names(None, None, [Text("x"), Dense([1.0], name="text")])


def test_a_leg_is_named_by_its_vector_unless_it_has_a_name() -> None:
    assert (Dense([1]).name, Dense([1], using="image").name, Dense([1], using="image", name="a").name) == ("dense", "image", "a")
    assert (shoal.Text("x").name, Dense([1]).using) == ("text", None)
    (dense, text) = legs_from_input([1.0], "x", None, "image", many=False)
    assert isinstance(dense, DenseLeg)
    assert isinstance(text, TextLeg)
    assert (dense.vector, dense.name, text.name) == ("image", "image", "text")
