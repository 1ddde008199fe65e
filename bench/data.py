"""The data of the benchmark: Fashion-MNIST with exact neighbours, from the shared data folder or a given one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

FILE = "fashion-mnist-784-l2.npz"


@dataclass(frozen=True, kw_only=True)
class BenchData:
    """The data. base: (n, dim) uint8. queries: (m, dim) uint8. neighbors: (m, 100) int32, exact. labels: (n,) int64."""

    base: npt.NDArray[np.uint8]
    queries: npt.NDArray[np.uint8]
    neighbors: npt.NDArray[np.int32]
    labels: npt.NDArray[np.int64]


def load(folder: Path | None, rows: int | None) -> BenchData:
    """Return the data. rows: use only this many; then the neighbours are computed again.

    Raises SystemExit with advice if the file is absent.
    """
    shared = Path(__file__).resolve().parents[2] / "shared" / "data"
    path = (folder or Path(os.environ.get("SHOAL_DATA", shared))) / FILE
    if not path.is_file():
        raise SystemExit(f"error: {path} is absent; name the folder that holds {FILE} with --data or SHOAL_DATA")
    with np.load(path) as archive:
        base, queries, labels = archive["base"], archive["queries"], archive["labels"].astype(np.int64)
        neighbors = archive["neighbors"]
    if rows is not None and rows < len(base):
        base, labels = base[:rows], labels[:rows]
        neighbors = _neighbors(base, queries)
    return BenchData(base=base, queries=queries, neighbors=neighbors, labels=labels)


def recall(found: npt.NDArray[np.int64], truth: npt.NDArray[np.int32], k: int) -> float:
    """Return the share of the true k nearest neighbours that was found. found: (m, k); truth: (m, >= k)."""
    return float(np.mean([len(set(ids.tolist()) & set(row[:k].tolist())) / k for ids, row in zip(found, truth, strict=True)]))


def _neighbors(base: npt.NDArray[np.uint8], queries: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    import faiss

    index = faiss.IndexFlatL2(base.shape[1])
    index.add(base.astype(np.float32))
    found: npt.NDArray[np.int32] = index.search(queries.astype(np.float32), 100)[1].astype(np.int32)
    return found
