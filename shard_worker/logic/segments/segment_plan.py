"""Decide which segments of a replica to build or merge next.

Owns the rule that keeps segments few and build work small. Builds nothing: it takes counts and returns keys.

A graph or a trained index can take in more rows (in a copy, see shoal.shard_worker.index.build), so a merge costs only
the rows of its smaller members. The rule: extend the largest segment that has at most EXTEND_RATIO times the rows it
would take in, together with all smaller segments. So a shard that is loaded faster than it builds inserts each row
about once, and the sizes of separate segments differ by more than EXTEND_RATIO.

When no rows wait to be sealed, segments that are worn or out of date (see
shoal.shard_worker.logic.segments.segment_form) are built anew, one at a time, the one with the most dead rows first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from shoal.shard_worker.logic.segments.segment_form import RETRAIN_RATIO

EXTEND_RATIO = 16
"""To copy a row of a graph, write it and hash it costs about a thirtieth of inserting it."""

WORN_DIVISOR = 5
"""A segment is worn, and is rebuilt without its dead rows, when more than one row in this many is dead."""


class SegmentState(StrEnum):
    """GROWING: takes new rows; FROZEN: full, searched exactly, waits to be sealed; SEALED: has its final form."""

    GROWING = "growing"
    FROZEN = "frozen"
    SEALED = "sealed"


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentSummary:
    """The figures of one segment.

    rows: all rows; dead: dead rows; extendable: a copy can take in more rows; form: canonical spelling of its index, ""
    when frozen; outdated: its form is not the one wanted now; trained_rows: rows its index was trained for, 0 when it
    was not trained; building: a build reads it.
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
        """Return the number of rows a build would take."""
        return self.rows - self.dead

    @property
    def worn(self) -> bool:
        """Return whether too many rows are dead."""
        return self.dead * WORN_DIVISOR > self.rows

    @property
    def stale(self) -> bool:
        """Return whether it is to be built anew."""
        return self.worn or self.outdated

    def takes(self, rows: int) -> bool:
        """Return whether a copy of it may grow to `rows` rows."""
        return self.extendable and not self.stale and (not self.trained_rows or rows <= RETRAIN_RATIO * self.trained_rows)


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildPlan:
    """A plan to merge `sources` into one segment.

    base: the source whose index is copied and extended; None: build anew.
    """

    sources: tuple[int, ...]
    base: int | None


def plan_build(segments: Sequence[SegmentSummary], *, everything: bool = False) -> BuildPlan | None:
    """Return the build to start next, or None when there is nothing to do or a build is running.

    A replica has one build at a time: all rows that freeze meanwhile go into the next one. everything: end with one
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
    """Merge all frozen rows, and the sealed segments small enough to join, into the largest of these."""
    frozen = [segment for segment in segments if segment.state is SegmentState.FROZEN]
    sealed = sorted(_sealed(segments), key=_size)
    for at in range(len(sealed) - 1, -1, -1):
        smaller = sealed[:at]
        if sealed[at].live <= EXTEND_RATIO * sum(segment.live for segment in (*frozen, *smaller)):
            return _plan([*frozen, *smaller, sealed[at]], sealed[at])
    return _plan(frozen, None) if frozen else None


def _refresh(segments: Sequence[SegmentSummary]) -> BuildPlan | None:
    """Build the most worn or out of date segment anew."""
    stale = [segment for segment in _sealed(segments) if segment.stale]
    return _plan([max(stale, key=lambda segment: (segment.dead, -segment.key))], None) if stale else None


def _plan(sources: Sequence[SegmentSummary], base: SegmentSummary | None) -> BuildPlan:
    extends = base is not None and base.takes(sum(segment.live for segment in sources))
    return BuildPlan(sources=tuple(sorted(segment.key for segment in sources)), base=base.key if base and extends else None)


def _sealed(segments: Sequence[SegmentSummary]) -> list[SegmentSummary]:
    return [segment for segment in segments if segment.state is SegmentState.SEALED]


def _size(segment: SegmentSummary) -> tuple[int, int]:
    return (segment.live, segment.key)
