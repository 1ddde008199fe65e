"""Test how many queries of a batch differ: copies and near copies count once, others each."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.shard_worker.logic.tuning.query_variety import DIRECTIONS, different


def directions(dim: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((dim, DIRECTIONS), dtype=np.float32)


def gaussian(seed: int, count: int, dim: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)


@pytest.mark.parametrize("noise", [0.0, 0.01])
@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1_000), st.integers(1, 20), st.lists(st.integers(0, 19), max_size=60), st.sampled_from([0.01, 1.0, 1e4]))
def test_near_copies_count_once(noise, seed, kinds, copies, scale):
    """The first query of each kind, then copies in any order."""
    firsts = gaussian(seed, kinds, 32)
    queries = np.concatenate([firsts, firsts[[copy % kinds for copy in copies]]])
    queries = (queries + noise * gaussian(seed + 1, len(queries), 32)) * np.float32(scale)
    assert different(queries, directions(32)) == kinds


def test_queries_of_the_usual_kinds_differ():
    for dim in (8, 784):
        assert different(gaussian(1, 200, dim), directions(dim)) >= 198
        assert different(np.abs(gaussian(1, 200, dim)), directions(dim)) >= 190


def test_queries_without_length_are_alike():
    assert different(np.zeros((5, 3), dtype=np.float32), directions(3)) == 1
