"""Raw FAISS: builds its own graphs over equal parts of the rows, and searches them in this process."""

from __future__ import annotations

import time
from typing import Any

import faiss as _faiss
import numpy as np
import numpy.typing as npt

from bench.peers.peer import EF_CONSTRUCTION, M

faiss: Any = _faiss
"""Untyped here: the wheel declares types for only some of its names."""


class RawGraphs:
    """HNSW graphs over float vectors, as many as the collection has shards.

    build_s: seconds to build them, on all cores. Call `use` before the first search.
    """

    def __init__(self, base: npt.NDArray[np.uint8], shards: int) -> None:
        """base: (n, dim)."""
        self._numbers = [np.arange(number, len(base), shards) for number in range(shards)]
        parts = [np.ascontiguousarray(base[numbers], dtype=np.float32) for numbers in self._numbers]
        began = time.perf_counter()
        self._graphs = [self._built(part) for part in parts]
        self.build_s = time.perf_counter() - began
        self._parameters: Any = None

    def use(self, ef: int) -> None:
        """Search with this ef."""
        self._parameters = faiss.SearchParametersHNSW(efSearch=ef)

    def search(self, queries: npt.NDArray[np.float32], k: int) -> npt.NDArray[np.float32]:
        """Return the distances of the best k over all graphs, (n, k) float32: the least work that a server does."""
        found = [graph.search(queries, k, params=self._parameters)[0] for graph in self._graphs]
        best: npt.NDArray[np.float32] = np.sort(np.concatenate(found, axis=1), axis=1)[:, :k]
        return best

    def ids(self, query: npt.NDArray[np.float32], k: int) -> list[int]:
        """Return the row numbers of the best k for one query, (dim,)."""
        found = [graph.search(query[None, :], k, params=self._parameters) for graph in self._graphs]
        distances = np.concatenate([each[0][0] for each in found])
        numbers = np.concatenate([own[each[1][0]] for own, each in zip(self._numbers, found, strict=True)])
        best: list[int] = numbers[np.argsort(distances, kind="stable")[:k]].tolist()
        return best

    def _built(self, part: npt.NDArray[np.float32]) -> Any:
        graph = faiss.IndexHNSWFlat(part.shape[1], M)
        graph.hnsw.efConstruction = EF_CONSTRUCTION
        graph.add(part)
        return graph
