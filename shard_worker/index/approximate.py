"""Graph, then filter: approximate search of a sealed part whose graph still holds dead rows.

The graph is searched as if all its rows lived, dead ones are dropped, and where too few are left the search is repeated
twice as broad, until comparing every row is cheaper. So an answer is never short, and its recall is the graph's own.
Refuses selectors inside the graph's search: they break its paths (design: replica.md, "The filter contract").
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shard_worker.index.ask import Ask
from shard_worker.index.exact import exact_hits, scored
from shard_worker.index.native import NativeIndex
from shard_worker.index.view import Part, PartHits, join_hits

ROWS_PER_BREADTH = 20
"""A graph search of breadth ef costs as much as comparing this many times ef rows in a pass (measured at dimensions 128, 784)."""


def part_hits(part: Part, ask: Ask) -> PartHits:
    """About the k best visible rows of each query; k of them when so many are visible. As exact_hits where there is no graph."""
    if part.graph is None or part.live <= ask.k or exact_is_cheaper(len(part), max(ask.k, ask.ef)):
        return exact_hits(part, ask)
    if part.dead == 0:
        positions = part.graph.search(ask.queries, ask.k, ask.ef)
        if positions.min() >= 0:
            return scored(part, ask, np.arange(len(ask), dtype=np.int64).repeat(ask.k), positions.ravel())
    return _graph_then_filter(part, part.graph, ask)


def exact_is_cheaper(rows: int, breadth: int) -> bool:
    """Whether comparing all of `rows` rows costs no more than a graph search of this breadth."""
    return rows <= ROWS_PER_BREADTH * breadth


def _graph_then_filter(part: Part, graph: NativeIndex, ask: Ask) -> PartHits:
    collected = []
    pending: npt.NDArray[np.int64] = np.arange(len(ask), dtype=np.int64)
    breadth = max(ask.k, ask.ef)
    while len(pending) and not exact_is_cheaper(len(part), breadth):
        positions = graph.search(ask.queries.take(pending, axis=0), breadth, breadth)
        visible = (positions >= 0) & (part.deaths.take(positions, mode="clip") > ask.seq)
        ranks = visible.cumsum(axis=1)
        enough = ranks[:, -1] >= ask.k
        at, column = np.nonzero(visible & (ranks <= ask.k) & enough[:, None])
        collected.append(scored(part, ask, pending.take(at), positions[at, column]))
        pending = pending[~enough]
        breadth *= 2
    if len(pending):
        collected.append(_exact_of(part, ask, pending))
    return join_hits(collected)


def _exact_of(part: Part, ask: Ask, pending: npt.NDArray[np.int64]) -> PartHits:
    """Exact hits of the queries numbered `pending`."""
    hits = exact_hits(part, ask.only(pending))
    return PartHits(query=pending.take(hits.query), ids=hits.ids, scores=hits.scores, rows=hits.rows)
