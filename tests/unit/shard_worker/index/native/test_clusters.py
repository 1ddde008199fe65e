from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.errors import Internal
from shoal.shard_worker.index.native.clusters import block_length, centroids_of


def _dumb(sample: np.ndarray, count: int, *, spherical: bool, rounds: int, seed: int) -> np.ndarray:
    """Compute Lloyd's algorithm in float64, row by row. The result is that of centroids_of if no cluster is empty."""
    centroids = sample[np.sort(np.random.default_rng(seed).choice(len(sample), count, replace=False))].astype(np.float64)
    for _ in range(rounds):
        if spherical:
            centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
        owners = []
        for row in sample.astype(np.float64):
            owners.append(np.argmax(centroids @ row) if spherical else np.argmin(((centroids - row) ** 2).sum(axis=1)))
        centroids = np.stack([sample[np.array(owners) == number].mean(axis=0, dtype=np.float64) for number in range(count)])
    return centroids / np.linalg.norm(centroids, axis=1, keepdims=True) if spherical else centroids


def _loss(sample: np.ndarray, centroids: np.ndarray) -> float:
    return float(((sample[:, None, :] - centroids[None]) ** 2).sum(axis=2).min(axis=1).mean())


@pytest.mark.parametrize("spherical", [False, True])
@pytest.mark.parametrize("offset", [0.0, 1_000.0])
def test_as_the_dumb_twin(spherical: bool, offset: float) -> None:
    rng = np.random.default_rng(5)
    centres = rng.standard_normal((6, 5)) * 20
    sample = (centres[rng.integers(0, 6, 900)] + rng.standard_normal((900, 5)) + offset).astype(np.float32)
    for rounds in (1, 4):
        found = centroids_of(sample, 6, spherical=spherical, rounds=rounds, seed=3, should_stop=bool)
        assert found is not None
        assert np.allclose(found, _dumb(sample, 6, spherical=spherical, rounds=rounds, seed=3), rtol=1e-4, atol=1e-3 + 1e-6 * offset)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 200), st.booleans(), st.integers(1, 4))
def test_always_so_many_finite_centroids_whatever_repeats(count: int, dim: int, more: int, spherical: bool, distinct: int) -> None:
    rng = np.random.default_rng(count + dim)
    sample = rng.standard_normal((distinct, dim)).astype(np.float32)[rng.integers(0, distinct, count + more)]
    found = centroids_of(sample, count, spherical=spherical, rounds=3, seed=1, should_stop=bool)
    again = centroids_of(sample, count, spherical=spherical, rounds=3, seed=1, should_stop=bool)
    assert found is not None
    assert again is not None
    assert found.shape == (count, dim)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert np.array_equal(found, again)
    if spherical:
        assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_rounds_bring_centroids_nearer() -> None:
    sample = np.random.default_rng(2).random((3_000, 4)).astype(np.float32)
    losses = []
    for rounds in (1, 3, 10):
        found = centroids_of(sample, 50, spherical=False, rounds=rounds, seed=1, should_stop=bool)
        assert found is not None
        losses.append(_loss(sample, found))
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.9 * losses[0]


def test_values_too_large_for_their_squares_end_in_some_centroids() -> None:
    sample = np.full((20, 3), 3e38, dtype=np.float32) * np.random.default_rng(1).choice([-1, 1], (20, 3)).astype(np.float32)
    found = centroids_of(sample, 4, spherical=False, rounds=3, seed=1, should_stop=bool)
    assert found is not None
    assert found.shape == (4, 3)


def test_it_stops_between_blocks() -> None:
    asked = 0

    def stop_at_third() -> bool:
        nonlocal asked
        asked += 1
        return asked == 3

    sample = np.zeros((100_000, 64), dtype=np.float32)
    assert centroids_of(sample, 16, spherical=False, rounds=10, seed=1, should_stop=stop_at_third) is None
    assert asked == 3


def test_a_block_is_a_tenth_of_a_second_of_work() -> None:
    assert block_length(1_000, 1_000) == 1_000
    assert block_length(16_384, 65_536) == 1


def test_too_small_a_sample_is_a_defect() -> None:
    with pytest.raises(Internal, match="3 rows cannot give 4"):
        centroids_of(np.zeros((3, 2), dtype=np.float32), 4, spherical=False, rounds=1, seed=1, should_stop=bool)
