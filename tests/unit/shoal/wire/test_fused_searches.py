from __future__ import annotations

import contextlib
import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.errors import InvalidArgument
from shoal.core.filter import In
from shoal.core.fused_search import (
    DenseLeg,
    FieldSpans,
    FusedExplain,
    FusedFound,
    FusedSearch,
    GroupBy,
    HitExplain,
    LegColumns,
    LegExplain,
    TextLeg,
)
from shoal.core.fusion_choice import Fusion, FusionKind
from shoal.core.requests import ReadAs, Search
from shoal.core.shard_calls import QueryGroup
from shoal.core.text_calls import TextExplain, WordShare
from shoal.core.text_query import Match, TextAsk
from shoal.v1 import search_pb2
from shoal.wire.connect_json import message_from_json, message_to_json
from shoal.wire.fused_searches import (
    fused_found_from_message,
    fused_found_to_message,
    fused_from_message,
    fused_to_message,
    is_fused,
)
from shoal.wire.search_forms import SearchForms
from shoal.wire.searches import search_from_message, search_to_message
from tests.unit.shoal.wire.strategies import hit_columns, matrices, over_the_wire, reads, same_ids, same_matrix, same_payloads
from tests.unit.shoal.wire.test_searches import accuracies, explains

uint32 = st.integers(0, 2**32 - 1)
uint64 = st.integers(0, 2**64 - 1)
numbers = st.floats(allow_nan=False)
texts = st.text(max_size=6)
names = st.text(min_size=1, max_size=6)
asks = st.builds(
    TextAsk,
    text=texts,
    fields=st.dictionaries(texts, numbers, max_size=3).map(lambda fields: tuple(sorted(fields.items()))),
    match=st.sampled_from(list(Match)),
    must=st.lists(texts, max_size=2).map(tuple),
    must_not=st.lists(texts, max_size=2).map(tuple),
    phrases=st.lists(texts, max_size=2).map(tuple),
    prefix=texts,
)
legs = st.one_of(
    st.builds(DenseLeg, queries=matrices(2), name=names, vector=texts, weight=st.none() | numbers, min_score=st.none() | numbers),
    st.builds(TextLeg, asks=st.lists(asks, max_size=3).map(tuple), name=names, weight=st.none() | numbers, min_score=st.none() | numbers),
)
positions = st.none() | st.sets(uint32, min_size=1, max_size=4).map(lambda chosen: np.array(sorted(chosen), dtype=np.int64))
groups = st.builds(QueryGroup, k=uint32, filter=st.none() | st.just(In(("a",), (1,))), queries=positions)
searches = st.builds(
    FusedSearch,
    collection=texts,
    legs=st.lists(legs, min_size=1, max_size=3).map(tuple),
    groups=st.lists(groups, min_size=1, max_size=3).map(tuple),
    fusion=st.none()
    | st.builds(Fusion, kind=st.sampled_from(list(FusionKind)))
    | st.builds(Fusion, kind=st.just(FusionKind.RRF), c=numbers),
    candidates=st.integers(1, 2**32 - 1),
    offset=uint32,
    threshold=st.none() | numbers,
    diversity=numbers,
    group_by=st.none() | st.builds(GroupBy, path=texts, size=st.integers(1, 2**32 - 1)),
    highlight=st.booleans(),
    accuracy=st.none() | accuracies,
    explain=st.booleans(),
    with_payload=st.booleans(),
    with_vectors=st.booleans(),
    allow_partial=st.booleans(),
    read=reads,
)


def plain(value: Any) -> Any:
    """Return a value with its arrays as texts, so that it can be compared; NaN is equal to itself."""
    if isinstance(value, np.ndarray):
        return value.shape, str(value.dtype), repr(value.tolist())
    if isinstance(value, tuple):
        return tuple(map(plain, value))
    if dataclasses.is_dataclass(value):
        return type(value), tuple(plain(getattr(value, field.name)) for field in dataclasses.fields(value))
    return value


def in_json(message: search_pb2.SearchRequest) -> search_pb2.SearchRequest:
    return message_from_json(search_pb2.SearchRequest, message_to_json(message))


