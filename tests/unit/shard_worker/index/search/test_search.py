from __future__ import annotations

import functools
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.errors import InvalidArgument
from shoal.core.filter import In, Not, Range
from shoal.core.metric import Metric
from shoal.core.scoring import scores
from shoal.core.shard_calls import Accuracy, Breadth, Exact, QueryGroup, RecallTarget, SegmentExplain
from shoal.shard_worker.index.search.search import search_view
from tests.support.worker.steady_paces import SteadyPaces
from tests.unit.shard_worker.index.filter_world import Piece, World, by_query, clustered, recall, truth, world

DIM, ROWS = 8, 1_500
FILTERS = [None, In(("label",), (1,)), Range(("u",), lt=0.5), Not(In(("label",), (2, 3))), In(("label",), (77,))]


@functools.cache
def _world(metric: Metric, kind: str = "HNSW16") -> World:
    rng = np.random.default_rng(4)
    vectors, label = clustered(3, ROWS + 100, DIM, 5)
    payloads = [{"label": int(label[at]), "u": float(rng.random())} for at in range(ROWS)]
    dead = rng.choice(1_000, 60, replace=False).tolist()
    pieces = [
        Piece(ids=range(1_000), vectors=vectors[:1_000], payloads=payloads[:1_000], dead=dead, kind=kind),
        Piece(ids=[f"id {at}" for at in range(1_000, ROWS)], vectors=vectors[1_000:ROWS], payloads=payloads[1_000:ROWS]),
    ]
    return world(metric, pieces, vectors[ROWS : ROWS + 50])


def _queries() -> np.ndarray:
    return clustered(3, ROWS + 100, DIM, 5)[0][ROWS + 50 :]


@pytest.fixture(autouse=True)
def _usual_costs() -> None:
    SteadyPaces.floats_per_us = 2_000.0


@settings(max_examples=20, deadline=None)
@given(
    metric=st.sampled_from([Metric.L2, Metric.COSINE]),
    owners=st.lists(st.integers(0, 4), min_size=1, max_size=30),
    ks=st.lists(st.integers(1, 30), min_size=5, max_size=5),
)
def test_each_query_of_a_mixed_batch_gets_what_it_gets_alone(metric: Metric, owners: list[int], ks: list[int]) -> None:
    made, queries = _world(metric), _queries()[: len(owners)]
    groups = tuple(
        QueryGroup(k=ks[number], filter=FILTERS[number], queries=np.flatnonzero(np.array(owners) == number)) for number in (3, 1, 0, 4, 2)
    )
    found = by_query(search_view(made.view, queries, groups, Exact(), None, metric, made.context())[0])
    for at, owner in enumerate(owners):
        assert found[at] == truth(made, queries[at : at + 1], FILTERS[owner], ks[owner])[0]


def test_a_mixed_batch_searches_by_the_index_too() -> None:
    made, queries = _world(Metric.L2), _queries()[:20]
    SteadyPaces.floats_per_us = 1.0
    groups = (
        QueryGroup(k=5, filter=FILTERS[2], queries=np.arange(0, 20, 2)),
        QueryGroup(k=20, queries=np.arange(1, 20, 2)),
    )
    found, explain = search_view(made.view, queries, groups, RecallTarget(0.9), None, Metric.L2, made.context())
    expected = [truth(made, queries[at : at + 1], FILTERS[2] if at % 2 == 0 else None, 5 if at % 2 == 0 else 20)[0] for at in range(20)]
    assert found.counts.tolist() == [5, 20] * 10
    assert recall(by_query(found), expected) > 0.9
    assert {part.plan for part in explain} == {"index", "index, then filter", "exact"}


