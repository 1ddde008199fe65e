"""Search for a few queries that came one by one, in one pass: each gets the answer of LoneQuery, bit for bit.

They share the calls of FAISS and numpy, and what Python takes around them, which is most of the time of one. What is
learnt of queries counts for each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shoal.core.points import Matrix
from shoal.core.scoring import prepared, taken_pair_scores
from shoal.core.topk import concat_ids, hit_order, rank_in_group
from shoal.shard_worker.index.likeness import remoteness
from shoal.shard_worker.index.search.approximate import nearest_positions
from shoal.shard_worker.index.search.ask import Ask
from shoal.shard_worker.index.search.explaining import Tally
from shoal.shard_worker.index.search.lone_query import IndexedPart, LoneQuery
from shoal.shard_worker.index.search.planner import careful_hits
from shoal.shard_worker.index.search.scan import ScannedPart
from shoal.shard_worker.index.search.scan_several import NearRows, nearest_of_each
from shoal.shard_worker.index.search.search import FoundInViews, found_among
from shoal.shard_worker.index.view import IndexHits, PartHits, join_hits

Numbers = npt.NDArray[np.int64]
Unlike = dict[int, npt.NDArray[np.bool_]]
"""By number of a part, which queries (nq,) are unlike those that it was measured with."""

MOST_QUERIES = 16
"""Searches for this many queries at most are one. From 20 on, FAISS compares queries with the centres of lists by a
matrix product, whose last bits are others than those of single queries."""


class _RowsOfQueries(NamedTuple):
    """Rows that may be among the best, those of the first part first.

    near: for each part; starts: for each part, the number of rows of the parts before, then that of all; query, scores:
    (rows,).
    """

    near: list[NearRows]
    starts: list[int]
    query: Numbers
    scores: npt.NDArray[np.float32]


def search_few(lone: LoneQuery, queries: Matrix) -> FoundInViews | None:
    """Return the k best points of each query, with their rows; None if each must be searched for alone.

    lone: the search for one query; queries: (nq, dim) float32 as given, 2 <= nq <= MOST_QUERIES.
    """
    ready: Matrix = np.ascontiguousarray(prepared(queries, lone.metric), dtype=np.float32)
    near = _near(lone, ready)
    if near is None:
        return None
    starts = [0, *accumulate([len(each.query) for each in near])]
    taken: Matrix = np.empty((starts[-1], ready.shape[1]), dtype=np.float32)
    for each, (_, positions), start in zip(lone.parts, near, starts, strict=False):
        # Every position is one of a row, so none is cut. With this mode, numpy writes to `out` without a copy.
        each.part.vectors.take(positions, axis=0, out=taken[start : start + len(positions)], mode="clip")
    query = np.concatenate([each.query for each in near])
    found = _RowsOfQueries(near, starts, query, taken_pair_scores(ready, query, taken, lone.metric))
    unlike = _unlike(lone, ready, found)
    return _with_care(lone, ready, found, unlike) if unlike else _ranked(lone, len(ready), found)


def _near(lone: LoneQuery, ready: Matrix) -> list[NearRows] | None:
    """Return the rows of each part that may be among the best; None as in search_few."""
    k = lone.k
    scanned = nearest_of_each(lone.scanned, ready, k, lone.metric) if lone.scanned else []
    if scanned is None:
        return None
    following, found = iter(scanned), list[NearRows]()
    every = np.arange(len(ready), dtype=np.int64).repeat(k)
    for each in lone.parts:
        if isinstance(each, ScannedPart):
            found.append(next(following))
            continue
        choice = each.choice
        positions = nearest_positions(each.part, each.native, ready, lone.metric, max(k, choice.fetch), choice.breadth)[:, :k]
        if (positions[:, -1] < 0).any():
            return None
        found.append(NearRows(every, positions.ravel()))
    return found


def _unlike(lone: LoneQuery, ready: Matrix, found: _RowsOfQueries) -> Unlike:
    """Return which queries are unlike those that an index was measured with. Counts the queries for each part."""
    unlike: Unlike = {}
    for number, each in enumerate(lone.parts):
        if isinstance(each, ScannedPart) or not each.tuning.trusted:
            continue
        best = found.scores[found.starts[number] : found.starts[number + 1] : lone.k]
        mask = each.tuning.likeness.unlike(remoteness(ready, best, lone.metric))
        if mask is not None:
            unlike[number] = mask
    return unlike


def _ranked(lone: LoneQuery, count: int, found: _RowsOfQueries) -> FoundInViews:
    ids = concat_ids([each.part.ids.take(positions) for each, (_, positions) in zip(lone.parts, found.near, strict=True)])
    rows = np.concatenate([each.part.rows.take(positions) for each, (_, positions) in zip(lone.parts, found.near, strict=True)])
    order = hit_order(found.query, found.scores, ids, lone.metric)
    places = order[rank_in_group(found.query.take(order)) < lone.k]
    counts = np.bincount(found.query.take(places), minlength=count).astype(np.int64, copy=False)
    hits = IndexHits(counts=counts, ids=ids.take(places), scores=found.scores.take(places), rows=rows.take(places))
    return FoundInViews(hits=hits, places=places, ends=tuple([found.starts[end] for end in lone.ends]), explain=())


def _with_care(lone: LoneQuery, ready: Matrix, found: _RowsOfQueries, unlike: Unlike) -> FoundInViews:
    """Return the best points, without relying on measurements in the parts, and for the queries, of `unlike`."""
    hits: list[PartHits] = []
    for number, (each, (query, positions)) in enumerate(zip(lone.parts, found.near, strict=True)):
        part, scores = each.part, found.scores[found.starts[number] : found.starts[number + 1]]
        own = PartHits(query=query, ids=part.ids.take(positions), scores=scores, rows=part.rows.take(positions))
        mask = unlike.get(number)
        if mask is not None and isinstance(each, IndexedPart):
            ask = Ask(queries=ready, seq=each.seq, k=lone.k, metric=lone.metric, accuracy=lone.target)
            careful = careful_hits(part, each.native, ask, np.flatnonzero(mask), each.context, Tally(each.context.clock))
            own = join_hits([own.at(np.flatnonzero(~mask.take(query))), careful])
        hits.append(own)
    sizes = _sizes(hits)
    return found_among(hits, lone.k, len(ready), None, lone.metric, ends=tuple([sizes[end] for end in lone.ends]), explain=())


def _sizes(hits: Sequence[PartHits]) -> list[int]:
    """Return how many hits the parts before each have, and all of them."""
    return [0, *accumulate(map(len, hits))]
