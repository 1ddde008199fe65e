"""Lloyd's k-means, for the centroids of inverted lists and the code books of product quantisers.

FAISS's own k-means cannot be stopped, prints warnings about small samples to stderr, and takes five times as long for
sub-vectors of four dimensions. This one calls `should_stop` after every block, of at most about a tenth of a second.
The caller chooses the sample.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from shoal.core.errors import Internal
from shoal.core.points import Matrix

_BLOCK_PRODUCTS = 1_000_000_000
_BLOCK_DISTANCES = 1 << 18
"""Number of distances (1 MiB) that stay in the processor's cache between the product and the search for the
smallest."""

_SPLIT = 1.0 / 1024
"""When a cluster is split, each half moves by this share of each coordinate, in opposite directions, as in FAISS."""


def centroids_of(sample: Matrix, count: int, *, spherical: bool, rounds: int, seed: int, should_stop: Callable[[], bool]) -> Matrix | None:
    """Return `count` centroids (count, dim) float32 of sample (n, dim) float32, n >= count; None as soon as
    should_stop().

    spherical: rows belong to the centroid with the largest inner product, and centroids have length 1; otherwise rows
    belong to the nearest centroid. The result depends only on the arguments. Raises Internal for a sample that is too
    small.
    """
    if len(sample) < count:
        raise Internal(f"a sample of {len(sample)} rows cannot give {count} centroids")
    # Far from the origin, rounding hides distances behind the lengths. So distances are taken around the mean.
    origin = np.zeros(sample.shape[1], dtype=np.float32) if spherical else sample.mean(axis=0, dtype=np.float64).astype(np.float32)
    chosen = np.sort(np.random.default_rng(seed).choice(len(sample), count, replace=False))
    centroids: Matrix = sample[chosen] - origin
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(rounds):
            moved = _round(sample, origin, _unit(centroids) if spherical else centroids, spherical, should_stop)
            if moved is None:
                return None
            centroids = moved
        return _unit(centroids) if spherical else centroids + origin


def block_length(count: int, dim: int) -> int:
    """Return how many rows one thread can compare with `count` centroids in about a tenth of a second; at least 1."""
    return max(1, _BLOCK_PRODUCTS // (count * dim))


def _round(
    sample: Matrix, origin: npt.NDArray[np.float32], centroids: Matrix, spherical: bool, should_stop: Callable[[], bool]
) -> Matrix | None:
    """Return the mean of the rows that belong to each centroid, all around `origin`; None when should_stop()
    interrupts."""
    count, dim = centroids.shape
    across = np.ascontiguousarray(centroids.T)
    halves = 0.0 if spherical else np.einsum("ij,ij->i", centroids, centroids) / np.float32(2)
    sums: npt.NDArray[np.float64] = np.zeros((count, dim), dtype=np.float64)
    sizes = np.zeros(count, dtype=np.int64)
    step = min(block_length(count, dim), max(16, _BLOCK_DISTANCES // count))
    for start in range(0, len(sample), step):
        if should_stop():
            return None
        block = sample[start : start + step] - origin
        nearness = block @ across
        nearness -= halves
        owner = nearness.argmax(axis=1)
        _add_by_owner(sums, block, owner)
        sizes += np.bincount(owner, minlength=count)
    return _means(sums, sizes, centroids)


def _add_by_owner(sums: npt.NDArray[np.float64], block: Matrix, owner: npt.NDArray[np.int64]) -> None:
    """Add block[i] to sums[owner[i]] for every i, in place."""
    order = owner.argsort(kind="stable")
    owners, starts = np.unique(owner[order], return_index=True)
    sums[owners] += np.add.reduceat(block[order], starts, axis=0, dtype=np.float64)


def _means(sums: npt.NDArray[np.float64], sizes: npt.NDArray[np.int64], before: Matrix) -> Matrix:
    """Return new centroids. A centroid without rows takes half of a large cluster."""
    means = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], before).astype(np.float32)
    empty = np.flatnonzero(sizes == 0)
    large = np.argsort(-sizes, kind="stable")[: min(len(empty), np.count_nonzero(sizes))]
    empty = empty[: len(large)]
    means[empty] = means[large] * np.float32(1 + _SPLIT)
    means[large] *= np.float32(1 - _SPLIT)
    return means


def _unit(rows: Matrix) -> Matrix:
    """Return the rows scaled to length 1, in float32; rows of length 0 stay."""
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    scaled: Matrix = (rows / np.where(lengths > 0, lengths, 1.0)[:, None]).astype(np.float32)
    return scaled
