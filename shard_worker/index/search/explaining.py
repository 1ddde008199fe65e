"""Explain how a part was searched for one group of queries. The figures are counted during the search."""

from __future__ import annotations

from dataclasses import dataclass

from shoal.core.deadline import Clock
from shoal.core.shard_calls import SegmentExplain
from shoal.core.turns import FREE, Turn
from shoal.shard_worker.index.view import SegmentView
from shoal.shard_worker.logic.filter_plan import Plan
from shoal.shard_worker.logic.segments.segment_plan import SegmentState


class Tally:
    """Counts what one search of one part did for one group of queries.

    clock: seconds; turn: the time that it rested is not counted.
    """

    __slots__ = (
        "_at",
        "_clock",
        "_turn",
        "breadth",
        "cached",
        "candidates",
        "estimated",
        "fallbacks",
        "filter_us",
        "plan",
        "score_us",
        "search_us",
        "selectivity",
    )

    def __init__(self, clock: Clock, turn: Turn = FREE) -> None:
        self._clock, self._turn = clock, turn
        self.plan = Plan.EMPTY
        self.estimated = self.selectivity = 1.0
        self.candidates = self.breadth = self.fallbacks = 0
        self.cached = False
        self.filter_us = self.search_us = self.score_us = 0.0
        self._at = clock() - turn.rested_s

    def filtered(self) -> None:
        """Add the time since the last mark to the time of matching the filter."""
        self.filter_us += self._passed_us()

    def searched(self) -> float:
        """Add the time since the last mark to the time of searching. Return it in microseconds."""
        passed = self._passed_us()
        self.search_us += passed
        return passed

    def scored(self) -> float:
        """Add the time since the last mark to the time of exact scoring. Return it in microseconds."""
        passed = self._passed_us()
        self.score_us += passed
        return passed

    def _passed_us(self) -> float:
        before, self._at = self._at, self._clock() - self._turn.rested_s
        return (self._at - before) * 1e6


@dataclass(frozen=True, kw_only=True, slots=True)
class PartExplain:
    """A SegmentExplain without the number of its shard."""

    group: int
    queries: int
    segment: str
    state: str
    index: str
    rows: int
    plan: str
    estimated_selectivity: float
    selectivity: float
    candidates: int
    breadth: int
    breadth_name: str
    fallbacks: int
    filter_us: float
    search_us: float
    score_us: float
    filter_cached: bool

    def of_shard(self, shard: int, vector: str = "") -> SegmentExplain:
        """Return the same figures with the number of the shard and the name of the vector."""
        return SegmentExplain(shard=shard, vector=vector, **{name: getattr(self, name) for name in self.__slots__})


def explained(part: SegmentView, tally: Tally, *, group: int, queries: int) -> PartExplain:
    """Return the tally of a part as a PartExplain."""
    return PartExplain(
        group=group,
        queries=queries,
        segment=part.name if part.state is SegmentState.SEALED and part.name else part.state.value,
        state=part.state.value,
        index=part.index,
        rows=part.live,
        plan=tally.plan.value,
        estimated_selectivity=tally.estimated,
        selectivity=tally.selectivity,
        candidates=tally.candidates,
        breadth=tally.breadth,
        breadth_name=part.native.breadth_name if part.native is not None and tally.breadth else "",
        fallbacks=tally.fallbacks,
        filter_us=tally.filter_us,
        search_us=tally.search_us,
        score_us=tally.score_us,
        filter_cached=tally.cached,
    )
