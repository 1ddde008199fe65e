"""Test the filter contract against brute force: exact answers are equal, no answer is short, and recall is that of the
unfiltered search.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shoal.core.filter import And, Contains, Exists, Filter, HasId, In, Not, Or, Prefix, Range
from shoal.core.metric import Metric
from shoal.core.shard_calls import Accuracy, Breadth, Exact, QueryGroup, RecallTarget
from shoal.shard_worker.index.search.ask import SearchContext
from shoal.shard_worker.index.search.search import search_view
from tests.support.worker.steady_paces import SteadyPaces
from tests.unit.shard_worker.index.filter_world import Hits, Piece, World, by_query, clustered, recall, truth, world

DIM, ROWS, QUERIES = 16, 2_400, 120
TOLERANCE, CHANCE_HITS = 0.01, 3
"""Recall that may be lost, and the hits of all queries together that may be lost by chance in addition."""

WORLDS = [
    (Metric.L2, "HNSW16", True, 0),
    (Metric.COSINE, "HNSW16", True, 500),
    (Metric.IP, "HNSW8,SQ8", False, 500),
    (Metric.L2, "IVF32,Flat", True, 500),
    (Metric.COSINE, "IVF32,Flat", False, 0),
    (Metric.L2, "PQ8x4", False, 500),
]
"""Metric, index, whether the label is the cluster, number of dead rows."""


@functools.cache
def _data(correlated: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the vectors and the label of each. correlated: the label is the vector's cluster; otherwise it
    is random.
    """
    vectors, cluster = clustered(5, ROWS + 2 * QUERIES, DIM, 8)
    return vectors, cluster if correlated else np.random.default_rng(2).integers(0, 8, size=len(vectors))


@functools.cache
def _world(metric: Metric, kind: str, correlated: bool, dead: int, unsure_every: int) -> World:
    """Build a sealed part with two thirds of the rows and a growing part with the rest. `dead` rows of them are dead.
    Some of their ids now live in another part.
    """
    rng = np.random.default_rng(dead)
    vectors, label = _data(correlated)
    payloads = [
        {"label": int(value), "u": float(rng.random()), "tags": [f"t{at % 3}", f"t{at % 7}"], "deep": {"n": at % 50}}
        for at, value in enumerate(label[:ROWS])
    ]
    ids = [at if at % 3 else f"id {at}" for at in range(ROWS)]
    cut = ROWS * 2 // 3
    gone = set(rng.choice(ROWS, dead, replace=False).tolist())
    moved = sorted(at for at in gone if at < cut)[: dead // 4]

    def piece(start: int, end: int, kind: str, extra: list[int]) -> Piece:
        taken = [*range(start, end), *extra]
        return Piece(
            ids=[ids[at] for at in taken],
            vectors=vectors[taken],
            payloads=[payloads[at] for at in taken],
            dead=[at - start for at in gone if start <= at < end],
            kind=kind,
            unsure=lambda at: unsure_every > 0 and at % unsure_every == 0,
        )

    return world(metric, [piece(0, cut, kind, []), piece(cut, ROWS, "", moved)], vectors[ROWS : ROWS + QUERIES])


def _queries(correlated: bool) -> np.ndarray:
    return _data(correlated)[0][ROWS + QUERIES :]


LEAVES = st.one_of(
    st.builds(lambda labels: In(("label",), tuple(labels)), st.sets(st.integers(0, 8), min_size=1, max_size=4)),
    st.builds(lambda share: Range(("u",), lt=share), st.sampled_from([0.0, 0.0005, 0.01, 0.1, 0.3, 0.7, 1.0])),
    st.builds(lambda tag: Contains(("tags",), f"t{tag}"), st.integers(0, 7)),
    st.builds(lambda tag: Prefix(("tags",), f"t{tag}"), st.integers(0, 7)),
    st.builds(lambda low: Range(("deep", "n"), gte=low, lt=low + 10), st.integers(0, 49)),
    st.just(Exists(("deep",))),
    st.builds(lambda ids: HasId(tuple(ids)), st.sets(st.sampled_from([1, 2, 4, "id 3", "id 2100", 2_398, "nobody"]), max_size=6)),
)
FILTERS: st.SearchStrategy[Filter] = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        inner.map(Not),
        st.lists(inner, max_size=3).map(lambda terms: And(tuple(terms))),
        st.lists(inner, max_size=3).map(lambda terms: Or(tuple(terms))),
    ),
    max_leaves=5,
)
COSTS = st.sampled_from([1.0, 300.0, 20_000.0])
"""Floats compared in a microsecond. With the first value an exact search is never cheaper than the index, with the last
value always.
"""


