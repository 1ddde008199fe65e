"""The FAISS index of a sealed segment, flat or HNSW: the one place where FAISS objects live and its exceptions are re-typed.

Refuses to change an index that is being searched: it grows only before it is published, or as a clone.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import faiss as _faiss
import numpy as np
import numpy.typing as npt

from shoal.core.collection import Metric
from shoal.core.errors import DataLoss, Internal
from shoal.core.points import Matrix

faiss: Any = _faiss
"""Its type stubs lack half of what is used here."""

_WRITE_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class HnswSettings:
    """Shape of a graph. m: links of a row, twice as many on the lowest level; ef_construction: breadth of insertion."""

    m: int = 16
    ef_construction: int = 128


class NativeIndex:
    """One FAISS index over prepared vectors."""

    def __init__(self, index: Any) -> None:
        self._index = index
        self.is_graph = isinstance(index, faiss.IndexHNSW)

    @classmethod
    def flat(cls, dim: int, metric: Metric) -> NativeIndex:
        """An empty index without a graph."""
        return cls(faiss.IndexFlat(dim, _metric_type(metric)))

    @classmethod
    def hnsw(cls, dim: int, metric: Metric, settings: HnswSettings) -> NativeIndex:
        """An empty graph."""
        index = faiss.IndexHNSWFlat(dim, settings.m, _metric_type(metric))
        index.hnsw.efConstruction = settings.ef_construction
        return cls(index)

    @classmethod
    def read(cls, path: Path, dim: int, metric: Metric) -> NativeIndex:
        """The index in a file whose hash the caller has verified. Raises DataLoss when it is not one for (dim, metric)."""
        try:
            index = faiss.read_index(str(path))
        except RuntimeError as error:
            raise DataLoss(f"index file {path.name} cannot be read: {error}") from error
        if not isinstance(index, (faiss.IndexHNSWFlat, faiss.IndexFlat)) or (index.d, index.metric_type) != (dim, _metric_type(metric)):
            kind = type(index).__name__
            raise DataLoss(f"index file {path.name} holds {kind} of dimension {index.d} where dimension {dim}, metric {metric} is wanted")
        return cls(index)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def add(self, vectors: Matrix) -> None:
        """Append vectors (n, dim) float32; with the calling thread's number of OpenMP threads. Never while others search it."""
        try:
            self._index.add(np.ascontiguousarray(vectors, dtype=np.float32))
        except RuntimeError as error:
            _fail("add", error)

    def clone(self) -> NativeIndex:
        """A copy that may grow while this one is searched."""
        try:
            return NativeIndex(faiss.clone_index(self._index))
        except RuntimeError as error:
            _fail("clone", error)

    def search(self, queries: Matrix, k: int, ef: int) -> npt.NDArray[np.int64]:
        """Positions of about the k nearest rows of each query by the graph, best first, -1 where it found fewer. (nq, k).

        queries: (nq, dim) float32, contiguous, prepared; ef: breadth of the search, at least k is used.
        """
        count = len(queries)
        labels: npt.NDArray[np.int64] = np.empty((count, k), dtype=np.int64)
        distances = np.empty((count, k), dtype=np.float32)
        pointer = faiss.swig_ptr
        try:
            self._index.search_c(count, pointer(queries), k, pointer(distances), pointer(labels), _search_parameters(ef))
        except RuntimeError as error:
            _fail("search", error)
        return labels

    def vectors(self) -> Matrix:
        """All vectors (n, dim) float32, without a copy and read-only; valid as long as nothing is added."""
        flat = faiss.downcast_index(self._index.storage) if self.is_graph else self._index
        count, dim = len(self), int(self._index.d)
        if count == 0:
            return np.empty((0, dim), dtype=np.float32)
        address = faiss.rev_swig_ptr(flat.get_xb(), count * dim).ctypes.data
        return np.asarray(_Owned(self._index, address, (count, dim)))

    def link_bytes(self) -> int:
        """Memory of the graph beside its vectors."""
        if not self.is_graph:
            return 0
        hnsw = self._index.hnsw
        return int(hnsw.neighbors.size() * 4 + hnsw.levels.size() * 4 + hnsw.offsets.size() * 8)

    def write(self, path: Path) -> None:
        """Write the index to `path`. Raises OSError as the file does; not durable until the caller syncs it."""
        with path.open("wb") as file:
            try:
                # A writer of FAISS's own would report a full disk at closing only to stderr.
                faiss.write_index(self._index, faiss.PyCallbackIOWriter(file.write, _WRITE_BYTES))
            except RuntimeError as error:
                _fail("write", error)


class _Owned:
    """Memory inside a FAISS index as an array: numpy keeps this object, and so the index, as long as the array lives."""

    def __init__(self, index: Any, address: int, shape: tuple[int, int]) -> None:
        self._index = index
        self.__array_interface__ = {"data": (address, True), "shape": shape, "typestr": "<f4", "version": 3}


def squared_distances(query: npt.NDArray[np.float32], rows: Matrix) -> npt.NDArray[np.float32]:
    """Squared distances of rows (n, dim) from query (dim,), both contiguous; each relatively exact to about dim roundings. (n,)."""
    return _one_by_one(faiss.fvec_L2sqr_ny, query, rows)


def inner_products(query: npt.NDArray[np.float32], rows: Matrix) -> npt.NDArray[np.float32]:
    """Inner products of rows (n, dim) with query (dim,), both contiguous. (n,)."""
    return _one_by_one(faiss.fvec_inner_products_ny, query, rows)


def _one_by_one(kernel: Any, query: npt.NDArray[np.float32], rows: Matrix) -> npt.NDArray[np.float32]:
    count, dim = rows.shape
    out: npt.NDArray[np.float32] = np.empty(count, dtype=np.float32)
    pointer = faiss.swig_ptr
    kernel(pointer(out), pointer(query), pointer(rows), dim, count)
    return out


@functools.lru_cache(maxsize=256)
def _search_parameters(ef: int) -> Any:
    return faiss.SearchParametersHNSW(efSearch=ef)


def _metric_type(metric: Metric) -> int:
    kind: int = faiss.METRIC_L2 if metric is Metric.L2 else faiss.METRIC_INNER_PRODUCT
    return kind


def _fail(verb: str, error: RuntimeError) -> NoReturn:
    raise Internal(f"faiss could not {verb}: {error}") from error
