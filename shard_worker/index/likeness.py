"""Whether queries are like the sample that a segment's recall was measured on, by how far their nearest rows lie.

Used by all threads that search: its one changing number is a float, and a lost update does no harm. The rule is in
shoal.shard_worker.logic.tuning.query_drift.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from shoal.core.collection import Metric
from shoal.core.points import Matrix
from shoal.shard_worker.logic.tuning.query_drift import ALARM_LEVEL, level_after, surprise

_ROUNDING = 1e-5
_BEYOND = 0.2
"""Of the way from the middle of a sample to its farthest query: so much farther is well beyond it. (Fashion-MNIST and
SciFact, 256 and 150 of their queries: 0.13 and 0 % of the others lie there, 0.35 and 0.5 % beyond the farthest.)"""

_LOOKED_AT = 64
"""Queries of one batch that count, at most."""


def remoteness(queries: Matrix, scores: npt.NDArray[np.float32], metric: Metric) -> npt.NDArray[np.float64]:
    """How far the best row of each query lies from it, by its score (nq,): larger is farther, and a query's length does
    not count where it does not count for the order of hits. queries: (nq, dim), prepared. (nq,)."""
    if metric is Metric.L2:
        return np.asarray(scores, dtype=np.float64)
    far = -scores.astype(np.float64)
    if metric is Metric.COSINE:
        return far
    lengths = np.sqrt(np.einsum("ij,ij->i", queries, queries, dtype=np.float64))
    remote: npt.NDArray[np.float64] = np.divide(far, lengths, out=np.zeros_like(far), where=lengths > 0)
    return remote


class Likeness:
    """Of one measurement. sample: remoteness of the queries it was made with, ascending; empty where it says nothing of
    queries.
    """

    __slots__ = ("_level", "_limit", "_sample", "doubted")

    def __init__(self, sample: Sequence[float]) -> None:
        self._sample = list(sample)
        # The farthest of a sample is not the farthest of all queries like it.
        self._limit = sample[-1] + _BEYOND * (sample[-1] - sample[len(sample) // 2]) if sample else 0.0
        self._limit += _ROUNDING * abs(self._limit)
        self._level = 0.0
        self.doubted = False
        """Whether queries of another kind are asked now, or were found to be answered worse than promised. For good:
        the next measurement has another Likeness."""

    def unlike(self, remote: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_] | None:
        """Which of the queries asked, of this remoteness (nq,), lie well beyond all of the sample; None for none.

        They are counted.
        """
        if not self._sample:
            return None
        values = remote[:_LOOKED_AT].tolist()
        self._count(values)
        if len(values) == 1:
            return np.ones(1, dtype=bool) if values[0] > self._limit else None
        mask: npt.NDArray[np.bool_] = remote > self._limit
        return mask if mask.any() else None

    def doubt(self) -> None:
        """Searches were found to miss more than was promised."""
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
