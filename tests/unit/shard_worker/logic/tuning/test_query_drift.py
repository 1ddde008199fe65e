"""Test the alarm for changed queries: queries like the sample raise none, queries of another kind raise it after a few.
A mean recall counts as missed only with confidence.
"""

import numpy as np
import pytest

from shoal.shard_worker.logic.tuning.query_drift import ALARM_LEVEL, level_after, misses, surprise


def alarms_at(places: np.ndarray, sampled: int) -> int | None:
    """Return the number of the query that raises the alarm. places: for each query, the number of sampled queries that
    are at least as far away.
    """
    level = 0.0
    for number, beyond in enumerate(places.tolist()):
        level = level_after(level, surprise(beyond, sampled))
        if level >= ALARM_LEVEL:
            return number + 1
    return None


@pytest.mark.parametrize("sampled", [64, 128, 256])
def test_queries_like_the_sample_raise_no_alarm(sampled):
    rng = np.random.default_rng(sampled)
    alarms = 0
    for _ in range(20):
        sample = np.sort(rng.normal(size=sampled))
        places = sampled - np.searchsorted(sample, rng.normal(size=2_000))
        alarms += alarms_at(places, sampled) is not None
    assert alarms == 0


@pytest.mark.parametrize(("sampled", "within"), [(64, 9), (256, 6), (640, 5)])
def test_queries_beyond_all_of_the_sample_raise_it_within_a_few(sampled, within):
    assert alarms_at(np.zeros(100, dtype=int), sampled) == within


def test_an_outlier_in_the_sample_blinds_nobody():
    assert alarms_at(np.full(100, 2), 256) <= 10


def test_one_strange_query_in_five_is_enough():
    rng = np.random.default_rng(1)
    usual = rng.integers(0, 257, 1_000)
    assert alarms_at(np.where(rng.random(1_000) < 0.2, 0, usual), 256) <= 200


def test_a_mean_is_missed_only_with_confidence():
    assert misses([0.5] * 30 + [1.0] * 30, 0.95)
    assert not misses([0.9] + [1.0] * 60, 0.95)
    assert not misses([0.0] + [1.0] * 15, 0.95), "one query says little"
    assert misses([0.9] * 64, 0.95)
    assert not misses([], 0.95)
    assert not misses([0.0], 0.95)
