"""A few queries searched for in one pass get the answers that each gets alone, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shoal.core.metric import Metric
from shoal.core.shard_calls import Exact
from shoal.shard_worker.index.likeness import Likeness
from shoal.shard_worker.index.search.few_queries import MOST_QUERIES, search_few
from shoal.shard_worker.index.search.lone_query import LoneQuery, lone_query
from shoal.shard_worker.index.search.search import FoundInViews, SearchedView
from tests.support.scope import LONG
from tests.support.worker.steady_paces import SteadyPaces
from tests.unit.shard_worker.index.filter_world import Piece, clustered, world
from tests.unit.shard_worker.index.indexed_worlds import DIM, KINDS, METRICS, TARGET, MeasuredTuning, indexed_world
from tests.unit.shard_worker.index.indexed_worlds import seen as _seen


def _piece(first: int, vectors: np.ndarray, kind: str, dead: tuple[int, ...]) -> Piece:
    rows = len(vectors)
    return Piece(ids=range(first, first + rows), vectors=vectors, payloads=[None] * rows, dead=dead, kind=kind)


@pytest.fixture(autouse=True)
def _exact_is_costly() -> Any:
    before, SteadyPaces.floats_per_us = SteadyPaces.floats_per_us, 1.0
    yield
    SteadyPaces.floats_per_us = before


def _planned(seen: list[SearchedView], k: int, metric: Metric, target: Any = TARGET) -> LoneQuery:
    lone = lone_query(seen, k, target, metric)
    assert lone is not None
    return lone


def _columns(found: FoundInViews) -> list[tuple[list[Any], ...]]:
    """Return ids, scores, rows and views of the hits of each query."""
    hits, views = found.hits, found.view_numbers()
    ends = np.cumsum(hits.counts).tolist()
    parts = [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    columns = (hits.ids, hits.scores.view(np.int32), hits.rows, views)
    return [tuple(column[part].tolist() for column in columns) for part in parts]


def _agree(lone: LoneQuery, queries: np.ndarray) -> list[tuple[list[Any], ...]]:
    together = search_few(lone, queries)
    assert together is not None
    alone = []
    for query in queries:
        found = lone.search(query[None, :], with_rows=True)
        assert found is not None
        alone += _columns(found)
    assert _columns(together) == alone
    return alone


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_indexes_are_searched_for_all_queries_as_for_each(metric: Metric, kind: str) -> None:
    seen = _seen(indexed_world(metric, kind, 1), indexed_world(metric, kind, 2))
    for k in (1, 10, 40):
        for count in (2, 5, MOST_QUERIES):
            answers = _agree(_planned(seen, k, metric), clustered(99, count, DIM, 8)[0])
            assert [len(ids) for ids, *_ in answers] == [k] * count


@settings(deadline=None, max_examples=300 if LONG else 60, suppress_health_check=[HealthCheck.too_slow])
@given(
    metric=st.sampled_from(METRICS),
    sizes=st.lists(st.tuples(st.integers(1, 40), st.integers(0, 6), st.sampled_from(["", "", "HNSW8"])), min_size=1, max_size=6),
    k=st.sampled_from([1, 3, 10, 100]),
    count=st.integers(2, MOST_QUERIES),
    seed=st.integers(0, 1 << 20),
    exact=st.booleans(),
    far=st.booleans(),
)
def test_small_parts_beside_indexes_are_compared_for_all_queries_as_for_each(
    metric: Metric, sizes: list[tuple[int, int, str]], k: int, count: int, seed: int, exact: bool, far: bool
) -> None:
    random = np.random.default_rng(seed)
    worlds, first = [], 0
    for rows, dead, kind in sizes:
        # Small whole numbers, so that many scores tie.
        vectors = random.integers(-2, 3, size=(rows, DIM)).astype(np.float32)
        vectors[:, 0] += np.where(vectors.any(axis=1), 0, 1)
        gone = tuple(random.permutation(rows)[: min(dead, rows)].tolist()) if not kind else ()
        worlds.append(world(metric, [_piece(first, vectors, kind, gone)], vectors[:2]))
        first += rows
    seen = _seen(*worlds)
    queries = random.integers(-2, 3, size=(count, DIM)).astype(np.float32) + np.float32(0.25)
    queries[0] *= np.float32(1e19 if far else 1)
    lone = lone_query(seen, k, Exact() if exact else TARGET, metric)
    if lone is None:
        assert all(not part.live for each in seen for part in each.view.parts)
        return
    alone = [lone.search(query[None, :], with_rows=True) for query in queries]
    together = search_few(lone, queries)
    if together is None:
        assert None in alone, "a query must be the reason"
        return
    assert _columns(together) == [columns for found in alone if found is not None for columns in _columns(found)]


@pytest.mark.parametrize("metric", METRICS)
def test_queries_unlike_those_measured_are_answered_with_care_and_counted_once(metric: Metric) -> None:
    made = indexed_world(metric, "HNSW16", 3)
    queries = clustered(97, 6, DIM, 8)[0]
    lone = _planned(_seen(made), 10, metric)
    plain = _agree(lone, queries)
    slots: list[Any] = [part.tuning for part in made.view.parts]
    before = [slot.now for slot in slots]
    likenesses = []
    remote = sorted(_remoteness(plain[at][1][0], queries[at], metric) for at in range(6))
    # Of the first part, some of the queries are farther than the sample; of the second, none is.
    for slot, sample in zip(slots, ([remote[2]] * 4, [1e30] * 4), strict=True):
        likenesses.append(Likeness(sample))
        slot.now = MeasuredTuning(slot.now, likenesses[-1])
    try:
        _agree(_planned(_seen(made), 10, metric), queries)
        assert [each._counted for each in likenesses] == [12, 12], "once together, and once alone"
    finally:
        for slot, tuning in zip(slots, before, strict=True):
            slot.now = tuning


def _remoteness(score_bits: int, query: np.ndarray, metric: Metric) -> float:
    score = float(np.array([score_bits], dtype=np.int32).view(np.float32)[0])
    if metric is Metric.L2:
        return score
    return -score if metric is Metric.COSINE else -score / float(np.linalg.norm(query))


def test_where_rounding_leaves_too_many_rows_or_an_index_finds_too_few_each_is_searched_for_alone() -> None:
    vectors = np.ones((700, DIM), dtype=np.float32)
    made = world(Metric.L2, [Piece(ids=range(700), vectors=vectors, payloads=[None] * 700, dead=(), kind="")], vectors[:2])
    lone = _planned(_seen(made), 5, Metric.L2)
    assert search_few(lone, vectors[:2]) is None, "all rows tie"
    far = np.stack([vectors[0] * 2, np.full(DIM, 1e19, dtype=np.float32)])
    assert search_few(lone, far) is None, "squares overflow"
    indexed = indexed_world(Metric.L2, "HNSW16", 5)
    native: Any = indexed.view.parts[1].native
    native.broken = True
    try:
        assert search_few(_planned(_seen(indexed), 10, Metric.L2), vectors[:2]) is None
    finally:
        native.broken = False
