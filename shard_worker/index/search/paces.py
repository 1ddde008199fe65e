"""Estimate the time of exact and indexed searches on this machine.

Paces are measured once, then corrected by every search that is carried out. Owns the estimates of the planner. Safe in
several threads: a pace is one float, and a lost correction does no harm.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import StrEnum

import numpy as np

from shoal.core.deadline import Clock
from shoal.core.metric import Metric
from shoal.shard_worker.index.native.distances import distances_at
from shoal.shard_worker.index.native.index import squared_distances
from shoal.shard_worker.logic.bound_gain import WIDTH

TOGETHER_QUERIES = 8
"""From this many queries on, one matrix product is faster than one pass a query.

Measured at dimensions 16, 128 and 784.
"""

CALL_US = 30.0
"""Time of one exact search of a part without its arithmetic."""

_SELECT_US_PER_ROW = 4e-3
_LEARN_FROM_US = 40.0
_WEIGHT = 0.1
_MOST_AT_ONCE = 4.0
_FURTHEST = 32.0
_MOST_SEGMENTS = 512
_SEED_FLOATS = 1 << 19
_SEED_ROWS = 4_096


class Layout(StrEnum):
    """How rows lie in memory.

    CONTIGUOUS: in one block; SCATTERED: at positions of a larger matrix; PRUNED: in one block, with short images that
    leave out most rows of a single query; CODED: the same, with codes instead of images.
    """

    CONTIGUOUS = "contiguous"
    SCATTERED = "scattered"
    PRUNED = "pruned"
    CODED = "coded"


class _MeasuredWork(StrEnum):
    """Kinds of arithmetic, each with its own pace in microseconds per float."""

    ALONE = "alone"
    SCATTERED = "scattered"
    PRUNED = "pruned"
    CODED = "coded"
    TOGETHER = "together"
    GATHER = "gather"


class Paces:
    """Learnt costs of one replica, whose vectors have one dimension. clock: seconds, for the first measurement."""

    def __init__(self, clock: Clock = time.perf_counter) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._us_per_float: dict[_MeasuredWork, float] = {}
        self._index_scale: dict[int, float] = {}

    def exact_us(self, *, queries: int, rows: int, dim: int, layout: Layout) -> float:
        """Estimate the microseconds to compare each of `queries` with `rows` rows."""
        return _fixed_us(queries, rows) + self._arithmetic_us(queries, rows, dim, layout)

    def learn_exact(self, *, queries: int, rows: int, dim: int, layout: Layout, us: float) -> None:
        """Learn that an exact search with these arguments took `us`."""
        expected = self._arithmetic_us(queries, rows, dim, layout)
        if expected < _LEARN_FROM_US or us <= 0:
            return
        correction = _correction(us - _fixed_us(queries, rows), expected)
        for work, _ in _parts(queries, rows, dim, layout):
            seed = _SEED_US_PER_FLOAT[work]
            learnt = self._us_per_float[work] * correction
            self._us_per_float[work] = min(max(learnt, seed / _FURTHEST), seed * _FURTHEST)

    def index_us(self, key: int, *, queries: int, us: float) -> float:
        """Estimate the microseconds of searching the index of segment `key`, whose tuning expects `us` a query."""
        return queries * us * self._index_scale.get(key, 1.0)

    def learn_index(self, key: int, *, queries: int, expected_us: float, us: float) -> None:
        """Learn that `queries` searches of segment `key` took `us`, when its tuning expects `expected_us` for one."""
        if us <= 0 or queries * expected_us <= 0:
            return
        if len(self._index_scale) >= _MOST_SEGMENTS:
            self._index_scale = {}
        scale = self._index_scale.get(key, 1.0)
        learnt = scale * _correction(us, queries * expected_us * scale)
        self._index_scale[key] = min(max(learnt, 1 / _FURTHEST), _FURTHEST)

    def _arithmetic_us(self, queries: int, rows: int, dim: int, layout: Layout) -> float:
        return sum(floats * self._pace(work, dim) for work, floats in _parts(queries, rows, dim, layout))

    def _pace(self, work: _MeasuredWork, dim: int) -> float:
        if not self._us_per_float:
            with self._lock:
                if not self._us_per_float:
                    self._us_per_float = self._measured(dim)
        return self._us_per_float[work]

    def _measured(self, dim: int) -> dict[_MeasuredWork, float]:
        """Time each kind of work on a small matrix: about two milliseconds in all."""
        rows = max(TOGETHER_QUERIES, min(_SEED_ROWS, _SEED_FLOATS // dim))
        matrix = np.full((rows, dim), 0.5, dtype=np.float32)
        queries = matrix[:TOGETHER_QUERIES] + np.float32(0.25)
        # An odd stride visits every row, in an order that a prefetcher cannot predict for long.
        positions = np.ascontiguousarray((np.arange(rows, dtype=np.int64) * 1_009) % rows)
        works: dict[_MeasuredWork, tuple[int, Callable[[], object]]] = {
            _MeasuredWork.ALONE: (1, lambda: squared_distances(queries[0], matrix)),
            _MeasuredWork.SCATTERED: (1, lambda: distances_at(queries[:1], matrix, positions[None, :], Metric.L2)),
            _MeasuredWork.TOGETHER: (TOGETHER_QUERIES, lambda: queries @ matrix.T),
            _MeasuredWork.GATHER: (1, lambda: matrix.take(positions, axis=0)),
        }
        found = {work: self._seed(work, self._timed_us(run) / (count * rows * dim)) for work, (count, run) in works.items()}
        return found | {work: cost * found[_MeasuredWork.ALONE] for work, cost in _COSTS.items()}

    def _timed_us(self, run: Callable[[], object]) -> float:
        began = self._clock()
        run()
        return (self._clock() - began) * 1e6

    def _seed(self, work: _MeasuredWork, us_per_float: float) -> float:
        """Limit a measurement to a plausible range: the scheduler may have interrupted it."""
        usual = _SEED_US_PER_FLOAT[work]
        return min(max(us_per_float, usual / _MOST_AT_ONCE), usual * _MOST_AT_ONCE)


_SEED_US_PER_FLOAT = {
    _MeasuredWork.ALONE: 1.2e-4,
    _MeasuredWork.SCATTERED: 3.5e-4,
    _MeasuredWork.PRUNED: 4e-4,
    _MeasuredWork.CODED: 5e-5,
    _MeasuredWork.TOGETHER: 5e-5,
    _MeasuredWork.GATHER: 3.5e-4,
}
"""Usual paces, measured at dimensions 128 and 784 with rows in memory."""

_COSTS = {_MeasuredWork.PRUNED: 4e-4 / 1.2e-4, _MeasuredWork.CODED: 5e-5 / 1.2e-4}
"""A number of an image or a code costs so many times a float of a row: it includes comparing the rows that are left."""


def _fixed_us(queries: int, rows: int) -> float:
    """Estimate the time of an exact search without its arithmetic: the call, and the selection of the best."""
    return CALL_US + queries * rows * _SELECT_US_PER_ROW


def _parts(queries: int, rows: int, dim: int, layout: Layout) -> list[tuple[_MeasuredWork, int]]:
    """Return the arithmetic of an exact search as (kind, floats)."""
    floats = rows * dim
    if queries < TOGETHER_QUERIES and layout is Layout.PRUNED:
        # The image of the query is a product of its own with `dim` rows.
        return [(_MeasuredWork.PRUNED, queries * (rows + dim) * min(dim, WIDTH))]
    if queries < TOGETHER_QUERIES and layout is Layout.CODED:
        return [(_MeasuredWork.CODED, queries * floats)]
    if queries < TOGETHER_QUERIES:
        return [(_MeasuredWork.ALONE if layout is Layout.CONTIGUOUS else _MeasuredWork.SCATTERED, queries * floats)]
    together = [(_MeasuredWork.TOGETHER, queries * floats)]
    return [(_MeasuredWork.GATHER, floats), *together] if layout is Layout.SCATTERED else together


def _correction(us: float, expected_us: float) -> float:
    """Return the factor for a pace after one observation. It is bounded: a search may have waited for the processor."""
    ratio = min(max(us / expected_us, 1 / _MOST_AT_ONCE), _MOST_AT_ONCE)
    return float(ratio**_WEIGHT)
