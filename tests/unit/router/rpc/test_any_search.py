"""Any search message, sensible or not, is answered or refused with an error of ours; an answer keeps its promises."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.errors import InvalidArgument, ResourceExhausted, ShoalError
from shoal.core.limits import Limits
from shoal.router.rpc.search_service import SearchService
from shoal.v1 import search_pb2
from shoal.wire.fused_searches import fused_found_from_message, is_fused
from tests.support.fused_scene import DIM, WORDS, made_points, scene
from tests.support.scope import LONG
from tests.unit.router.rpc.test_services import Context

CLUSTER = scene(made_points(30), limits=Limits(k=200))
ROUTER = CLUSTER.router
SERVICE = SearchService(
    reads=ROUTER.reads, fused=ROUTER.fused, limits=ROUTER.limits, default_timeout_s=10.0, conversions=ROUTER.conversions
)

rare = st.sampled_from([math.nan, math.inf, -math.inf, -1.0, 1e308])
usual = st.sampled_from([0.0, 0.3, 0.5, 1.0])
odd = st.sampled_from([0, 0, 0, 0, 0, 0, 0, 0, 0, 1]).flatmap(lambda chosen: rare if chosen else usual)
small = st.sampled_from([*range(1, 13), *range(1, 13), 0, 100, 201, 2**32 - 1])
words = st.lists(st.sampled_from((*WORDS, "", "x" * 200)), max_size=3).map(" ".join)
text_queries = st.fixed_dictionaries(
    {"text": words},
    optional={
        "match": st.sampled_from(["", "any", "all", "some"]),
        "must": st.lists(words, max_size=2),
        "must_not": st.lists(words, max_size=2),
        "phrases": st.lists(words, max_size=2),
        "prefix": st.sampled_from(["", "a", "do"]),
        "fields": st.dictionaries(st.sampled_from(["title", "body", "none"]), odd, max_size=2),
    },
)
numbers = st.lists(st.sampled_from([*range(-3, 4)] * 5 + [1e38, math.inf]).map(float), min_size=DIM, max_size=DIM)
vectors = st.lists(numbers, min_size=1, max_size=1).map(lambda rows: {"dim": DIM, "values": [each for row in rows for each in row]})
legs = st.one_of(
    st.fixed_dictionaries(
        {"vectors": vectors}, optional={"name": st.text("abcdef", min_size=3, max_size=3), "weight": odd, "min_score": odd}
    ),
    st.fixed_dictionaries(
        {"texts": st.lists(text_queries, min_size=1, max_size=1).map(lambda queries: {"queries": queries})},
        optional={"name": st.text("abcdef", min_size=3, max_size=3), "weight": odd, "min_score": odd},
    ),
)


def named(given: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give names to legs that have none."""
    return [{"name": f"leg{at}", **leg} for at, leg in enumerate(given)]


requests = st.fixed_dictionaries(
    {"collection": st.just("a"), "legs": st.lists(legs, min_size=1, max_size=3).map(named), "k": small},
    optional={
        "fusion": st.fixed_dictionaries({"kind": st.sampled_from(["", "zscore", "minmax", "rrf", "rrf", "sum"])}, optional={"c": odd}),
        "candidates": st.sampled_from([20, 60, 100, 0, 5, 300]),
        "offset": small,
        "threshold": odd,
        "diversity": odd,
        "group_by": st.fixed_dictionaries({"path": st.sampled_from(["", "at", "doc.id", "title", "a..b"])}, optional={"size": small}),
        "highlight": st.booleans(),
        "explain": st.booleans(),
        "with_payload": st.booleans(),
        "with_vectors": st.booleans(),
        "allow_partial": st.booleans(),
        "exact": st.booleans(),
    },
)


def answered_or_refused(message: search_pb2.SearchRequest) -> Any:
    try:
        return asyncio.run(SERVICE.Search(message, Context()))
    except (InvalidArgument, ResourceExhausted) as error:
        return error


@settings(deadline=None, max_examples=3_000 if LONG else 400)
@given(requests)
def test_any_search_is_answered_or_refused(parts: dict[str, Any]) -> None:
    message = search_pb2.SearchRequest(**parts)
    response = answered_or_refused(message)
    if isinstance(response, ShoalError):
        assert response.details.field or response.details.limit, response.message
        return
    assert is_fused(message) == response.HasField("fused")
    if not is_fused(message):
        return
    found = fused_found_from_message(search_pb2.SearchResponse.FromString(response.SerializeToString()))
    queries = len(found.hits.counts)
    assert len(found.complete) == queries
    assert [len(leg.ranks) for leg in found.legs] == [len(found.hits)] * len(message.legs)
    if message.HasField("group_by"):
        assert len(found.group_values or ()) == len(found.hits)
    else:
        assert max(found.hits.counts, default=0) <= message.k
    if len(message.legs) > 1:
        assert ((found.hits.scores >= 0) & (found.hits.scores <= 1)).all()
        assert all(any(leg.ranks[at] for leg in found.legs) for at in range(len(found.hits)))


def test_the_cases_are_worth_it() -> None:
    """Some of the messages are answered, else the test above tests only refusals."""
    answered = 0
    for text in WORDS:
        message = search_pb2.SearchRequest(collection="a", k=3, legs=[{"texts": {"queries": [{"text": text}]}}])
        answered += len(asyncio.run(SERVICE.Search(message, Context())).hits.scores) > 0
    assert answered == len(WORDS)
    with pytest.raises(InvalidArgument):
        asyncio.run(SERVICE.Search(search_pb2.SearchRequest(collection="a", k=3), Context()))
