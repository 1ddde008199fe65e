"""Measure the index of one sealed segment: recall and time over a growing grid of breadths, against the exact answer.

Runs in a build thread at low priority, in slices of about 20 ms, and can be stopped between two slices. Owns the grid
and where it ends. shoal.shard_worker.logic.tuning.recall_bounds decides what the measured recalls promise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shoal.core.deadline import Clock
from shoal.core.metric import Metric
from shoal.core.scoring import pair_scores
from shoal.shard_worker.index.likeness import remoteness
from shoal.shard_worker.index.native.distances import distances_at
from shoal.shard_worker.index.native.index import NativeIndex, inner_products, squared_distances
from shoal.shard_worker.index.tuning import ANY_FETCH, FETCHES, RANKS, IndexShape, Measures, Tuning
from shoal.shard_worker.index.view import SegmentView
from shoal.shard_worker.logic.tuning.recall_bounds import expected_recalls, sure_recalls, with_stand_in_margin
from shoal.shard_worker.tuning.truth import QuerySample, Truth, exact_truth

Recalls = npt.NDArray[np.float64]

MOST_BREADTH = 4_096
GOOD_ENOUGH = 0.998
"""The grid ends when the recall at the largest rank reaches this: at smaller ranks almost no error is left then."""

NOT_WORTH = 1.5
"""The grid ends when a search costs this many times an exact one."""

_GRID_RATIO = 1.4
_BLOCK_US = 20_000.0
_TIMED_CALLS = 7
_TIMED_ROWS = 8_192
_SELECT_US_PER_ROW = 7e-3
_CALL_US = 30.0


def calibrate(
    part: SegmentView,
    sample: QuerySample,
    *,
    metric: Metric,
    should_stop: Callable[[], bool],
    clock: Clock,
    ranks: tuple[int, ...] = RANKS,
    most_s: float = math.inf,
) -> Tuning | None:
    """Measure the recall and cost of the part's index; None when should_stop() interrupts.

    The part has an index and the sample at least one query. should_stop: called between slices of work, and may take
    its time; clock: seconds; ranks: at which recall is measured, if the part has four times as many rows; most_s: no
    further breadth begins after this time.
    """
    began = clock()
    native = part.native
    assert native is not None, "only a part with an index is calibrated"
    ranks = tuple(rank for rank in ranks if rank <= max(1, len(part) // 4))
    truth = exact_truth(part, sample, ranks[-1], metric, should_stop)
    if truth is None:
        return None
    survey = _Survey(part=part, native=native, sample=sample, truth=truth, ranks=ranks, clock=clock)
    exact = _exact_pace(part, sample, metric, clock)
    score_us = _score_us(part, sample, metric, clock, quantised=native.quantised)
    limit_us = _CALL_US + len(part) * exact
    breadths, us, recalls = [], [], []
    for breadth in grid(native.breadth_name, native.max_breadth, ranks):
        breadths.append(breadth)
        us.append(survey.single_us(breadth))
        measured = survey.recalls(breadth, us[-1], should_stop)
        if measured is None:
            return None
        recalls.append(measured)
        if us[-1] > NOT_WORTH * limit_us or measured[-1, -1].mean() >= GOOD_ENOUGH:
            break
        if clock() - began >= most_s:
            break
    measures = Measures(
        breadths=tuple(breadths),
        fetches=survey.fetches,
        ranks=ranks,
        **_tables(np.stack(recalls), breadths, ranks, sample, graph=native.breadth_name == "ef"),
        us=tuple(np.minimum.accumulate(us[::-1])[::-1].tolist()),
        score_us=score_us,
        exact_call_us=_CALL_US,
        exact_row_us=exact,
        queries=sample.of_users or len(sample),
        real=sample.real,
        remote=_remote(sample, truth, metric) if sample.comparable else (),
    )
    return Tuning(shape_of(part, native), measures)


def shape_of(part: SegmentView, native: NativeIndex) -> IndexShape:
    """Return the figures of the part's index."""
    return IndexShape(
        breadth_name=native.breadth_name,
        max_breadth=native.max_breadth,
        quantised=native.quantised,
        rows=len(part),
        dim=part.vectors.shape[1],
    )


