"""Which segments to measure, or to measure again. Pure: sees counts and times, answers with names.

The work is bounded: a segment is measured once on its own rows, once on the first real queries, again when these have become four
times as many, and then, at most a hundredth of the time, when half of them have changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ENOUGH_QUERIES = 64
"""Real queries from which on they say more than rows that stand in."""

GROWTH = 4
CHANGED_DIVISOR = 2
REST_RATIO = 100.0
"""After a measurement a segment rests so many times as long as it took."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """The last measurement of a segment. real: on real queries; held, taken: of the sample of real queries then; at_s: when it ended;
    took_s: how long it took."""

    real: bool
    held: int
    taken: int
    at_s: float
    took_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurable:
    """A sealed segment with an index. standing: its last measurement, None for none."""

    name: str
    rows: int
    standing: Standing | None


def due(segments: Sequence[Measurable], *, held: int, capacity: int, taken: int, now_s: float) -> tuple[str, ...]:
    """Names of the segments to measure now, those never measured first, then the largest.

    held, capacity: of the sample of real queries; taken: queries ever taken into it.
    """
    wanted = [segment for segment in segments if _is_due(segment.standing, held=held, capacity=capacity, taken=taken, now_s=now_s)]
    return tuple(segment.name for segment in sorted(wanted, key=lambda each: (each.standing is not None, -each.rows, each.name)))


def _is_due(standing: Standing | None, *, held: int, capacity: int, taken: int, now_s: float) -> bool:
    if standing is None:
        return True
    if held < min(ENOUGH_QUERIES, capacity):
        return False
    if not standing.real or held >= GROWTH * standing.held:
        return True
    changed = held == capacity and (taken - standing.taken) * CHANGED_DIVISOR >= held
    return changed and now_s - standing.at_s >= REST_RATIO * standing.took_s
