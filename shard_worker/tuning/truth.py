"""The exact answer to sample queries over all rows of a segment, in short steps that can be stopped.

Dead rows count as rows here: the index is measured, and it holds them. A row counts as found when a row that ties with
it is found in its place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shoal.core.metric import Metric
from shoal.core.points import Matrix
from shoal.core.scoring import pair_scores, prepared
from shoal.shard_worker.index.view import SegmentView

Numbers = npt.NDArray[np.int64]

ABSENT = np.iinfo(np.int64).max
"""Place of a row that was not found."""

NO_ROW = -2
"""Own row of a query that is not a row; no search returns it."""

_STEP_FLOATS = 1 << 26
"""Products of elements of queries and rows in one step: about 20 ms."""

_MOST_DISTANCES = 1 << 21
_TIES = 64
"""Rows kept beyond the last wanted row, to see ties with it."""

_FAR = 10.0
"""Distance of far stand-ins, as a multiple of the spread of the rows."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class QuerySample:
    """Queries to measure with.

    queries: (m, dim) float32, prepared, contiguous; own: (m,) positions of the rows that stand in for queries and must
    not find themselves, NO_ROW for others; kinds: (m,) number of each query's kind, and a promise must hold for each
    kind by itself; of_users: users asked so many of the first queries; comparable: whether later queries may be
    compared with these by how far their nearest rows lie.
    """

    queries: Matrix
    own: Numbers
    kinds: Numbers
    of_users: int
    comparable: bool

    def __len__(self) -> int:
        return len(self.queries)

    @property
    def real(self) -> bool:
        """Return whether users asked the queries, all except guards."""
        return self.of_users > 0

    @property
    def has_own(self) -> bool:
        """Return whether rows stand in for some of the queries."""
        return bool((self.own != NO_ROW).any())

    @classmethod
    def asked(cls, queries: Matrix, metric: Metric, *others: Matrix) -> QuerySample:
        """Return a sample of real queries (m, dim) as users asked them; others: of other kinds, each (m, dim)."""
        every = [queries, *others]
        count = sum(map(len, every))
        return cls(
            queries=np.ascontiguousarray(prepared(np.concatenate(every), metric), dtype=np.float32),
            own=np.full(count, NO_ROW, dtype=np.int64),
            kinds=np.repeat(np.arange(len(every)), [len(each) for each in every]),
            of_users=count,
            comparable=True,
        )

    def guarded_by(self, rows: QuerySample) -> QuerySample:
        """Return this sample with rows as one more kind, for which a promise must hold, too."""
        return QuerySample(
            queries=np.concatenate([self.queries, rows.queries]),
            own=np.concatenate([self.own, rows.own]),
            kinds=np.concatenate([self.kinds, np.full(len(rows), self.kinds.max() + 1)]),
            of_users=self.of_users,
            comparable=self.comparable,
        )

    @classmethod
    def own_rows(cls, part: SegmentView, most: int, rng: np.random.Generator, *, seq: int) -> QuerySample:
        """Return at most `most` rows of the part that live at `seq`, as queries."""
        alive = np.flatnonzero(part.deaths > seq)
        positions = np.sort(rng.permutation(alive)[:most]).astype(np.int64)
        vectors = np.ascontiguousarray(part.vectors.take(positions, axis=0), dtype=np.float32)
        return cls(queries=vectors, own=positions, kinds=np.zeros(len(positions), dtype=np.int64), of_users=0, comparable=True)

    @classmethod
    def stand_ins(cls, part: SegmentView, each: int, rng: np.random.Generator, *, seq: int, metric: Metric) -> QuerySample:
        """Return at most `each` queries of each of several kinds, so that some are as hard as any real query.

        The kinds: rows that live at `seq`, points between two rows, rows with noise, random directions and, where
        lengths count, points far out in these directions.
        """
        rows = cls.own_rows(part, 4 * each, rng, seq=seq)
        count = len(rows) // 4
        if not count:
            return rows
        drawn = rng.permutation(rows.queries)
        noise = rng.standard_normal((2, count, rows.queries.shape[1])) * rows.queries.std(axis=0)
        around = rows.queries.mean(axis=0) if metric is Metric.L2 else 0.0
        made = [(drawn[:count] + drawn[count : 2 * count]) / 2, drawn[2 * count : 3 * count] + noise[0], around + noise[1]]
        if metric is Metric.L2:
            made.append(around + _FAR * noise[1])
        if metric is Metric.COSINE:
            # A vector without a direction is not a valid query.
            made = [np.where(np.abs(one).max(axis=1, keepdims=True) > 0, one, drawn[:count]) for one in made]
        own = rng.permutation(rows.own)[:count]
        others = prepared(np.concatenate(made).astype(np.float32), metric)
        return cls(
            queries=np.ascontiguousarray(np.concatenate([part.vectors.take(own, axis=0), others]), dtype=np.float32),
            own=np.concatenate([own, np.full(len(others), NO_ROW, dtype=np.int64)]),
            kinds=np.repeat(np.arange(1 + len(made)), count),
            of_users=0,
            comparable=False,
        )

    def without_own(self, positions: Numbers, start: int = 0) -> Numbers:
        """Remove the queries' own rows from positions (count, f) found for queries from `start` on.

        Return (count, f - 1), in the same order.
        """
        kept = positions != self.own[start : start + len(positions), None]
        whole = kept.all(axis=1)
        kept[whole, -1] = False
        others: Numbers = positions[kept].reshape(len(positions), positions.shape[1] - 1)
        return others


