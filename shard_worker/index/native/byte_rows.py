"""Rows of one byte a dimension, compared with queries in one pass of FAISS for each, which keeps the nearest.

FAISS reads the bytes where they lie, in an array of numpy. Rows beyond those that it was told of may be written
meanwhile.
"""

from __future__ import annotations

from typing import Any

import faiss as _faiss
import numpy as np
import numpy.typing as npt

from shoal.core.errors import Internal

faiss: Any = _faiss
"""FAISS without types: its type stubs lack half of what is used here."""

MIDDLE = 128
"""The byte that stands for 0. A byte b stands for b - MIDDLE."""

_NOTHING = faiss.MaybeOwnedVectorUInt8()
"""Its owner owns nothing: numpy frees the memory of rows. The owner lives as long as this."""


class ByteRows:
    """Rows (n, width) uint8, contiguous. products: they are compared by inner products, else by squared distances.

    width: a multiple of 64. FAISS is slower with others, up to ten times.
    """

    def __init__(self, rows: npt.NDArray[np.uint8], *, products: bool) -> None:
        count, width = rows.shape
        metric = faiss.METRIC_INNER_PRODUCT if products else faiss.METRIC_L2
        self._rows = rows
        self._index = faiss.IndexScalarQuantizer(width, faiss.ScalarQuantizer.QT_8bit_direct_signed, metric)
        self._index.codes = faiss.MaybeOwnedVectorUInt8.create_view(faiss.swig_ptr(rows), rows.size, _NOTHING.owner)
        self._index.ntotal = count

    def nearest(self, query: npt.NDArray[np.float32], count: int) -> tuple[npt.NDArray[np.int64], float]:
        """Return the same as nearest_of_each for one query (width,): (count,), and a number."""
        positions, farthest = self.nearest_of_each(query[None, :], count)
        return positions[0], float(farthest[0])

    def nearest_of_each(self, queries: npt.NDArray[np.float32], count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Return the positions (nq, count) of the nearest rows of each query, in no order, and the distance or product
        (nq,) of the farthest.

        queries: (nq, width) contiguous, whole numbers from 1 - MIDDLE to MIDDLE - 1, since for some widths FAISS makes
        bytes of them; count: at most n. The relative error of a squared distance, and that of a product relative to the
        lengths, is at most about `width` roundings. Any thread may call it, several at a time.
        """
        asked = len(queries)
        positions: npt.NDArray[np.int64] = np.empty((asked, count), dtype=np.int64)
        distances: npt.NDArray[np.float32] = np.empty((asked, count), dtype=np.float32)
        pointer = faiss.swig_ptr
        try:
            self._index.search_c(asked, pointer(queries), count, pointer(distances), pointer(positions))
        except RuntimeError as error:
            raise Internal(f"faiss could not compare bytes: {error}") from error
        return positions, distances[:, -1]