def grid(breadth_name: str, max_breadth: int, ranks: tuple[int, ...]) -> tuple[int, ...]:
    """Return the breadths to try, ascending.

    A graph is never searched with less breadth than rows are fetched, so its grid includes the ranks.
    """
    if not breadth_name:
        return (1,)
    first, most = (8, min(MOST_BREADTH, max_breadth)) if breadth_name == "ef" else (1, max_breadth)
    steps = {most}
    value = float(min(first, most))
    while value < most:
        steps.add(round(value))
        value = max(value * _GRID_RATIO, value + 1)
    if breadth_name == "ef":
        steps |= {rank for rank in ranks if first <= rank <= most}
    return tuple(sorted(steps))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Survey:
    """Searches of one index with one sample."""

    part: SegmentView
    native: NativeIndex
    sample: QuerySample
    truth: Truth
    ranks: tuple[int, ...]
    clock: Clock

    @property
    def fetches(self) -> tuple[int, ...]:
        """Return the axis of the tables."""
        return FETCHES if self.native.quantised else ANY_FETCH

    def fetch(self, breadth: int) -> int:
        """Return how many rows to fetch at a breadth: as many as any cell of the tables needs.

        In a graph it is at most the breadth, which it would otherwise increase. One more row is fetched where a row
        stands in for a query, since it finds itself.
        """
        wanted = FETCHES[-1] if self.native.quantised else self.ranks[-1]
        if self.native.breadth_name == "ef":
            wanted = min(wanted, breadth)
        return min(wanted + self.sample.has_own, len(self.part))

    def single_us(self, breadth: int) -> float:
        """Return the time of a search for one query with few rows fetched.

        It is the least of several: other work on the machine only adds time.
        """
        fetch, times = min(10, len(self.part)), []
        for number in range(_TIMED_CALLS):
            query = self.sample.queries[number % len(self.sample)][None, :]
            began = self.clock()
            self.native.search(query, fetch, breadth)
            times.append(self.clock() - began)
        return min(times) * 1e6

    def recalls(self, breadth: int, us: float, should_stop: Callable[[], bool]) -> Recalls | None:
        """Return the recall of each query, (fetches, ranks, m); None when should_stop() interrupts."""
        fetch = self.fetch(breadth)
        found = np.empty((len(self.fetches), len(self.ranks), len(self.sample)))
        step = max(1, int(_BLOCK_US / max(us, 10.0)))
        for start in range(0, len(self.sample), step):
            if should_stop():
                return None
            positions = self.native.search(self.sample.queries[start : start + step], fetch, breadth)
            if self.sample.has_own:
                positions = self.sample.without_own(positions, start)
            found_at = self.truth.found_at(positions, start)
            places = self.truth.first_places[start : start + len(positions)]
            for at, rank in enumerate(self.ranks):
                near = places < rank
                width = int(near.sum(axis=1).max())
                for over, fetched in enumerate(self.fetches):
                    hits = near[:, :width] & (found_at[:, :width] < (fetched if self.native.quantised else rank))
                    found[over, at, start : start + len(positions)] = np.minimum(hits.sum(axis=1) / rank, 1.0)
        return found


def _tables(recalls: Recalls, breadths: list[int], ranks: tuple[int, ...], sample: QuerySample, *, graph: bool) -> dict[str, Recalls]:
    """Return expected and sure recalls from the recalls of single queries, (breadths, fetches, ranks, m).

    Sure means: for each kind of query. Guards do not count for the mean that is expected.
    """
    kinds = [recalls[..., sample.kinds == kind] for kind in np.unique(sample.kinds)]
    surely = np.minimum.reduce([sure_recalls(kind, ranks, breadths) for kind in kinds])
    return {
        "expected": expected_recalls(recalls[..., : sample.of_users or len(sample)]),
        "surely": surely if sample.real else with_stand_in_margin(surely, breadths, graph=graph),
    }


def _remote(sample: QuerySample, truth: Truth, metric: Metric) -> tuple[float, ...]:
    """Return how far the nearest rows of the queries lie, ascending."""
    count = sample.of_users or len(sample)
    far = remoteness(sample.queries[:count], truth.best[:count], metric)
    return tuple(np.sort(far[np.isfinite(far)]).tolist())


def _exact_pace(part: SegmentView, sample: QuerySample, metric: Metric, clock: Clock) -> float:
    """Return the microseconds to compare one query with one row of many."""
    rows = np.ascontiguousarray(part.vectors[:_TIMED_ROWS], dtype=np.float32)
    kernel = squared_distances if metric is Metric.L2 else inner_products
    times = []
    for number in range(_TIMED_CALLS):
        began = clock()
        kernel(sample.queries[number % len(sample)], rows)
        times.append(clock() - began)
    return min(times) * 1e6 / len(rows) + _SELECT_US_PER_ROW


def _score_us(part: SegmentView, sample: QuerySample, metric: Metric, clock: Clock, *, quantised: bool) -> float:
    """Return the microseconds to compare one fetched row exactly; rows are scattered like hits.

    Of the rows that a quantised index returns, only those that stay are scored; all are compared by a faster kernel.
    """
    count = min(256, len(part))
    positions = np.linspace(0, len(part) - 1, count).astype(np.int64)
    none = np.zeros(count, dtype=np.int64)
    times = []
    for number in range(_TIMED_CALLS):
        began = clock()
        query = sample.queries[number % len(sample)][None, :]
        if quantised:
            distances_at(query, part.vectors, positions[None, :], metric)
        else:
            pair_scores(query, part.vectors, none, positions, metric)
        times.append(clock() - began)
    return min(times) * 1e6 / count
