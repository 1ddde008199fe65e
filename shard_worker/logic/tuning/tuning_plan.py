"""Which segments to measure, or to measure again. Pure: sees counts and times, answers with names.

The work is bounded: a segment is measured once on what stands in, once on the first real queries, again when these have
become four times as many, and then, at most a hundredth of the time, when half of them have changed; and on each new
kind of query once when there are enough of it and once when there are twice as many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ENOUGH_QUERIES = 64
"""Real queries from which on they say what rows that stand in do not."""

GROWTH = 4
CHANGED_DIVISOR = 2
REST_RATIO = 100.0
"""After a measurement a segment rests so many times as long as it took."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """The samples of real queries. held, capacity, taken: of all: in it, at most, and ever taken into it; newest: of
    the newest kind; kinds: of all kinds together."""

    held: int
    capacity: int
    taken: int
    newest: int = 0
    kinds: int = 0

    @property
    def enough(self) -> bool:
        """Whether they say more than what stands in for them."""
        return self.held >= min(ENOUGH_QUERIES, self.capacity)


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """The last measurement of a segment. real: on real queries; brief: in haste, on few of them; held, taken, kinds: as
    Asked had them then; at_s: when it ended; took_s: how long it took."""

    real: bool
    held: int
    taken: int
    at_s: float
    took_s: float
    kinds: int = 0
    brief: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurable:
    """A sealed segment with an index. standing: its last measurement, None for none; doubted: whether it holds no
    longer.
    """

    name: str
    rows: int
    standing: Standing | None
    doubted: bool = False

    @property
    def uncertain(self) -> bool:
        """Whether it is searched with more effort than it should need, until it is measured on what is asked."""
        return self.standing is None or not self.standing.real or self.doubted


@dataclass(frozen=True, kw_only=True, slots=True)
class Due:
    """A segment to measure. urgent: searches go to some length meanwhile, and what it takes to end that is known."""

    name: str
    urgent: bool


def due(segments: Sequence[Measurable], asked: Asked, *, now_s: float) -> tuple[Due, ...]:
    """The segments to measure now: urgent ones first, then those never measured, then the largest."""
    wanted = [segment for segment in segments if _is_due(segment, asked, now_s)]
    wanted.sort(key=lambda each: (not _is_urgent(each, asked), each.standing is not None, -each.rows, each.name))
    return tuple(Due(name=segment.name, urgent=_is_urgent(segment, asked)) for segment in wanted)


def _is_urgent(segment: Measurable, asked: Asked) -> bool:
    return segment.uncertain and asked.enough


def _is_due(segment: Measurable, asked: Asked, now_s: float) -> bool:
    standing = segment.standing
    if standing is None:
        return True
    if not asked.enough:
        return False
    if segment.doubted:
        return asked.newest >= min(ENOUGH_QUERIES, asked.capacity)
    if not standing.real or standing.brief or asked.held >= GROWTH * standing.held:
        return True
    if asked.kinds >= standing.kinds + max(ENOUGH_QUERIES, standing.kinds):
        return True
    changed = asked.held == asked.capacity and (asked.taken - standing.taken) * CHANGED_DIVISOR >= asked.held
    return changed and now_s - standing.at_s >= REST_RATIO * standing.took_s
