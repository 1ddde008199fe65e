"""Order and merge of hits: by (score, id), best first, integers before strings."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shoal.core.collection import Metric
from shoal.core.points import IdArray, Matrix, id_ranks

MANY_HITS = 5_000
"""This many hits take about 5 ms to merge or to convert; more are not handled on an event loop that others wait for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HitColumns:
    """Hits of a batch of queries, flat: those of query 0 first, best first within a query.

    counts: (queries,) int64, hits per query; ids: (hits,); scores: (hits,) float32; payloads: JSON texts or None, or
    None if not requested; vectors: (hits, dim) float32 as given, or None if not requested.
    """

    counts: npt.NDArray[np.int64]
    ids: IdArray
    scores: npt.NDArray[np.float32]
    payloads: tuple[bytes | None, ...] | None = None
    vectors: Matrix | None = None

    def __len__(self) -> int:
        return len(self.ids)


def hit_order(query: npt.NDArray[np.int64], scores: npt.NDArray[np.float32], ids: IdArray, metric: Metric) -> npt.NDArray[np.intp]:
    """Return the positions that sort hits by (query, score best first, id); NaN scores come last. All arguments:
    (hits,).
    """
    keys = scores if metric.smaller_is_better else -scores
    if ids.dtype == np.int64:
        return np.lexsort((ids, keys, query))
    order = np.lexsort((keys, query))
    tied = _tied_with_neighbour(query[order], keys[order])
    if not tied.any():
        return order
    # Strings are ranked in Python, which is slow: only ids whose scores tie need a rank.
    ranks = np.zeros(len(ids), dtype=np.int64)
    ranks[order[tied]] = id_ranks(ids[order[tied]])
    return np.lexsort((ranks, keys, query))


def order_of_one(scores: npt.NDArray[np.float32], ids: IdArray, metric: Metric) -> npt.NDArray[np.intp]:
    """Return the positions that sort the hits of one query by (score best first, id). See hit_order."""
    if ids.dtype == np.int64:
        return np.lexsort((ids, scores if metric.smaller_is_better else -scores))
    return hit_order(np.zeros(len(ids), dtype=np.int64), scores, ids, metric)


def _tied_with_neighbour(query: npt.NDArray[np.int64], keys: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Return a mask over hits sorted by (query, key): whether a neighbour may have the same query and key (NaN
    included).
    """
    same = (query[1:] == query[:-1]) & ~(keys[1:] > keys[:-1])
    tied = np.zeros(len(keys), dtype=bool)
    tied[1:] |= same
    tied[:-1] |= same
    return tied


def merge_hits(parts: Sequence[HitColumns], k: int | npt.NDArray[np.int64], metric: Metric) -> HitColumns:
    """Return the best k hits of each query over `parts`, at least one, which answer the same batch of queries.

    k: for all queries, or (queries,) one for each.
    """
    queries = len(parts[0].counts)
    # A part without hits may have lost its empty columns in the message.
    parts = [part for part in parts if len(part)] or parts[:1]
    query = np.concatenate([np.repeat(np.arange(queries, dtype=np.int64), part.counts) for part in parts])
    ids = concat_ids([part.ids for part in parts])
    scores = np.concatenate([part.scores for part in parts])
    order = hit_order(query, scores, ids, metric)
    ordered = query[order]
    kept = order[rank_in_group(ordered) < (k if isinstance(k, int) else k[ordered])]
    return HitColumns(
        counts=np.bincount(query[kept], minlength=queries).astype(np.int64),
        ids=ids[kept],
        scores=scores[kept],
        payloads=_take_payloads([part.payloads for part in parts], kept),
        vectors=_take_vectors([part.vectors for part in parts], kept),
    )


def concat_hits(parts: Sequence[HitColumns]) -> HitColumns:
    """Return the hits of a batch that was cut by queries. parts: at least one, in the order of the queries."""
    payloads = [part.payloads for part in parts if part.payloads is not None]
    vectors = [part.vectors for part in parts if part.vectors is not None]
    return HitColumns(
        counts=np.concatenate([part.counts for part in parts]),
        ids=concat_ids([part.ids for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
        payloads=tuple(itertools.chain.from_iterable(payloads)) if len(payloads) == len(parts) else None,
        vectors=np.concatenate(vectors) if len(vectors) == len(parts) else None,
    )


def concat_ids(parts: Sequence[IdArray]) -> IdArray:
    """Return the ids of all parts in one column: int64 if all are, else object."""
    filled = [part for part in parts if len(part)]
    if all(part.dtype == np.int64 for part in filled):
        return np.concatenate([np.empty(0, dtype=np.int64), *filled])
    return np.concatenate([part.astype(object) for part in filled])


def rank_in_group(groups: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the position of each element in its run of equal values, (n,) int64, from 0. groups: (n,) ascending."""
    starts = np.searchsorted(groups, groups, side="left")
    return np.arange(len(groups), dtype=np.int64) - starts


def _take_payloads(parts: Sequence[tuple[bytes | None, ...] | None], kept: npt.NDArray[np.intp]) -> tuple[bytes | None, ...] | None:
    if any(part is None for part in parts):
        return None
    joined = [payload for part in parts if part is not None for payload in part]
    return tuple(joined[at] for at in kept)


def _take_vectors(parts: Sequence[Matrix | None], kept: npt.NDArray[np.intp]) -> Matrix | None:
    filled = [part for part in parts if part is not None]
    if len(filled) != len(parts):
        return None
    taken: Matrix = np.concatenate(filled)[kept]
    return taken
