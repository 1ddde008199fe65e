"""Which segments of a replica to build or merge next.

Owns the rule that keeps segments few and build work small. Refuses to build: it sees counts and answers with keys.

A graph or a trained index can take in more rows (a copy of it does, see shoal.shard_worker.index.build), so a merge
costs the rows of its smaller members only. The rule: extend the largest segment that is at most EXTEND_RATIO times the
rows it would take in, together with everything smaller than it. A shard that is loaded faster than it builds therefore
inserts each row about once, and the sizes of what remains apart differ by more than EXTEND_RATIO.

When nothing waits to be sealed, segments that are worn or out of date (see
shoal.shard_worker.logic.segments.segment_form) are built afresh, one at a time, the most dead rows first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from shoal.shard_worker.logic.segments.segment_form import RETRAIN_RATIO

EXTEND_RATIO = 16
"""Copying a row of a graph, writing and hashing it cost about a thirtieth of inserting it."""

WORN_DIVISOR = 5
"""A segment is worn, to be rebuilt without its dead rows, when more than one row in this many is dead."""


class SegmentState(StrEnum):
    """GROWING: takes new rows; FROZEN: full, searched exactly, waits to be sealed; SEALED: has its final form."""

    GROWING = "growing"
    FROZEN = "frozen"
    SEALED = "sealed"


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentSummary:
    """One segment in numbers.

    rows: all it holds; dead: those of them that are dead; extendable: a copy can take in more rows; form: canonical
    spelling of its index, "" of a frozen one; outdated: its form is not what is wanted now; trained_rows: rows its
    index was trained for, 0 when it learnt nothing; building: a build reads it.
    """

    key: int
    state: SegmentState
    rows: int
    dead: int
    extendable: bool
    form: str = ""
    outdated: bool = False
    trained_rows: int = 0
    building: bool = False

    @property
    def live(self) -> int:
        """Rows a build would take."""
        return self.rows - self.dead

    @property
    def worn(self) -> bool:
        """Whether too many rows are dead."""
        return self.dead * WORN_DIVISOR > self.rows

    @property
    def stale(self) -> bool:
        """Whether it is to be built afresh."""
        return self.worn or self.outdated

    def takes(self, rows: int) -> bool:
        """Whether a copy of it may grow to `rows` rows."""
        return self.extendable and not self.stale and (not self.trained_rows or rows <= RETRAIN_RATIO * self.trained_rows)


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildPlan:
    """Merge `sources` into one segment. base: the one of them whose index is copied and extended; None: build
    afresh.
    """

    sources: tuple[int, ...]
    base: int | None


def plan_build(segments: Sequence[SegmentSummary], *, everything: bool = False) -> BuildPlan | None:
    """The build to start next, or None when there is nothing to do or one is running.

    One build at a time for a replica: what freezes meanwhile goes into the next one, whole. everything: end with one
    segment that is neither worn nor out of date (optimize).
    """
    if any(segment.building for segment in segments):
        return None
    if everything:
        return _merge_all(segments)
    return _extend(segments) or _refresh(segments)


def _merge_all(segments: Sequence[SegmentSummary]) -> BuildPlan | None:
    if len(segments) == 1 and segments[0].state is SegmentState.SEALED:
        return _refresh(segments)
    return _plan(segments, max(_sealed(segments), key=_size, default=None)) if segments else None


def _extend(segments: Sequence[SegmentSummary]) -> BuildPlan | None:
    """All frozen rows and the sealed segments small enough to go with them, into the largest of these."""
    frozen = [segment for segment in segments if segment.state is SegmentState.FROZEN]
    sealed = sorted(_sealed(segments), key=_size)
    for at in range(len(sealed) - 1, -1, -1):
        smaller = sealed[:at]
        if sealed[at].live <= EXTEND_RATIO * sum(segment.live for segment in (*frozen, *smaller)):
            return _plan([*frozen, *smaller, sealed[at]], sealed[at])
    return _plan(frozen, None) if frozen else None


def _refresh(segments: Sequence[SegmentSummary]) -> BuildPlan | None:
    """The most worn or out of date segment, afresh."""
    stale = [segment for segment in _sealed(segments) if segment.stale]
    return _plan([max(stale, key=lambda segment: (segment.dead, -segment.key))], None) if stale else None


def _plan(sources: Sequence[SegmentSummary], base: SegmentSummary | None) -> BuildPlan:
    extends = base is not None and base.takes(sum(segment.live for segment in sources))
    return BuildPlan(sources=tuple(sorted(segment.key for segment in sources)), base=base.key if base and extends else None)


def _sealed(segments: Sequence[SegmentSummary]) -> list[SegmentSummary]:
    return [segment for segment in segments if segment.state is SegmentState.SEALED]


def _size(segment: SegmentSummary) -> tuple[int, int]:
    return (segment.live, segment.key)