@settings(deadline=None)
@given(searches)
def test_a_search_comes_back(search: FusedSearch) -> None:
    message = over_the_wire(fused_to_message(search))
    assert is_fused(message)
    assert plain(fused_from_message(message)) == plain(search)
    assert plain(fused_from_message(in_json(message))) == plain(search)


@settings(deadline=None)
@given(searches)
def test_the_forms_of_searches_by_vectors_leave_it_alone(search: FusedSearch) -> None:
    forms, data = SearchForms(1 << 16), fused_to_message(search).SerializeToString()
    assert forms.read(data) is None
    assert forms.read(data) is None


QUERIES = np.ones((1, 2), np.float32)
VECTORS_ONLY = Search(collection="c", queries=QUERIES, groups=(QueryGroup(k=3),))


def test_a_search_by_vectors_only_stays_one() -> None:
    message = search_to_message(VECTORS_ONLY)
    assert not is_fused(message)
    assert not is_fused(search_pb2.SearchRequest())
    assert search_from_message(message).groups[0].k == 3


@pytest.mark.parametrize(
    "given",
    [
        {"candidates": 100},
        {"offset": 1},
        {"threshold": 0.0},
        {"diversity": 0.5},
        {"highlight": True},
        {"fusion": search_pb2.Fusion()},
        {"group_by": search_pb2.GroupBy(path="a")},
    ],
    ids=lambda given: next(iter(given)),
)
def test_anything_else_makes_it_fused(given: dict[str, Any]) -> None:
    message = search_to_message(VECTORS_ONLY)
    message.MergeFrom(search_pb2.SearchRequest(**given))
    assert is_fused(message)
    (leg,) = fused_from_message(message).legs
    assert isinstance(leg, DenseLeg)
    assert (leg.name, leg.weight, leg.min_score) == ("dense", None, None)


@pytest.mark.parametrize("given", [{"name": "dense"}, {"weight": 0.0}, {"min_score": 0.0}], ids=lambda given: next(iter(given)))
def test_what_a_leg_says_makes_it_fused(given: dict[str, Any]) -> None:
    message = search_to_message(VECTORS_ONLY)
    message.legs[0].MergeFrom(search_pb2.SearchLeg(**given))
    assert is_fused(message)


