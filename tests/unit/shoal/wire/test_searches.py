from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.errors import BY_STATUS, Internal, InvalidArgument, ShoalError, Unavailable
from shoal.core.filter import filter_key
from shoal.core.ids import CollectionId, Seq, ShardId
from shoal.core.replies import Found
from shoal.core.requests import ReadAs, Search
from shoal.core.shard_calls import (
    Breadth,
    Consistency,
    Exact,
    QueryGroup,
    RecallTarget,
    SegmentExplain,
    ShardFound,
    ShardSearch,
    ShardsFound,
    ShardsSearch,
)
from shoal.core.topk import HitColumns
from shoal.v1 import search_pb2, worker_pb2
from shoal.wire.searches import (
    explain_from_message,
    explain_to_message,
    found_from_message,
    found_to_message,
    groups_from_message,
    groups_to_message,
    search_from_message,
    search_to_message,
    shard_found_from_message,
    shard_found_to_message,
    shard_search_from_message,
    shard_search_to_message,
    shards_found_from_message,
    shards_found_to_message,
    shards_search_from_message,
    shards_search_to_message,
)
from tests.support.examples.filters import filters
from tests.unit.shoal.wire.strategies import (
    error_details,
    hit_columns,
    matrices,
    over_the_wire,
    read_terms,
    reads,
    same_ids,
    same_matrix,
    same_payloads,
    shard_ids,
)

uint32 = st.integers(0, 2**32 - 1)
numbers = st.floats(allow_nan=False, allow_infinity=False)
accuracies = st.one_of(
    st.just(Exact()),
    st.builds(RecallTarget, numbers),
    st.builds(lambda value: Breadth(ef=value), uint32),
    st.builds(lambda value: Breadth(nprobe=value), uint32),
)
positions = st.none() | st.sets(uint32, min_size=1, max_size=4).map(lambda chosen: np.array(sorted(chosen), dtype=np.int64))
groups = st.builds(QueryGroup, k=uint32, filter=st.none() | filters(), queries=positions)
explains = st.builds(
    SegmentExplain,
    **dict.fromkeys(("shard", "group", "queries", "breadth", "fallbacks"), uint32),
    **dict.fromkeys(("rows", "candidates"), st.integers(0, 2**64 - 1)),
    **dict.fromkeys(("segment", "state", "index", "plan", "breadth_name", "vector"), st.text(max_size=5)),
    **dict.fromkeys(("estimated_selectivity", "selectivity", "filter_us", "search_us", "score_us"), numbers),
    filter_cached=st.booleans(),
)


def plain(group: QueryGroup) -> tuple[Any, ...]:
    return (
        group.k,
        None if group.filter is None else filter_key(group.filter),
        None if group.queries is None else (group.queries.dtype, group.queries.tolist()),
    )


@settings(deadline=None)
@given(
    shard=shard_ids,
    queries=matrices(3),
    asked=st.lists(groups, max_size=3).map(tuple),
    accuracy=accuracies,
    radius=st.none() | numbers,
    flags=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    terms=read_terms,
    vector=st.text(max_size=4),
)
def test_a_search_comes_back(
    *,
    vector: str,
    shard: Any,
    queries: np.ndarray,
    asked: tuple[QueryGroup, ...],
    accuracy: Any,
    radius: float | None,
    flags: Any,
    terms: Any,
) -> None:
    explain, with_payload, with_vectors = flags
    call = ShardSearch(
        shard=shard,
        queries=queries,
        groups=asked,
        accuracy=accuracy,
        radius=radius,
        explain=explain,
        with_payload=with_payload,
        with_vectors=with_vectors,
        terms=terms,
        vector=vector,
    )
    got = shard_search_from_message(over_the_wire(shard_search_to_message(call)))
    assert (got.shard, got.accuracy, got.radius, got.explain, got.with_payload, got.with_vectors, got.terms) == (
        shard,
        accuracy,
        radius,
        explain,
        with_payload,
        with_vectors,
        terms,
    )
    assert got.vector == vector
    assert type(got.accuracy) is type(accuracy)
    assert same_matrix(got.queries, queries)
    assert list(map(plain, got.groups)) == list(map(plain, asked))


def test_a_search_says_how_accurate_it_is() -> None:
    with pytest.raises(InvalidArgument, match="one of exact, recall, ef, nprobe"):
        shard_search_from_message(worker_pb2.ShardSearchRequest(queries={"dim": 1}))
    for neither in (Breadth(), Breadth(ef=1, nprobe=1)):
        shard = ShardId(CollectionId("c"), 1)
        call = ShardSearch(shard=shard, queries=np.zeros((1, 1), dtype=np.float32), groups=(), accuracy=neither)
        with pytest.raises(InvalidArgument, match="must have one of ef and nprobe"):
            shard_search_to_message(call)