@pytest.mark.parametrize("floats_per_us", [1.0, 2_000.0])
@pytest.mark.parametrize("filter", FILTERS[:3])
@pytest.mark.parametrize("kind", ["HNSW16", "HNSW8,SQ8", "IVF16,Flat"])
@pytest.mark.parametrize("metric", [Metric.L2, Metric.COSINE])
def test_a_radius_cuts_off_exactly_there(metric: Metric, kind: str, filter: object, floats_per_us: float) -> None:
    made, queries = _world(metric, kind), _queries()[:20]
    query = queries[:1]
    SteadyPaces.floats_per_us = floats_per_us
    everything = truth(made, query, filter, None)[0]
    for rank in (0, 3, 90):
        if rank >= len(everything):
            continue
        radius = everything[rank][1]
        wide = truth(made, queries, filter, None, radius)
        for k in (2, 50, 5_000):
            expected = truth(made, query, filter, k, radius)
            group = (QueryGroup(k=k, filter=filter),)
            exact, _ = search_view(made.view, query, group, Exact(), radius, metric, made.context())
            assert by_query(exact) == expected
            assert len(expected[0]) >= min(k, rank + 1)
            found, _ = search_view(made.view, queries, group, RecallTarget(0.95), radius, metric, made.context())
            many = truth(made, queries, filter, k, radius)
            assert recall(by_query(found), many) >= 0.9
            assert all(set(hits) <= {*all_within} for hits, all_within in zip(by_query(found), wide, strict=True))


@pytest.mark.parametrize("accuracy", [Exact(), RecallTarget(0.95), Breadth(ef=100)])
@pytest.mark.parametrize("kind", ["HNSW16", "HNSW8,SQ8", "IVF16,Flat"])
@pytest.mark.parametrize("metric", list(Metric))
def test_a_radius_at_the_bound_loses_nothing(metric: Metric, kind: str, accuracy: Accuracy) -> None:
    """A search with a stored vector finds that vector within two radii: its own score, and this score as it
    is shown.
    """
    if isinstance(accuracy, Breadth) and kind.startswith("IVF"):
        accuracy = Breadth(nprobe=16)
    made, group = _world(metric, kind), (QueryGroup(k=5_000),)
    SteadyPaces.floats_per_us = 1.0
    stored = clustered(3, ROWS + 100, DIM, 5)[0][:ROWS]
    for at in [at for at in range(0, ROWS, 110) if at >= 1_000 or at in made.points]:
        point_id = at if at < 1_000 else f"id {at}"
        query = stored[at : at + 1] * np.float32(3 if metric is Metric.COSINE else 1)
        own = 0.0 if metric is Metric.L2 else float(scores(query[0], query, metric)[0]) if metric is Metric.IP else 1.0
        for radius in (own, float(f"{own:.9g}")):
            found, _ = search_view(made.view, query, group, accuracy, radius, metric, made.context())
            (hits,) = by_query(found)
            # With ip, other vectors may have a better score than the vector itself, so an approximate search may miss
            # it.
            assert (point_id, own) in hits or (metric is Metric.IP and accuracy != Exact())
            assert all(score <= own if metric is Metric.L2 else score >= own for _, score in hits)


def test_a_radius_is_compared_as_scores_are() -> None:
    made = world(
        Metric.COSINE,
        [Piece(ids=[1], vectors=np.array([[0.7, np.sqrt(0.51)]], dtype=np.float32), payloads=[None])],
        np.eye(2, dtype=np.float32),
    )
    query = np.array([[1.0, 0.0]], dtype=np.float32)
    for radius, expected in ((0.7, [1]), (float(np.nextafter(np.float32(0.7), np.float32(1))), []), (-1e300, [1]), (1e300, [])):
        found, _ = search_view(made.view, query, (QueryGroup(k=5),), Exact(), radius, Metric.COSINE, made.context())
        assert found.ids.tolist() == expected


def test_a_radius_that_nothing_lies_within_gives_nothing_soon() -> None:
    made = _world(Metric.L2)
    SteadyPaces.floats_per_us = 1.0
    native = made.view.parts[0].native
    assert native is not None
    native.searches.clear()
    found, _ = search_view(made.view, _queries(), (QueryGroup(k=900),), RecallTarget(0.9), 1e-6, Metric.L2, made.context())
    assert len(found) == 0
    assert len(native.searches) == 1
    assert native.searches[0][1] <= 200


