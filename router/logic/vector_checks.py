"""Checks vectors of a call: finite, and with a direction where the metric needs one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shoal.core.metric import Metric
from shoal.core.points import Matrix, check_finite, check_nonzero


def check_vectors(vectors: Matrix, metric: Metric, *, field: str = "vectors", positions: npt.NDArray[np.intp] | None = None) -> None:
    """Raise InvalidArgument that names the first vector that is not finite, or is zero under cosine.

    positions: by which vectors are named, None for those in the matrix.
    """
    # One pass without a temporary array accepts nearly every batch: a finite sum of squares proves that there is no NaN
    # or infinity, a positive one that there is no zero vector. After overflow or underflow, the exact checks decide.
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.einsum("ij,ij->i", vectors, vectors)
    if not np.isfinite(squares).all():
        check_finite(vectors, field=field, positions=positions)
    if metric is Metric.COSINE and not squares.all():
        check_nonzero(vectors, field=field, positions=positions)
