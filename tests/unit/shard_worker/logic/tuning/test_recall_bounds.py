"""Test the bounds of recall: they hold for other queries, they are not needlessly low, and they stay within what was
measured.
"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.shard_worker.logic.tuning import recall_bounds
from shoal.shard_worker.logic.tuning.recall_bounds import (
    MOST_TOLERATED,
    STAND_IN_ERROR,
    WINDOW,
    expected_recalls,
    lower_bounds,
    monotone,
    reaches,
    sure_recalls,
    tolerated,
    with_stand_in_margin,
)

RANKS = (1, 10, 100)
BREADTHS = (8, 16, 32, 64)


def clustered_recalls(rng: np.random.Generator, mean: float, rank: int, queries: int) -> np.ndarray:
    """Return the recall of each query, shape (queries,). Some queries are hard: they miss most of their hits."""
    chances = rng.beta(mean * 4, (1 - mean) * 4, queries)
    return rng.binomial(rank, chances) / rank


@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("mean", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("queries", [64, 256])
def test_a_choice_by_bounds_misses_its_target_by_no_more_than_a_hundredth_and_does_not_overpay(mean, rank, queries):
    rng = np.random.default_rng(rank + queries)
    samples = np.stack([clustered_recalls(rng, mean, rank, queries) for _ in range(400)])
    bounds = np.array([lower_bounds(sample[None, None, None, :], (rank,), 2.0)[0, 0, 0] for sample in samples])
    # A breadth is chosen when its bound is at least target - MOST_TOLERATED. Its true recall must then be at least
    # target - 0.01.
    assert (bounds + MOST_TOLERATED - 0.01 <= mean).mean() >= 0.95
    spread = math.sqrt(mean * (1 - mean) / queries) if rank == 1 else samples.std() / math.sqrt(queries)
    assert bounds.mean() >= mean - 3.0 * spread - 4.0 / queries


@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("queries", [128, 256])
def test_a_breadth_that_is_surely_enough_is_enough_for_every_window(rank, queries):
    """Each breadth has more recall than the one before. A sample chooses the first breadth that is surely enough. Then
    windows of other queries are searched with it.
    """
    rng = np.random.default_rng(rank + queries)
    means = 1.0 - 0.2 * 0.8 ** np.arange(24)
    short, windows = 0, 0
    for _ in range(60):
        sample = np.stack([clustered_recalls(rng, mean, rank, queries) for mean in means])[:, None, None, :]
        enough = np.flatnonzero(sure_recalls(sample, (rank,), range(8, 32))[:, 0, 0] >= 0.95 - tolerated(0.95))
        chosen = means[enough[0]]
        found = clustered_recalls(rng, chosen, rank, 20 * WINDOW).reshape(20, WINDOW).mean(axis=1)
        short, windows = short + int((found < 0.94).sum()), windows + 20
    assert short <= windows / 100


def test_the_bound_of_one_hit_is_wilsons_interval():
    recalls = np.array([1.0] * 45 + [0.0] * 5)
    p, n, z = 0.9, 50, 2.0
    wilson = (p + z * z / (2 * n) - z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))) / (1 + z * z / n)
    assert lower_bounds(recalls[None, None, None, :], (1,), z)[0, 0, 0] == pytest.approx(wilson)


def test_queries_that_differ_widely_count_less_than_those_that_do_not():
    even = np.full(100, 0.9)
    uneven = np.array([1.0] * 90 + [0.0] * 10)
    bounds = [lower_bounds(recalls[None, None, None, :], (10,), 2.0)[0, 0, 0] for recalls in (even, uneven)]
    assert bounds[0] > bounds[1] + 0.03


def test_a_sample_without_a_miss_proves_little():
    perfect = np.ones((1, 1, 3, 64))
    bounds = lower_bounds(perfect, RANKS, 2.0)[0, 0]
    assert 0.9 < bounds[0] < bounds[1] < bounds[2] < 0.995


@st.composite
def recalls_of_queries(draw):
    """Draw recalls of shape (breadths, fetches, ranks, queries). Each is a whole number of hits divided by the rank."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (len(BREADTHS), draw(st.integers(1, 3)), len(RANKS), draw(st.integers(2, 70)))
    chances = draw(st.floats(0.0, 1.0)) ** rng.random(shape)
    return np.stack([rng.binomial(rank, chances[:, :, at]) / rank for at, rank in enumerate(RANKS)], axis=2)


@settings(max_examples=60, deadline=None)
@given(recalls_of_queries())
def test_tables_are_monotone_and_within_bounds(recalls):
    expected = expected_recalls(recalls)
    surely = sure_recalls(recalls, RANKS, BREADTHS)
    for table in (expected, surely):
        assert ((table >= 0) & (table <= 1)).all()
        assert (np.diff(table, axis=0) >= 0).all()
        assert (np.diff(table, axis=1) >= 0).all()
    assert (np.diff(expected, axis=2) <= 0).all()
    best = np.maximum.accumulate(np.maximum.accumulate(recalls.mean(axis=3), axis=0), axis=1)
    assert (surely <= best + 1e-12).all(), "nothing is promised that no breadth up to here has shown"


def test_a_bound_is_lent_from_half_the_breadth_at_half_the_error(monkeypatch):
    monkeypatch.setattr(recall_bounds, "WINDOW_SLACK", 1.0)
    perfect = np.ones((3, 1, 1, 64))
    surely = sure_recalls(perfect, (10,), (8, 16, 17))
    first = surely[0, 0, 0]
    assert surely[1, 0, 0] == pytest.approx(1 - (1 - first) / 2)
    assert surely[2, 0, 0] == surely[1, 0, 0], "17 is less than twice 16"


def test_stand_ins_promise_four_times_the_error_and_in_graphs_half_the_breadth():
    surely = np.array([0.90, 0.95, 0.99, 0.998]).reshape(4, 1, 1)
    lists = with_stand_in_margin(surely, BREADTHS, graph=False)
    np.testing.assert_allclose(lists.ravel(), 1 - STAND_IN_ERROR * (1 - surely.ravel()))
    graph = with_stand_in_margin(surely, BREADTHS, graph=True)
    np.testing.assert_allclose(graph.ravel(), [0.0, *(1 - STAND_IN_ERROR * (1 - surely.ravel()[:3]))])


def test_monotone_keeps_what_is_monotone():
    table = np.array([[[0.5, 0.4]], [[0.9, 0.8]]])
    np.testing.assert_array_equal(monotone(table), table)
    np.testing.assert_array_equal(monotone(table[::-1]), [[[0.9, 0.8]], [[0.9, 0.8]]])


@given(st.floats(0.01, 1.0))
def test_little_is_tolerated_and_less_near_one(recall):
    assert 0 <= tolerated(recall) <= MOST_TOLERATED
    assert tolerated(recall) <= 0.3 * (1 - recall)


@pytest.mark.parametrize(
    ("recalls", "target", "expected"),
    [([], 0.5, False), ([1.0] * 24, 0.95, True), ([1.0] * 24, 0.99, False), ([1.0] * 64, 0.99, True), ([0.9] * 64, 0.95, False)],
)
def test_recalls_that_reach_a_target_with_confidence(recalls, target, expected):
    assert reaches(recalls, 10, target) is expected


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.8, 0.9, 0.95]))
def test_queries_below_a_target_are_seldom_said_to_reach_it(seed, target):
    rng = np.random.default_rng(seed)
    wrong = sum(reaches(clustered_recalls(rng, target - 0.03, 10, 24).tolist(), 10, target) for _ in range(50))
    assert wrong <= 15
