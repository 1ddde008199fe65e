"""One query in the indexes of all parts is answered as by the search of any views, bit for bit."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shoal.core.metric import Metric
from shoal.core.scoring import prepared
from shoal.core.shard_calls import Exact, QueryGroup
from shoal.core.topk import HitColumns, merge_hits
from shoal.shard_worker.index.likeness import Likeness
from shoal.shard_worker.index.search import lone_query as lone_query_module
from shoal.shard_worker.index.search import scan
from shoal.shard_worker.index.search.lone_query import IndexedPart, LoneQuery, lone_query
from shoal.shard_worker.index.search.search import FoundInViews, SearchedView, search_view, search_views
from shoal.shard_worker.index.view import IndexView
from tests.support.scope import LONG
from tests.support.worker.steady_paces import SteadyPaces
from tests.unit.shard_worker.index.filter_world import Piece, clustered, world
from tests.unit.shard_worker.index.indexed_worlds import DIM, KINDS, METRICS, ROWS, TARGET, MeasuredTuning, indexed_world
from tests.unit.shard_worker.index.indexed_worlds import seen as _seen

_world = functools.cache(indexed_world)


@pytest.fixture(autouse=True)
def _exact_is_costly() -> Any:
    before, SteadyPaces.floats_per_us = SteadyPaces.floats_per_us, 1.0
    yield
    SteadyPaces.floats_per_us = before


def _agree(seen: list[SearchedView], lone: LoneQuery, query: np.ndarray, k: int, metric: Metric) -> FoundInViews:
    found = lone.search(query, with_rows=True)
    twin = search_views(seen, query, (QueryGroup(k=k),), TARGET, None, metric)
    assert found is not None
    for column in ("counts", "ids", "scores", "rows"):
        assert getattr(found.hits, column).tolist() == getattr(twin.hits, column).tolist(), column
    assert found.view_numbers().tolist() == twin.view_numbers().tolist()
    return found


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_it_agrees_with_the_search_of_any_views(metric: Metric, kind: str) -> None:
    seen = _seen(_world(metric, kind, 1), _world(metric, kind, 2))
    for k in (1, 10, 40):
        lone = lone_query(seen, k, TARGET, metric)
        assert lone is not None
        assert lone.ends == (2, 4)
        for query in clustered(99, 6, DIM, 8)[0]:
            assert _agree(seen, lone, query[None, :], k, metric).hits.counts.tolist() == [k]


@pytest.mark.parametrize("metric", METRICS)
def test_several_views_are_searched_as_if_their_answers_were_merged(metric: Metric) -> None:
    seen, queries = _seen(_world(metric, "HNSW16", 1), _world(metric, "", 2)), clustered(98, 9, DIM, 8)[0]
    groups = (QueryGroup(k=4, queries=np.arange(5)), QueryGroup(k=7, queries=np.arange(5, 9)))
    found = search_views(seen, queries, groups, TARGET, None, metric).hits
    own = [search_view(each.view, queries, groups, TARGET, None, metric, each.context)[0] for each in seen]
    columns = [HitColumns(counts=each.counts, ids=each.ids, scores=each.scores) for each in own]
    merged = merge_hits(columns, np.repeat([4, 7], [5, 4]), metric)
    assert [found.counts.tolist(), found.ids.tolist(), found.scores.tolist()] == [
        merged.counts.tolist(),
        merged.ids.tolist(),
        merged.scores.tolist(),
    ]


def test_an_index_over_dead_rows_and_large_parts_are_left_to_the_search_of_any_views(monkeypatch: pytest.MonkeyPatch) -> None:
    usual, flat = _world(Metric.L2, "HNSW16", 1), _world(Metric.L2, "", 2)
    dead = _world(Metric.L2, "HNSW16", 1, dead=(3,))
    assert lone_query(_seen(usual), 10, TARGET, Metric.L2) is not None
    assert lone_query(_seen(usual, dead), 10, TARGET, Metric.L2) is None
    nothing = SearchedView(view=IndexView(seq=1, parts=()), context=usual.context())
    assert lone_query([nothing], 10, TARGET, Metric.L2) is None
    assert lone_query(_seen(usual, flat), 10, TARGET, Metric.L2) is not None
    monkeypatch.setattr(scan, "_MOST_FLOATS", 2 * ROWS * DIM - 1)
    assert lone_query(_seen(flat), 10, TARGET, Metric.L2) is None, "it would be compared in one piece that is too long"
    monkeypatch.setattr(lone_query_module, "is_small", lambda part: False)
    assert lone_query(_seen(_world(Metric.L2, "", 3)), 10, TARGET, Metric.L2) is None, "short images may be faster"


@settings(deadline=None, max_examples=200 if LONG else 40, suppress_health_check=[HealthCheck.too_slow])
@given(
    metric=st.sampled_from(METRICS),
    sizes=st.lists(st.tuples(st.integers(1, 40), st.integers(0, 6), st.sampled_from(["", "", "HNSW8"])), min_size=1, max_size=6),
    k=st.sampled_from([1, 3, 10, 100]),
    seed=st.integers(0, 1 << 20),
    exact=st.booleans(),
)
def test_small_parts_beside_indexes_are_compared_as_by_the_search_of_any_views(
    metric: Metric, sizes: list[tuple[int, int, str]], k: int, seed: int, exact: bool
) -> None:
    random = np.random.default_rng(seed)
    worlds, first = [], 0
    for rows, dead, kind in sizes:
        # Small whole numbers, so that many scores tie.
        vectors = random.integers(-2, 3, size=(rows, DIM)).astype(np.float32)
        vectors[:, 0] += np.where(vectors.any(axis=1), 0, 1)
        gone = tuple(random.permutation(rows)[: min(dead, rows)].tolist()) if not kind else ()
        piece = Piece(ids=range(first, first + rows), vectors=vectors, payloads=[None] * rows, dead=gone, kind=kind)
        worlds.append(world(metric, [piece], vectors[:2]))
        first += rows
    seen, query = _seen(*worlds), random.integers(-2, 3, size=(1, DIM)).astype(np.float32) + np.float32(0.25)
    target: Any = Exact() if exact else TARGET
    lone = lone_query(seen, k, target, metric)
    if lone is None:
        assert all(not part.live for each in seen for part in each.view.parts)
        return
    found, twin = lone.search(query, with_rows=True), search_views(seen, query, (QueryGroup(k=k),), target, None, metric)
    assert found is not None
    if exact or not any(kind for _, _, kind in sizes):
        for column in ("counts", "ids", "scores", "rows"):
            assert getattr(found.hits, column).tolist() == getattr(twin.hits, column).tolist(), column
        assert found.view_numbers().tolist() == twin.view_numbers().tolist()
    assert len(found.hits) == min(k, sum(each.view.points for each in seen))


def test_where_rounding_leaves_too_many_rows_nothing_is_selected() -> None:
    vectors = np.ones((700, DIM), dtype=np.float32)
    made = world(Metric.L2, [Piece(ids=range(700), vectors=vectors, payloads=[None] * 700, dead=(), kind="")], vectors[:2])
    lone = lone_query(_seen(made), 5, TARGET, Metric.L2)
    assert lone is not None
    assert lone.search(vectors[:1], with_rows=False) is None, "all rows tie"
    far = lone_query(_seen(made), 5, TARGET, Metric.L2)
    assert far is not None
    assert far.search(np.full((1, DIM), 1e19, dtype=np.float32), with_rows=False) is None, "squares overflow"


def test_an_index_that_finds_too_few_rows_is_left_to_the_search_of_any_views() -> None:
    made = _world(Metric.L2, "HNSW16", 5)
    lone = lone_query(_seen(made), 10, TARGET, Metric.L2)
    assert lone is not None
    native: Any = made.view.parts[1].native
    native.broken = True
    try:
        assert lone.search(np.ones((1, DIM), dtype=np.float32), with_rows=False) is None
    finally:
        native.broken = False


@pytest.mark.parametrize("metric", METRICS)
def test_a_query_unlike_those_measured_is_answered_with_care_in_these_parts(metric: Metric) -> None:
    made = _world(metric, "HNSW16", 3)
    seen, query = _seen(made), clustered(97, 1, DIM, 8)[0]
    slots: list[Any] = [part.tuning for part in made.view.parts]
    before = [slot.now for slot in slots]
    try:
        likenesses = []
        for slot, sample in zip(slots, ([-1e9, -1e9], [1e9, 1e9]), strict=True):
            slot.now = MeasuredTuning(slot.now, Likeness(sample))
            likenesses.append(slot.now.likeness)
        lone = lone_query(seen, 10, TARGET, metric)
        assert lone is not None
        assert lone._unlike(_prepared(query, metric), np.zeros(20, dtype=np.float32), [0, 10, 20]) == [0]
        _agree(seen, lone, query, 10, metric)
        # Once by the line above, and once by each of the two searches.
        assert [each._counted for each in likenesses] == [3, 3]
    finally:
        for slot, tuning in zip(slots, before, strict=True):
            slot.now = tuning


def _prepared(query: np.ndarray, metric: Metric) -> np.ndarray:
    return np.ascontiguousarray(prepared(query, metric), dtype=np.float32)


def test_what_to_ask_of_a_view_is_worked_out_once_until_a_measurement_is_replaced_or_doubted() -> None:
    made = _world(Metric.L2, "HNSW16", 4)
    seen = _seen(made)
    slot: Any = made.view.parts[0].tuning
    usual = slot.now

    def first_part() -> IndexedPart:
        lone = lone_query(seen, 10, TARGET, Metric.L2)
        assert lone is not None
        return lone.parts[0]

    try:
        first = first_part()
        assert first_part() is first
        slot.now = MeasuredTuning(usual, Likeness([]))
        replaced = first_part()
        assert replaced.tuning is slot.now
        assert first_part() is replaced
        slot.now.relied_on = lambda recall: False
        doubted = first_part()
        assert doubted is not replaced
        assert first_part() is not doubted, "it is looked at anew each time"
    finally:
        slot.now = usual
    other = [SearchedView(view=each.view, context=made.context(explain=False)) for each in seen]
    found = lone_query(other, 10, TARGET, Metric.L2)
    assert found is not None
    assert found.parts[0].context is other[0].context


def test_its_estimate_grows_with_the_parts() -> None:
    one, two = _seen(_world(Metric.L2, "HNSW16", 1)), _seen(_world(Metric.L2, "HNSW16", 1), _world(Metric.L2, "HNSW16", 2))
    costs = [made.cost_us for made in (lone_query(one, 10, TARGET, Metric.L2), lone_query(two, 10, TARGET, Metric.L2)) if made]
    assert len(costs) == 2
    assert 0 < costs[0] < costs[1]


def test_rows_are_left_out_if_they_are_not_wanted() -> None:
    lone = lone_query(_seen(_world(Metric.L2, "HNSW16", 1)), 5, TARGET, Metric.L2)
    assert lone is not None
    found = lone.search(np.ones((1, DIM), dtype=np.float32), with_rows=False)
    assert found is not None
    assert (len(found.hits), len(found.hits.rows)) == (5, 0)
