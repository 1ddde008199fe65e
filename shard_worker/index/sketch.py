"""Short images of rows that give lower bounds of distances, and upper bounds of inner products.

Let A be a matrix whose singular values are at most 1 and m a point. The image of x is P(x) = (A(x - m), r(x)) with
r(x)^2 = |x - m|^2 - |A(x - m)|^2. The matrix I - A'A has no negative eigenvalue, so by Cauchy and Schwarz

    |P(x) - P(y)| <= |x - y|        <P(x), P(y)> >= <x - m, y - m>

and |P(x)| = |x - m|. The rows of A are axes along which the vectors spread most, so the bounds are tight. They hold for
any axes. Owns the rounding errors of images: the error of |P(x) - P(y)| is at most `error(|x - m| + |y - m|)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shoal.core.points import Matrix
from shoal.shard_worker.logic.bound_gain import WIDTH, BoundGain

Wide = npt.NDArray[np.float64]

_SAMPLE_ROWS = 2_048
_BLOCK_FLOATS = 1 << 20
_ROUNDS = 3
_SEED = 7

_SHRINK = 1.0 - 1e-9
"""Axes are orthonormal within rounding. Scaled by this, their singular values are certainly at most 1."""

_ORTHONORMAL_WITHIN = 1e-10
_ROUNDING = 2.0**-24
_WIDE_ROUNDING = 2.0**-53


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Axes:
    """The map from vectors to images. axes: (WIDTH - 1, dim), singular values at most 1; centre: (dim,)."""

    axes: Wide
    centre: Wide

    @classmethod
    def of(cls, vectors: Matrix) -> Axes | None:
        """Return axes along which vectors (n, dim), n >= 1, spread most; None where numbers are too large for them.

        Found by subspace iteration (Halko, Martinsson, Tropp 2011) on a sample. Takes about 0.1 s at 784 dimensions.
        """
        step = -(-len(vectors) // _SAMPLE_ROWS)
        with np.errstate(over="ignore", invalid="ignore"):
            sample = vectors[::step].astype(np.float64)
            centre = sample.mean(axis=0)
            sample -= centre
            largest = float(np.abs(sample).max())
            if not math.isfinite(largest):
                return None
            spread = (sample / (largest or 1.0)).astype(np.float32)
            moments = spread.T @ spread
            found = np.random.default_rng(_SEED).standard_normal((vectors.shape[1], WIDTH - 1)).astype(np.float32)
            for _ in range(_ROUNDS):
                found = np.linalg.qr(moments @ found)[0]
            axes = np.linalg.qr(found.astype(np.float64))[0].T
        off = float(np.abs(axes @ axes.T - np.eye(WIDTH - 1)).sum())
        return cls(axes=np.ascontiguousarray(axes * _SHRINK), centre=centre) if off < _ORTHONORMAL_WITHIN else None

    @property
    def memory_bytes(self) -> int:
        """Return the memory it holds."""
        return self.axes.nbytes + self.centre.nbytes

    def images(self, vectors: Matrix, should_stop: Callable[[], bool] = bool) -> tuple[Matrix, float] | None:
        """Return the images (n, WIDTH) float32 of vectors (n, dim), and the largest distance from the centre.

        Return None as soon as should_stop(), which is called about every 20 ms.
        """
        found: Matrix = np.empty((len(vectors), WIDTH), dtype=np.float32)
        reach, step = 0.0, max(1, _BLOCK_FLOATS // vectors.shape[1])
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, len(vectors), step):
                if should_stop():
                    return None
                block = found[start : start + step]
                moved = vectors[start : start + step] - self.centre
                inside = moved @ self.axes.T
                squares = np.einsum("ij,ij->i", moved, moved)
                block[:, :-1] = inside
                block[:, -1] = np.sqrt(np.maximum(squares - np.einsum("ij,ij->i", inside, inside), 0.0))
                # Not max(): a NaN must not be lost.
                reach = float(np.maximum(reach, np.sqrt(squares.max())))
        return found, reach

    def image(self, query: npt.NDArray[np.float32], *, centred: bool) -> tuple[npt.NDArray[np.float32], float]:
        """Return the image (WIDTH,) of a query (dim,), and its length. centred: whether the centre is subtracted."""
        moved = np.subtract(query, self.centre) if centred else query.astype(np.float64)
        inside = self.axes.dot(moved)
        square = float(moved.dot(moved))
        found: npt.NDArray[np.float32] = np.empty(WIDTH, dtype=np.float32)
        found[:-1] = inside
        found[-1] = math.sqrt(max(square - float(inside.dot(inside)), 0.0))
        return found, math.sqrt(square)

    def error(self, lengths: float) -> float:
        """Return how far an image is from the exact one at most, for vectors this far from the centre.

        The last number is the root of a difference of sums in float64. Where it is near 0, its error is the root of
        theirs: dim roundings of the square of the length, and 2 * sqrt(WIDTH) times as many of the coordinates.
        """
        sums = 20 * (self.axes.shape[1] + WIDTH + 32) * _WIDE_ROUNDING
        return 1.1 * (_ROUNDING + math.sqrt(sums)) * lengths


class Sketch:
    """The images of the first rows of one set of rows.

    images: (n, WIDTH) float32; reach: at least the distance of each of these rows from the centre; gain: what searches
    gained by them, replaced by one reference store.
    """

    __slots__ = ("axes", "gain", "images", "reach")

    def __init__(self, *, axes: Axes, images: Matrix, reach: float, gain: BoundGain | None = None) -> None:
        self.axes, self.images, self.reach = axes, images, reach
        self.gain = BoundGain() if gain is None else gain

    def __len__(self) -> int:
        return len(self.images)

    @property
    def memory_bytes(self) -> int:
        """Return the memory it holds, its axes included."""
        return self.images.nbytes + self.axes.memory_bytes

    @classmethod
    def of(cls, axes: Axes, vectors: Matrix, should_stop: Callable[[], bool] = bool) -> Sketch | None:
        """Return the sketch of all rows of vectors (n, dim); None as soon as should_stop()."""
        made = axes.images(vectors, should_stop)
        return None if made is None else cls(axes=axes, images=made[0], reach=made[1])

    def extended(self, vectors: Matrix, should_stop: Callable[[], bool] = bool) -> Sketch | None:
        """Return the sketch of all rows of vectors (n, dim), whose first rows are these rows; None as `of`."""
        made = self.axes.images(vectors[len(self) :], should_stop)
        if made is None:
            return None
        return Sketch(axes=self.axes, images=np.concatenate([self.images, made[0]]), reach=max(self.reach, made[1]), gain=self.gain)
