from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.collection import Metric
from shoal.core.scoring import block_rows, normalised, pair_scores, prepared, scores

DIMS = [1, 2, 7, 8, 9, 31, 128, 129, 784, 1000]


def _vectors(seed: int, count: int, dim: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)


def _twin(query: np.ndarray, row: np.ndarray, metric: Metric) -> float:
    """The definition in exact arithmetic."""
    if metric is Metric.L2:
        return math.fsum((float(a) - float(b)) ** 2 for a, b in zip(row, query, strict=True))
    return math.fsum(float(a) * float(b) for a, b in zip(row, query, strict=True))


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("dim", DIMS)
def test_scores_agree_with_the_definition(metric: Metric, dim: int) -> None:
    rows, query = _vectors(1, 5, dim), _vectors(2, 1, dim)[0]
    found = scores(query, rows, metric)
    assert found.dtype == np.float32
    assert found == pytest.approx([_twin(query, row, metric) for row in rows], rel=1e-5, abs=1e-4)


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("dim", DIMS)
def test_a_score_does_not_depend_on_the_batch_it_is_computed_in(metric: Metric, dim: int) -> None:
    rows, queries = _vectors(3, 300, dim), _vectors(4, 20, dim)
    query_at, row_at = np.repeat(np.arange(20), 300), np.tile(np.arange(300), 20)
    together = pair_scores(queries, rows, query_at, row_at, metric).reshape(20, 300)
    for query in range(20):
        assert together[query].tobytes() == scores(queries[query], rows, metric).tobytes()
    for row in range(0, 300, 29):
        alone = scores(queries[7], np.array(rows[row : row + 1]), metric)
        assert together[7, row].tobytes() == alone.tobytes()


def test_pairs_beyond_one_block_keep_their_places() -> None:
    dim = 784
    rows, queries = _vectors(5, 50, dim), _vectors(6, 3, dim)
    row_at = np.random.default_rng(7).integers(0, 50, size=3 * block_rows(dim) + 5)
    query_at = row_at % 3
    found = pair_scores(queries, rows, query_at, row_at, Metric.L2)
    for at in (0, block_rows(dim) - 1, block_rows(dim), len(row_at) - 1):
        assert found[at] == scores(queries[query_at[at]], rows[row_at[at]][None, :], Metric.L2)[0]


def test_overflow_is_infinity_and_says_nothing() -> None:
    huge = np.full((1, 4), 3e38, dtype=np.float32)
    assert scores(-huge[0], huge, Metric.L2).tolist() == [math.inf]
    assert math.isnan(scores(huge[0], huge * np.array([1, -1, 1, -1], dtype=np.float32), Metric.IP)[0])


@given(st.integers(0, 2**31), st.floats(1e-30, 1e30))
def test_normalised_rows_have_unit_length_whatever_their_scale(seed: int, scale: float) -> None:
    vectors = (_vectors(seed, 6, 5) * scale).astype(np.float32)
    unit = normalised(vectors)
    assert np.linalg.norm(unit.astype(np.float64), axis=1) == pytest.approx(1.0, abs=1e-6)
    assert unit[2:3].tobytes() == normalised(vectors[2:3]).tobytes()


def test_only_cosine_changes_vectors() -> None:
    vectors = _vectors(8, 3, 4)
    assert prepared(vectors, Metric.L2) is vectors
    assert prepared(vectors, Metric.IP) is vectors
    assert not np.array_equal(prepared(vectors, Metric.COSINE), vectors)
