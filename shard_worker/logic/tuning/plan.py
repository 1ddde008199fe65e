"""Decide which segments to measure, or to measure again, and when a measurement gives way to searches. Pure: counts and
times in, names out.

The work is bounded. A segment is measured once on stand-ins for queries, and once on the first real queries. It is
measured again when there are four times as many queries, or as many as a measurement uses if these are twice as many.
Then it is measured each time half of the queries have changed, which takes at most a hundredth of the time. For each
new kind of query it is measured once when there are enough of them, and once when there are twice as many.

A measurement begins in a lull of the searches, or when it has waited long enough for one. While searches go on, it
rests after each slice for as long as the slice took. So it costs searches at most half of one core, at low priority,
and it finishes however many searches there are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

ENOUGH_QUERIES = 64
"""From this number on, real queries are better than rows that stand in for them."""

MEASURED_QUERIES = 256
"""A measurement uses so many of the sampled queries at most. More would improve the bound by less than a step of the
grid.
"""

GROWTH, GROWTH_TO_MOST = 4, 2
CHANGED_DIVISOR = 2
REST_RATIO = 100.0
"""After a measurement a segment rests this many times as long as the measurement took."""

QUIET_S = 2.0
"""A lull is this long without a search."""

PATIENCE_S = 20.0
"""The longest wait for a lull."""

MOST_REST_S = 0.1
"""The longest rest after one slice."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """Counts of the samples of real queries.

    Of the sample of all queries: held: queries in it, capacity: room in it, taken: queries ever taken into it. newest:
    queries of the newest kind; kinds: queries of all kinds together.
    """

    held: int
    capacity: int
    taken: int
    newest: int = 0
    kinds: int = 0

    @property
    def enough(self) -> bool:
        """Return whether there are enough to use them instead of stand-ins."""
        return self.held >= min(ENOUGH_QUERIES, self.capacity)


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """The last measurement of a segment.

    real: on real queries; brief: in haste, on few queries; held, taken, kinds: of Asked at that time; at_s: when it
    ended; took_s: how long it took.
    """

    real: bool
    held: int
    taken: int
    at_s: float
    took_s: float
    kinds: int = 0
    brief: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurable:
    """A sealed segment with an index.

    standing: its last measurement, None for none; doubted: whether the queries have changed since.
    """

    name: str
    rows: int
    standing: Standing | None
    doubted: bool = False

    @property
    def uncertain(self) -> bool:
        """Return whether it is searched with more effort than necessary, until it is measured on current queries."""
        return self.standing is None or not self.standing.real or self.doubted


@dataclass(frozen=True, kw_only=True, slots=True)
class Due:
    """A segment to measure.

    urgent: searches cost more than necessary until it is measured, and there are queries to measure it with.
    """

    name: str
    urgent: bool


def due(segments: Sequence[Measurable], asked: Asked, *, now_s: float) -> tuple[Due, ...]:
    """Return the segments to measure now: urgent ones first, then those never measured, then the largest."""
    wanted = [segment for segment in segments if _is_due(segment, asked, now_s)]
    wanted.sort(key=lambda each: (not _is_urgent(each, asked), each.standing is not None, -each.rows, each.name))
    return tuple(Due(name=segment.name, urgent=_is_urgent(segment, asked)) for segment in wanted)


def due_later_s(segments: Sequence[Measurable], asked: Asked, *, now_s: float) -> float:
    """Return the seconds after which one of the segments is due if no more queries come; infinite if none will be."""
    rested = [
        standing.at_s + REST_RATIO * standing.took_s - now_s
        for standing in (segment.standing for segment in segments if not segment.doubted)
        if standing is not None and standing.real and asked.enough and _has_changed(standing, asked)
    ]
    return min((seconds for seconds in rested if seconds > 0), default=math.inf)


def may_begin(*, now_s: float, searched_s: float, due_s: float) -> bool:
    """Return whether a measurement that has been due since due_s may begin. searched_s: time of the last search."""
    return now_s - searched_s >= QUIET_S or now_s - due_s >= PATIENCE_S


def rest_s(*, now_s: float, searched_s: float, slice_s: float) -> float:
    """Return how many seconds to rest after a slice of work that took slice_s."""
    return min(slice_s, MOST_REST_S) if now_s - searched_s < QUIET_S else 0.0


def _is_urgent(segment: Measurable, asked: Asked) -> bool:
    return segment.uncertain and asked.enough


def _is_due(segment: Measurable, asked: Asked, now_s: float) -> bool:
    standing = segment.standing
    if standing is None:
        return True
    if not asked.enough:
        return False
    if not standing.real:
        return True
    if segment.doubted:
        return asked.newest >= min(ENOUGH_QUERIES, asked.capacity)
    if standing.brief or _has_grown(standing, asked):
        return True
    if asked.kinds >= standing.kinds + max(ENOUGH_QUERIES, standing.kinds):
        return True
    return _has_changed(standing, asked) and now_s - standing.at_s >= REST_RATIO * standing.took_s


def _has_grown(standing: Standing, asked: Asked) -> bool:
    """Return whether a measurement would now use many more queries."""
    used = min(asked.held, MEASURED_QUERIES)
    return used >= (GROWTH_TO_MOST if used == MEASURED_QUERIES else GROWTH) * standing.held


def _has_changed(standing: Standing, asked: Asked) -> bool:
    """Return whether half of a full sample is new."""
    return asked.held == asked.capacity and (asked.taken - standing.taken) * CHANGED_DIVISOR >= asked.held
