"""Test many rows that tie: they are ordered by (score, id), and the work does not grow with the number of ties."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.filter_input import filter_from_input
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.metric import Metric
from shoal.core.points import PointId, id_array, id_order, id_ranks
from shoal.core.shard_calls import Exact, QueryGroup
from shoal.shard_worker.index import ties
from shoal.shard_worker.index.search import exact, planner
from shoal.shard_worker.index.search.ask import SearchContext
from shoal.shard_worker.index.search.hot_filters import HotFilters
from shoal.shard_worker.index.search.search import search_view
from shoal.shard_worker.index.ties import Ties, first_by_rank
from tests.unit.shard_worker.index.twin import Hits, Writer, brute_force, by_query, new_index

SCORES = st.sampled_from([0.0, -0.0, 1.0, 2.5, math.inf, -math.inf, math.nan])
DIM = 6


@given(st.lists(st.lists(SCORES, max_size=40), min_size=1, max_size=4), st.integers(1, 12), st.booleans(), st.randoms())
def test_the_first_by_rank_are_those_of_a_sort(queries, k, smaller, random):
    query = np.repeat(np.arange(len(queries)), [len(each) for each in queries])
    scores = np.array([score for each in queries for score in each], dtype=np.float32)
    ranks = np.array(random.sample(range(1000), len(scores)), dtype=np.int64)
    kept = set(first_by_rank(query, scores, ranks, k, smaller_is_better=smaller).tolist())

    def place(at: int) -> tuple[bool, float, int]:
        score = float(scores[at])
        return (True, 0.0, ranks[at]) if math.isnan(score) else (False, score if smaller else -score, ranks[at])

    wanted = {at for number in range(len(queries)) for at in sorted(np.flatnonzero(query == number).tolist(), key=place)[:k]}
    assert kept == wanted


IDS = st.one_of(st.integers(-5, 5), st.text("aé日🐟", min_size=1, max_size=3))


@given(st.lists(IDS, max_size=30))
def test_ranks_sort_as_ids_do(values):
    column = id_array(values)
    ranks = id_ranks(column)
    for left, left_rank in zip(values, ranks.tolist(), strict=True):
        for right, right_rank in zip(values, ranks.tolist(), strict=True):
            assert (left_rank < right_rank) == (id_order(left) < id_order(right))


@pytest.mark.parametrize("colliding", [False, True])
def test_the_first_equal_vector_of_each_row_also_when_rows_are_appended(colliding, monkeypatch):
    if colliding:
        monkeypatch.setattr(ties, "_hashed", lambda vectors, known: np.zeros(len(vectors), dtype=np.uint64))
    vectors = np.random.default_rng(3).integers(0, 2, size=(200, 3)).astype(np.float32)
    vectors[7] = vectors[150] = np.nan
    known = Ties()
    for count in (0, 40, 200, 90):
        found = known.firsts(vectors[:count])
        if found is None:
            assert count == 0 or len({row.tobytes() for row in vectors[:count]}) * 4 > count
            continue
        assert all((vectors[at].view(np.uint32) == vectors[first].view(np.uint32)).all() for at, first in enumerate(found))
        if not colliding:
            assert len(set(found.tolist())) == len({row.tobytes() for row in vectors[:count]})
    assert known.memory_bytes() > 0


def test_rows_that_all_differ_are_not_looked_up():
    assert Ties().firsts(np.arange(300, dtype=np.float32).reshape(100, 3)) is None


def names_of(kind: str, count: int) -> list[PointId]:
    order = np.random.default_rng(1).permutation(count).tolist()
    if kind == "integers":
        return list(order)
    return [f"doc-{at:05d}" if kind == "strings" or at % 3 else at for at in order]


def writer_of(vectors: np.ndarray, ids: list[PointId], metric: Metric, *, sealed: bool) -> Writer:
    writer = Writer(new_index(metric, DIM, index="flat", growing_rows=900, flat_rows=10_000))
    writer.upsert(dict(zip(ids, vectors, strict=True)))
    if sealed:
        writer.optimize()
    writer.delete(ids[::7])
    return writer


def found_by(writer: Writer, queries: np.ndarray, k: int, metric: Metric, *, without: PointId | None, radius: float | None) -> list[Hits]:
    filter = None if without is None else filter_from_input({"$id": {"$ne": without}}, DEFAULT_LIMITS)
    context = SearchContext(hot=HotFilters(), read_payloads=lambda rows: None, clock=time.perf_counter)
    view = writer.index.view()
    return by_query(search_view(view, queries, (QueryGroup(k=k, filter=filter),), Exact(), radius, metric, context)[0])


@settings(max_examples=25, deadline=None)
@given(
    different=st.integers(1, 12),
    ids=st.sampled_from(["integers", "strings", "mixed"]),
    metric=st.sampled_from(list(Metric)),
    batch=st.sampled_from([1, 7, 9, 70]),
    k=st.sampled_from([1, 10, 450]),
    sealed=st.booleans(),
    filtered=st.booleans(),
    bounded=st.booleans(),
)
def test_rows_that_tie_come_back_as_the_dumb_twin_sorts_them(different, ids, metric, batch, k, sealed, filtered, bounded):
    rng = np.random.default_rng(different)
    vectors = rng.integers(1, 4, size=(different, DIM)).astype(np.float32)[rng.integers(0, different, 2_500)]
    names = names_of(ids, 2_500)
    writer = writer_of(vectors, names, metric, sealed=sealed)
    queries = rng.integers(1, 4, size=(batch, DIM)).astype(np.float32)
    without = names[1] if filtered else None
    points = {name: vector for name, vector in writer.points.items() if name != without}
    everything = brute_force(points, queries[0], 2_500, metric)
    radius = everything[len(everything) // 2][1] if bounded else None
    found = found_by(writer, queries, k, metric, without=without, radius=radius)
    # The second search knows which vectors are equal.
    again = found_by(writer, queries, k, metric, without=without, radius=radius)
    for number in range(0, batch, 23):
        expected = brute_force(points, queries[number], k, metric)
        if radius is not None:
            expected = [hit for hit in expected if (hit[1] <= radius if metric.smaller_is_better else hit[1] >= radius)]
        assert found[number] == expected
        assert again[number] == expected


@pytest.mark.parametrize("batch", [1, 70])
@pytest.mark.parametrize("ids", ["integers", "strings"])
def test_equal_vectors_are_scored_once_a_query_and_their_ids_are_ranked_once(ids, batch, monkeypatch):
    count, scored, ranked = 4_000, [], []
    writer = writer_of(np.ones((count, DIM), dtype=np.float32), names_of(ids, count), Metric.L2, sealed=True)
    kernel, rank = exact.pair_scores, ties.id_ranks

    def counted_scores(queries, rows, query_at, row_at, metric):
        scored.append(len(row_at))
        return kernel(queries, rows, query_at, row_at, metric)

    def counted_ranks(column):
        ranked.append(len(column))
        return rank(column)

    monkeypatch.setattr(exact, "pair_scores", counted_scores)
    monkeypatch.setattr(planner, "pair_scores", counted_scores)
    monkeypatch.setattr(ties, "id_ranks", counted_ranks)
    queries = np.random.default_rng(0).random((batch, DIM), dtype=np.float32)
    for _ in range(3):
        found_by(writer, queries, 10, Metric.L2, without=None, radius=None)
    assert sum(scored) == 3 * batch
    assert sum(ranked) == (count if ids == "strings" else 0)
    assert writer.index.stats().memory_bytes > 4_000 * 4 * DIM


def test_scores_that_are_no_number_come_last_also_where_vectors_are_few():
    vectors = np.array([[1, 1, 1, 1, 1, 1], [3e38] * 6, [-3e38] * 6, [2, 2, 2, 2, 2, 2]], dtype=np.float32)[np.arange(2_000) % 4]
    writer = writer_of(vectors, names_of("mixed", 2_000), Metric.IP, sealed=False)
    queries = np.array([[3e38, -3e38, 1, 1, 1, 1], [1, 0, 0, 0, 0, 0]], dtype=np.float32)
    for _ in range(3):
        found = found_by(writer, queries, 700, Metric.IP, without=None, radius=None)
        for number in range(2):
            expected = brute_force(writer.points, queries[number], 700, Metric.IP)
            assert [(name, str(score)) for name, score in found[number]] == [(name, str(score)) for name, score in expected]


def test_what_was_learnt_of_fewer_rows_is_not_taken_for_all():
    writer = Writer(new_index(Metric.L2, DIM, index="flat", growing_rows=9_000, flat_rows=10_000))
    for start in range(0, 6_000, 1_500):
        writer.upsert({f"p-{at:05d}": np.full(DIM, at % 3, dtype=np.float32) for at in range(start, start + 1_500)})
        older = writer.index.view()
        for _ in range(2):
            queries = np.ones((9, DIM), dtype=np.float32)
            found = found_by(writer, queries, 2_500, Metric.L2, without=None, radius=None)
            assert found[0] == brute_force(writer.points, queries[0], 2_500, Metric.L2)
        assert len(older.parts[0]) == start + 1_500
