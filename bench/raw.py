"""Raw FAISS: a build of its own for the time, and searches over the very graphs that the cluster has sealed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import faiss as _faiss
import numpy as np
import numpy.typing as npt

faiss: Any = _faiss
"""The wheel declares types for part of its names only."""


def build_seconds(base: npt.NDArray[np.uint8], shards: int) -> float:
    """Time to build `shards` HNSW graphs (M=16, efConstruction=128) over equal parts, on all cores."""
    parts = [np.ascontiguousarray(base[number::shards], dtype=np.float32) for number in range(shards)]
    began = time.perf_counter()
    for part in parts:
        index = faiss.IndexHNSWFlat(base.shape[1], 16)
        index.hnsw.efConstruction = 128
        index.add(part)
    return time.perf_counter() - began


class RawGraphs:
    """The sealed graphs of a collection, read from the workers' folders and searched in this process without a
    server.
    """

    def __init__(self, data: Path, ef: int) -> None:
        """data: folder of the cluster; ef: that the cluster searches with. Raises SystemExit when there is no graph."""
        files = sorted(data.glob("workers/*/*/*/*/segments/*.faiss"))
        if not files:
            raise SystemExit(f"error: no sealed graph below {data}")
        self._parts = [(faiss.read_index(str(file)), np.load(file.with_suffix(".rows"))) for file in files]
        self._parameters = faiss.SearchParametersHNSW(efSearch=ef)

    @property
    def graphs(self) -> int:
        """How many there are."""
        return len(self._parts)

    def search(self, queries: npt.NDArray[np.float32], k: int) -> npt.NDArray[np.float32]:
        """Distances of the best k over all graphs, (n, k): what a server does at the least."""
        found = [index.search(queries, k, params=self._parameters)[0] for index, _ in self._parts]
        best: npt.NDArray[np.float32] = np.sort(np.concatenate(found, axis=1), axis=1)[:, :k]
        return best
