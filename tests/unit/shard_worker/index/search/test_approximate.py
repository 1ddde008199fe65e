"""Test plans that ask the index first and then drop rows: however many rows are dead, no answer is short, and the
recall is that of the index.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest

from shoal.core.filter import HasId, Not
from shoal.core.metric import Metric
from shoal.core.shard_calls import Accuracy, Breadth, QueryGroup, RecallTarget
from shoal.shard_worker.index.search.search import search_view
from shoal.shard_worker.index.tuning import EXACT
from tests.support.worker.steady_paces import SteadyPaces
from tests.unit.shard_worker.index.filter_world import FakeNative, Hits, Piece, World, by_query, recall, truth, world

DIM, ROWS = 16, 4_000


@functools.cache
def _queries() -> np.ndarray:
    return np.random.default_rng(99).random((100, DIM)).astype(np.float32)


def _world(metric: Metric, dead: tuple[int, ...] = (), kind: str = "HNSW16") -> World:
    rng = np.random.default_rng(7)
    piece = Piece(ids=range(ROWS), vectors=rng.random((ROWS, DIM)), payloads=[None] * ROWS, dead=dead, kind=kind)
    return world(metric, [piece], rng.random((60, DIM)))


@functools.cache
def _clean(metric: Metric) -> World:
    return _world(metric)


@functools.cache
def _with_one_dead() -> World:
    return _world(Metric.L2, (1,))


def _native(made: World) -> FakeNative:
    native = made.view.parts[0].native
    assert isinstance(native, FakeNative)
    return native


def _found(made: World, queries: np.ndarray, k: int, accuracy: Accuracy = RecallTarget(0.95)) -> list[Hits]:
    _native(made).searches.clear()
    return by_query(search_view(made.view, queries, (QueryGroup(k=k),), accuracy, None, made.metric, made.context())[0])


@pytest.fixture(autouse=True)
def _dear_exact_search() -> None:
    SteadyPaces.floats_per_us = 30.0


@pytest.mark.parametrize("metric", [Metric.L2, Metric.COSINE])
def test_dead_rows_cost_neither_hits_nor_recall(metric: Metric) -> None:
    made = _world(metric, tuple(np.random.default_rng(1).choice(ROWS, 1_000, replace=False).tolist()))
    found = _found(made, _queries(), 10)
    assert _native(made).searches[0][:2] != (100, 10)
    assert {len(hits) for hits in found} == {10}
    assert recall(found, truth(made, _queries(), None, 10)) >= 0.94


@pytest.mark.parametrize("gone", [100, 1_000, 3_995])
def test_when_everything_near_the_query_is_dead_the_search_goes_on(gone: int) -> None:
    query = _queries()[:1]
    near = tuple(int(point_id) for point_id, _ in truth(_clean(Metric.L2), query, None, gone)[0])
    made = _world(Metric.L2, near)
    found = _found(made, query, 10)
    assert len(found[0]) == min(10, ROWS - gone)
    assert recall(found, truth(made, query, None, 10)) >= 0.9
    assert len(_native(made).searches) <= 5


def test_queries_of_one_batch_that_need_more_get_their_own_hits() -> None:
    queries = np.random.default_rng(2).choice([0.1, 0.9], size=(8, DIM)).astype(np.float32)
    before = truth(_clean(Metric.L2), queries, None, 1_000)
    gone = {int(point_id) for number, count in ((2, 80), (3, 80), (6, 1_000)) for point_id, _ in before[number][:count]}
    made = _world(Metric.L2, tuple(sorted(gone)))
    found, expected = _found(made, queries, 10), truth(made, queries, None, 10)
    searches = _native(made).searches
    assert 0 < searches[-1][0] < searches[0][0] == 8
    for number in range(8):
        assert recall([found[number]], [expected[number]]) >= 0.9, number


def test_an_index_that_finds_too_few_is_asked_more_deeply_and_then_not_at_all() -> None:
    made = _world(Metric.L2)
    _native(made).broken = True
    found = _found(made, _queries(), 100)
    fetches = [fetch for _, fetch, _ in _native(made).searches]
    assert {len(hits) for hits in found} == {100}
    assert recall(found, truth(made, _queries(), None, 100)) >= 0.95
    assert fetches == sorted(fetches)
    assert 2 <= len(fetches) <= 6


@pytest.mark.parametrize("k", [1, 64, 500, 3_999, 4_000, 5_000])
def test_never_short_whatever_k(k: int) -> None:
    made = _with_one_dead()
    found = _found(made, _queries()[:5], k, Breadth(ef=8))
    assert {len(hits) for hits in found} == {min(k, ROWS - 1)}
    assert all(len({point_id for point_id, _ in hits}) == len(hits) for hits in found)


def test_where_exact_search_is_cheaper_the_index_is_not_asked() -> None:
    SteadyPaces.floats_per_us = 1e6
    made = _world(Metric.L2)
    assert _found(made, _queries(), 10, Breadth(ef=1)) == truth(made, _queries(), None, 10)
    assert _native(made).searches == []


@pytest.mark.parametrize("kind", ["PQ8x4", "IVF32,PQ8x4"])
def test_lossy_codes_choose_candidates_and_vectors_decide(kind: str) -> None:
    made = _world(Metric.L2, kind=kind)
    found = _found(made, _queries(), 10)
    assert _native(made).searches[0][1] > 10
    expected = truth(made, _queries(), None, 10)
    assert recall(found, expected) >= 0.93
    scores = [dict(hits) for hits in truth(made, _queries(), None, None)]
    assert all(scores[number][point_id] == score for number, hits in enumerate(found) for point_id, score in hits)


def test_where_no_depth_is_reliable_the_search_is_exact_and_says_so() -> None:
    made = _world(Metric.L2, (1, 2, 3))
    context, group = made.context(), (QueryGroup(k=10, filter=Not(HasId((5, 6)))),)
    made.view.parts[0].tuning.now.breadth_expected = lambda rank, recall: EXACT
    for groups in ((QueryGroup(k=10),), group):
        found, explain = search_view(made.view, _queries(), groups, RecallTarget(0.95), None, Metric.L2, context)
        assert (explain[0].plan, explain[0].fallbacks, explain[0].breadth) == ("exact", 0, 0)
        assert by_query(found) == truth(made, _queries(), groups[0].filter, 10)
    assert _native(made).searches == []