def test_positions_of_a_group_are_put_in_order() -> None:
    (group,) = groups_from_message([search_pb2.QueryGroup(queries=[5, 0, 3], k=2)])
    assert group.queries is not None
    assert group.queries.tolist() == [0, 3, 5]


def test_a_group_of_all_queries_names_none() -> None:
    (message,) = groups_to_message([QueryGroup(k=3)])
    assert (list(message.queries), message.k, message.HasField("filter")) == ([], 3, False)


@settings(deadline=None)
@given(hits=hit_columns(), explain=st.lists(explains, max_size=2).map(tuple))
def test_what_was_found_comes_back(hits: HitColumns, explain: tuple[SegmentExplain, ...]) -> None:
    got = shard_found_from_message(over_the_wire(shard_found_to_message(ShardFound(hits=hits, explain=explain))))
    assert got.explain == explain
    assert got.hits.counts.tolist() == hits.counts.tolist()
    assert same_ids(got.hits.ids, hits.ids)
    assert got.hits.scores.tolist() == hits.scores.tolist()
    assert same_payloads(got.hits.payloads, hits.payloads)
    assert same_matrix(got.hits.vectors, hits.vectors)


@settings(deadline=None)
@given(explains)
def test_how_a_segment_was_searched_comes_back(explain: SegmentExplain) -> None:
    assert explain_from_message(over_the_wire(explain_to_message(explain))) == explain


public_accuracies = st.none() | st.one_of(
    st.just(Exact()),
    st.builds(RecallTarget, numbers),
    st.builds(lambda value: Breadth(ef=value), uint32),
    st.builds(lambda value: Breadth(nprobe=value), uint32),
)


@settings(deadline=None)
@given(
    queries=matrices(3),
    asked=st.lists(groups, min_size=1, max_size=3).map(tuple),
    accuracy=public_accuracies,
    radius=st.none() | numbers,
    flags=st.tuples(*[st.booleans()] * 4),
    read=reads,
    vector=st.text(max_size=4),
)
def test_a_public_search_comes_back(
    *, vector: str, queries: np.ndarray, asked: tuple[QueryGroup, ...], accuracy: Any, radius: float | None, flags: Any, read: ReadAs
) -> None:
    explain, with_payload, with_vectors, allow_partial = flags
    request = Search(
        collection="c",
        queries=queries,
        groups=asked,
        accuracy=accuracy,
        radius=radius,
        explain=explain,
        with_payload=with_payload,
        with_vectors=with_vectors,
        allow_partial=allow_partial,
        read=read,
        vector=vector,
    )
    got = search_from_message(over_the_wire(search_to_message(request)), read.caller)
    for field in ("collection", "accuracy", "radius", "explain", "with_payload", "with_vectors", "allow_partial", "read", "vector"):
        assert getattr(got, field) == getattr(request, field), field
    assert same_matrix(got.queries, queries)
    for mine, sent in zip(got.groups, asked, strict=True):
        # A filter that matches every point is not sent.
        assert plain(mine) in (plain(sent), plain(dataclasses.replace(sent, filter=None)))


@settings(deadline=None)
@given(hit_columns(), st.lists(st.text(max_size=4), max_size=2).map(tuple), st.lists(explains, max_size=2).map(tuple))
def test_what_a_public_search_found_comes_back(hits: HitColumns, missing: tuple[str, ...], explain: tuple[SegmentExplain, ...]) -> None:
    got = found_from_message(over_the_wire(found_to_message(Found(hits=hits, missing_shards=missing, explain=explain))))
    assert (got.missing_shards, got.explain) == (missing, explain)
    assert got.hits.counts.tolist() == hits.counts.tolist()
    assert same_ids(got.hits.ids, hits.ids)
    assert same_payloads(got.hits.payloads, hits.payloads)


@st.composite
def searches_of_shards(draw: st.DrawFn) -> ShardsSearch:
    collection = CollectionId(draw(st.text(max_size=5)))
    shards = tuple(ShardId(collection, number) for number in draw(st.lists(uint32, min_size=1, max_size=4, unique=True)))
    min_seqs = draw(st.dictionaries(st.sampled_from(shards), st.integers(1, 2**64 - 1).map(Seq)))
    return ShardsSearch(
        shards=shards,
        queries=draw(matrices(3)),
        groups=draw(st.lists(groups, max_size=3).map(tuple)),
        accuracy=draw(accuracies),
        radius=draw(st.none() | numbers),
        explain=draw(st.booleans()),
        with_payload=draw(st.booleans()),
        with_vectors=draw(st.booleans()),
        consistency=draw(st.sampled_from(Consistency)),
        min_seqs=min_seqs,
        caller=draw(st.text(max_size=5)),
        vector=draw(st.text(max_size=4)),
    )


