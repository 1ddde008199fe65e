from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.metric import Metric
from shoal.core.scoring import block_rows, normalised, pair_scores, prepared, scores, taken_scores

DIMS = [1, 2, 7, 8, 9, 31, 128, 129, 784, 1000]


def _vectors(seed: int, count: int, dim: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)


def _twin(query: np.ndarray, row: np.ndarray, metric: Metric) -> float:
    """Compute the score by its definition, with exact sums."""
    if metric is Metric.L2:
        return math.fsum((float(a) - float(b)) ** 2 for a, b in zip(row, query, strict=True))
    return math.fsum(float(a) * float(b) for a, b in zip(row, query, strict=True))


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("dim", DIMS)
def test_scores_agree_with_the_definition(metric: Metric, dim: int) -> None:
    rows, query = prepared(_vectors(1, 5, dim), metric), prepared(_vectors(2, 1, dim), metric)[0]
    found = scores(query, rows, metric)
    assert found.dtype == np.float32
    assert found == pytest.approx([_twin(query, row, metric) for row in rows], rel=1e-5, abs=1e-4)


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("dim", DIMS)
def test_a_score_does_not_depend_on_the_batch_it_is_computed_in(metric: Metric, dim: int) -> None:
    rows, queries = prepared(_vectors(3, 300, dim), metric), prepared(_vectors(4, 20, dim), metric)
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


@given(st.integers(0, 2**31), st.sampled_from(DIMS), st.floats(1e-20, 1e20), st.sampled_from([0.0, 1e-9, 1e-6, 1e-3, 0.1]))
def test_a_cosine_is_at_most_one_and_one_between_vectors_of_one_direction(seed: int, dim: int, scale: float, noise: float) -> None:
    given_ = _vectors(seed, 30, dim)
    rows = prepared(np.concatenate([given_, -given_, (given_ * scale).astype(np.float32), -given_ * 3]), Metric.COSINE)
    queries = prepared(given_ + noise * _vectors(seed + 1, 30, dim), Metric.COSINE)
    for at, query in enumerate(queries):
        found = scores(query, rows, Metric.COSINE)
        assert -1.0 <= found.min() <= found.max() <= 1.0
        if noise == 0:
            assert found[[at, at + 30, at + 60, at + 90]].tolist() == [1.0, -1.0, 1.0, -1.0]
        exact = rows.astype(np.float64) @ query.astype(np.float64)
        assert found == pytest.approx(exact, abs=3e-6)


@pytest.mark.parametrize("dim", DIMS)
def test_cosines_near_one_do_not_depend_on_the_batch_either(dim: int) -> None:
    base = _vectors(9, 1, dim)
    rows = prepared(np.concatenate([base + np.float32(10.0**-power) * _vectors(power, 40, dim) for power in range(9)]), Metric.COSINE)
    queries = prepared(np.concatenate([base, -base]), Metric.COSINE)
    query_at, row_at = np.repeat(np.arange(2), len(rows)), np.tile(np.arange(len(rows)), 2)
    together = pair_scores(queries, rows, query_at, row_at, Metric.COSINE)
    alone = [scores(queries[query], rows[row : row + 1], Metric.COSINE)[0] for query, row in zip(query_at, row_at, strict=True)]
    assert together.tobytes() == np.array(alone).tobytes()


def test_only_cosine_changes_vectors() -> None:
    vectors = _vectors(8, 3, 4)
    assert prepared(vectors, Metric.L2) is vectors
    assert prepared(vectors, Metric.IP) is vectors
    assert not np.array_equal(prepared(vectors, Metric.COSINE), vectors)


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("dim", DIMS)
def test_scores_of_rows_that_were_taken_are_those_of_pairs(metric: Metric, dim: int) -> None:
    for count in (1, 20, block_rows(dim) + 3 if dim > 100 else 300):
        given_rows = np.vstack([_vectors(8, count, dim), _vectors(9, 1, dim) * np.float32(1e30)])
        rows, query = prepared(given_rows, metric), prepared(_vectors(9, 1, dim), metric)
        expected = scores(query[0], rows, metric)
        with np.errstate(all="raise", under="ignore"):
            found = taken_scores(query, rows.copy(), metric)
        assert found.tobytes() == expected.tobytes()
