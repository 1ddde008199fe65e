"""Test exact search where fast distances are wrong: in batches, far from the origin, at ties, at overflow, with mostly
dead rows.
"""

from __future__ import annotations

import numpy as np
import pytest

from shoal.core.metric import Metric
from shoal.shard_worker.index.search.ask import Ask
from shoal.shard_worker.index.search.exact import exact_hits
from tests.unit.shard_worker.index.twin import INDEXES, Writer, brute_force, by_query, exact, new_index, search

BATCHES = [1, 7, 8, 70]
"""Sizes below and above two borders: one pass for each query or a matrix product, and the block of that product."""


def _writer(metric: Metric, vectors: np.ndarray, *, sealed: bool) -> Writer:
    writer = Writer(new_index(metric, vectors.shape[1], index="auto", growing_rows=700, flat_rows=10_000))
    writer.upsert(dict(enumerate(vectors)))
    if sealed:
        writer.optimize()
    return writer


def _check(writer: Writer, queries: np.ndarray, k: int, metric: Metric, *, every: int = 9) -> None:
    view = writer.index.view()
    found = exact(writer.index, view, queries, k)
    for number in range(0, len(queries), every):
        expected = brute_force(writer.points, queries[number], k, metric)
        assert _comparable(found[number]) == _comparable(expected)


def _comparable(hits: list) -> list:
    """Replace scores by their text, so that NaN equals NaN."""
    return [(point_id, str(score)) for point_id, score in hits]


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("offset", [0.0, 1_000.0])
def test_floats_near_to_and_far_from_the_origin(metric: Metric, batch: int, sealed: bool, offset: float) -> None:
    rng = np.random.default_rng(batch)
    vectors = (rng.random((1_500, 24)) + offset).astype(np.float32)
    writer = _writer(metric, vectors, sealed=sealed)
    writer.delete(list(range(0, 1_500, 11)))
    queries = (rng.random((batch, 24)) + offset).astype(np.float32)
    queries[0] = vectors[1]
    _check(writer, queries, 20, metric)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("metric", list(Metric))
def test_ties_at_the_last_place_are_resolved_by_id(metric: Metric, batch: int) -> None:
    rng = np.random.default_rng(batch)
    vectors = np.repeat(rng.integers(0, 3, size=(6, 16)).astype(np.float32) + 1, 200, axis=0)
    writer = _writer(metric, rng.permutation(vectors), sealed=False)
    queries = rng.integers(1, 4, size=(batch, 16)).astype(np.float32)
    for k in (1, 10, 333):
        _check(writer, queries, k, metric)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("metric", list(Metric))
def test_scores_that_differ_by_rounding_alone_are_ordered_by_the_kernel(metric: Metric, batch: int) -> None:
    rng = np.random.default_rng(batch)
    vectors = np.stack([rng.permutation(np.linspace(0.1, 3.7, 64)) for _ in range(600)]).astype(np.float32)
    queries = np.full((batch, 64), 0.3, dtype=np.float32)
    for k in (1, 10, 100):
        _check(_writer(metric, vectors, sealed=False), queries, k, metric)


@pytest.mark.parametrize("batch", BATCHES)
def test_integers_with_many_equal_distances(batch: int) -> None:
    rng = np.random.default_rng(batch)
    vectors = rng.integers(0, 4, size=(2_000, 8)).astype(np.float32) * 40
    _check(_writer(Metric.L2, vectors, sealed=True), vectors[:batch] + 40, 10, Metric.L2)


@pytest.mark.parametrize("scale", [1e-30, 1e-22, 1e18, 1.2e19, 5e19, 1e25, 3e38])
@pytest.mark.parametrize("batch", [1, 9])
@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.filterwarnings("error")
def test_scales_at_which_float32_gives_out(metric: Metric, batch: int, scale: float) -> None:
    rng = np.random.default_rng(batch)
    vectors = rng.uniform(-1, 1, size=(300, 12)).astype(np.float32)
    vectors[::3] *= np.float32(scale)
    queries = rng.uniform(-1, 1, size=(batch, 12)).astype(np.float32)
    queries[::2] *= np.float32(scale)
    writer = _writer(metric, vectors, sealed=True)
    writer.delete([7, 8, 9])
    _check(writer, queries, 250, metric)
    counts = search(writer.index, writer.index.view(), queries, 297, exact=False, ef=64).counts
    assert counts.tolist() == [297] * batch


@pytest.mark.parametrize("batch", [1, 9])
@pytest.mark.parametrize("metric", [Metric.L2, Metric.IP])
def test_sums_that_overflow_in_one_order_only(metric: Metric, batch: int) -> None:
    signs = np.random.default_rng(6).choice([-1.0, 1.0], size=(400, 48))
    queries = np.ones((batch, 48), dtype=np.float32)
    for k in (1, 20, 200):
        _check(_writer(metric, (signs * 2e38).astype(np.float32), sealed=False), queries, k, metric)


def test_a_short_vector_after_long_ones_does_not_hide_their_rounding() -> None:
    rng = np.random.default_rng(8)
    writer = _writer(Metric.L2, (rng.random((600, 24)) * 0.001 + 1_000).astype(np.float32), sealed=False)
    writer.upsert({1_000: np.zeros(24, dtype=np.float32)})
    for k in (50, 200, 300):
        _check(writer, rng.random((9, 24)).astype(np.float32), k, Metric.L2, every=1)


@pytest.mark.parametrize("batch", [1, 12])
def test_rows_that_died_next_to_the_query_cost_no_hits(batch: int) -> None:
    rng = np.random.default_rng(3)
    writer = _writer(Metric.L2, rng.random((40, 6)).astype(np.float32) + 5, sealed=False)
    for _ in range(30):
        writer.upsert({point_id: np.zeros(6, dtype=np.float32) for point_id in range(100, 120)})
    writer.delete(list(range(100, 118)))
    _check(writer, np.zeros((batch, 6), dtype=np.float32), 30, Metric.L2)


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("index", INDEXES)
def test_an_answer_does_not_depend_on_the_batch(metric: Metric, index: str) -> None:
    rng = np.random.default_rng(5)
    writer = Writer(new_index(metric, 48, index=index, growing_rows=1_000, flat_rows=1_500))
    writer.upsert(dict(enumerate(rng.normal(size=(3_000, 48)).astype(np.float32))))
    writer.build()
    writer.upsert(dict(enumerate(rng.normal(size=(500, 48)).astype(np.float32))))
    queries, view = rng.normal(size=(40, 48)).astype(np.float32), writer.index.view()
    assert any(part.native for part in view.parts) == (index != "flat")
    for is_exact in (True, False):
        together = by_query(search(writer.index, view, queries, 10, exact=is_exact, ef=64))
        alone = [by_query(search(writer.index, view, query[None, :], 10, exact=is_exact, ef=64))[0] for query in queries]
        assert together == alone


def test_many_ties_do_not_pile_up() -> None:
    """All rows are equal, so each one ties with the best of every query."""
    vectors = np.ones((3_000, 4), dtype=np.float32)
    writer = Writer(new_index(Metric.L2, 4, index="flat", growing_rows=4_000))
    writer.upsert(dict(enumerate(vectors)))
    view = writer.index.view()
    queries = np.ones((200, 4), dtype=np.float32)
    part = view.parts[0]
    hits = exact_hits(part, Ask(queries=queries, seq=view.seq, k=3, metric=Metric.L2))
    assert len(hits.query) <= 200 * (4 * 3 + 1)
    found = by_query(search(writer.index, view, queries, 3, exact=True, ef=1))
    assert found == [[(0, 0.0), (1, 0.0), (2, 0.0)]] * 200
