"""Selection by groups: the k-th smallest number is that of a full sort, and near-smallest ones are near."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.shard_worker.index.search.smallest import kth_smallest, near_smallest

KINDS = ("uniform", "equal", "ascending", "one group", "infinite", "nan", "all nan")


def _numbers(kind: str, count: int, k: int, seed: int) -> np.ndarray:
    numbers = np.random.default_rng(seed).uniform(-5, 5, count).astype(np.float32)
    match kind:
        case "equal":
            numbers[:] = 2.5
        case "ascending":
            numbers.sort()
        case "one group":
            # All small numbers are those of one group.
            numbers[:: 8 * k] -= 100
        case "infinite":
            numbers[numbers > -3] = np.inf
        case "nan":
            numbers[::7] = np.nan
        case "all nan":
            numbers[:] = np.nan
    return numbers


@pytest.mark.filterwarnings("error")
@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from(KINDS), count=st.sampled_from([1, 7, 40, 320, 1_000, 5_000]), k=st.integers(1, 60), seed=st.integers(0, 1_000))
def test_the_kth_smallest_is_that_of_a_full_sort(kind: str, count: int, k: int, seed: int) -> None:
    k = min(k, count)
    numbers = _numbers(kind, count, k, seed)
    before = numbers.copy()
    np.testing.assert_equal(kth_smallest(numbers, k), float(np.sort(numbers)[k - 1]))
    np.testing.assert_array_equal(numbers, before)


@pytest.mark.filterwarnings("error")
@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(KINDS), count=st.sampled_from([1, 7, 40, 320, 1_000, 5_000]), few=st.integers(1, 60), seed=st.integers(0, 1_000)
)
def test_near_smallest_are_different_positions_and_among_them_is_the_smallest(kind: str, count: int, few: int, seed: int) -> None:
    few = min(few, count)
    numbers = _numbers(kind, count, few, seed)
    found = near_smallest(numbers, few)
    assert len(np.unique(found)) == few
    assert found.min() >= 0
    assert found.max() < count
    covered = count if count < 32 * few else count // (8 * few) * (8 * few)
    if kind not in ("nan", "all nan"):
        assert numbers[found].min() == numbers[:covered].min()


def test_near_smallest_are_mostly_the_smallest() -> None:
    numbers = _numbers("uniform", 20_000, 42, 3)
    found = near_smallest(numbers, 42)
    assert (numbers[found] <= np.sort(numbers)[41]).mean() > 0.8
