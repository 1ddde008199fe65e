from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shoal.core.errors import DataLoss, DeadlineExceeded, Internal, InvalidArgument, ResourceExhausted, ShoalError, Unavailable
from shoal.core.filter import Filter, In
from shoal.core.ids import CollectionId, Seq, ShardId
from shoal.core.metric import Metric
from shoal.core.points import id_array
from shoal.core.shard_calls import Breadth, Consistency, Exact, QueryGroup, RecallTarget, ShardsFound, ShardsSearch
from shoal.core.topk import MANY_HITS, HitColumns, merge_hits
from shoal.router.logic.joining import (
    LONGEST_S,
    MOST_QUERIES,
    batches,
    is_of_shards,
    join_key,
    joined,
    most_queries,
    query_s_after,
    taken_apart,
)
from shoal.router.logic.outcomes import Covered, Missed

SHARDS = tuple(ShardId(CollectionId("c"), number) for number in range(2))


def search(queries: int = 1, **options: Any) -> ShardsSearch:
    given_options = {"shards": SHARDS, "groups": (QueryGroup(k=3),), "queries": np.zeros((queries, 2), dtype=np.float32), **options}
    return ShardsSearch(**given_options)


def filtered(value: object) -> tuple[QueryGroup, ...]:
    return (QueryGroup(k=3, filter=In(("a",), (value,))),)


DIFFERENT: list[dict[str, Any]] = [
    {},
    {"shards": tuple(ShardId(CollectionId("d"), number) for number in range(2))},
    {"groups": (QueryGroup(k=4),)},
    {"groups": filtered(1)},
    {"groups": filtered(True)},
    {"accuracy": Exact()},
    {"accuracy": RecallTarget(0.5)},
    {"accuracy": Breadth(ef=7)},
    {"radius": 1.0},
    {"vector": "image"},
    {"vector": "text"},
    {"with_payload": False},
    {"with_vectors": True},
    {"consistency": Consistency.PRIMARY},
    {"min_seqs": {SHARDS[0]: Seq(1)}},
    {"min_seqs": {SHARDS[0]: Seq(2)}},
    {"caller": "other"},
]


def test_searches_travel_together_only_if_they_differ_in_their_queries_alone() -> None:
    assert len({join_key(search(**each)) for each in DIFFERENT}) == len(DIFFERENT)
    for each in DIFFERENT:
        assert join_key(search(queries=5, **each)) == join_key(search(**each)) is not None


def long_filter() -> Filter:
    return In(("a",), tuple(range(20_000)))


@pytest.mark.parametrize(
    "options",
    [
        {"explain": True},
        {"queries": 9},
        {"groups": (QueryGroup(k=3, queries=np.array([0])), QueryGroup(k=4, queries=np.array([1]))), "queries": 2},
        {"groups": (QueryGroup(k=3, filter=long_filter()),)},
    ],
)
def test_what_travels_alone(options: dict[str, Any]) -> None:
    assert join_key(search(**options)) is None


@given(st.integers(1, 20_000), st.none() | st.floats(0, 10))
@example(1, 5e-324)
def test_a_common_call_takes_a_turn_at_most_and_has_few_hits(k: int, query_s: float | None) -> None:
    most = most_queries(k, query_s)
    assert 1 <= most <= MOST_QUERIES
    if most > 1:
        assert query_s is not None
        assert most * query_s <= LONGEST_S * (1 + 1e-9)
        assert most * k <= MANY_HITS


def test_nothing_is_joined_before_it_is_known_how_long_a_query_takes() -> None:
    assert [most_queries(10, each) for each in (None, 0.1, 0.002, 0.0)] == [1, 1, 10, MOST_QUERIES]


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 9)), min_size=1))
def test_the_time_of_a_query_is_a_mean_of_those_seen(times: list[tuple[float, int]]) -> None:
    mean: float | None = None
    for took_s, queries in times:
        mean = query_s_after(mean, took_s, queries)
    seen = [took_s / queries for took_s, queries in times]
    assert mean is not None
    assert min(seen) - 1e-9 <= mean <= max(seen) + 1e-9


@given(st.lists(st.integers(1, 8), max_size=30), st.integers(1, 20))
def test_batches_hold_every_search_once_in_order_and_are_bounded(sizes: list[int], most: int) -> None:
    found = batches(sizes, most)
    assert [size for each in found for size in sizes[each]] == sizes
    for each in found:
        assert sizes[each]
        assert sum(sizes[each]) <= most or len(sizes[each]) == 1


@st.composite
def parts(draw: st.DrawFn, queries: int) -> list[ShardsFound]:
    """The answers of some workers."""
    found = []
    for worker in range(draw(st.integers(1, 3))):
        counts = draw(st.lists(st.integers(0, 3), min_size=queries, max_size=queries))
        total = sum(counts)
        hits = HitColumns(
            counts=np.array(counts, dtype=np.int64),
            ids=id_array(f"{worker}-{at}" if at % 2 else 10 * worker + at for at in range(total)),
            scores=np.arange(total, dtype=np.float32),
            payloads=tuple(b"%d" % at for at in range(total)) if draw(st.booleans()) else None,
            vectors=np.arange(2 * total, dtype=np.float32).reshape(-1, 2) if draw(st.booleans()) else None,
        )
        found.append(ShardsFound(hits=hits))
    return found


@given(st.lists(st.integers(1, 3), min_size=1, max_size=4), st.data())
def test_what_is_joined_comes_apart_again(sizes: list[int], drawn: st.DataObject) -> None:
    found = drawn.draw(parts(sum(sizes)))
    covered = Covered(parts=tuple(found))
    apart = taken_apart(covered, sizes)
    for number in range(len(found)):
        columns = [each.parts[number].hits for each in apart]
        assert [len(each.counts) for each in columns] == sizes
        whole = found[number].hits
        assert [count for each in columns for count in each.counts] == whole.counts.tolist()
        assert [value for each in columns for value in each.ids.tolist()] == whole.ids.tolist()
        assert [text for each in columns for text in each.payloads or ()] == list(whole.payloads or ())
        assert b"".join(each.scores.tobytes() for each in columns) == whole.scores.tobytes()
        assert b"".join(b"" if each.vectors is None else each.vectors.tobytes() for each in columns) == (
            b"" if whole.vectors is None else whole.vectors.tobytes()
        )
        for each in columns:
            merge_hits([each], 3, Metric.L2)


def test_the_queries_of_all_are_in_their_order() -> None:
    calls = [dataclasses.replace(search(), queries=np.full((count, 2), count, dtype=np.float32)) for count in (2, 1)]
    assert joined(calls).queries[:, 0].tolist() == [2, 2, 1]
    assert dataclasses.replace(joined(calls), queries=calls[0].queries) == calls[0]


@pytest.mark.parametrize(
    ("error", "shared"),
    [
        (Unavailable("x"), True),
        (DataLoss("x"), True),
        (DeadlineExceeded("x"), True),
        (InvalidArgument("x"), False),
        (ResourceExhausted("x"), False),
        (Internal("x"), False),
    ],
)
def test_which_errors_all_searches_of_a_call_have(error: ShoalError, shared: bool) -> None:
    missed = Missed(shard="a/0", number=0, error=error, applied="no")
    assert is_of_shards(Covered(missed=(missed,))) == shared