class Truth:
    """The nearest rows of each query of a sample, nearest first.

    nearest: (m, kept) positions; first_places: (m, kept) place from 0 of each row, for ties the place of the first;
    places: number of complete places, the last with all rows that tie, as far as there was room; rows: of the segment;
    best: (m,) scores of the nearest row of each query.
    """

    def __init__(self, *, nearest: Numbers, first_places: Numbers, places: int, rows: int, best: npt.NDArray[np.float32]) -> None:
        self.nearest, self.first_places, self.places, self.best = nearest, first_places, places, best
        # One more: positions of -1, for nothing found, index this last place.
        self._found_at: Numbers = np.full(rows + 1, ABSENT, dtype=np.int64)

    def found_at(self, positions: Numbers, start: int = 0) -> Numbers:
        """Return where each of the nearest rows is in `positions` (count, f), found for queries from `start` on.
        (count, kept).

        ABSENT for rows that were not found; -1 in positions means nothing. One call at a time.
        """
        found = np.empty((len(positions), self.nearest.shape[1]), dtype=np.int64)
        columns = np.arange(positions.shape[1])
        for number, row in enumerate(positions):
            self._found_at[row] = columns
            self._found_at[-1] = ABSENT
            self._found_at.take(self.nearest[start + number], out=found[number])
            self._found_at[row] = ABSENT
        return found


def exact_truth(part: SegmentView, sample: QuerySample, places: int, metric: Metric, should_stop: Callable[[], bool]) -> Truth | None:
    """Find the `places` nearest rows of each query, and ties with the last; None when should_stop() interrupts.

    Steps take about 20 ms.
    """
    rows = len(part)
    kept = min(rows, places + _TIES + 1)
    nearest = _nearest(part, sample.queries, kept, metric, should_stop)
    if nearest is None:
        return None
    nearest = sample.without_own(nearest) if sample.has_own else nearest
    scores = _scores(part, sample.queries, nearest, metric, should_stop)
    if scores is None:
        return None
    order = np.argsort(scores if metric.smaller_is_better else -scores, axis=1, kind="stable")
    nearest, scores = np.take_along_axis(nearest, order, axis=1), np.take_along_axis(scores, order, axis=1)
    place = np.broadcast_to(np.arange(nearest.shape[1]), nearest.shape)
    begins = np.concatenate([np.ones((len(sample), 1), dtype=bool), scores[:, 1:] != scores[:, :-1]], axis=1)
    first_places = np.maximum.accumulate(np.where(begins, place, 0), axis=1)
    return Truth(nearest=nearest, first_places=first_places, places=min(places, nearest.shape[1]), rows=rows, best=scores[:, 0])


def _nearest(part: SegmentView, queries: Matrix, kept: int, metric: Metric, should_stop: Callable[[], bool]) -> Numbers | None:
    """Find about the `kept` nearest rows of each query, in no order, by matrix products. (m, kept)."""
    count, dim = queries.shape
    step = max(1, min(_STEP_FLOATS // (count * dim), _MOST_DISTANCES // count))
    best = np.empty((count, 0), dtype=np.float32)
    positions: Numbers = np.empty((count, 0), dtype=np.int64)
    for start in range(0, len(part), step):
        if should_stop():
            return None
        with np.errstate(over="ignore", invalid="ignore"):
            distances = queries @ part.vectors[start : start + step].T
            np.negative(distances, out=distances)
            if metric is Metric.L2:
                distances *= 2
                distances += part.squares[start : start + step]
        here = np.broadcast_to(np.arange(start, start + distances.shape[1]), distances.shape)
        best, positions = np.concatenate([best, distances], axis=1), np.concatenate([positions, here], axis=1)
        if best.shape[1] > kept:
            at = np.argpartition(best, kept - 1, axis=1)[:, :kept]
            best, positions = np.take_along_axis(best, at, axis=1), np.take_along_axis(positions, at, axis=1)
    return positions


def _scores(
    part: SegmentView, queries: Matrix, positions: Numbers, metric: Metric, should_stop: Callable[[], bool]
) -> npt.NDArray[np.float32] | None:
    """Return the scores of the rows at `positions` (m, f), by the scoring kernel."""
    count, width = positions.shape
    scores = np.empty((count, width), dtype=np.float32)
    step = max(1, _STEP_FLOATS // 8 // (width * queries.shape[1]))
    for start in range(0, count, step):
        if should_stop():
            return None
        block = positions[start : start + step]
        query_at = np.repeat(np.arange(start, start + len(block)), width)
        scores[start : start + step] = pair_scores(queries, part.vectors, query_at, block.ravel(), metric).reshape(block.shape)
    return scores
