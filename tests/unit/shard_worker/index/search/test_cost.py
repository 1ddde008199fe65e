from __future__ import annotations

import functools

import numpy as np
import pytest

from shoal.core.filter import In
from shoal.core.metric import Metric
from shoal.core.shard_calls import Accuracy, Breadth, Exact, QueryGroup, RecallTarget
from shoal.shard_worker.index.search.ask import SearchContext
from shoal.shard_worker.index.search.search import UNKNOWN_FILTER_US, estimated_search_us, search_view
from shoal.shard_worker.index.view import IndexView
from tests.support.worker.steady_paces import SteadyPaces
from tests.unit.shard_worker.index.filter_world import Piece, World, world

DIM, ROWS = 16, 3_000
LABEL_3 = In(("label",), (3,))


@functools.cache
def _world(kind: str = "HNSW16") -> World:
    rng = np.random.default_rng(1)
    payloads = [{"label": at % 100} for at in range(ROWS)]
    return world(Metric.L2, [Piece(ids=range(ROWS), vectors=rng.random((ROWS, DIM)), payloads=payloads, kind=kind)], rng.random((40, DIM)))


def _us(
    *groups: QueryGroup, nq: int = 1, accuracy: Accuracy = Breadth(ef=64), context: SearchContext | None = None, kind: str = "HNSW16"
) -> float:
    made = _world(kind)
    queries = np.zeros((nq, DIM), dtype=np.float32)
    return estimated_search_us(made.view, queries, groups or (QueryGroup(k=10),), accuracy, None, Metric.L2, context or made.context())


@pytest.fixture(autouse=True)
def _usual_costs() -> None:
    SteadyPaces.floats_per_us = 100.0


def test_an_estimate_grows_with_the_work() -> None:
    base = _us()
    assert base < _us(nq=2) < _us(nq=100)
    assert base < _us(accuracy=Breadth(ef=128)) < _us(accuracy=Exact())
    assert _us(kind="") == _us(accuracy=Exact())


def test_a_search_so_broad_that_it_becomes_exact_costs_as_much() -> None:
    assert _us(accuracy=Breadth(ef=2_900)) == _us(accuracy=Exact())


def test_an_empty_view_costs_little() -> None:
    context = _world().context()
    empty = IndexView(seq=1, parts=())
    queries = np.zeros((1, DIM), dtype=np.float32)
    assert estimated_search_us(empty, queries, (QueryGroup(k=10),), Exact(), None, Metric.L2, context) < 100


def test_groups_add_up() -> None:
    group = QueryGroup(k=10, queries=np.array([0]))
    other = QueryGroup(k=10, queries=np.array([1, 2]))
    assert _us(nq=3) < _us(group, other, nq=3) < _us(nq=3) + 60


def test_a_filter_is_dear_until_its_rows_are_known_and_is_never_evaluated_for_an_estimate() -> None:
    made = _world()
    context, group = made.context(), QueryGroup(k=10, filter=LABEL_3)
    asked = made.view.parts[0].payloads.asked
    assert _us(group, context=context) >= UNKNOWN_FILTER_US
    assert made.view.parts[0].payloads.asked == asked
    search_view(made.view, np.zeros((1, DIM), dtype=np.float32), (group,), RecallTarget(0.95), None, Metric.L2, context)
    assert _us(group, context=context) < _us(accuracy=Exact()) < UNKNOWN_FILTER_US
    uses = context.hot.peek(made.view.parts[0], repr(LABEL_3), made.view.seq)
    assert uses is not None
    before = uses.uses
    _us(group, context=context)
    assert uses.uses == before


def test_a_filter_that_nothing_passes_costs_nothing_once_it_is_known() -> None:
    made = _world()
    context, group = made.context(), QueryGroup(k=10, filter=In(("absent",), (1,)))
    search_view(made.view, np.zeros((1, DIM), dtype=np.float32), (group,), RecallTarget(0.95), None, Metric.L2, context)
    assert _us(group, context=context) < 100
