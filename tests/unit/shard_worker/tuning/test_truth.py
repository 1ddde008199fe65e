"""Test that exact answers by blocks agree with sorting all rows, and that a row used as a query does not
find itself.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.metric import Metric
from shoal.core.scoring import prepared, scores
from shoal.shard_worker.tuning import truth as module
from shoal.shard_worker.tuning.truth import ABSENT, QuerySample, exact_truth
from tests.support.worker.made_segments import frozen


def part_of(vectors: np.ndarray, metric: Metric):
    return frozen(vectors, metric).part


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(Metric),
    st.integers(2, 90),
    st.integers(1, 7),
    st.integers(1, 12),
    st.booleans(),
    st.sampled_from([64, 512, 1 << 21]),
)
def test_places_agree_with_sorting_all_rows(seed, metric, rows, count, places, own, most):
    rng = np.random.default_rng(seed)
    # Few distinct coordinates make ties.
    vectors = rng.integers(1, 4, (rows, 3)).astype(np.float32)
    part = part_of(vectors, metric)
    sample = (
        QuerySample.own_rows(part, count, rng, seq=0)
        if own
        else QuerySample.asked(rng.integers(1, 4, (count, 3)).astype(np.float32), metric)
    )
    assert sample.real is not own
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MOST_DISTANCES", most)
        found = exact_truth(part, sample, places, metric, bool)
    assert found is not None
    for number in range(len(sample)):
        mine = scores(sample.queries[number], part.vectors, metric)
        better = (mine[None, :] < mine[:, None]) if metric is Metric.L2 else (mine[None, :] > mine[:, None])
        if own:
            better[:, sample.own[number]] = False
        place = better.sum(axis=1)
        nearest, first_places = found.nearest[number], found.first_places[number]
        assert len(set(nearest.tolist())) == len(nearest)
        assert not own or sample.own[number] not in nearest
        sure = first_places < found.places
        assert first_places[sure].tolist() == sorted(place[nearest][sure].tolist())
        assert (place[nearest][~sure] >= found.places).all()
        assert sure.sum() >= min(found.places, rows - own)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.integers(1, 6), st.integers(0, 20))
def test_found_at_agrees_with_looking_for_each_row(seed, rows, count, fetch):
    rng = np.random.default_rng(seed)
    part = part_of(rng.random((rows, 3)).astype(np.float32), Metric.L2)
    truth = exact_truth(part, QuerySample.asked(rng.random((count, 3)).astype(np.float32), Metric.L2), 5, Metric.L2, bool)
    assert truth is not None
    start = int(rng.integers(count))
    positions = np.stack([rng.permutation(np.arange(-20, rows))[:fetch].clip(-1) for _ in range(count - start)])
    found = truth.found_at(positions, start)
    for number, row in enumerate(positions.tolist()):
        for at, position in enumerate(truth.nearest[start + number].tolist()):
            assert found[number, at] == (row.index(position) if position in row else ABSENT)


def test_own_rows_live_and_are_dropped_wherever_they_were_found():
    vectors = np.arange(10, dtype=np.float32)[:, None]
    part = part_of(vectors, Metric.L2)
    part.deaths[:7] = 3
    sample = QuerySample.own_rows(part, 10, np.random.default_rng(0), seq=3)
    assert sample.own.tolist() == [7, 8, 9]
    np.testing.assert_array_equal(sample.queries, vectors[7:])
    assert QuerySample.own_rows(part, 10, np.random.default_rng(0), seq=2).own.tolist() == list(range(10))
    assert sample.without_own(np.array([[7, 1, 2], [1, 8, 2], [1, 2, 3]])).tolist() == [[1, 2], [1, 2], [1, 2]]
    assert sample.without_own(np.array([[8, -1, -1]]), start=1).tolist() == [[-1, -1]]


def test_real_queries_are_prepared():
    queries = np.array([[3.0, 4.0]], dtype=np.float32)
    np.testing.assert_array_equal(QuerySample.asked(queries, Metric.COSINE).queries, prepared(queries, Metric.COSINE))
    np.testing.assert_array_equal(QuerySample.asked(queries, Metric.L2).queries, queries)


def test_it_stops_when_told_at_any_step():
    part = part_of(np.random.default_rng(0).random((300, 4)).astype(np.float32), Metric.L2)
    sample = QuerySample.asked(np.ones((5, 4), dtype=np.float32), Metric.L2)
    asked = 0

    def never() -> bool:
        nonlocal asked
        asked += 1
        return False

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MOST_DISTANCES", 500)
        assert exact_truth(part, sample, 10, Metric.L2, never) is not None
        assert asked > 3
        for stop_at in range(asked):
            answers = iter([False] * stop_at + [True])
            assert exact_truth(part, sample, 10, Metric.L2, lambda answers=answers: next(answers)) is None


@pytest.mark.parametrize(("metric", "kinds"), [(Metric.L2, 5), (Metric.IP, 4), (Metric.COSINE, 4)])
def test_of_each_kind_that_stands_in_there_are_as_many(metric, kinds):
    vectors = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    part = part_of(vectors, metric)
    sample = QuerySample.stand_ins(part, 7, np.random.default_rng(1), seq=0, metric=metric)
    assert not sample.real
    assert np.bincount(sample.kinds).tolist() == [7] * kinds
    assert (sample.own[sample.kinds == 0] >= 0).all()
    assert (sample.own[sample.kinds > 0] < -1).all(), "-1 is what a search finds where there is nothing"
    np.testing.assert_array_equal(sample.queries[:7], part.vectors[sample.own[:7]])
    if metric is Metric.COSINE:
        np.testing.assert_allclose(np.linalg.norm(sample.queries, axis=1), 1.0, rtol=1e-5)
    found = exact_truth(part, sample, 3, metric, bool)
    assert found is not None
    assert not (found.nearest[:7] == sample.own[:7, None]).any()


def test_opposite_rows_leave_no_query_without_a_direction():
    vectors = np.array([[1.0, 0.0], [-1.0, 0.0]] * 20, dtype=np.float32)
    sample = QuerySample.stand_ins(part_of(vectors, Metric.COSINE), 10, np.random.default_rng(1), seq=0, metric=Metric.COSINE)
    np.testing.assert_allclose(np.linalg.norm(sample.queries, axis=1), 1.0, rtol=1e-5)


def test_few_rows_stand_in_alone():
    part = part_of(np.eye(3, dtype=np.float32), Metric.L2)
    assert QuerySample.stand_ins(part, 10, np.random.default_rng(1), seq=0, metric=Metric.L2).own.tolist() == [0, 1, 2]


def test_kinds_of_real_queries_are_told_apart():
    sample = QuerySample.asked(np.ones((2, 3), dtype=np.float32), Metric.L2, np.zeros((3, 3), dtype=np.float32))
    assert sample.real
    assert sample.kinds.tolist() == [0, 0, 1, 1, 1]
