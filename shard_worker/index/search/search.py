"""Search a view: every part for every group of queries, then one merge by (score, id). Estimate the cost of a search.

Owns the order of the final hits and the cut at a radius. Writes nothing: a view does not change. The estimate is within
a factor of two of the true cost. It evaluates no filter: a filter whose matching rows are not known yet is assumed to
be expensive.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from shoal.core.collection import Metric
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.points import Matrix
from shoal.core.scoring import prepared
from shoal.core.shard_calls import Accuracy, Breadth, QueryGroup
from shoal.core.topk import hit_order, rank_in_group
from shoal.core.turns import FREE, Turn
from shoal.shard_worker.index.search.ask import Ask, SearchContext
from shoal.shard_worker.index.search.explaining import PartExplain, Tally, explained
from shoal.shard_worker.index.search.matching import Sought
from shoal.shard_worker.index.search.planner import part_hits, unfiltered_us
from shoal.shard_worker.index.view import NO_HITS, IndexHits, IndexView, PartHits, SegmentView, join_hits

Numbers = npt.NDArray[np.int64]


def search_view(
    view: IndexView,
    queries: Matrix,
    groups: tuple[QueryGroup, ...],
    accuracy: Accuracy,
    radius: float | None,
    metric: Metric,
    context: SearchContext,
    turn: Turn = FREE,
) -> tuple[IndexHits, tuple[PartExplain, ...]]:
    """Return the k best points of each query among those that match its group's filter and lie within the radius.

    Each query gets exactly min(k, number of these points) hits, in the order of the batch; hits are ordered by (score,
    id), best first. Return also how each part was searched for each group, when context.explain is set.

    queries: (nq, dim) float32 as given, of the collection's dimension, finite, and not zero under cosine; each query is
    in exactly one group. accuracy: with Exact the answer is that of the scoring kernel over all points, and ties at the
    k-th place are resolved by id; otherwise recall is that of the unfiltered search. radius: a hit with exactly this
    score counts.

    Raises InvalidArgument for groups that do not fit the batch or numbers out of range, ViewOutdated when the caller
    must take a newer view, and the errors of the turn.
    """
    _check(len(queries), groups, accuracy, radius)
    ready = np.ascontiguousarray(prepared(queries, metric), dtype=np.float32)
    hits: list[PartHits] = []
    explain: list[PartExplain] = []
    for number, group in enumerate(groups):
        ask = Ask(queries=_asked(ready, group), seq=view.seq, k=group.k, metric=metric, accuracy=accuracy, radius=radius, turn=turn)
        if not len(ask):
            continue
        sought = None if group.filter is None else Sought.of(group.filter)
        for part in view.parts:
            if not part.live:
                continue
            turn.pause()
            tally = Tally(context.clock, turn)
            hits.append(_renumbered(part_hits(part, ask, sought, context, tally), group.queries))
            if context.explain:
                explain.append(explained(part, tally, group=number, queries=len(ask)))
    turn.pause()
    joined = join_hits(hits) if hits else NO_HITS
    if radius is not None:
        joined = _within(joined, radius, metric)
    return _best(joined, _wanted(groups, len(queries)), len(queries), metric), tuple(explain)


def _check(queries: int, groups: Sequence[QueryGroup], accuracy: Accuracy, radius: float | None) -> None:
    for group in groups:
        if group.k < 1:
            raise InvalidArgument(f"k is {group.k}, it must be at least 1", ErrorDetails(field="k"))
    if sum([_size(group, queries) for group in groups]) != queries:
        raise InvalidArgument(f"the groups do not hold each of {queries} queries once", ErrorDetails(field="groups"))
    if radius is not None and math.isnan(radius):
        raise InvalidArgument("radius is NaN, it must be a number", ErrorDetails(field="radius"))
    if isinstance(accuracy, Breadth):
        given = [breadth for breadth in (accuracy.ef, accuracy.nprobe) if breadth is not None]
        if len(given) != 1 or given[0] < 1:
            raise InvalidArgument(
                f"ef is {accuracy.ef} and nprobe is {accuracy.nprobe}: one of them must be given, at least 1", ErrorDetails(field="params")
            )


def _size(group: QueryGroup, queries: int) -> int:
    return queries if group.queries is None else len(group.queries)


def _asked(ready: Matrix, group: QueryGroup) -> Matrix:
    return ready if group.queries is None else ready.take(group.queries, axis=0)


def _renumbered(hits: PartHits, queries: Numbers | None) -> PartHits:
    """Renumber the queries of a group's hits to their numbers in the batch."""
    if queries is None:
        return hits
    return PartHits(query=queries.take(hits.query), ids=hits.ids, scores=hits.scores, rows=hits.rows)


