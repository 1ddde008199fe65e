"""Order and merge of hits: by (score, id), best first, integers before strings."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shoal.core.metric import Metric
from shoal.core.named_vectors import VectorColumn
from shoal.core.points import IdArray, Matrix, id_ranks

MANY_HITS = 5_000
"""This many hits take about 5 ms to merge or to convert; more are not handled on an event loop that others wait for."""

_PADDED = 4
"""A table of hits that is more than this many times as large as the hits is not worth making."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HitColumns:
    """Hits of a batch of queries, flat: those of query 0 first, best first within a query.

    counts: (queries,) int64, hits per query; ids: (hits,); scores: (hits,) float32; payloads: JSON texts or None, or
    None if not requested; vectors: (hits, dim) float32 as given, or None if not requested; named: vectors of hits by
    name, then vectors is None. Hits with named vectors are what a user gets: they are not merged.
    """

    counts: npt.NDArray[np.int64]
    ids: IdArray
    scores: npt.NDArray[np.float32]
    payloads: tuple[bytes | None, ...] | None = None
    vectors: Matrix | None = None
    named: Mapping[str, VectorColumn] | None = None

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
    # A part without hits may have lost its empty columns in the message.
    parts = [part for part in parts if len(part)] or parts[:1]
    merged = merge_order(parts, k, metric)
    places = PartRows.of([len(part) for part in parts], merged.kept)
    return HitColumns(
        counts=merged.counts,
        ids=concat_ids([part.ids for part in parts])[merged.kept],
        scores=np.concatenate([part.scores for part in parts])[merged.kept],
        payloads=places.payloads([part.payloads for part in parts]),
        vectors=places.vectors([part.vectors for part in parts]),
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


def each_query(hits: HitColumns) -> list[HitColumns]:
    """Return the hits of each query of a batch. hits: without named vectors."""
    found: list[HitColumns] = []
    start = 0
    for number, end in enumerate(hits.counts.cumsum().tolist()):
        found.append(
            HitColumns(
                counts=hits.counts[number : number + 1],
                ids=hits.ids[start:end],
                scores=hits.scores[start:end],
                payloads=None if hits.payloads is None else hits.payloads[start:end],
                vectors=None if hits.vectors is None else hits.vectors[start:end],
            )
        )
        start = end
    return found


@dataclass(frozen=True, slots=True)
class MergeOrder:
    """Which hits of several parts are the best of their query, and their order.

    kept: positions in the concatenation of the parts, those of query 0 first, best first; counts: (queries,) int64.
    """

    kept: npt.NDArray[np.intp]
    counts: npt.NDArray[np.int64]


def merge_order(parts: Sequence[HitColumns], k: int | npt.NDArray[np.int64], metric: Metric) -> MergeOrder:
    """Return the order in which merge_hits returns the hits of these parts, at least one.

    First, one partition leaves out the hits that are worse than the k-th best score of their query. The order of the
    rest, which is not much more than k a query, is exact.
    """
    scores, ids = np.concatenate([part.scores for part in parts]), concat_ids([part.ids for part in parts])
    if len(parts[0].counts) == 1 and len(scores) <= MANY_HITS:
        order = hit_order(np.zeros(len(scores), dtype=np.int64), scores, ids, metric)[: k if isinstance(k, int) else k[0]]
        return MergeOrder(order, np.array([len(order)], dtype=np.int64))
    counts = np.stack([part.counts for part in parts])
    query, near = _near(counts, scores if metric.smaller_is_better else -scores, k)
    order = hit_order(query, scores[near], ids[near], metric)
    ordered = query[order]
    order = order[rank_in_group(ordered) < (k if isinstance(k, int) else k[ordered])]
    return MergeOrder(near[order], np.bincount(query[order], minlength=counts.shape[1]).astype(np.int64))


def _near(
    counts: npt.NDArray[np.int64], keys: npt.NDArray[np.float32], k: int | npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.intp]]:
    """Return query and position of the hits that can be among the best k of their query: all but those that are worse
    than k others.

    counts: (parts, queries); keys: (hits,), small is good, those of part 0 first.
    """
    parts, queries = counts.shape
    most, widest = k if isinstance(k, int) else int(k.max()), int(counts.max(initial=0))
    if parts * widest <= most or parts * queries * widest > _PADDED * len(keys):
        return np.concatenate([np.repeat(np.arange(queries, dtype=np.int64), each) for each in counts]), np.arange(len(keys))
    if parts * queries * widest == len(keys):
        table, places = keys.reshape(parts, queries, widest), None
    else:
        filled = np.arange(widest) < counts[:, :, None]
        table, places = np.full(filled.shape, np.nan, dtype=np.float32), np.full(filled.shape, -1, dtype=np.intp)
        table[filled], places[filled] = keys, np.arange(len(keys))
    rows = table.transpose(1, 0, 2).reshape(queries, parts * widest)
    # Scores that are no number, and empty places, come last. If the k-th best is one of them, all hits are near.
    bound = np.partition(rows, most - 1, axis=1)[:, most - 1]
    query, column = np.nonzero(~(rows > bound[:, None]))
    part, rank = np.divmod(column, widest)
    place = (part * queries + query) * widest + rank
    if places is None:
        return query, place
    place = places.ravel()[place]
    return query[place >= 0], place[place >= 0]


@dataclass(frozen=True, slots=True)
class PartRows:
    """Rows of several parts. part, row: (n,) number of the part, and row in it."""

    part: npt.NDArray[np.intp]
    row: npt.NDArray[np.intp]

    @staticmethod
    def of(sizes: Sequence[int], positions: npt.NDArray[np.intp]) -> PartRows:
        """Return the rows at these positions of the concatenation of parts with these sizes."""
        starts = np.array([0, *itertools.accumulate(sizes[:-1])])
        part = starts.searchsorted(positions, side="right") - 1
        return PartRows(part, positions - starts[part])

    def payloads(self, parts: Sequence[tuple[bytes | None, ...] | None]) -> tuple[bytes | None, ...] | None:
        """Return the payloads at these rows. None if a part has none."""
        columns = [part for part in parts if part is not None]
        if len(columns) != len(parts):
            return None
        return tuple([columns[part][row] for part, row in zip(self.part.tolist(), self.row.tolist(), strict=True)])

    def vectors(self, parts: Sequence[Matrix | None]) -> Matrix | None:
        """Return the vectors at these rows, (n, dim) float32. None if a part has none."""
        columns = [part for part in parts if part is not None]
        if len(columns) != len(parts):
            return None
        taken: Matrix = np.empty((len(self.row), columns[0].shape[1]), dtype=np.float32)
        for number, column in enumerate(columns):
            mine = self.part == number
            taken[mine] = column[self.row[mine]]
        return taken


def concat_ids(parts: Sequence[IdArray]) -> IdArray:
    """Return the ids of all parts in one column: int64 if all are, else object."""
    filled = [part for part in parts if len(part)]
    if all(part.dtype == np.int64 for part in filled):
        return np.concatenate(filled) if filled else np.empty(0, dtype=np.int64)
    return np.concatenate([part.astype(object) for part in filled])


def rank_in_group(groups: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the position of each element in its run of equal values, (n,) int64, from 0. groups: (n,) ascending."""
    starts = np.searchsorted(groups, groups, side="left")
    return np.arange(len(groups), dtype=np.int64) - starts
