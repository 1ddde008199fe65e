"""The only scoring kernel. All final scores are computed here, so a score never depends on the batch of its query.

Each row is summed separately along contiguous memory (numpy's pairwise summation). BLAS is not used: the last bits of
its sums change with the shape of the batch. A cosine is at most 1, and exactly 1 between vectors of the same direction.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shoal.core.metric import Metric
from shoal.core.points import Matrix

_BLOCK_FLOATS = 65_536
"""Work is cut into blocks of about this many floats, so that intermediate values stay in the cache of the processor."""


_NEARLY_ONE = np.float32(1 - 1e-5)
"""Cosines above this are computed again in float64: they are closer to 1 than the error of sums in float32."""


def normalised(vectors: Matrix) -> Matrix:
    """Return the rows scaled to unit length, (n, dim) float32; norms are computed in float64.

    vectors: (n, dim) float32, no zero rows.
    """
    scaled: Matrix = np.empty(vectors.shape, dtype=np.float32)
    step = block_rows(vectors.shape[1])
    for start in range(0, len(vectors), step):
        wide = vectors[start : start + step].astype(np.float64)
        norms = np.sqrt(np.add.reduce(wide * wide, axis=1))
        scaled[start : start + step] = wide / norms[:, None]
    return scaled


def prepared(vectors: Matrix, metric: Metric) -> Matrix:
    """Return the vectors as they are indexed and compared: of unit length for cosine, else unchanged."""
    return normalised(vectors) if metric is Metric.COSINE else vectors


def block_rows(dim: int) -> int:
    """Return how many rows of dimension `dim` form one block of work, at least 1."""
    return max(1, _BLOCK_FLOATS // dim)


def scores(query: npt.NDArray[np.float32], rows: Matrix, metric: Metric) -> npt.NDArray[np.float32]:
    """Return the scores, (n,) float32, of prepared rows (n, dim) for one prepared query (dim,)."""
    count = len(rows)
    return pair_scores(query[None, :], rows, np.zeros(count, dtype=np.int64), np.arange(count), metric)


def pair_scores(
    queries: Matrix, rows: Matrix, query_at: npt.NDArray[np.int64], row_at: npt.NDArray[np.int64], metric: Metric
) -> npt.NDArray[np.float32]:
    """Return the scores, (pairs,) float32, of the pairs (queries[query_at[i]], rows[row_at[i]]).

    queries: (nq, dim), rows: (n, dim), both prepared; query_at, row_at: (pairs,). A score that overflows float32 is
    infinity, or NaN where infinities cancel. Cosines are in [-1, 1].
    """
    found: npt.NDArray[np.float32] = np.empty(len(row_at), dtype=np.float32)
    step = block_rows(rows.shape[1])
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(row_at), step):
            part = slice(start, start + step)
            asked = queries if len(queries) == 1 else queries.take(query_at[part], axis=0)
            _sum_rows(rows.take(row_at[part], axis=0), asked, metric, found[part])
    if metric is Metric.COSINE:
        _settle_cosines(queries, rows, query_at, row_at, found)
    return found


def taken_scores(query: Matrix, rows: Matrix, metric: Metric) -> npt.NDArray[np.float32]:
    """Return the scores, (n,) float32, of rows (n, dim) that were taken for this purpose, and are overwritten.

    query: (1, dim); both prepared. The scores are those of pair_scores.
    """
    return _overwritten(query, None, rows, metric)


def taken_pair_scores(queries: Matrix, query_at: npt.NDArray[np.int64], rows: Matrix, metric: Metric) -> npt.NDArray[np.float32]:
    """Return the same for several queries (nq, dim): the score of each row for its query. query_at: (n,)."""
    return _overwritten(queries, query_at, rows, metric)


def _overwritten(queries: Matrix, query_at: npt.NDArray[np.int64] | None, rows: Matrix, metric: Metric) -> npt.NDArray[np.float32]:
    """Return the same. query_at: None for the first query."""
    count, step = len(rows), block_rows(rows.shape[1])
    found: npt.NDArray[np.float32] = np.empty(count, dtype=np.float32)
    terms = rows.copy() if metric is Metric.COSINE else rows
    with np.errstate(over="ignore", invalid="ignore"):
        if count <= step:
            _sum_rows(terms, queries if query_at is None else queries.take(query_at, axis=0), metric, found)
        else:
            for start in range(0, count, step):
                part = slice(start, start + step)
                _sum_rows(terms[part], queries if query_at is None else queries.take(query_at[part], axis=0), metric, found[part])
    if metric is Metric.COSINE:
        _settle_cosines(queries, rows, np.zeros(count, dtype=np.int64) if query_at is None else query_at, np.arange(count), found)
    return found


def _settle_cosines(
    queries: Matrix, rows: Matrix, query_at: npt.NDArray[np.int64], row_at: npt.NDArray[np.int64], found: npt.NDArray[np.float32]
) -> None:
    """Replace cosines near 1 and -1 by more exact ones, computed in float64.

    The length of a unit vector in float32 is wrong by up to 1e-7, and so is its product with itself. Its direction is
    wrong by as little, but the cosine of an angle this small is 1 to 14 digits. Therefore the product is divided by the
    lengths.
    """
    near = np.flatnonzero(np.abs(found) > _NEARLY_ONE)
    step = block_rows(rows.shape[1])
    for start in range(0, len(near), step):
        at = near[start : start + step]
        asked, held = queries.take(query_at[at], axis=0), rows.take(row_at[at], axis=0)
        # Rows equal to the query may be very many; they need no computation.
        same = (asked == held).all(axis=1)
        found[at[same]] = 1.0
        found[at[~same]] = _wide_cosines(asked[~same].astype(np.float64), held[~same].astype(np.float64))


def _wide_cosines(asked: npt.NDArray[np.float64], held: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the cosines, (n,), of rows, (n, dim) each, of any length."""
    lengths = np.sqrt(np.add.reduce(asked * asked, axis=1) * np.add.reduce(held * held, axis=1))
    cosines: npt.NDArray[np.float64] = np.clip(np.add.reduce(asked * held, axis=1) / lengths, -1.0, 1.0)
    return cosines


def _sum_rows(terms: Matrix, asked: Matrix, metric: Metric, out: npt.NDArray[np.float32]) -> None:
    """Write to `out` the score of each row of `terms` (overwritten). asked: one query for all rows, or one for each."""
    if metric is Metric.L2:
        np.subtract(terms, asked, out=terms)
        np.multiply(terms, terms, out=terms)
    else:
        np.multiply(terms, asked, out=terms)
    np.add.reduce(terms, axis=1, out=out)
