"""The one scoring kernel: final hits get their score here, so that a score never depends on the batch it was found in.

Every row is summed on its own along contiguous memory (numpy's pairwise summation). Refuses BLAS: its sums change in the
last bits with the shape of the batch.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shoal.core.collection import Metric
from shoal.core.points import Matrix

_BLOCK_FLOATS = 65_536
"""Work is cut into blocks of about this many floats, so that intermediate terms stay in the processor's cache."""


def normalised(vectors: Matrix) -> Matrix:
    """Rows scaled to unit length (norms taken in float64). vectors: (n, dim) float32, no zero rows. Returns (n, dim) float32."""
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
    infinity, or NaN where infinities cancel.
    """
    found: npt.NDArray[np.float32] = np.empty(len(row_at), dtype=np.float32)
    step = block_rows(rows.shape[1])
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(row_at), step):
            part = slice(start, start + step)
            asked = queries if len(queries) == 1 else queries.take(query_at[part], axis=0)
            _sum_rows(rows.take(row_at[part], axis=0), asked, metric, found[part])
    return found


def _sum_rows(terms: Matrix, asked: Matrix, metric: Metric, out: npt.NDArray[np.float32]) -> None:
    """Score of each row of `terms` (overwritten) for `asked`, one query for all rows or one for each."""
    if metric is Metric.L2:
        np.subtract(terms, asked, out=terms)
        np.multiply(terms, terms, out=terms)
    else:
        np.multiply(terms, asked, out=terms)
    np.add.reduce(terms, axis=1, out=out)
