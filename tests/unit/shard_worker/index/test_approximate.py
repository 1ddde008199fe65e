"""Graph, then filter: never short, recall of the graph, whatever is dead."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from shard_worker.index.native import NativeIndex
from shoal.core.collection import Metric
from tests.unit.shard_worker.index.twin import Writer, approximate, exact, new_index, random_points, recall

DIM, ROWS = 16, 6_000


@functools.cache
def _queries() -> np.ndarray:
    return np.random.default_rng(99).random((100, DIM)).astype(np.float32)


def _writer(metric: Metric) -> Writer:
    writer = Writer(new_index(metric, DIM, growing_rows=2_000))
    writer.upsert(random_points(7, ROWS, DIM))
    writer.optimize()
    return writer


class _Counting(NativeIndex):
    """A graph that counts its searches, and can pretend to have lost its way."""

    def __init__(self, graph: NativeIndex, *, lost: bool = False) -> None:
        super().__init__(graph._index)
        self.searches: list[tuple[int, int]] = []
        self._lost = lost

    def search(self, queries: np.ndarray, k: int, ef: int) -> np.ndarray:
        self.searches.append((len(queries), k))
        found = super().search(queries, k, ef)
        return np.where(np.arange(k) < k // 2, found, -1) if self._lost else found


def _watched(writer: Writer, monkeypatch: pytest.MonkeyPatch, *, lost: bool = False) -> _Counting:
    segment = writer.index._settled[0]
    counting = _Counting(segment._native, lost=lost)
    monkeypatch.setattr(segment, "_native", counting)
    monkeypatch.setattr(segment, "_part", None)
    writer.publish()
    assert writer.index.view().parts[0].graph is counting
    return counting


@pytest.mark.parametrize("metric", list(Metric))
def test_recall_at_the_default_breadth(metric: Metric, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = _writer(metric)
    graph = _watched(writer, monkeypatch)
    view = writer.index.view()
    truth = exact(writer.index, view, _queries(), 10)
    assert graph.searches == []
    assert recall(approximate(writer.index, view, _queries(), 10), truth) >= 0.95
    assert graph.searches == [(100, 10)]


@pytest.mark.parametrize("metric", list(Metric))
def test_dead_rows_cost_neither_hits_nor_recall(metric: Metric, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = _writer(metric)
    graph = _watched(writer, monkeypatch)
    writer.delete(np.random.default_rng(1).choice(ROWS, 1_500, replace=False).tolist())
    view = writer.index.view()
    found = approximate(writer.index, view, _queries(), 10)
    assert graph.searches[0] == (100, 64)
    assert {len(hits) for hits in found} == {10}
    assert recall(found, exact(writer.index, view, _queries(), 10)) >= 0.95


@pytest.mark.parametrize("gone", [100, 1_000, 5_995])
def test_when_everything_near_the_query_is_dead_the_search_goes_on(gone: int, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = _writer(Metric.L2)
    graph = _watched(writer, monkeypatch)
    query = _queries()[:1]
    writer.delete([point_id for point_id, _ in exact(writer.index, writer.index.view(), query, gone)[0]])
    view = writer.index.view()
    truth = exact(writer.index, view, query, 10)
    found = approximate(writer.index, view, query, 10)
    assert len(found[0]) == min(10, ROWS - gone)
    assert recall(found, truth) >= 0.9
    assert len(graph.searches) <= 4


def test_queries_of_one_batch_that_need_more_get_their_own_hits(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = _writer(Metric.L2)
    graph = _watched(writer, monkeypatch)
    queries = np.random.default_rng(2).choice([0.1, 0.9], size=(8, DIM)).astype(np.float32)
    before = exact(writer.index, writer.index.view(), queries, 1_500)
    gone = {point_id for number, count in ((2, 80), (3, 80), (6, 1_500)) for point_id, _ in before[number][:count]}
    writer.delete(list(gone))
    view = writer.index.view()
    truth, found = exact(writer.index, view, queries, 10), approximate(writer.index, view, queries, 10)
    assert 0 < graph.searches[-1][0] < graph.searches[0][0] == 8
    for number in range(8):
        assert recall([found[number]], [truth[number]]) >= 0.9, number


def test_a_graph_that_finds_too_few_is_asked_more_broadly_and_then_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = _writer(Metric.L2)
    graph = _watched(writer, monkeypatch, lost=True)
    view = writer.index.view()
    found = approximate(writer.index, view, _queries(), 100)
    assert {len(hits) for hits in found} == {100}
    assert graph.searches == [(100, 100), (100, 100), (100, 200)]


@pytest.mark.parametrize("k", [1, 64, 500, 5_999, 6_000, 7_000])
def test_never_short_whatever_k(k: int) -> None:
    writer = _writer(Metric.L2)
    writer.delete([1])
    found = approximate(writer.index, writer.index.view(), _queries()[:5], k, ef=8)
    assert {len(hits) for hits in found} == {min(k, ROWS - 1)}
    assert all(len({point_id for point_id, _ in hits}) == len(hits) for hits in found)


def test_small_segments_are_searched_exactly() -> None:
    writer = Writer(new_index(Metric.L2, DIM, index="auto", growing_rows=500, flat_rows=4_000))
    writer.upsert(random_points(3, 3_200, DIM))
    writer.build()
    view = writer.index.view()
    assert approximate(writer.index, view, _queries(), 10, ef=1) == exact(writer.index, view, _queries(), 10)
