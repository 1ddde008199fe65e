"""Exact comparison of one query with all rows of several small parts, selected once over all of them.

A search part by part spends more time around each comparison than in it. The bound of rounding is that of exact.py: a
row is left out only if its fast distance exceeds the k-th best by more than both roundings can explain. Where a part
has codes, these leave out most of its rows first; if they may have left out one too many, all rows are compared.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shoal.core.metric import Metric
from shoal.core.points import Matrix
from shoal.shard_worker.index.native.distances import SAFE_SQUARE, distances_at
from shoal.shard_worker.index.native.index import inner_products, squared_distances
from shoal.shard_worker.index.row_codes import Shortlist
from shoal.shard_worker.index.search.smallest import kth_smallest
from shoal.shard_worker.index.view import SegmentView
from shoal.shard_worker.logic.bound_gain import may_pay

Numbers = npt.NDArray[np.int64]
Distances = npt.NDArray[np.float32]

_MOST_FLOATS = 1 << 22
"""A scan cannot be stopped: it compares at most this many floats, which takes a few milliseconds."""

MANY = 256


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
    wide = query[0].astype(np.float64)
    length = math.sqrt(float(wide.dot(wide)))
    lists = [_shortlist(part, query, length, k, metric) for part, _ in parts]
    distances = _distances(parts, lists, query, metric)
    limit = _limit(parts, query.shape[1], length, distances, k, metric)
    if _learn(parts, lists, limit):
        distances = _distances(parts, lists, query, metric)
        limit = _limit(parts, query.shape[1], length, distances, k, metric)
    if not math.isfinite(limit):
        return None
    kept = (~(distances > limit)).nonzero()[0]
    return _by_part(parts, lists, kept) if len(kept) <= 4 * k + MANY else None


def _shortlist(part: SegmentView, query: Matrix, length: float, k: int, metric: Metric) -> Shortlist | None:
    """Return the rows of a part to compare; None for all."""
    codes = part.codes
    if codes is None or not codes.may_pay(k) or not codes.gain.try_now():
        return None
    return codes.shortlist(query[0], length, k, metric)


def _learn(parts: Sequence[ScannedPart], lists: list[Shortlist | None], limit: np.float32) -> bool:
    """Replace the lists that may lack a row within the limit by None. Return whether there are any."""
    most, lacking = float(limit), False
    for number, ((part, _), shortlist) in enumerate(zip(parts, lists, strict=True)):
        if shortlist is None or part.codes is None:
            continue
        enough = shortlist.beyond > most
        part.codes.gain.learn(enough=enough)
        if not enough:
            lists[number], lacking = None, True
    return lacking


def _distances(parts: Sequence[ScannedPart], lists: Sequence[Shortlist | None], query: Matrix, metric: Metric) -> Distances:
    """Return the fast distances of the rows to compare, part by part; infinite for dead rows. (rows,)."""
    found = [_part_distances(each, shortlist, query, metric) for each, shortlist in zip(parts, lists, strict=True)]
    return found[0] if len(found) == 1 else np.concatenate(found)


def _part_distances(scanned: ScannedPart, shortlist: Shortlist | None, query: Matrix, metric: Metric) -> Distances:
    part, seq = scanned
    if shortlist is not None:
        distances = distances_at(query, part.vectors, shortlist.positions[None, :], metric).ravel()
    elif metric is Metric.L2:
        distances = squared_distances(query[0], part.vectors)
    else:
        distances = inner_products(query[0], part.vectors)
        np.negative(distances, out=distances)
    if part.dead:
        deaths = part.deaths if shortlist is None else part.deaths.take(shortlist.positions)
        distances[deaths <= seq] = np.inf
    return distances


def _limit(parts: Sequence[ScannedPart], dim: int, length: float, distances: Distances, k: int, metric: Metric) -> np.float32:
    """Return the largest fast distance of a row that may be among the k best, which is also the largest exact one.

    It is infinite where there is no bound. length: of the query.
    """
    wanted = min(k, sum([part.live for part, _ in parts]))
    last = kth_smallest(distances, wanted)
    reach = max([part.reach for part, _ in parts])
    relative, underflow = (dim + 32) * 2.0**-23, dim * float(np.finfo(np.float32).tiny)
    if metric is Metric.L2:
        reached, limit = (length + reach) ** 2, last * (1.0 + 3 * relative) + 2 * underflow
    else:
        reached = length * reach
        limit = last + 2 * (relative * reached + underflow)
    return np.nextafter(np.float32(limit), np.float32(np.inf)) if reached <= SAFE_SQUARE else np.float32(np.inf)


def _by_part(parts: Sequence[ScannedPart], lists: Sequence[Shortlist | None], kept: Numbers) -> list[Numbers]:
    """Return the positions in each part of the rows kept, which are numbered over the rows that were compared."""
    found: list[Numbers] = []
    start = begin = 0
    for (part, _), shortlist in zip(parts, lists, strict=True):
        start, before = start + (len(part) if shortlist is None else len(shortlist.positions)), start
        begin, first = int(kept.searchsorted(start)), begin
        own = kept[first:begin] - before
        found.append(own if shortlist is None else shortlist.positions.take(own))
    return found
