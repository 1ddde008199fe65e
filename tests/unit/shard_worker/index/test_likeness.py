"""Test that queries unlike the sample are recognised by the distance of their nearest rows."""

import numpy as np
import pytest

from shoal.core.metric import Metric
from shoal.shard_worker.index.likeness import Likeness, remoteness, remoteness_of_one


@pytest.mark.parametrize(("metric", "expected"), [(Metric.L2, [4.0, 9.0]), (Metric.COSINE, [-4.0, -9.0]), (Metric.IP, [-2.0, -3.0])])
def test_remoteness_grows_with_distance_whatever_the_length_of_a_query(metric, expected):
    queries = np.array([[2.0, 0.0], [0.0, 3.0]], dtype=np.float32)
    assert remoteness(queries, np.array([4.0, 9.0], dtype=np.float32), metric).tolist() == expected


def test_a_query_without_length_is_near_everything():
    assert remoteness(np.zeros((1, 2), dtype=np.float32), np.zeros(1, dtype=np.float32), Metric.IP).tolist() == [0.0]


def test_only_queries_well_beyond_all_of_the_sample_are_unlike_it():
    likeness = Likeness([1.0, 2.0, 3.0])
    assert likeness.unlike(np.array([0.0, 3.0, 3.19])) is None
    assert likeness.unlike(np.array([3.21, 2.0])).tolist() == [True, False]
    assert [likeness.unlike(np.array([value])) is None for value in (3.19, 3.21)] == [True, False]
    assert not likeness.doubted


def test_equal_queries_are_like_each_other_whatever_rounding_does():
    assert Likeness([3.0] * 64).unlike(np.array([3.0 + 1e-6])) is None
    assert Likeness([-3.0] * 64).unlike(np.array([-3.0 + 1e-6])) is None
    assert Likeness([0.0] * 64).unlike(np.array([0.0])) is None


def test_many_of_them_are_a_reason_for_doubt():
    likeness = Likeness(sorted(np.random.default_rng(0).normal(size=256).tolist()))
    for number in range(6):
        assert not likeness.doubted, number
        likeness.unlike(np.array([9.0]))
    assert likeness.doubted


def test_a_batch_counts_as_its_queries():
    likeness = Likeness([1.0] * 256)
    likeness.unlike(np.full(7, 2.0))
    assert likeness.doubted


def test_without_a_sample_nothing_is_unlike_and_doubt_can_be_told():
    likeness = Likeness([])
    assert likeness.unlike(np.full(100, 9.0)) is None
    assert not likeness.doubted
    likeness.doubt()
    assert likeness.doubted


def test_what_is_no_number_is_not_unlike():
    assert Likeness([1.0]).unlike(np.array([np.nan])) is None


def test_a_measurement_serves_some_queries_and_all_once_it_is_confirmed():
    likeness = Likeness([1.0, 2.0, 3.0], most=4)
    assert likeness.serves(0.9, 4)
    assert not likeness.serves(0.9, 5)
    likeness.unlike(np.array([2.0, 2.0, 2.0]))
    assert likeness.serves(0.9, 1)
    assert not likeness.serves(0.9, 2)
    likeness.confirm(0.9)
    assert likeness.serves(0.9, 1_000)
    assert not likeness.serves(0.91, 2), "a higher recall was not confirmed"
    likeness.doubt()
    assert not likeness.serves(0.9, 1)


def test_one_query_counts_as_a_batch_of_one():
    alone, batches = (Likeness([1.0, 2.0, 3.0], most=40) for _ in range(2))
    for value in (0.5, 3.3, 9.0, 2.0, float("nan")) * 7:
        assert alone.is_unlike(value) == (batches.unlike(np.array([value])) is not None)
        assert alone._counted == batches._counted
        assert (alone.doubted, alone._level) == (batches.doubted, batches._level)
    assert not Likeness([]).is_unlike(9.0)


@pytest.mark.parametrize("metric", list(Metric))
def test_the_remoteness_of_one_query_is_that_of_a_batch(metric):
    queries = np.array([[2.0, 1.0], [0.0, 3.0]], dtype=np.float32)
    scores = np.array([4.1, -9.3], dtype=np.float32)
    found = [remoteness_of_one(queries[at : at + 1], scores.item(at), metric) for at in range(2)]
    assert found == remoteness(queries, scores, metric).tolist()


def test_a_measurement_on_real_queries_needs_no_confirmation():
    likeness = Likeness([1.0, 2.0, 3.0])
    likeness.unlike(np.full(1_000, 2.0))
    assert likeness.serves(1.0, 1_000)
