"""Test that the name of a vector is told by every way in which a search is written and read."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.errors import InvalidArgument
from shoal.core.fused_search import DenseLeg, FusedSearch
from shoal.core.ids import CollectionId, ShardId
from shoal.core.named_vectors import VectorColumn
from shoal.core.requests import Search
from shoal.core.shard_calls import QueryGroup, ShardsSearch
from shoal.core.topk import HitColumns
from shoal.v1 import search_pb2, worker_pb2
from shoal.wire.connect_json import message_from_json, message_to_json
from shoal.wire.fused_searches import fused_from_message, fused_to_message, is_fused
from shoal.wire.search_bytes import bytes_before_queries, bytes_of_hits, bytes_of_search, head_of, lists_of_answer
from shoal.wire.search_forms import SearchForms, ShardsSearchForms
from shoal.wire.searches import search_from_message, search_to_message, shards_search_from_message, shards_search_to_message
from shoal.wire.shards_search_bytes import ShardsSearchBytes

names = st.sampled_from(["", "image", "text", "a" * 64])
shapes = st.tuples(st.integers(1, 3), st.integers(1, 200))


def search_by(vector: str, rows: int = 1, dim: int = 2) -> Search:
    return Search(collection="c", queries=np.full((rows, dim), 0.5, np.float32), groups=(QueryGroup(k=3),), vector=vector)


def in_pieces(search: Search) -> bytes:
    return bytes_of_search(head_of(search), b"", bytes_before_queries(*search.queries.shape, search.vector), search.queries)


@settings(deadline=None)
@given(names, shapes)
def test_the_bytes_of_a_search_in_pieces_are_those_of_its_message(vector: str, shape: tuple[int, int]) -> None:
    search = search_by(vector, *shape)
    message = search_pb2.SearchRequest.FromString(in_pieces(search))
    assert message == search_to_message(search)
    assert not is_fused(message)


@settings(deadline=None)
@given(st.lists(names, min_size=1, max_size=6))
def test_searches_that_differ_in_the_name_alone_have_different_forms(vectors: list[str]) -> None:
    forms = SearchForms(1 << 16)
    for vector in vectors * 2:
        for data in (in_pieces(search_by(vector)), search_to_message(search_by(vector)).SerializeToString()):
            read = forms.read(data)
            assert read is not None
            assert read[0].search.vector == vector


def shards_search_by(vector: str) -> ShardsSearch:
    shards = tuple(ShardId(CollectionId("c"), number) for number in (0, 2))
    return ShardsSearch(shards=shards, queries=np.ones((2, 3), np.float32), groups=(QueryGroup(k=3),), vector=vector)


@given(st.lists(names, min_size=1, max_size=6))
def test_searches_of_shards_in_pieces_tell_the_name(vectors: list[str]) -> None:
    forms = ShardsSearchForms(1 << 16)
    for vector in vectors * 2:
        call = shards_search_by(vector)
        data = ShardsSearchBytes(call).request(call.queries, "me")
        assert shards_search_from_message(worker_pb2.SearchShardsRequest.FromString(data)).vector == vector
        for asked in (data, shards_search_to_message(call).SerializeToString()):
            read = forms.read(asked)
            assert read is not None
            assert read[0].call.vector == vector


def test_a_search_in_json_tells_the_name() -> None:
    message = message_from_json(
        search_pb2.SearchRequest, b'{"legs": [{"field": "image", "vectors": {"dim": 2, "values": [1, 2]}}], "k": 3}'
    )
    assert search_from_message(message).vector == "image"
    assert message_from_json(search_pb2.SearchRequest, message_to_json(message)) == message


def test_a_leg_that_is_given_no_name_has_that_of_its_vector() -> None:
    leg: dict[str, Any] = {"vectors": {"dim": 1, "values": [1]}}
    message = search_pb2.SearchRequest(legs=[{**leg, "field": "image"}, {**leg, "field": "text", "name": "t"}, leg], k=1)
    legs = fused_from_message(message).legs
    assert [(each.name, each.vector) for each in legs if isinstance(each, DenseLeg)] == [("image", "image"), ("t", "text"), ("dense", "")]
    fused = FusedSearch(collection="c", legs=legs, groups=(QueryGroup(k=1),))
    assert [each.field for each in fused_to_message(fused).legs] == ["image", "text", ""]


def test_a_leg_of_texts_has_no_vector_to_search_by() -> None:
    message = search_pb2.SearchRequest(legs=[{"field": "image", "texts": {"queries": [{"text": "a"}]}}], k=1)
    with pytest.raises(InvalidArgument, match="field is 'image', but only a leg of vectors"):
        fused_from_message(message)


def test_hits_with_named_vectors_are_left_to_the_usual_way() -> None:
    hits = HitColumns(counts=np.array([1]), ids=np.array([7]), scores=np.array([0.5], np.float32))
    assert lists_of_answer(bytes_of_hits(hits)) is not None
    column = VectorColumn(vectors=np.ones((1, 2), np.float32))
    assert lists_of_answer(bytes_of_hits(dataclasses.replace(hits, named={"image": column}))) is None
