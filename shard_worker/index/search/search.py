"""Search views: every part for every group of queries, then one merge by (score, id). Estimate the cost of a search.

Owns the order of the final hits and the cut at a radius. Writes nothing: a view does not change. The estimate is within
a factor of two of the true cost. It evaluates no filter: a filter whose matching rows are not known yet is assumed to
be expensive.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.metric import Metric
from shoal.core.points import Matrix
from shoal.core.scoring import prepared
from shoal.core.shard_calls import Accuracy, Breadth, QueryGroup
from shoal.core.topk import hit_order, rank_in_group
from shoal.core.turns import FREE, Turn
from shoal.shard_worker.index.search.ask import Ask, SearchContext
from shoal.shard_worker.index.search.explaining import PartExplain, Tally, explained
from shoal.shard_worker.index.search.matching import Sought
from shoal.shard_worker.index.search.planner import part_hits, unfiltered_us
from shoal.shard_worker.index.view import IndexHits, IndexView, PartHits, SegmentView, join_hits

Numbers = npt.NDArray[np.int64]


class SearchedView(NamedTuple):
    """A view to search, and what all searches of its replica share."""

    view: IndexView
    context: SearchContext


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FoundInViews:
    """The best hits over several views.

    places: (hits,) int64 positions of the hits among all that were found; ends: for each view, the first position after
    those found in it; explain: for each view, how its parts were searched, if its context explains.
    """

    hits: IndexHits
    places: Numbers
    ends: tuple[int, ...]
    explain: tuple[tuple[PartExplain, ...], ...]

    def view_numbers(self) -> Numbers:
        """Return the number of the view that each hit was found in. (hits,)."""
        return np.searchsorted(np.array(self.ends, dtype=np.int64), self.places, side="right")


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
    found = search_views((SearchedView(view=view, context=context),), queries, groups, accuracy, radius, metric, turn)
    return found.hits, found.explain[0]


def search_views(
    views: Sequence[SearchedView],
    queries: Matrix,
    groups: tuple[QueryGroup, ...],
    accuracy: Accuracy,
    radius: float | None,
    metric: Metric,
    turn: Turn = FREE,
) -> FoundInViews:
    """Search several views, which hold no point twice, as one. The arguments, and each view's answer: see search_view.

    The hits of all views are ranked once. The result is that of a merge of the views' own answers.
    """
    _check(len(queries), groups, accuracy, radius)
    ready = np.ascontiguousarray(prepared(queries, metric), dtype=np.float32)
    soughts = [None if group.filter is None else Sought.of(group.filter) for group in groups]
    hits: list[PartHits] = []
    ends: list[int] = []
    explains = []
    for each in views:
        asks = [
            Ask(queries=_asked(ready, group), seq=each.view.seq, k=group.k, metric=metric, accuracy=accuracy, radius=radius, turn=turn)
            for group in groups
        ]
        before, explain = len(hits), _search_view(each, asks, groups, soughts, hits)
        ends.append((ends[-1] if ends else 0) + sum(map(len, hits[before:])))
        explains.append(explain)
    turn.pause()
    return found_among(hits, _wanted(groups, len(queries)), len(queries), radius, metric, ends=tuple(ends), explain=tuple(explains))


def _search_view(
    searched: SearchedView, asks: Sequence[Ask], groups: Sequence[QueryGroup], soughts: Sequence[Sought | None], hits: list[PartHits]
) -> tuple[PartExplain, ...]:
    """Append the hits of one view. Return how its parts were searched, if its context explains."""
    context = searched.context
    explain: list[PartExplain] = []
    for number, (ask, group, sought) in enumerate(zip(asks, groups, soughts, strict=True)):
        if not len(ask):
            continue
        for part in searched.view.parts:
            if not part.live:
                continue
            ask.turn.pause()
            tally = Tally(context.clock, ask.turn)
            hits.append(_renumbered(part_hits(part, ask, sought, context, tally), group.queries))
            if context.explain:
                explain.append(explained(part, tally, group=number, queries=len(ask)))
    return tuple(explain)


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


def found_among(
    hits: Sequence[PartHits],
    wanted: int | Numbers,
    queries: int,
    radius: float | None,
    metric: Metric,
    *,
    ends: tuple[int, ...],
    explain: tuple[tuple[PartExplain, ...], ...],
) -> FoundInViews:
    """Return the `wanted` best hits of each query within the radius. wanted: for all queries, or (queries,).

    hits: of the first view first; ends, explain: see FoundInViews.
    """
    joined = join_hits(hits)
    places = _best_places(joined, wanted, queries, radius, metric)
    counts = np.array([len(places)], dtype=np.int64) if queries == 1 else np.bincount(joined.query.take(places), minlength=queries)
    best = IndexHits(counts=counts, ids=joined.ids.take(places), scores=joined.scores.take(places), rows=joined.rows.take(places))
    return FoundInViews(hits=best, places=places, ends=ends, explain=explain)


def _best_places(hits: PartHits, wanted: int | Numbers, queries: int, radius: float | None, metric: Metric) -> Numbers:
    """Return the positions of these best hits, in order: those of query 0 first."""
    within = None if radius is None else _within(hits.scores, radius, metric)
    if within is not None:
        hits = hits.at(within)
    order = hit_order(hits.query, hits.scores, hits.ids, metric)
    if queries == 1 and isinstance(wanted, int):
        order = order[:wanted]
    else:
        query = hits.query.take(order)
        order = order[rank_in_group(query) < (wanted if isinstance(wanted, int) else wanted.take(query))]
    return order if within is None else within.take(order)


def _within(scores: npt.NDArray[np.float32], radius: float, metric: Metric) -> Numbers:
    """Return the positions of the scores that are at least as good as the radius.

    Scores are float32, so the radius is rounded to float32, too: a radius of 0.7 does not miss the score that 0.7 is in
    float32.
    """
    with np.errstate(over="ignore"):
        rounded = np.float32(radius)
    bound = rounded if np.isfinite(rounded) else np.float64(radius)
    return np.flatnonzero(scores <= bound if metric.smaller_is_better else scores >= bound)


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
