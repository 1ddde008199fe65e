"""Tell whether queries are like the sample that a segment's recall was measured on, by how far their nearest rows lie.

Used by all threads that search: the numbers that change are a level and a count, and a lost update does no harm. The
rule is in shoal.shard_worker.logic.tuning.query_drift.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from shoal.core.metric import Metric
from shoal.core.points import Matrix
from shoal.shard_worker.logic.tuning.query_drift import ALARM_LEVEL, level_after, surprise

_ROUNDING = 1e-5
_BEYOND = 0.2
"""Share of the way from the middle of a sample to its farthest query. A query that is farther than the farthest by more
than this is well beyond the sample.

Measured with samples of 256 queries of Fashion-MNIST and 150 of SciFact: 0.13% and 0% of the other queries are well
beyond, 0.35% and 0.5% beyond the farthest.
"""

_LOOKED_AT = 64
"""Most queries of one batch that count."""


def remoteness(queries: Matrix, scores: npt.NDArray[np.float32], metric: Metric) -> npt.NDArray[np.float64]:
    """Return how far the best row of each query is, from its score (nq,): larger is farther. (nq,).

    A query's length is divided out where it does not affect the order of hits. queries: (nq, dim), prepared.
    """
    if metric is Metric.L2:
        return np.asarray(scores, dtype=np.float64)
    far = -scores.astype(np.float64)
    if metric is Metric.COSINE:
        return far
    lengths = np.sqrt(np.einsum("ij,ij->i", queries, queries, dtype=np.float64))
    remote: npt.NDArray[np.float64] = np.divide(far, lengths, out=np.zeros_like(far), where=lengths > 0)
    return remote


def remoteness_of_one(query: Matrix, score: float, metric: Metric) -> float:
    """Return the same for one query (1, dim), from the score of its best row."""
    if metric is Metric.L2:
        return score
    return -score if metric is Metric.COSINE else float(remoteness(query, np.array([score], dtype=np.float32), metric)[0])


class Likeness:
    """Compares queries with the sample of one measurement.

    sample: remoteness of the queries that it was made with, ascending; empty when queries cannot be compared; most:
    queries for which the measurement serves before it is confirmed, infinite if it needs no confirmation.
    """

    __slots__ = ("_confirmed", "_counted", "_level", "_limit", "_most", "_sample", "doubted")

    def __init__(self, sample: Sequence[float], most: float = math.inf) -> None:
        self._most, self._counted, self._confirmed = most, 0, 0.0
        self._sample = list(sample)
        # The farthest query of a sample is not the farthest of all queries like it.
        self._limit = sample[-1] + _BEYOND * (sample[-1] - sample[len(sample) // 2]) if sample else 0.0
        self._limit += _ROUNDING * abs(self._limit)
        self._level = 0.0
        self.doubted = False
        """Whether queries of another kind are asked now, or answers were found to be worse than promised.

        It never becomes False again: the next measurement has its own Likeness.
        """

    def serves(self, recall: float, queries: int) -> bool:
        """Return whether so many more queries may rely on the measurement for this recall."""
        return not self.doubted and (self._counted + queries <= self._most or recall <= self._confirmed)

    def confirm(self, recall: float) -> None:
        """Record that searches were found to reach this recall."""
        self._confirmed = max(self._confirmed, recall)

    def unlike(self, remote: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_] | None:
        """Return which of the queries lie well beyond all of the sample; None when there are none. The queries are
        counted.

        remote: remoteness of the queries (nq,).
        """
        if not self._sample:
            return None
        if len(remote) == 1:
            return np.ones(1, dtype=bool) if self.is_unlike(float(remote[0])) else None
        self._counted += len(remote)
        self._count(remote[:_LOOKED_AT].tolist())
        mask: npt.NDArray[np.bool_] = remote > self._limit
        return mask if mask.any() else None

    def is_unlike(self, remote: float) -> bool:
        """Return whether one query lies well beyond all of the sample. The query is counted. remote: its remoteness."""
        if not self._sample:
            return False
        self._counted += 1
        self._count((remote,))
        return remote > self._limit

    def doubt(self) -> None:
        """Record that searches were found to miss more than was promised."""
        self.doubted = True

    def _count(self, values: Sequence[float]) -> None:
        sample, level = self._sample, self._level
        count = len(sample)
        for value in values:
            beyond = count - bisect_left(sample, value - _ROUNDING * abs(value))
            level = level_after(level, surprise(beyond, count))
            if level >= ALARM_LEVEL:
                self.doubted = True
        self._level = level
