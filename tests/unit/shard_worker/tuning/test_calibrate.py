"""Test the measurement of real FAISS indexes on small data: searches then have the recall that was measured."""

import dataclasses
import time

import numpy as np
import pytest

from shoal.core.metric import Metric
from shoal.core.scoring import prepared, scores
from shoal.shard_worker.index.tuning import RANKS, Tuning
from shoal.shard_worker.index.view import SegmentView
from shoal.shard_worker.tuning.calibrate import calibrate, grid
from shoal.shard_worker.tuning.truth import QuerySample
from tests.support.worker.made_segments import built, clustered, form_of, frozen

ROWS, DIM = 2_000, 16


class CheapIndexClock:
    """Clock that moves by one microsecond at each look. So costs do not depend on the machine, and searching the index
    is always cheapest.
    """

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 1e-6
        return self.now_s


@pytest.fixture(scope="module", params=["HNSW16,Flat", "IVF32,Flat", "HNSW16,SQ8", "IVF32,PQ8x4", "PQ8x4"])
def part(request, tmp_path_factory) -> SegmentView:
    vectors = clustered(2, ROWS, DIM)
    sealed = built(form_of(request.param, DIM), (frozen(vectors, Metric.L2),), tmp_path_factory.mktemp("segment"))
    sealed.name = "segment"
    return sealed.part()


def tuned(part: SegmentView, sample: QuerySample, metric: Metric = Metric.L2) -> Tuning:
    tuning = calibrate(part, sample, metric=metric, should_stop=bool, clock=CheapIndexClock())
    assert tuning is not None
    return tuning


def all_distances(part: SegmentView, queries: np.ndarray) -> np.ndarray:
    """Return the distances of each query to each row, shape (nq, n)."""
    return np.stack([scores(query, part.vectors, Metric.L2) for query in queries])


def recall_of(part: SegmentView, queries: np.ndarray, distances: np.ndarray, k: int, breadth: int, fetch: int) -> float:
    """Compute the recall in the dumb way: the k best rows that the index returns, judged by all distances."""
    found = []
    for query, every in zip(queries, distances, strict=True):
        positions = part.native.search(query[None, :], fetch, breadth)[0]
        ours = np.sort(every[positions[positions >= 0]])[:k]
        found.append((ours <= np.partition(every, k - 1)[k - 1]).sum() / k)
    return float(np.mean(found))