@pytest.fixture(autouse=True)
def _usual_costs() -> None:
    SteadyPaces.floats_per_us = 2_000.0


def _found(made: World, queries: np.ndarray, k: int, filter: Filter | None, accuracy: Accuracy, context: SearchContext) -> list[Hits]:
    return by_query(search_view(made.view, queries, (QueryGroup(k=k, filter=filter),), accuracy, None, made.metric, context)[0])


@functools.cache
def _unfiltered_recall(chosen: tuple[Metric, str, bool, int], k: int, target: float, floats_per_us: float) -> float:
    metric, kind, correlated, dead = chosen
    made, queries = _world(metric, kind, correlated, dead, 5), _queries(correlated)
    return recall(_found(made, queries, k, None, RecallTarget(target), made.context()), truth(made, queries, None, k))


def _check(found: list[Hits], expected: list[Hits], unfiltered: float) -> None:
    assert [len(hits) for hits in found] == [len(hits) for hits in expected]
    assert all(len({point_id for point_id, _ in hits}) == len(hits) for hits in found)
    assert recall(found, expected) >= unfiltered - TOLERANCE - CHANCE_HITS / max(1, sum(len(hits) for hits in expected))


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(chosen=st.sampled_from(WORLDS[:4]), filter=FILTERS, k=st.integers(1, 40))
def test_an_exact_search_gives_what_brute_force_gives(chosen: tuple[Metric, str, bool, int], filter: Filter, k: int) -> None:
    metric, kind, correlated, dead = chosen
    made = _world(metric, kind, correlated, dead, 5)
    queries, context = _queries(correlated)[:9], made.context()
    expected = truth(made, queries, filter, k)
    for batch in (queries, queries, queries[:1]):
        assert _found(made, batch, k, filter, Exact(), context) == expected[: len(batch)]


@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    chosen=st.sampled_from(WORLDS),
    filter=FILTERS,
    k=st.sampled_from([1, 10, 40]),
    target=st.sampled_from([0.8, 0.95]),
    floats_per_us=COSTS,
)
def test_any_filter_at_any_selectivity(
    chosen: tuple[Metric, str, bool, int], filter: Filter, k: int, target: float, floats_per_us: float
) -> None:
    metric, kind, correlated, dead = chosen
    made = _world(metric, kind, correlated, dead, 5)
    SteadyPaces.floats_per_us = floats_per_us
    queries, context, accuracy = _queries(correlated), made.context(), RecallTarget(target)
    unfiltered = _unfiltered_recall(chosen, k, target, floats_per_us)
    expected = truth(made, queries, filter, k)
    for _ in range(2):
        _check(_found(made, queries, k, filter, accuracy, context), expected, unfiltered)


@pytest.mark.parametrize(
    ("chosen", "accuracy"),
    [(WORLDS[0], Breadth(ef=12)), (WORLDS[1], Breadth(ef=12)), (WORLDS[2], Breadth(ef=12)), (WORLDS[3], Breadth(nprobe=3))],
)
def test_with_a_breadth_given_the_filter_still_costs_no_recall(chosen: tuple[Metric, str, bool, int], accuracy: Breadth) -> None:
    metric, kind, correlated, dead = chosen
    made = _world(metric, kind, correlated, dead, 5)
    SteadyPaces.floats_per_us = 1.0
    queries, context = _queries(correlated), made.context()
    unfiltered = recall(_found(made, queries, 10, None, accuracy, context), truth(made, queries, None, 10))
    for filter in (In(("label",), (3,)), In(("label",), (0, 1, 2, 3)), Range(("u",), lt=0.3), Not(In(("label",), (3,)))):
        _check(_found(made, queries, 10, filter, accuracy, context), truth(made, queries, filter, 10), unfiltered)


