"""Exact search of a part whose rows are copies of few vectors: each different vector is scored once, and the rows with
it follow.

Costs little for each query, however many rows tie; `exact` finds out which parts are such ones. The answer is that of
`exact`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shoal.core.scoring import pair_scores
from shoal.shard_worker.index.search.ask import Ask
from shoal.shard_worker.index.search.exact import Stock
from shoal.shard_worker.index.search.explaining import Tally
from shoal.shard_worker.index.search.paces import Layout
from shoal.shard_worker.index.ties import Kinds, first_by_rank
from shoal.shard_worker.index.view import NO_HITS, PartHits, SegmentView, join_hits

Numbers = npt.NDArray[np.int64]


def kinds_of(part: SegmentView, stock: Stock) -> Kinds | None:
    """The few different vectors of a part, when that is known by now; None where the stock is only some of its rows."""
    whole = stock.layout is Layout.CONTIGUOUS and stock.positions is None
    return part.ties.kinds(part.ids) if whole else None


def kinds_hits(part: SegmentView, ask: Ask, stock: Stock, kinds: Kinds, tally: Tally) -> PartHits:
    """As exact_hits, of all rows of a part that count."""
    rows, starts = kinds.rows, kinds.starts
    if stock.counted is not None:
        counted = stock.counted.take(rows)
        starts = np.concatenate([[0], np.cumsum(counted)])[starts]
        rows = rows[counted]
    found = [_of_query(part, ask, kinds.first, rows, starts, number) for number in range(len(ask))]
    tally.searched()
    tally.candidates += len(ask) * len(kinds.first)
    return join_hits(found) if found else NO_HITS


def _of_query(part: SegmentView, ask: Ask, first: Numbers, rows: npt.NDArray[np.int32], starts: Numbers, number: int) -> PartHits:
    sizes = np.diff(starts)
    filled = np.flatnonzero(sizes)
    scores = pair_scores(ask.queries, part.vectors, np.full(len(filled), number, dtype=np.int64), first[filled], ask.metric)
    # Levels: 0 for the best score; scores that are no number are equal, and come last.
    levels = np.unique(scores if ask.metric.smaller_is_better else -scores, return_inverse=True)[1]
    order = np.argsort(levels, kind="stable")
    last = min(int(np.searchsorted(np.cumsum(sizes[filled[order]]), ask.k)), len(order) - 1)
    chosen = order[levels[order] <= levels[order[last]]]
    taken = np.minimum(sizes[filled[chosen]], ask.k)
    position = np.concatenate([rows[start : start + size] for start, size in zip(starts[filled[chosen]], taken, strict=True)])
    score = scores[chosen].repeat(taken)
    query = np.full(len(position), number, dtype=np.int64)
    if len(position) > ask.k:
        ranks = part.ties.ranks(part.ids).take(position)
        kept = first_by_rank(query, score, ranks, ask.k, smaller_is_better=ask.metric.smaller_is_better)
        query, score, position = query[kept], score[kept], position[kept]
    return PartHits(query=query, ids=part.ids.take(position), scores=score, rows=part.rows.take(position))
