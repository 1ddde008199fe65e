"""Bad input to searches by text and by several legs, through every door: SDK, plain gRPC and JSON over HTTP. Each
answer is a typed error that names the value, or one that the guide tells of.
"""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.json_format import ParseDict

import shoal
from shoal import Dense, Text
from shoal.v1 import search_pb2, search_pb2_grpc
from shoal.wire.status import error_from_exception
from tests.support.cluster.role_cluster import RoleCluster, wait_until

NAME, PLAIN = "bad-texts", "bad-texts-plain"
WORDS = {"queries": [{"text": "red"}]}
VECTORS = {"dim": 2, "values": [0.5, 1.0]}
LONG = "x" * 32_769

Door = Callable[[dict[str, Any]], str]


@pytest.fixture(scope="module")
def ready(shared_cluster: RoleCluster) -> Iterator[shoal.Client]:
    with shoal.connect(shared_cluster.address) as client:
        client.create_collection(NAME, 2, text={"title": "auto", "body": {"kind": "auto", "stop_words": ["the"]}})
        client.create_collection(PLAIN, 2)
        client.upsert(NAME, [1, 2], np.eye(2), [{"title": "red", "body": "the red fish"}, {"body": ["blue", "nul\0l"], "title": 7}])
        yield client
        client.drop_collection(NAME)
        client.drop_collection(PLAIN)