@pytest.mark.parametrize("matching", [1, 9, 10, 11, 40])
def test_from_one_matching_row_on_none_is_missed(matching: int) -> None:
    made = _world(Metric.L2, "HNSW16", True, 0, 5)
    SteadyPaces.floats_per_us = 1.0
    chosen = tuple(point_id for point_id in list(made.points)[: matching * 50 : 50])
    found = _found(made, _queries(True), 10, HasId(chosen), RecallTarget(0.95), made.context())
    assert {len(hits) for hits in found} == {min(10, matching)}


def test_an_index_that_loses_its_way_costs_no_hits() -> None:
    made = _world(Metric.L2, "HNSW16", True, 0, 5)
    SteadyPaces.floats_per_us = 1.0
    native = made.view.parts[0].native
    assert native is not None
    native.broken = True
    try:
        for filter in (None, Range(("u",), lt=0.7), Range(("u",), lt=0.05)):
            found = _found(made, _queries(True), 30, filter, RecallTarget(0.9), made.context())
            assert {len(hits) for hits in found} == {30}
    finally:
        native.broken = False


def _plans(made: World, filter: Filter, context: SearchContext, queries: np.ndarray) -> list[str]:
    explain = search_view(made.view, queries, (QueryGroup(k=10, filter=filter),), RecallTarget(0.95), None, made.metric, context)[1]
    return [part.plan for part in explain]


def test_the_plan_follows_cost_and_what_was_met_before() -> None:
    made = _world(Metric.L2, "HNSW16", True, 0, 5)
    SteadyPaces.floats_per_us = 100.0
    queries, context = _queries(True)[:20], made.context()
    label = _data(True)[1]
    elsewhere = In(("label",), tuple(set(range(8)) - {int(label[ROWS + QUERIES])}))
    assert _plans(made, Range(("u",), lt=0.002), context, queries) == ["exact", "exact"]
    assert _plans(made, Range(("u",), lt=0.7), context, queries) == ["index, then filter", "exact"]
    own = queries[label[ROWS + QUERIES : ROWS + QUERIES + 20] == label[ROWS + QUERIES]]
    own = np.repeat(own, 10, axis=0)
    explained = search_view(made.view, own, (QueryGroup(k=10, filter=elsewhere),), RecallTarget(0.95), None, made.metric, context)[1][0]
    assert (explained.plan, explained.fallbacks) == ("index, then filter", len(own))
    assert _plans(made, elsewhere, context, own)[0] == "exact"


def test_how_deep_a_filter_lay_is_remembered() -> None:
    made = _world(Metric.L2, "HNSW16", True, 0, 5)
    SteadyPaces.floats_per_us = 1.0
    native, label = made.view.parts[0].native, _data(True)[1][ROWS + QUERIES :]
    assert native is not None
    own, elsewhere = _queries(True)[label == label[0]], In(("label",), tuple(set(range(8)) - {int(label[0])}))
    context, searches = made.context(), []
    for _ in range(2):
        native.searches.clear()
        _found(made, own, 10, elsewhere, RecallTarget(0.95), context)
        searches.append(list(native.searches))
    assert len(searches[0]) > len(searches[1])
    assert searches[1][0][1] >= 100


def test_no_filter_and_no_dead_rows_is_one_plain_search_of_the_index() -> None:
    made = _world(Metric.L2, "HNSW16", True, 0, 5)
    SteadyPaces.floats_per_us = 1.0
    native = made.view.parts[0].native
    assert native is not None
    native.searches.clear()
    _found(made, _queries(True), 10, None, RecallTarget(0.95), made.context())
    choice = made.view.parts[0].tuning.now.breadth_for(10, 0.95)
    assert native.searches == [(QUERIES, 10, choice.breadth)]


@pytest.mark.parametrize("count", [1, 7, 40])
def test_an_answer_does_not_depend_on_the_batch_when_it_is_exact(count: int) -> None:
    made = _world(Metric.COSINE, "HNSW16", True, 500, 5)
    queries, filter, context = _queries(True)[:count], Range(("u",), lt=0.4), made.context(limit_bytes=0)
    together = _found(made, queries, 10, filter, Exact(), context)
    assert together == [_found(made, query[None, :], 10, filter, Exact(), context)[0] for query in queries]
