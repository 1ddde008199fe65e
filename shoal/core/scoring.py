"""The one scoring kernel: final hits get their score here, so that a score never depends on the batch it was found in."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shoal.core.collection import Metric
from shoal.core.points import Matrix


def normalised(vectors: Matrix) -> Matrix:
    """Rows scaled to unit length (norms taken in float64). vectors: (n, dim) float32, no zero rows. Returns (n, dim) float32."""
    wide = vectors.astype(np.float64)
    norms = np.sqrt(np.add.reduce(wide * wide, axis=1))
    scaled: Matrix = (wide / norms[:, None]).astype(np.float32)
    return scaled


def prepared(vectors: Matrix, metric: Metric) -> Matrix:
    """Vectors as they are indexed and compared: unit length under cosine, unchanged otherwise."""
    return normalised(vectors) if metric is Metric.COSINE else vectors


def scores(query: npt.NDArray[np.float32], rows: Matrix, metric: Metric) -> npt.NDArray[np.float32]:
    """Scores of prepared rows (n, dim) for one prepared query (dim,). Returns (n,) float32.

    Each row is summed on its own along contiguous memory (numpy's pairwise summation), so the result for a row does not
    depend on the other rows.
    """
    terms = np.ascontiguousarray(rows) - query if metric is Metric.L2 else np.ascontiguousarray(rows) * query
    if metric is Metric.L2:
        np.multiply(terms, terms, out=terms)
    summed: npt.NDArray[np.float32] = np.add.reduce(terms, axis=1)
    return summed