@settings(deadline=None)
@given(searches_of_shards())
def test_a_search_of_several_shards_comes_back(call: ShardsSearch) -> None:
    got = shards_search_from_message(over_the_wire(shards_search_to_message(call)))
    assert (got.shards, got.consistency, got.caller) == (call.shards, call.consistency, call.caller)
    assert (got.vector, got.of(call.shards[0]).vector) == (call.vector, call.vector)
    assert [got.of(shard).terms for shard in call.shards] == [call.of(shard).terms for shard in call.shards]
    assert (got.accuracy, got.radius, got.explain, got.with_payload, got.with_vectors) == (
        call.accuracy,
        call.radius,
        call.explain,
        call.with_payload,
        call.with_vectors,
    )
    assert same_matrix(got.queries, call.queries)
    assert list(map(plain, got.groups)) == list(map(plain, call.groups))


@pytest.mark.parametrize(
    ("parts", "text"),
    [({}, "at least one is needed"), ({"shards": [1, 2, 1]}, "each once"), ({"shards": [1, 2], "min_seqs": [3]}, "1 min_seqs .* 2 shards")],
)
def test_a_search_of_several_shards_names_them_each_once(parts: dict[str, list[int]], text: str) -> None:
    search = worker_pb2.ShardSearchRequest(queries={"dim": 1}, exact=True, terms={"consistency": 1})
    with pytest.raises(InvalidArgument, match=text):
        shards_search_from_message(worker_pb2.SearchShardsRequest(search=search, **parts))


SEVERAL = ShardsSearch(
    shards=tuple(ShardId(CollectionId("c"), number) for number in (4, 0, 7)), queries=np.zeros((2, 1), dtype=np.float32), groups=()
)
errors_of_shards = st.builds(
    lambda kind, text, details: kind(text, details),
    st.sampled_from(list(BY_STATUS.values())),
    st.text(min_size=1, max_size=9),
    error_details,
)


@settings(deadline=None)
@given(hit_columns(), st.lists(explains, max_size=2).map(tuple), st.dictionaries(st.sampled_from(SEVERAL.shards), errors_of_shards))
def test_what_several_shards_answered_comes_back(
    hits: HitColumns, explain: tuple[SegmentExplain, ...], failed: dict[ShardId, ShoalError]
) -> None:
    found = ShardsFound(hits=hits, failed=failed, explain=explain)
    got = shards_found_from_message(SEVERAL, over_the_wire(shards_found_to_message(SEVERAL, found)))
    assert {shard: (type(error), error.message, error.details) for shard, error in got.failed.items()} == {
        shard: (type(error), error.message, error.details) for shard, error in failed.items()
    }
    assert got.explain == explain
    assert got.hits.counts.tolist() == hits.counts.tolist()
    assert same_ids(got.hits.ids, hits.ids)
    assert same_payloads(got.hits.payloads, hits.payloads)
    assert same_matrix(got.hits.vectors, hits.vectors)


def test_a_shard_of_which_nothing_is_said_has_failed() -> None:
    got = shards_found_from_message(SEVERAL, worker_pb2.SearchShardsResponse(answered=[0, 7]))
    ((shard, error),) = got.failed.items()
    assert (shard.number, type(error), error.details.shard) == (4, Internal, "c/4")


@pytest.mark.parametrize("parts", [{"answered": [0, 1]}, {"failed": [{"shard": 1}]}, {"answered": [0], "failed": [{"shard": 0}]}])
def test_an_answer_about_other_shards_is_refused(parts: dict[str, Any]) -> None:
    with pytest.raises(Internal, match=r"\[0, 4, 7\] were asked"):
        shards_found_from_message(SEVERAL, worker_pb2.SearchShardsResponse(**parts))


def test_an_unknown_status_of_a_shard_is_internal_and_a_long_text_is_cut() -> None:
    failure = worker_pb2.ShardFailure(shard=4, status="NEW_STATUS", message="what is it")
    got = shards_found_from_message(SEVERAL, worker_pb2.SearchShardsResponse(answered=[0, 7], failed=[failure]))
    assert [(type(error), error.message) for error in got.failed.values()] == [(Internal, "what is it")]
    long = ShardsFound(hits=got.hits, failed={SEVERAL.shards[0]: Unavailable("\udc80" + "x" * 10_000)})
    assert len(shards_found_to_message(SEVERAL, long).failed[0].message) <= 3_072


@pytest.mark.parametrize("leg", [{}, {"name": ""}])
def test_a_leg_that_names_nothing_to_search_for_is_refused(leg: dict[str, Any]) -> None:
    message = search_pb2.SearchRequest(collection="c", legs=[search_pb2.SearchLeg(**leg)], k=1)
    with pytest.raises(InvalidArgument, match=r"^legs\[0\] has no queries, it needs vectors or texts to search for$") as caught:
        search_from_message(message)
    assert caught.value.details.field == "legs"
