"""Exact comparison of one query with all rows of several small parts, selected once over all of them.

A search part by part spends more time around each comparison than in it. The bound of rounding is that of exact.py: a
row is left out only if its fast distance exceeds the k-th best by more than both roundings can explain.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shoal.core.metric import Metric
from shoal.core.points import Matrix
from shoal.shard_worker.index.native.index import inner_products, squared_distances
from shoal.shard_worker.index.search.pruning import SAFE_SQUARE
from shoal.shard_worker.index.search.smallest import kth_smallest
from shoal.shard_worker.index.view import SegmentView
from shoal.shard_worker.logic.bound_gain import may_pay

Numbers = npt.NDArray[np.int64]

_MOST_FLOATS = 1 << 22
"""A scan cannot be stopped: it compares at most this many floats, which takes a few milliseconds."""

_MANY = 256


class ScannedPart(NamedTuple):
    """A part whose rows are all compared. seq: of its view."""

    part: SegmentView
    seq: int


def is_small(part: SegmentView) -> bool:
    """Return whether nothing is faster for a part than to compare all of its rows."""
    return not may_pay(rows=len(part), dim=part.vectors.shape[1])


def can_scan(parts: Sequence[ScannedPart]) -> bool:
    """Return whether the parts together are compared in one piece."""
    return sum([part.vectors.size for part, _ in parts]) <= _MOST_FLOATS


def nearest_rows(parts: Sequence[ScannedPart], query: Matrix, k: int, metric: Metric) -> list[Numbers] | None:
    """Return, for each part, the positions of all rows that may be among the k best over these parts, ascending.

    Return None where rounding leaves too many of them. query: (1, dim), prepared.
    """
    sizes = [len(part) for part, _ in parts]
    ends = np.cumsum(sizes)
    distances: npt.NDArray[np.float32] = np.empty(int(ends[-1]), dtype=np.float32)
    start = 0
    for (part, _), size in zip(parts, sizes, strict=True):
        (squared_distances if metric is Metric.L2 else inner_products)(query[0], part.vectors, distances[start : start + size])
        start += size
    if metric is not Metric.L2:
        np.negative(distances, out=distances)
    start = 0
    for (part, seq), size in zip(parts, sizes, strict=True):
        if part.dead:
            distances[start : start + size][part.deaths <= seq] = np.inf
        start += size
    limit = _limit(parts, query, distances, k, metric)
    kept = np.flatnonzero(~(distances > limit)) if math.isfinite(limit) else None
    if kept is None or len(kept) > 4 * k + _MANY:
        return None
    cuts = np.searchsorted(kept, ends).tolist()
    return [kept[first:last] - offset for first, last, offset in zip([0, *cuts], cuts, [0, *ends.tolist()], strict=False)]


def _limit(parts: Sequence[ScannedPart], query: Matrix, distances: npt.NDArray[np.float32], k: int, metric: Metric) -> np.float32:
    """Return the largest fast distance of a row that may be among the k best; infinite where there is no bound."""
    wanted = min(k, sum([part.live for part, _ in parts]))
    last = kth_smallest(distances, wanted)
    dim, reach = query.shape[1], max([part.reach for part, _ in parts])
    relative, underflow = (dim + 32) * 2.0**-23, dim * float(np.finfo(np.float32).tiny)
    length = math.sqrt(float(np.einsum("ij,ij->", query, query, dtype=np.float64)))
    if metric is Metric.L2:
        reached, limit = (length + reach) ** 2, last * (1.0 + 3 * relative) + 2 * underflow
    else:
        reached = length * reach
        limit = last + 2 * (relative * reached + underflow)
    return np.nextafter(np.float32(limit), np.float32(np.inf)) if reached <= SAFE_SQUARE else np.float32(np.inf)