@pytest.fixture(params=["grpc", "json"])
def refused(request: pytest.FixtureRequest, shared_cluster: RoleCluster, ready: shoal.Client) -> Door:
    """Return what sends a search as it is, and returns the words of the refusal for bad input."""

    def over_grpc(search: dict[str, Any]) -> str:
        with grpc.insecure_channel(shared_cluster.address) as channel, pytest.raises(grpc.RpcError) as caught:
            search_pb2_grpc.SearchStub(channel).Search(ParseDict(search, search_pb2.SearchRequest()), timeout=10)
        error = error_from_exception(caught.value)
        assert isinstance(error, shoal.InvalidArgument), error
        return error.message

    def over_http(search: dict[str, Any]) -> str:
        url = f"http://127.0.0.1:{shared_cluster.http_port}/shoal.v1.Search/Search"
        asked = urllib.request.Request(url, json.dumps(search).encode(), {"content-type": "application/json"})
        with pytest.raises(urllib.error.HTTPError) as caught, urllib.request.urlopen(asked, timeout=10):
            pass
        with caught.value as answer:
            told = json.load(answer)
        assert (caught.value.code, told["code"]) == (400, "invalid_argument"), told
        return str(told["message"])

    return over_grpc if request.param == "grpc" else over_http


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"legs": [{}]}, r"legs\[0\] has no queries, it needs vectors or texts to search for"),
        ({"legs": [{"texts": WORDS}, {"name": "more"}]}, r"legs\[1\] has no queries, it needs vectors or texts to search for"),
        ({"legs": [{"texts": {}}]}, "a batch of 0 queries"),
        (
            {"legs": [{"texts": WORDS}], "fusion": {"kind": "zscore", "c": 30}},
            "c is 30, but it belongs to fusion rrf, and fusion is zscore",
        ),
        ({"legs": [{"texts": WORDS}], "fusion": {"kind": "rrf", "c": 0}}, r"c is 0\.0, it must be a finite number above 0"),
        ({"legs": [{"texts": WORDS}], "fusion": {"kind": "sum"}}, "fusion is 'sum', it must be one of zscore, minmax, rrf"),
        ({"legs": [{"texts": {"queries": [{}]}}]}, "a text query asks for nothing"),
        ({"legs": [{"texts": {"queries": [{"text": ""}]}}]}, "a text query asks for nothing"),
        ({"legs": [{"texts": {"queries": [{"must_not": ["red"]}]}}]}, "a text query asks for nothing, it has must_not only"),
        ({"legs": [{"texts": {"queries": [{"text": LONG}]}}]}, "has 32,769 bytes of text, at most 32,768 are allowed"),
        ({"legs": [{"texts": {"queries": [{"text": "x", "match": "most"}]}}]}, "match is 'most'"),
        (
            {"legs": [{"texts": {"queries": [{"text": "x", "fields": {"nope": 1}}]}}]},
            "'nope', the text fields of the collection are body, title",
        ),
        ({"legs": [{"texts": {"queries": [{"text": "x", "fields": {"body": -1}}]}}]}, r"the boost of field 'body' is -1\.0"),
        ({"legs": [{"texts": WORDS, "weight": -1}]}, r"weight is -1\.0, it must be a finite number, at least 0"),
        ({"legs": [{"texts": WORDS, "weight": 0}, {"vectors": VECTORS, "weight": 0}]}, "all legs have the weight 0"),
        ({"legs": [{"texts": WORDS}], "offset": 99}, "offset 99 [+] k 5 is 104, but each leg finds 100 candidates"),
        ({"legs": [{"texts": WORDS}], "candidates": 4}, "offset 0 [+] k 5 is 5, but each leg finds 4 candidates"),
        ({"legs": [{"texts": WORDS}], "collection": PLAIN}, "the collection has no text field"),
        ({"legs": [{"texts": WORDS}, {"texts": WORDS}]}, "have the name 'text'"),
        ({"legs": [{"vectors": VECTORS}], "highlight": True}, "no leg has texts"),
    ],
)
def test_a_search_that_means_nothing(refused: Door, search: dict[str, Any], said: str) -> None:
    told = refused({"collection": NAME, "k": 5, **search})
    assert re.search(said, told), told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"text": 7}, "text is 7, it must be a string"),
        ({"text": b"red"}, "it must be a string"),
        ({"text": ""}, "a text query asks for nothing"),
        ({"text": LONG}, "32,769 bytes of text"),
        ({"text": "a\ud800"}, "it has a lone surrogate"),
        ({"legs": [Text("x", fields={"nope": 1})]}, "'nope', the text fields of the collection are body, title"),
        ({"legs": [Text("x", weight=-1)]}, "weight is -1"),
        ({"legs": [Text("x", weight=0), Dense([0, 1], weight=0)]}, "weights of all legs are 0"),
        ({"legs": []}, "legs is empty"),
        ({"legs": [{}]}, r"legs\[0\]: a leg is {}, it must be a Dense or a Text"),
        ({"text": "x", "fusion": "zscore", "c": 30}, "c is 30, but it belongs to fusion='rrf', and fusion is 'zscore'"),
        ({"text": "x", "k": 5, "offset": 99}, "k [+] offset is 104, but candidates is 100"),
        ({}, "there is nothing to search for|vector"),
    ],
)
def test_a_search_of_the_sdk_that_means_nothing(ready: shoal.Client, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises((shoal.InvalidArgument, TypeError), match=said):
        ready.search(NAME, **arguments)


def test_what_the_guide_calls_an_answer(ready: shoal.Client) -> None:
    """A text without words, a NUL in the middle of one, and texts of points that are no strings."""
    for text in ("\0", "...", "\0 !"):
        hits = ready.search(NAME, text=text)
        assert (list(hits), hits.wordless) == ([], ("text",))
    assert [hit.id for hit in ready.search(NAME, text="nul\0l")] == [2]
    assert [hit.id for hit in ready.search(NAME, legs=[Text("7", fields={"title": 1})])] == []
    assert ready.search(NAME, legs=[Text("the", fields={"body": 1})]).wordless == ("text",)


@pytest.mark.parametrize("analyzer", ["none", {"kind": "auto", "stem": "klingon"}, {"stem": 1}, {"words": []}, 7, None])
def test_an_analyzer_that_does_not_exist_changes_nothing(ready: shoal.Client, analyzer: Any) -> None:
    before = ready.describe_collection(NAME).spec.text
    with pytest.raises(shoal.InvalidArgument, match="text"):
        ready.alter_collection(NAME, text={"title": "auto", "body": analyzer})
    assert ready.describe_collection(NAME).spec.text == before


def test_another_analyzer_of_a_field_indexes_its_texts_anew(ready: shoal.Client) -> None:
    name = f"{NAME}-anew"

    refusals: list[str] = []

    def is_anew() -> bool:
        try:
            return ready.search(name, legs=[Text("boxes", fields={"body": 1})]).wordless == ("text",)
        except shoal.PreconditionFailed as error:
            refusals.append(error.message)
            return False

    ready.create_collection(name, 2, text={"body": "auto", "tag": "raw"})
    try:
        ready.upsert(name, [1, 2], np.eye(2), [{"body": "Walking boxes", "tag": "A B"}, {"body": "walks"}])
        assert [hit.id for hit in ready.search(name, text="walked")] == [2, 1]
        ready.alter_collection(name, text={"body": {"kind": "words", "stop_words": ["boxes"]}, "tag": "raw"})
        wait_until(is_anew, "texts are cut by the new analyzer")
        assert all(re.search("segments are ready|not indexed by shard", each) for each in refusals), refusals
        assert [hit.id for hit in ready.search(name, text="walking")] == [1]
        assert ready.search(name, text="walked") == []
        assert [hit.id for hit in ready.search(name, legs=[Text("A B", fields={"tag": 1})])] == [1]
    finally:
        ready.drop_collection(name)
