"""What a search will cost, so that the caller can decide where to run it. Refuses precision, a factor of two either
way, and to evaluate a filter: one whose rows are not known yet is taken for dear."""

from __future__ import annotations

from shoal.core.collection import Metric
from shoal.core.points import Matrix
from shoal.core.shard_calls import Accuracy, QueryGroup
from shoal.shard_worker.index.search.ask import Ask
from shoal.shard_worker.index.search.context import SearchContext
from shoal.shard_worker.index.search.matching import Sought
from shoal.shard_worker.index.search.paces import Layout
from shoal.shard_worker.index.search.planner import unfiltered_us
from shoal.shard_worker.index.view import IndexView, SegmentView

UNKNOWN_FILTER_US = 10_000.0
"""Taken for matching a filter whose rows are not known: it may have to read payloads."""

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
    """Estimated time of search_view with the same arguments in one thread, in microseconds."""
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
    layout = Layout.CONTIGUOUS if hot.gathered is not None else Layout.SCATTERED
    exact_us = context.paces.exact_us(queries=len(ask), rows=len(hot.positions), dim=part.vectors.shape[1], layout=layout)
    # By the index a search costs more the fewer rows match; no plan costs more than comparing them.
    return min(exact_us, everything_us * len(part) / len(hot.positions))
