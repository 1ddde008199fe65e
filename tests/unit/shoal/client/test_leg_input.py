"""The arguments of searches with legs: what they become, and what is wrong with bad ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shoal
from shoal.client.leg_input import legs_from_input, needs_legs, terms_from_input
from shoal.core.errors import InvalidArgument
from shoal.core.fused_search import DEFAULT_CANDIDATES, DenseLeg, FusedSearch, GroupBy, TextLeg
from shoal.core.fusion_choice import Fusion, FusionKind
from shoal.core.requests import Search
from shoal.core.shard_calls import Exact, QueryGroup
from shoal.core.text_query import Match, TextAsk
from tests.twins.router_answers import DictCluster, client_with

K10 = (QueryGroup(k=10),)
TEXT = (TextLeg(asks=(TextAsk(text="x"),)),)


def texts(leg: Any) -> list[TextAsk]:
    assert isinstance(leg, TextLeg)
    return list(leg.asks)


def test_a_vector_and_a_text_are_legs() -> None:
    dense, text = legs_from_input([1, 2], "red fish", None, many=False)
    assert isinstance(dense, DenseLeg)
    assert (dense.queries.tolist(), dense.queries.dtype, dense.name, dense.weight) == ([[1.0, 2.0]], np.float32, "dense", None)
    assert (text.name, texts(text)) == ("text", [TextAsk(text="red fish")])
    assert [leg.name for leg in legs_from_input(None, "x", None, many=False)] == ["text"]


def test_a_text_says_all_that_an_ask_has() -> None:
    given = shoal.Text(
        "a",
        fields={"title": np.int64(2), "body": 1},
        must=["HNSW"],
        must_not=("GPU",),
        phrases=["in-memory replica"],
        prefix="quanti",
        match="all",
        weight=np.float32(0.5),
        min_score=3,
        name="words",
    )
    (leg,) = legs_from_input(None, None, [given], many=False)
    asked = TextAsk(
        text="a",
        fields=(("body", 1.0), ("title", 2.0)),
        match=Match.ALL,
        must=("HNSW",),
        must_not=("GPU",),
        phrases=("in-memory replica",),
        prefix="quanti",
    )
    assert (leg.name, leg.weight, leg.min_score, texts(leg)) == ("words", 0.5, 3.0, [asked])
    assert [type(value) for _, value in texts(leg)[0].fields] == [float, float]


def test_a_batch_has_a_text_for_each_query() -> None:
    wanted = [TextAsk(text="a", must=("m",)), TextAsk(text="b", must=("m",))]
    for leg in (
        shoal.Text(["a", "b"], must=["m"]),
        [shoal.Text("a", must=["m"]), shoal.Text("b", must=["m"])],
        shoal.Text(np.array(["a", "b"]), must=["m"]),  # type: ignore[arg-type]
    ):
        dense, text = legs_from_input(None, None, [shoal.Dense(np.zeros((2, 3))), leg], many=True)
        assert (len(dense), len(text), texts(text)) == (2, 2, wanted)
    assert texts(legs_from_input(None, ["a", shoal.Text("b", prefix="c")], None, many=True)[0]) == [
        TextAsk(text="a"),
        TextAsk(text="b", prefix="c"),
    ]


BAD_LEGS: list[tuple[dict[str, Any], str, str]] = [
    ({}, "nothing to search for: give vector, text or legs", "vector"),
    ({"vector": [1], "legs": [shoal.Dense([1])]}, "vector and legs are given", "legs"),
    ({"text": "x", "legs": [shoal.Dense([1])]}, "text and legs are given", "legs"),
    ({"legs": []}, "legs is empty, at least one Dense or Text", "legs"),
    ({"legs": ()}, "legs is empty", "legs"),
    ({"legs": shoal.Text("x")}, "it must be a list of Dense and Text", "legs"),
    ({"legs": "x"}, "it must be a list of Dense and Text", "legs"),
    ({"legs": ["x"]}, r"legs\[0\]: a leg is 'x', it must be a Dense or a Text$", "legs"),
    ({"legs": [shoal.Text("x"), [shoal.Text("y")]]}, r"legs\[1\]: a leg is ", "legs"),
    ({"legs": [shoal.Dense([[1, 2]])]}, r"legs\[0\]: vector must have the shape \(dim,\), not \(1, 2\)", "vector"),
    ({"legs": [shoal.Dense(None)]}, "vector is None", "vector"),
    ({"vector": [True], "text": "x"}, "vector", "vector"),
    ({"text": ""}, "asks for nothing", "text"),
    ({"text": 7}, "text is 7, it must be a string", "text"),
    ({"text": ["a"]}, r"text is \['a'\], it must be a string", "text"),
    ({"text": "\ud800"}, "lone surrogate", "text"),
    ({"legs": [shoal.Text(must_not=["x"])]}, "it has must_not only", "text"),
    ({"legs": [shoal.Text("x", fields=["title"])]}, r"fields is \['title'\], it must be a dict", "fields"),  # type: ignore[arg-type]
    ({"legs": [shoal.Text("x", fields={"title": True})]}, "the boost of field 'title' is True", "fields"),
    ({"legs": [shoal.Text("x", fields={"title": 0})]}, "the boost of field 'title' is 0", "fields"),
    ({"legs": [shoal.Text("x", fields={7: 1})]}, "names of fields must be strings", "fields"),  # type: ignore[dict-item]
    ({"legs": [shoal.Text("x", must="HNSW")]}, "must is 'HNSW', it must be a list of strings", "must"),
    ({"legs": [shoal.Text("x", phrases=[""])]}, r"phrases\[0\] is empty", "phrases"),
    ({"legs": [shoal.Text("x", match="some")]}, "match is 'some', it must be one of any, all", "match"),
    ({"legs": [shoal.Text("x", prefix=3)]}, "prefix is 3, it must be a string", "prefix"),  # type: ignore[arg-type]
    ({"legs": [shoal.Text("x", weight=-1)]}, "weight is -1, it must be a number of at least 0", "weight"),
    ({"legs": [shoal.Text("x", weight=True)]}, "weight is True", "weight"),
    ({"legs": [shoal.Dense([1], weight=float("nan"))]}, "weight is nan", "weight"),
    ({"legs": [shoal.Dense([1], min_score=float("inf"))]}, "min_score is inf, it must be a finite number", "min_score"),
    ({"legs": [shoal.Dense([1], weight=0), shoal.Text("x", weight=0.0)]}, "the weights of all legs are 0", "weight"),
    ({"legs": [shoal.Text("x"), shoal.Text("y")]}, "two legs have the name 'text': give each leg a name of its own", "name"),
    ({"legs": [shoal.Text("x", name="dense"), shoal.Dense([1])]}, "two legs have the name 'dense'", "name"),
    ({"legs": [shoal.Text("x", name="")]}, "name is '', it must be a text on one line", "name"),
]


@pytest.mark.parametrize(("arguments", "words", "field"), BAD_LEGS)
def test_bad_legs_are_refused_by_name(arguments: dict[str, Any], words: str, field: str) -> None:
    with pytest.raises(InvalidArgument, match=words) as raised:
        legs_from_input(arguments.get("vector"), arguments.get("text"), arguments.get("legs"), many=False)
    assert raised.value.details.field == field
    assert len(raised.value.message) < 300


BAD_BATCHES: list[tuple[dict[str, Any], str, int | None]] = [
    ({}, "give vectors, text or legs", None),
    ({"text": "x"}, "search_many takes a list with one text for each query", None),
    ({"text": 7}, "text is 7, search_many takes a list", None),
    ({"text": []}, "text is empty, at least one query is needed", None),
    ({"text": ["a", 7]}, r"text is 7, it must be a string or a Text \(query 1\)", 1),
    ({"text": ["a", ""]}, r"asks for nothing.*\(query 1\)", 1),
    ({"text": [shoal.Text("a", weight=1), shoal.Text("b", weight=2)]}, r"differ from those of query 0.*\(query 1\)", 1),
    ({"legs": [shoal.Text("x")]}, r"legs\[0\]: text is 'x', search_many takes a list", None),
    ({"vector": np.zeros((3, 2)), "text": ["a", "b"]}, "leg 'text' has 2 queries, leg 'dense' has 3", None),
    ({"legs": [shoal.Dense([1, 2])]}, r"legs\[0\]: vectors must have the shape \(n, dim\)", None),
]


@pytest.mark.parametrize(("arguments", "words", "index"), BAD_BATCHES)
def test_bad_batches_are_refused_by_name(arguments: dict[str, Any], words: str, index: int | None) -> None:
    with pytest.raises(InvalidArgument, match=words) as raised:
        legs_from_input(arguments.get("vector"), arguments.get("text"), arguments.get("legs"), many=True)
    assert raised.value.details.index == index


def test_options_become_terms() -> None:
    usual = terms_from_input({}, TEXT, K10)
    assert usual == {
        "fusion": None,
        "candidates": 100,
        "offset": 0,
        "threshold": None,
        "diversity": 0.0,
        "group_by": None,
        "highlight": False,
    }
    options = {
        "fusion": "rrf",
        "c": np.int32(30),
        "candidates": np.int64(50),
        "offset": 40,
        "threshold": 0,
        "diversity": 1,
        "group_by": "a.b",
    }
    assert terms_from_input(options | {"group_size": 2, "highlight": np.bool_(True)}, TEXT, K10) == {
        "fusion": Fusion(kind=FusionKind.RRF, c=30.0),
        "candidates": 50,
        "offset": 40,
        "threshold": 0.0,
        "diversity": 1.0,
        "group_by": GroupBy(path="a.b", size=2),
        "highlight": True,
    }
    assert terms_from_input({"fusion": "minmax"}, TEXT, K10)["fusion"] == Fusion(kind=FusionKind.MINMAX)


BAD_TERMS: list[tuple[dict[str, Any], str, str]] = [
    ({"offset": 91}, "k . offset is 101, but candidates is 100: ask for fewer hits, or for candidates=101", "candidates"),
    ({"candidates": 9}, "k . offset is 10, but candidates is 9", "candidates"),
    ({"candidates": 0}, "candidates is 0, it must be an integer from 1 to", "candidates"),
    ({"candidates": True}, "candidates is True", "candidates"),
    ({"candidates": 50.0}, "candidates is 50.0", "candidates"),
    ({"offset": -1}, "offset is -1, it must be an integer from 0 to", "offset"),
    ({"offset": True}, "offset is True", "offset"),
    ({"offset": None}, "offset is None", "offset"),
    ({"threshold": "0.5"}, "threshold is '0.5', it must be a finite number", "threshold"),
    ({"threshold": True}, "threshold is True", "threshold"),
    ({"threshold": float("nan")}, "threshold is nan", "threshold"),
    ({"threshold": 10**400}, "threshold is 1000", "threshold"),
    ({"diversity": 1.5}, "diversity is 1.5, it must be a number from 0 to 1", "diversity"),
    ({"diversity": -0.1}, "diversity is -0.1", "diversity"),
    ({"diversity": False}, "diversity is False", "diversity"),
    ({"fusion": "dbsf"}, "fusion is 'dbsf', it must be one of zscore, minmax, rrf", "fusion"),
    ({"fusion": ["rrf"]}, "fusion is", "fusion"),
    ({"c": 60}, "c is 60, but it belongs to fusion='rrf', and fusion is None", "c"),
    ({"fusion": "zscore", "c": 60}, "fusion is 'zscore'", "c"),
    ({"fusion": "rrf", "c": 0}, "c is 0, it must be a number above 0", "c"),
    ({"fusion": "rrf", "c": True}, "c is True", "c"),
    ({"group_by": ""}, "group_by is '', it must be a payload path", "group_by"),
    ({"group_by": 7}, "group_by is 7", "group_by"),
    ({"group_by": "\ud800"}, "group_by: .* is no path", "group_by"),
    ({"group_by": "a..b"}, "group_by: 'a..b' is no path", "group_by"),
    ({"group_size": 2}, "group_size is 2, but there are no groups", "group_size"),
    ({"group_by": "a", "group_size": 0}, "group_size is 0, it must be an integer from 1 to", "group_size"),
    ({"group_by": "a", "group_size": True}, "group_size is True", "group_size"),
    ({"highlight": 1}, "highlight is 1, it must be True or False", "highlight"),
]


@pytest.mark.parametrize(("options", "words", "field"), BAD_TERMS)
def test_bad_options_are_refused_by_name(options: dict[str, Any], words: str, field: str) -> None:
    with pytest.raises(InvalidArgument, match=words) as raised:
        terms_from_input(options, TEXT, K10)
    assert raised.value.details.field == field


def test_highlights_need_a_text() -> None:
    legs = legs_from_input([1.0], None, None, many=False)
    with pytest.raises(InvalidArgument, match="nothing is searched by text"):
        terms_from_input({"highlight": True}, legs, K10)


def test_the_deepest_query_of_a_batch_counts() -> None:
    groups = (QueryGroup(k=10, queries=np.array([0])), QueryGroup(k=120, queries=np.array([1])))
    with pytest.raises(InvalidArgument, match=r"k \+ offset is 120"):
        terms_from_input({}, TEXT, groups)
    assert terms_from_input({"candidates": 120}, TEXT, groups)["candidates"] == 120


def test_groups_may_be_more_than_candidates() -> None:
    groups = (QueryGroup(k=300),)
    assert terms_from_input({"group_by": "doc", "offset": 50}, TEXT, groups)["candidates"] == DEFAULT_CANDIDATES
    with pytest.raises(InvalidArgument, match=r"k \+ offset is 350"):
        terms_from_input({"offset": 50}, TEXT, groups)


def test_a_radius_belongs_to_one_vector() -> None:
    client = client_with(lambda *_: pytest.fail("it is not sent"))
    with pytest.raises(InvalidArgument, match="radius belongs to a search by one vector") as raised:
        client.search("c", text="x", radius=1.0)
    assert raised.value.details.field == "radius"


def test_an_option_that_does_not_exist_is_a_type_error() -> None:
    client = client_with(lambda *_: pytest.fail("it is not sent"))
    for arguments in ({"vector": [1.0]}, {"text": "x"}):
        with pytest.raises(TypeError, match="unexpected keyword argument 'tresshold'"):
            client.search("c", **arguments, tresshold=1)  # type: ignore[call-arg]


USUAL: dict[str, Any] = {
    "highlight": False,
    "fusion": None,
    "c": None,
    "candidates": None,
    "offset": 0,
    "threshold": None,
    "diversity": 0.0,
    "group_by": None,
    "group_size": 1,
}
NEW: dict[str, Any] = {
    "highlight": True,
    "fusion": "rrf",
    "c": 1.0,
    "candidates": 100,
    "offset": 1,
    "threshold": 0.0,
    "diversity": 0.5,
    "group_by": "a",
    "group_size": 2,
}


@settings(max_examples=100)
@given(st.sets(st.sampled_from(sorted(USUAL))), st.sets(st.sampled_from(sorted(NEW))))
def test_a_search_goes_the_new_way_only_if_it_names_something_new(usual: set[str], new: set[str]) -> None:
    options = {name: USUAL[name] for name in usual} | {name: NEW[name] for name in new}
    assert needs_legs(None, None, options) == bool(new)
    assert needs_legs("x", None, options)
    assert needs_legs(None, [], options)


@pytest.mark.parametrize("option", [{"offset": False}, {"group_size": True}, {"diversity": 0}, {"offset": 0.0}])
def test_a_value_of_another_type_is_not_the_usual_one(option: dict[str, Any]) -> None:
    assert needs_legs(None, None, option)


def test_what_is_asked_reaches_the_router() -> None:
    client = client_with(DictCluster())
    client.create_collection("c", 2)
    assert client.search("c", [0, 0], text="a", k=3, filter={"a": 1}, exact=True, with_vectors=True, offset=2) == []
    (request,) = client.mock.requests(FusedSearch)
    assert [leg.name for leg in request.legs] == ["dense", "text"]
    assert (request.groups[0].k, request.groups[0].filter is not None, request.accuracy) == (3, True, Exact())
    assert (request.offset, request.candidates, request.with_vectors, request.with_payload, request.explain) == (2, 100, True, True, False)
    assert [each.collection_id for each in request.read.tokens] == []
    client.search("c", [0, 0], offset=0, highlight=False)
    assert len(client.mock.requests(Search)) == 1


def test_a_batch_with_filters_of_its_own_reaches_the_router() -> None:
    client = client_with(DictCluster())
    client.create_collection("c", 2)
    client.upsert("c", [1], [[0, 0]], [{"t": "a"}])
    found = client.search_many("c", text=["a", "a", "b"], k=[1, 2, 1], filter=[None, {"t": "b"}, None])
    assert [[hit.id for hit in hits] for hits in found] == [[1], [], []]
    (request,) = client.mock.requests(FusedSearch)
    assert [(group.k, group.queries.tolist()) for group in request.groups] == [(1, [0, 2]), (2, [1])]
    assert len(request.read.tokens) == 2
