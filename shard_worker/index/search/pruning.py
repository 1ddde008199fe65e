"""Leave out rows of a stock that a lower bound shows to be too far, before the others are compared.

The bound is computed from the images of shoal.shard_worker.index.sketch. Only rows that are certainly beyond the k-th
best are left out, rounding included, so exact search finds the same as without it. Learns whether bounds pay.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from shoal.core.metric import Metric
from shoal.core.points import Matrix
from shoal.core.turns import Turn
from shoal.shard_worker.index.native.distances import SAFE_SQUARE, distances_at
from shoal.shard_worker.index.native.index import inner_products, squared_distances
from shoal.shard_worker.index.search.smallest import near_smallest
from shoal.shard_worker.index.sketch import Sketch
from shoal.shard_worker.logic.bound_gain import WIDTH, most_left

Numbers = npt.NDArray[np.int64]

_MORE = 32
"""Rows beyond the wanted ones whose distance is computed to find a limit. With more, the limit is hardly lower."""

_PIECE_ROWS = 1 << 18

_BOUND_ROUNDING = (WIDTH + 32) * 2.0**-23
"""Relative error of a sum of WIDTH products in float32, with room for the steps around it."""


class Pruner:
    """Leaves out rows of one stock, for queries that want `wanted` rows each.

    sketch: of the stock's first rows, those behind them are never left out; vectors: (n, dim) of the stock; counted:
    (n,) which rows count, None for all; relative, underflow: the error of a fast distance and a score together.
    """

    def __init__(
        self,
        *,
        sketch: Sketch,
        vectors: Matrix,
        counted: npt.NDArray[np.bool_] | None,
        wanted: int,
        metric: Metric,
        turn: Turn,
        relative: float,
        underflow: float,
    ) -> None:
        self._sketch, self._vectors, self._counted, self._wanted = sketch, vectors, counted, wanted
        self._metric, self._turn = metric, turn
        self._rows = min(len(sketch), len(vectors))
        self._relative, self._underflow = relative, underflow

    def left(self, query: npt.NDArray[np.float32], length: float, reach: float) -> Numbers | None:
        """Return the positions of all rows that may be among the best of a query (dim,), ascending; other rows may be
        among them.

        Return None where too many are left, or where there is no bound. length: of the query; reach: largest length of
        a row.
        """
        if not (length + reach) ** 2 <= SAFE_SQUARE or self._wanted + _MORE > most_left(self._rows):
            return None
        bounds, limit = self._squared(query) if self._metric is Metric.L2 else self._negated(query, length, reach)
        if not math.isfinite(limit):
            return None
        # Do not write this as "at most the limit": a row whose bound is NaN must be kept.
        left = np.flatnonzero(~(bounds > np.nextafter(np.float32(limit), np.float32(np.inf))))
        sketch, dim = self._sketch, len(query)
        sketch.gain = sketch.gain.after(left=len(left), rows=self._rows, dim=dim)
        if len(left) > most_left(self._rows):
            return None
        if self._rows == len(self._vectors):
            return left
        return np.concatenate([left, np.arange(self._rows, len(self._vectors))])

    def _squared(self, query: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], float]:
        """Return lower bounds (rows,) of the squared distances, and the largest of a row that may be among the best."""
        axes = self._sketch.axes
        image, length = axes.image(query, centred=True)
        bounds = self._bounds(image)
        kth = self._kth(query, bounds)
        # A row among the best is at most this far from the query: as in exact search, three errors of a distance.
        farthest = math.sqrt(kth * (1.0 + 3 * self._relative) + 2 * self._underflow) if kth >= 0 else math.inf
        farthest += axes.error(length + self._sketch.reach)
        return bounds, farthest * farthest * (1.0 + _BOUND_ROUNDING)

    def _negated(self, query: npt.NDArray[np.float32], length: float, reach: float) -> tuple[npt.NDArray[np.float32], float]:
        """Return the same for negated inner products, without the centre's product, which is the same for all rows."""
        axes = self._sketch.axes
        image, _ = axes.image(query, centred=False)
        bounds = self._bounds(image)
        product = float(axes.centre.dot(query))
        margin = 2 * (self._relative * length * reach + self._underflow)
        # An image is at most as long as its vector.
        margin += 2.1 * axes.error(length) * self._sketch.reach + _BOUND_ROUNDING * length * (self._sketch.reach + reach) + self._underflow
        return bounds, self._kth(query, bounds) + product + margin

    def _bounds(self, image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the distances, or negated products, of an image (WIDTH,) and those of all rows. Infinite for rows that
        do not count. (rows,)."""
        images, rows = self._sketch.images, self._rows
        kernel = squared_distances if self._metric is Metric.L2 else inner_products
        if rows <= _PIECE_ROWS:
            bounds = kernel(image, images if rows == len(images) else images[:rows])
        else:
            bounds = np.empty(rows, dtype=np.float32)
            for start in range(0, rows, _PIECE_ROWS):
                self._turn.pause()
                bounds[start : start + _PIECE_ROWS] = kernel(image, images[start : min(rows, start + _PIECE_ROWS)])
        if self._metric is not Metric.L2:
            np.negative(bounds, out=bounds)
        if self._counted is not None:
            bounds[~self._counted[:rows]] = np.inf
        return bounds

    def _kth(self, query: npt.NDArray[np.float32], bounds: npt.NDArray[np.float32]) -> float:
        """Return the wanted-th smallest fast distance of some promising rows; infinite where too few of them count."""
        first = near_smallest(bounds, self._wanted + _MORE)
        if self._counted is not None:
            first = first[self._counted[first]]
        if len(first) < self._wanted:
            return math.inf
        near = distances_at(query[None, :], self._vectors, first[None, :], self._metric)[0]
        near.partition(self._wanted - 1)
        return float(near[self._wanted - 1])