def _wanted(groups: Sequence[QueryGroup], queries: int) -> int | Numbers:
    """Return k: one number for all queries, or (queries,)."""
    if len(groups) == 1:
        return groups[0].k
    wanted: Numbers = np.zeros(queries, dtype=np.int64)
    for group in groups:
        wanted[slice(None) if group.queries is None else group.queries] = group.k
    return wanted


def _within(hits: PartHits, radius: float, metric: Metric) -> PartHits:
    """Keep the hits whose score is at least as good as the radius.

    Scores are float32, so the radius is rounded to float32, too: a radius of 0.7 does not miss the score that 0.7 is in
    float32.
    """
    with np.errstate(over="ignore"):
        rounded = np.float32(radius)
    bound = rounded if np.isfinite(rounded) else np.float64(radius)
    kept = np.flatnonzero(hits.scores <= bound if metric.smaller_is_better else hits.scores >= bound)
    return PartHits(query=hits.query.take(kept), ids=hits.ids.take(kept), scores=hits.scores.take(kept), rows=hits.rows.take(kept))


def _best(hits: PartHits, wanted: int | Numbers, queries: int, metric: Metric) -> IndexHits:
    """Return the `wanted` best hits of each query, in order."""
    order = hit_order(hits.query, hits.scores, hits.ids, metric)
    if queries == 1 and isinstance(wanted, int):
        order = order[:wanted]
        counts = np.array([len(order)], dtype=np.int64)
    else:
        query = hits.query.take(order)
        order = order[rank_in_group(query) < (wanted if isinstance(wanted, int) else wanted.take(query))]
        counts = np.bincount(hits.query.take(order), minlength=queries)
    return IndexHits(counts=counts, ids=hits.ids.take(order), scores=hits.scores.take(order), rows=hits.rows.take(order))


UNKNOWN_FILTER_US = 10_000.0
"""Assumed cost of matching a filter whose rows are not known: payloads may have to be read."""

_CALL_US = 40.0
_PART_US = 15.0


def estimated_search_us(
    view: IndexView,
    queries: Matrix,
    groups: tuple[QueryGroup, ...],
    accuracy: Accuracy,
    radius: float | None,
    metric: Metric,
    context: SearchContext,
) -> float:
    """Estimate the time of search_view with the same arguments in one thread, in microseconds."""
    total = _CALL_US
    for group in groups:
        asked = queries if group.queries is None else queries[: len(group.queries)]
        ask = Ask(queries=asked, seq=view.seq, k=group.k, metric=metric, accuracy=accuracy, radius=radius)
        sought = None if group.filter is None else Sought.of(group.filter)
        total += sum(_PART_US + _part_us(part, ask, sought, context) for part in view.parts if part.live)
    return total


def _part_us(part: SegmentView, ask: Ask, sought: Sought | None, context: SearchContext) -> float:
    everything_us = unfiltered_us(part, ask, context)[1]
    if sought is None:
        return everything_us
    hot = context.hot.peek(part, sought.key, ask.seq)
    if hot is None:
        return UNKNOWN_FILTER_US
    if not len(hot.positions):
        return 0.0
    exact_us = context.paces.exact_us(queries=len(ask), rows=len(hot.positions), dim=part.vectors.shape[1], layout=hot.layout)
    # With the index, a search costs more the fewer rows match. Comparing the matching rows is the upper bound of every
    # plan.
    return min(exact_us, everything_us * len(part) / len(hot.positions))
