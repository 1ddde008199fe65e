"""Fast distances to rows at given positions, in one call of FAISS.

They only preselect; the scoring kernel computes scores.
"""

from __future__ import annotations

from typing import Any

import faiss as _faiss
import numpy as np
import numpy.typing as npt

from shoal.core.metric import Metric
from shoal.core.points import Matrix

faiss: Any = _faiss
"""FAISS without types: its type stubs lack half of what is used here."""


SAFE_SQUARE = 1e37
"""Beyond this, sums in float32 may overflow, and fast distances are meaningless."""


def distances_at(queries: Matrix, rows: Matrix, positions: npt.NDArray[np.int64], metric: Metric) -> npt.NDArray[np.float32]:
    """Return squared distances, or negated inner products, of each query and its own rows. (nq, m) float32.

    Smaller is nearer. queries: (nq, dim), rows: (n, dim), both float32, contiguous, prepared; positions: (nq, m) into
    rows, contiguous; the distance at a negative position is infinite.
    """
    count, fetched = positions.shape
    out: npt.NDArray[np.float32] = np.empty((count, fetched), dtype=np.float32)
    pointer = faiss.swig_ptr
    by_idx = faiss.fvec_L2sqr_by_idx if metric is Metric.L2 else faiss.fvec_inner_products_by_idx
    by_idx(pointer(out), pointer(queries), pointer(rows), pointer(positions), rows.shape[1], count, fetched)
    return out if metric is Metric.L2 else np.negative(out, out=out)
