"""Codes of one byte for each dimension: what they lose, measured before a graph is built over them.

Pure numpy: it codes as FAISS's QT_8bit does, and answers the two questions of ADR 21: do codes tell rows apart, and do
codes that were made for other rows?
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shoal.core.metric import Metric
from shoal.core.points import Matrix

TRIAL_ROWS = 4_096
TRIAL_QUERIES = 64
TRIAL_RANK, TRIAL_FETCH = 10, 16
TRIAL_RECALL = 0.99
"""Codes are good enough if this share of the nearest TRIAL_RANK rows is among the first TRIAL_FETCH by codes."""

_STEPS = 255


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CodeRange:
    """The values that codes can hold: from `low` to `low + width`, both (dim,) float32."""

    low: npt.NDArray[np.float32]
    width: npt.NDArray[np.float32]

    @classmethod
    def of(cls, rows: Matrix) -> CodeRange:
        """Return the range of rows (n, dim), n > 0."""
        low = rows.min(axis=0)
        return cls(low=low, width=rows.max(axis=0) - low)

    def coded(self, rows: Matrix) -> Matrix:
        """Return rows (n, dim) as their codes show them, (n, dim) float32."""
        share = rows - self.low
        np.divide(share, self.width, out=share, where=self.width > 0)
        steps = np.floor(np.clip(share, 0, 1) * _STEPS)
        shown: Matrix = np.where(self.width > 0, (steps + np.float32(0.5)) * (self.width / _STEPS), 0) + self.low
        return shown


def codes_suffice(sample: Matrix, metric: Metric, held: CodeRange | None = None) -> bool:
    """Return whether codes tell rows apart well enough.

    Some rows are compared with all others, by codes and by vectors. What a graph loses besides is measured later, with
    queries (shoal.shard_worker.tuning). sample: (n, dim) float32, prepared, at most TRIAL_ROWS of them are used; held:
    the range of codes that were made for other rows, None for codes made for these.
    """
    rows = _spread(sample, TRIAL_ROWS)
    if len(rows) <= TRIAL_FETCH:
        return True
    codes = CodeRange.of(rows) if held is None else held
    asked = np.unique(np.linspace(0, len(rows) - 1, TRIAL_QUERIES).astype(np.int64))
    with np.errstate(over="ignore", invalid="ignore"):
        # Differences stay the same, and rounding errors become smaller.
        centre = rows.mean(axis=0) if metric is Metric.L2 else np.zeros_like(codes.low)
        queries = rows[asked] - centre
        near = _others(queries, rows - centre, asked, metric)
        shown = _others(queries, codes.coded(rows) - centre, asked, metric)
        last = np.partition(near, TRIAL_RANK - 1, axis=1)[:, TRIAL_RANK - 1 : TRIAL_RANK]
        fetched = np.argpartition(shown, TRIAL_FETCH - 1, axis=1)[:, :TRIAL_FETCH]
        # Rows that are equally near may differ by the rounding of their products.
        taken = np.take_along_axis(near, fetched, axis=1) - 2 * _rounding(queries, rows - centre)[np.arange(len(asked))[:, None], fetched]
        found = (taken <= last).sum(axis=1)
    if not (np.isfinite(last).all() and np.isfinite(np.take_along_axis(shown, fetched, axis=1)).all()):
        return False
    return float(np.minimum(found, TRIAL_RANK).mean()) >= TRIAL_RECALL * TRIAL_RANK


def _spread(rows: Matrix, most: int) -> Matrix:
    """Return at most `most` rows, evenly from all."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]


def _rounding(queries: Matrix, rows: Matrix) -> Matrix:
    """Return how far what `_others` computes may be from the truth. (m, n)."""
    asked, lengths = (np.sqrt(np.einsum("ij,ij->i", each, each)) for each in (queries, rows))
    found: Matrix = np.float32((rows.shape[1] + 32) * 2.0**-23) * (lengths**2 + 2 * asked[:, None] * lengths)
    return found


def _others(queries: Matrix, rows: Matrix, own: npt.NDArray[np.int64], metric: Metric) -> npt.NDArray[np.float32]:
    """Return what orders rows (n, dim) by their distance from each query; infinite for its own row. (m, n)."""
    products = queries @ rows.T
    far: npt.NDArray[np.float32] = np.einsum("ij,ij->i", rows, rows) - 2 * products if metric is Metric.L2 else -products
    far[np.arange(len(own)), own] = np.inf
    return far
