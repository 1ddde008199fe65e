"""Raw FAISS: measures a separate build, and searches the same graphs that the cluster has sealed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import faiss as _faiss
import numpy as np
import numpy.typing as npt

faiss: Any = _faiss
"""Untyped here: the wheel declares types for only some of its names."""


def build_seconds(base: npt.NDArray[np.uint8], shards: int) -> float:
    """Return the seconds to build `shards` HNSW graphs (M=16, efConstruction=128) over equal parts, on all cores."""
    parts = [np.ascontiguousarray(base[number::shards], dtype=np.float32) for number in range(shards)]
    began = time.perf_counter()
    for part in parts:
        index = faiss.IndexHNSWFlat(base.shape[1], 16)
        index.hnsw.efConstruction = 128
        index.add(part)
    return time.perf_counter() - began


class RawGraphs:
    """The sealed graphs of a collection, read from the workers' folders and searched in this process."""

    def __init__(self, data: Path, ef: int) -> None:
        """data: folder of the cluster. ef: with which the cluster searches. Raises SystemExit if there is no graph."""
        files = sorted(data.glob("workers/*/*/*/*/segments/*.faiss"))
        if not files:
            raise SystemExit(f"error: no sealed graph below {data}")
        self._parts = [(faiss.read_index(str(file)), np.load(file.with_suffix(".rows"))) for file in files]
        self._parameters = faiss.SearchParametersHNSW(efSearch=ef)

    @property
    def graphs(self) -> int:
        """Number of graphs."""
        return len(self._parts)

    def search(self, queries: npt.NDArray[np.float32], k: int) -> npt.NDArray[np.float32]:
        """Return the distances of the best k over all graphs, (n, k) float32: the least work that a server does."""
        found = [index.search(queries, k, params=self._parameters)[0] for index, _ in self._parts]
        best: npt.NDArray[np.float32] = np.sort(np.concatenate(found, axis=1), axis=1)[:, :k]
        return best
