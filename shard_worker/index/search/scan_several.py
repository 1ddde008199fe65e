"""Exact comparison of a few queries with all rows of several small parts: scan.py, with each step for all queries.

The queries share each call of FAISS and numpy, and what is left out is decided for each of them. The bounds are those
of scan.py. What a query gains from codes counts once for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shoal.core.metric import Metric
from shoal.core.points import Matrix
from shoal.shard_worker.index.native.distances import SAFE_SQUARE, distances_at
from shoal.shard_worker.index.native.index import inner_products, squared_distances
from shoal.shard_worker.index.row_codes import Shortlists
from shoal.shard_worker.index.search.scan import MANY, ScannedPart
from shoal.shard_worker.index.search.smallest import kth_smallest
from shoal.shard_worker.index.view import SegmentView

Numbers = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

_SORTED_ROWS = 512
"""Of so few rows, the k-th smallest distances of all queries are selected in one call."""


class NearRows(NamedTuple):
    """Rows of a part that may be among the best of a query. query, position: (rows,), by query."""

    query: Numbers
    position: Numbers


def nearest_of_each(parts: Sequence[ScannedPart], queries: Matrix, k: int, metric: Metric) -> list[NearRows] | None:
    """Return, for each part, all rows that may be among the k best of a query over these parts.

    Return None where rounding leaves too many of them. queries: (nq, dim), prepared.
    """
    lengths: Doubles = np.sqrt(np.einsum("ij,ij->i", queries, queries, dtype=np.float64))
    lists = [_shortlists(part, queries, lengths, k, metric) for part, _ in parts]
    distances = _distances(parts, lists, queries, metric)
    limits = _limits(parts, lengths, distances, k, metric)
    if _learn(parts, lists, limits):
        distances = _distances(parts, lists, queries, metric)
        limits = _limits(parts, lengths, distances, k, metric)
    if not np.isfinite(limits).all():
        return None
    query, column = (~(distances > limits[:, None])).nonzero()
    return _by_part(parts, lists, query, column) if len(query) <= len(queries) * (4 * k + MANY) else None


def _shortlists(part: SegmentView, queries: Matrix, lengths: Doubles, k: int, metric: Metric) -> Shortlists | None:
    """Return the rows of a part to compare; None for all."""
    codes = part.codes
    if codes is None or not codes.may_pay(k) or not codes.gain.try_now():
        return None
    return codes.shortlists(queries, lengths.tolist(), k, metric)


def _learn(parts: Sequence[ScannedPart], lists: list[Shortlists | None], limits: npt.NDArray[np.float32]) -> bool:
    """Replace the lists that may lack a row within the limit of its query by None. Return whether there are any."""
    lacking = False
    for number, ((part, _), shortlists) in enumerate(zip(parts, lists, strict=True)):
        if shortlists is None or part.codes is None:
            continue
        enough = bool((shortlists.beyond > limits).all())
        part.codes.gain.learn(enough=enough)
        if not enough:
            lists[number], lacking = None, True
    return lacking


def _distances(parts: Sequence[ScannedPart], lists: Sequence[Shortlists | None], queries: Matrix, metric: Metric) -> Matrix:
    """Return the fast distances of the rows to compare, part by part; infinite for dead rows. (nq, rows)."""
    found = [_part_distances(each, shortlists, queries, metric) for each, shortlists in zip(parts, lists, strict=True)]
    return found[0] if len(found) == 1 else np.concatenate(found, axis=1)


def _part_distances(scanned: ScannedPart, shortlists: Shortlists | None, queries: Matrix, metric: Metric) -> Matrix:
    part, seq = scanned
    if shortlists is not None:
        distances = distances_at(queries, part.vectors, shortlists.positions, metric)
    else:
        distances = np.empty((len(queries), len(part)), dtype=np.float32)
        kernel = squared_distances if metric is Metric.L2 else inner_products
        for query, out in zip(queries, distances, strict=True):
            kernel(query, part.vectors, out)
        if metric is not Metric.L2:
            np.negative(distances, out=distances)
    if part.dead and shortlists is None:
        distances[:, part.deaths <= seq] = np.inf
    elif part.dead and shortlists is not None:
        distances[part.deaths.take(shortlists.positions) <= seq] = np.inf
    return distances


def _limits(parts: Sequence[ScannedPart], lengths: Doubles, distances: Matrix, k: int, metric: Metric) -> npt.NDArray[np.float32]:
    """Return the largest fast distance of a row that may be among the k best of each query. (nq,).

    It is infinite where there is no bound. lengths: (nq,), of the queries.
    """
    dim = parts[0].part.vectors.shape[1]
    wanted = min(k, sum([part.live for part, _ in parts]))
    if distances.shape[1] <= _SORTED_ROWS:
        last = np.partition(distances, wanted - 1, axis=1)[:, wanted - 1].astype(np.float64)
    else:
        last = np.array([kth_smallest(each, wanted) for each in distances])
    reach = max([part.reach for part, _ in parts])
    relative, underflow = (dim + 32) * 2.0**-23, dim * float(np.finfo(np.float32).tiny)
    with np.errstate(over="ignore", invalid="ignore"):
        if metric is Metric.L2:
            reached, limits = np.square(lengths + reach), last * (1.0 + 3 * relative) + 2 * underflow
        else:
            reached = lengths * reach
            limits = last + 2 * (relative * reached + underflow)
        following = np.nextafter(limits.astype(np.float32), np.float32(np.inf))
    return np.where(reached <= SAFE_SQUARE, following, np.float32(np.inf))


def _by_part(parts: Sequence[ScannedPart], lists: Sequence[Shortlists | None], query: Numbers, column: Numbers) -> list[NearRows]:
    """Return the rows kept by part. query, column: (rows,), their places in the table of distances."""
    if len(parts) == 1:
        return [_placed(lists[0], query, column)]
    found: list[NearRows] = []
    start = 0
    for (part, _), shortlists in zip(parts, lists, strict=True):
        end = start + (len(part) if shortlists is None else shortlists.positions.shape[1])
        own = ((column >= start) & (column < end)).nonzero()[0]
        found.append(_placed(shortlists, query.take(own), column.take(own) - start))
        start = end
    return found


def _placed(shortlists: Shortlists | None, query: Numbers, column: Numbers) -> NearRows:
    return NearRows(query, column if shortlists is None else shortlists.positions[query, column])