def test_expected_recall_is_that_of_a_search(part):
    queries = clustered(3, 60, DIM)
    tuning = tuned(part, QuerySample.asked(queries, Metric.L2))
    measures, distances = tuning.measures, all_distances(part, queries)
    assert (tuning.queries, tuning.real) == (60, True)
    assert measures.ranks == tuple(rank for rank in RANKS if rank <= ROWS // 4)
    for k in (1, 10, 100):
        for breadth in measures.breadths[:: max(1, len(measures.breadths) // 4)]:
            for fetch in {k, *(fetch for fetch in measures.fetches[::4] if fetch > k)}:
                reached = max(breadth, fetch) if tuning.shape.breadth_name == "ef" else breadth
                if tuning.shape.breadth_name == "ef" and reached > breadth:
                    continue
                measured = recall_of(part, queries, distances, k, reached, fetch)
                assert tuning.recall_at(k, reached, fetch) == pytest.approx(measured, abs=0.05)


def test_a_choice_holds_for_other_queries(part):
    tuning = tuned(part, QuerySample.asked(clustered(4, 200, DIM), Metric.L2))
    others = clustered(5, 800, DIM)
    distances = all_distances(part, others)
    chosen = 0
    for k in (1, 10):
        for recall in (0.8, 0.9, 0.95):
            choice = tuning.breadth_for(k, recall)
            if not choice.exact:
                chosen += 1
                assert recall_of(part, others, distances, k, choice.breadth, choice.fetch) >= recall - 0.01
    assert chosen >= 4


def test_rows_that_stand_in_promise_less_than_they_show(part):
    sample = QuerySample.own_rows(part, 100, np.random.default_rng(0), seq=0)
    tuning = tuned(part, sample)
    assert not tuning.real
    assert (tuning.measures.surely <= tuning.measures.expected + 1e-12).all()
    real = tuned(part, QuerySample.asked(clustered(4, 100, DIM), Metric.L2))
    for k in (1, 10):
        careful, sure = tuning.breadth_for(k, 0.9), real.breadth_for(k, 0.9)
        assert careful.exact or tuning.us_of(careful.breadth, careful.fetch) >= tuning.us_of(sure.breadth, sure.fetch)


def test_it_stops_when_told(part):
    sample = QuerySample.asked(clustered(3, 20, DIM), Metric.L2)
    asked = 0

    def never() -> bool:
        nonlocal asked
        asked += 1
        return False

    assert calibrate(part, sample, metric=Metric.L2, should_stop=never, clock=CheapIndexClock()) is not None
    for stop_at in (0, 1, asked // 2, asked - 1):
        answers = iter([False] * stop_at + [True])
        assert calibrate(part, sample, metric=Metric.L2, should_stop=lambda answers=answers: next(answers), clock=CheapIndexClock()) is None


def test_times_are_measured(part):
    tuning = calibrate(
        part, QuerySample.asked(clustered(3, 20, DIM), Metric.L2), metric=Metric.L2, should_stop=bool, clock=time.perf_counter
    )
    assert tuning is not None
    costs = (*tuning.measures.us, tuning.measures.score_us, tuning.measures.exact_row_us)
    assert all(0 < cost < 1e6 for cost in costs)
    assert list(tuning.measures.us) == sorted(tuning.measures.us)


@pytest.mark.parametrize("metric", [Metric.COSINE, Metric.IP])
def test_other_metrics(metric, tmp_path):
    vectors = clustered(6, ROWS, DIM)
    part = built(form_of("HNSW16", DIM, metric), (frozen(vectors, metric),), tmp_path).part()
    tuning = tuned(part, QuerySample.asked(clustered(7, 100, DIM), metric), metric)
    choice = tuning.breadth_for(10, 0.9)
    queries = prepared(clustered(8, 100, DIM), metric)
    truth = np.argsort(-(queries @ part.vectors.T), axis=1)[:, :10]
    found = part.native.search(queries, choice.fetch, choice.breadth)[:, :10]
    shares = [len(set(a) & set(b)) / 10 for a, b in zip(found.tolist(), truth.tolist(), strict=True)]
    assert not choice.exact
    assert np.mean(shares) >= 0.89


def test_equal_rows_count_as_found_whichever_is_found(tmp_path):
    vectors = np.repeat(clustered(9, 400, DIM), 5, axis=0)
    part = built(form_of("HNSW16", DIM), (frozen(vectors, Metric.L2),), tmp_path).part()
    tuning = tuned(part, QuerySample.asked(vectors[::40].copy(), Metric.L2))
    assert tuning.recall_at(3, 500, 3) >= 0.9, "any three of five equal rows are an exact answer"


@pytest.mark.parametrize(
    ("name", "most", "first", "last"),
    [("ef", 100_000, 8, 4_096), ("ef", 500, 8, 500), ("nprobe", 77, 1, 77), ("", 9, 1, 1), ("ef", 3, 3, 3)],
)
def test_the_grid_grows_to_the_largest_useful_breadth(name, most, first, last):
    steps = grid(name, most, RANKS)
    assert (steps[0], steps[-1]) == (first, last)
    assert list(steps) == sorted(set(steps))
    assert len(steps) < 40
    if name == "ef" and most > 1_000:
        assert {10, 30, 100, 300, 1_000} <= set(steps)


def test_guards_lower_what_is_sure_and_count_for_nothing_else(part):
    alike = QuerySample.asked(np.repeat(clustered(4, 1, DIM), 100, axis=0), Metric.L2)
    rows = QuerySample.own_rows(part, 100, np.random.default_rng(0), seq=1)
    alone, guarded, guards = tuned(part, alike), tuned(part, alike.guarded_by(rows)), tuned(part, rows)
    assert guarded.queries == alone.queries == 100
    assert guarded.measures.remote == alone.measures.remote
    assert (guarded.real, guarded.provisional, guards.provisional) == (True, False, True)
    at = min(len(alone.measures.breadths), len(guarded.measures.breadths))
    np.testing.assert_array_equal(guarded.measures.expected[:at], alone.measures.expected[:at])
    as_asked = tuned(part, dataclasses.replace(rows, of_users=len(rows))).measures.surely[:at]
    at = min(at, len(as_asked))
    np.testing.assert_allclose(guarded.measures.surely[:at], np.minimum(alone.measures.surely[:at], as_asked[:at]))