@pytest.mark.parametrize("accuracy", [Exact(), RecallTarget(0.9), Breadth(ef=20)])
def test_explain_says_what_was_done(accuracy: Accuracy) -> None:
    made, queries, context = _world(Metric.L2), _queries()[:10], _world(Metric.L2).context()
    SteadyPaces.floats_per_us = 1.0
    group = (QueryGroup(k=5, filter=FILTERS[2]),)
    for cached in (False, True):
        _, explain = search_view(made.view, queries, group, accuracy, None, Metric.L2, context)
        sealed, growing = explain
        assert (sealed.segment, sealed.state, sealed.index, sealed.rows) == ("segment-1", "sealed", "HNSW16", 940)
        assert (growing.segment, growing.state, growing.index, growing.rows) == ("growing", "growing", "flat", 500)
        assert (sealed.queries, sealed.group, sealed.filter_cached) == (10, 0, cached)
        alive = [at for at in range(1_000) if at in made.points]
        matching = [at for at in alive if made.points[at][1]["u"] < 0.5]
        assert sealed.selectivity == pytest.approx(len(matching) / len(alive))
        assert sealed.estimated_selectivity == pytest.approx(sealed.selectivity, abs=0.03)
        assert growing.plan == "exact"
        if isinstance(accuracy, Exact):
            assert (sealed.plan, sealed.breadth, sealed.breadth_name) == ("exact", 0, "")
            assert sealed.candidates >= 10 * len(matching)
        else:
            assert (sealed.plan, sealed.breadth_name) == ("index, then filter", "ef")
            assert sealed.breadth >= 10
            assert sealed.candidates >= 100
    explained = sealed.of_shard(3)
    assert isinstance(explained, SegmentExplain)
    assert {field.name: getattr(explained, field.name) for field in fields(sealed)} == {
        field.name: getattr(sealed, field.name) for field in fields(sealed)
    }
    assert explained.shard == 3


def test_nothing_that_matches_is_an_empty_plan() -> None:
    made = _world(Metric.L2)
    found, explain = search_view(made.view, _queries(), (QueryGroup(k=5, filter=FILTERS[4]),), Exact(), None, Metric.L2, made.context())
    assert found.counts.tolist() == [0] * 50
    assert [part.plan for part in explain] == ["empty", "empty"]


def test_explain_costs_nothing_when_not_asked_for() -> None:
    made = _world(Metric.L2)
    context = made.context(explain=False)
    assert search_view(made.view, _queries(), (QueryGroup(k=5),), Exact(), None, Metric.L2, context)[1] == ()


def test_an_empty_batch_has_no_hits() -> None:
    made = _world(Metric.L2)
    found, _ = search_view(made.view, _queries()[:0], (QueryGroup(k=5),), Exact(), None, Metric.L2, made.context())
    assert (len(found), len(found.counts)) == (0, 0)


@pytest.mark.parametrize(
    ("groups", "accuracy", "radius", "message"),
    [
        ((QueryGroup(k=0),), Exact(), None, "k is 0"),
        ((QueryGroup(k=1, queries=np.arange(3)),), Exact(), None, "each of 50 queries once"),
        ((QueryGroup(k=1), QueryGroup(k=1)), Exact(), None, "each of 50 queries once"),
        ((QueryGroup(k=1),), Breadth(ef=0), None, "ef is 0"),
        ((QueryGroup(k=1),), Breadth(), None, "one of them"),
        ((QueryGroup(k=1),), Exact(), float("nan"), "radius is NaN"),
    ],
)
def test_bad_searches_are_refused(groups: tuple[QueryGroup, ...], accuracy: Accuracy, radius: float | None, message: str) -> None:
    made = _world(Metric.L2)
    with pytest.raises(InvalidArgument, match=message):
        search_view(made.view, _queries(), groups, accuracy, radius, Metric.L2, made.context())
