"""The one scoring kernel: final hits get their score here, so that a score never depends on the batch it was found in.

Every row is summed on its own along contiguous memory (numpy's pairwise summation). Refuses BLAS: its sums change in
the last bits with the shape of the batch. A cosine is at most 1, and is 1 between vectors of one direction.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shoal.core.collection import Metric
from shoal.core.points import Matrix

_BLOCK_FLOATS = 65_536
"""Work is cut into blocks of about this many floats, so that intermediate terms stay in the processor's cache."""


_NEARLY_ONE = np.float32(1 - 1e-5)
"""Cosines nearer to 1 than sums in float32 can be wrong are taken again in float64."""


def normalised(vectors: Matrix) -> Matrix:
    """Rows scaled to unit length (norms taken in float64). vectors: (n, dim) float32, no zero rows.

    Returns (n, dim) float32.
    """
    scaled: Matrix = np.empty(vectors.shape, dtype=np.float32)
    step = block_rows(vectors.shape[1])
    for start in range(0, len(vectors), step):
        wide = vectors[start : start + step].astype(np.float64)
        norms = np.sqrt(np.add.reduce(wide * wide, axis=1))
        scaled[start : start + step] = wide / norms[:, None]
    return scaled


def prepared(vectors: Matrix, metric: Metric) -> Matrix:
    """Vectors as they are indexed and compared: unit length under cosine, unchanged otherwise."""
    return normalised(vectors) if metric is Metric.COSINE else vectors


def block_rows(dim: int) -> int:
    """Rows of dimension `dim` that make one block of work, at least 1."""
    return max(1, _BLOCK_FLOATS // dim)


def scores(query: npt.NDArray[np.float32], rows: Matrix, metric: Metric) -> npt.NDArray[np.float32]:
    """Scores of prepared rows (n, dim) for one prepared query (dim,). Returns (n,) float32."""
    count = len(rows)
    return pair_scores(query[None, :], rows, np.zeros(count, dtype=np.int64), np.arange(count), metric)


def pair_scores(
    queries: Matrix, rows: Matrix, query_at: npt.NDArray[np.int64], row_at: npt.NDArray[np.int64], metric: Metric
) -> npt.NDArray[np.float32]:
    """Scores of the pairs (queries[query_at[i]], rows[row_at[i]]). Returns (pairs,) float32.

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


def _settle_cosines(
    queries: Matrix, rows: Matrix, query_at: npt.NDArray[np.int64], row_at: npt.NDArray[np.int64], found: npt.NDArray[np.float32]
) -> None:
    """Replace cosines near 1 and -1 by those of the directions themselves.

    A unit vector rounded to float32 has a length that is off by up to 1e-7, and so is its product with itself. Its
    direction is off by as little, but the cosine of such a small angle is 1 to 14 digits: so the lengths are divided
    out.
    """
    near = np.flatnonzero(np.abs(found) > _NEARLY_ONE)
    step = block_rows(rows.shape[1])
    for start in range(0, len(near), step):
        at = near[start : start + step]
        asked, held = queries.take(query_at[at], axis=0), rows.take(row_at[at], axis=0)
        # Copies of the query, of which there may be very many, need no more than a look.
        same = (asked == held).all(axis=1)
        found[at[same]] = 1.0
        found[at[~same]] = _wide_cosines(asked[~same].astype(np.float64), held[~same].astype(np.float64))


def _wide_cosines(asked: npt.NDArray[np.float64], held: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Cosines of rows, (n, dim) each, whose length need not be 1. (n,)."""
    lengths = np.sqrt(np.add.reduce(asked * asked, axis=1) * np.add.reduce(held * held, axis=1))
    cosines: npt.NDArray[np.float64] = np.clip(np.add.reduce(asked * held, axis=1) / lengths, -1.0, 1.0)
    return cosines


def _sum_rows(terms: Matrix, asked: Matrix, metric: Metric, out: npt.NDArray[np.float32]) -> None:
    """Score of each row of `terms` (overwritten) for `asked`, one query for all rows or one for each."""
    if metric is Metric.L2:
        np.subtract(terms, asked, out=terms)
        np.multiply(terms, terms, out=terms)
    else:
        np.multiply(terms, asked, out=terms)
    np.add.reduce(terms, axis=1, out=out)