def test_what_is_not_said_has_its_default() -> None:
    message = search_pb2.SearchRequest(
        collection="c", k=5, legs=[{"texts": {"queries": [{"text": "a"}]}}], fusion={}, group_by={"path": "p"}
    )
    assert plain(fused_from_message(message)) == plain(
        FusedSearch(
            collection="c",
            legs=(TextLeg(asks=(TextAsk(text="a"),)),),
            groups=(QueryGroup(k=5),),
            fusion=Fusion(),
            group_by=GroupBy(path="p"),
            with_payload=False,
            read=ReadAs(),
        )
    )


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        ({"legs": [{"name": "a"}]}, "legs", "legs[0] has no queries"),
        ({"fusion": {"kind": "minmax", "c": 30}}, "c", "c is 30, but it belongs to fusion rrf, and fusion is minmax"),
        ({"fusion": {"c": 30}}, "c", "c is 30, but it belongs to fusion rrf, and fusion is zscore"),
        ({"legs": [{"texts": {}, "field": "other"}]}, "field", "'other'"),
        ({"legs": [{"texts": {"queries": [{"match": "some"}]}}]}, "match", "'some', it must be one of any, all"),
        ({"legs": [{"texts": {}}], "fusion": {"kind": "sum"}}, "fusion", "'sum', it must be one of zscore, minmax, rrf"),
        ({"legs": [{"texts": {}}], "radius": 1.0}, "radius", "min_score"),
        ({"legs": [{"texts": {}}], "exact": True, "recall": 0.5}, "recall", "contradict"),
        ({"legs": [{"texts": {}}], "consistency": 9}, "consistency", "9"),
        ({"legs": [{"texts": {}}], "k": 1, "groups": [{"k": 2}]}, "k", "groups"),
        ({"legs": [{"vectors": {"dim": 3, "values": [1.0]}}, {"texts": {}}]}, "vectors", "dimension 3"),
    ],
)
def test_an_unreadable_message_is_refused(given: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        fused_from_message(search_pb2.SearchRequest(**given))
    assert caught.value.details.field == field
    assert words in caught.value.message


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    message = search_pb2.SearchRequest()
    with contextlib.suppress(DecodeError):
        message.ParseFromString(data)
    with contextlib.suppress(InvalidArgument):
        fused_from_message(message) if is_fused(message) else search_from_message(message)


words = st.builds(WordShare, texts, texts, numbers, st.booleans())
text_explains = st.builds(
    TextExplain,
    **dict.fromkeys(("shard", "query", "words"), uint32),
    **dict.fromkeys(("rows", "postings", "eligible", "scored"), uint64),
    **dict.fromkeys(("segment", "state", "plan"), texts),
    us=numbers,
)
leg_explains = st.builds(
    LegExplain,
    **dict.fromkeys(("query", "hits", "padded"), uint32),
    **dict.fromkeys(("lowest", "highest", "deviation", "us"), numbers),
    leg=texts,
)
hit_explains = st.builds(HitExplain, arithmetic=texts, words=st.lists(words, max_size=2).map(tuple), penalty=numbers)
fused_explains = st.builds(
    FusedExplain,
    legs=st.lists(leg_explains, max_size=2).map(tuple),
    hits=st.lists(hit_explains, max_size=2).map(tuple),
    segments=st.lists(explains, max_size=2).map(tuple),
    texts=st.lists(text_explains, max_size=2).map(tuple),
)
spans = st.lists(st.builds(FieldSpans, texts, st.lists(st.tuples(uint32, uint32), max_size=3).map(tuple)), max_size=2).map(tuple)


@st.composite
def founds(draw: st.DrawFn) -> FusedFound:
    hits = draw(hit_columns())
    count = len(hits)
    columns = [
        LegColumns(
            name=name,
            ranks=np.array(draw(st.lists(uint32, min_size=count, max_size=count)), dtype=np.int64),
            scores=np.array(draw(st.lists(st.floats(), min_size=count, max_size=count)), dtype=np.float64),
            wordless=tuple(draw(st.lists(uint32, max_size=3))),
        )
        for name in draw(st.lists(names, max_size=2))
    ]
    each = {"min_size": count, "max_size": count}
    return FusedFound(
        hits=hits,
        legs=tuple(columns),
        highlights=draw(st.none() | st.lists(spans, **each).map(tuple)) or None,
        group_values=draw(st.none() | st.lists(texts, **each).map(tuple)) or None,
        complete=tuple(draw(st.lists(st.booleans(), max_size=3))),
        missing_shards=tuple(draw(st.lists(texts, max_size=2))),
        explain=draw(st.none() | fused_explains),
    )


@settings(deadline=None)
@given(founds())
def test_an_answer_comes_back(found: FusedFound) -> None:
    got = fused_found_from_message(over_the_wire(fused_found_to_message(found)))
    assert got.hits.counts.tolist() == found.hits.counts.tolist()
    assert same_ids(got.hits.ids, found.hits.ids)
    assert same_payloads(got.hits.payloads, found.hits.payloads)
    assert same_matrix(got.hits.vectors, found.hits.vectors)
    assert got.hits.scores.tolist() == found.hits.scores.tolist()
    for name in ("legs", "highlights", "group_values", "complete", "missing_shards", "explain"):
        assert plain(getattr(got, name)) == plain(getattr(found, name)), name


def test_an_answer_in_json_tells_that_a_leg_did_not_find_a_hit() -> None:
    message = search_pb2.SearchResponse()
    message.fused.legs.add(name="text", ranks=[0], scores=[math.nan])
    assert b'"scores":["NaN"]' in message_to_json(message).replace(b" ", b"")
    read = message_from_json(search_pb2.SearchResponse, message_to_json(message))
    assert math.isnan(read.fused.legs[0].scores[0])


@pytest.mark.parametrize(
    "change",
    [
        lambda message: message.ClearField("fused"),
        lambda message: message.fused.legs.add(name="a", ranks=[1]),
        lambda message: message.fused.group_values.extend(["1"]),
        lambda message: message.fused.highlights.add(fields=[search_pb2.FieldSpans(begins=[1])]),
    ],
)
def test_an_answer_that_contradicts_itself_is_refused(change: Any) -> None:
    message = search_pb2.SearchResponse()
    message.fused.SetInParent()
    fused_found_from_message(message)
    change(message)
    with pytest.raises(InvalidArgument):
        fused_found_from_message(message)
