"""Measure the recall of one segment's index, in a thread: on queries of users, or on stand-ins for them."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np

from shoal.core.metric import Metric
from shoal.core.points import Matrix
from shoal.runtime.clock import boot_s
from shoal.shard_worker.index.native.threads import alone
from shoal.shard_worker.index.tuning import DEAR_US, Tuning
from shoal.shard_worker.index.view import IndexView, SegmentView
from shoal.shard_worker.logic.segments.segment_plan import SegmentState
from shoal.shard_worker.logic.tuning.plan import rest_s
from shoal.shard_worker.tuning.calibrate import calibrate, shape_of
from shoal.shard_worker.tuning.truth import QuerySample

BRIEF_SAMPLE = 128
"""Queries of each kind in a brief measurement: before a segment is swapped in, or when it is urgent.

The segment is measured again with MEASURED_QUERIES when there is time.
"""

GUARDS = 128
"""Rows that are a kind beside the queries of users, where these came in few calls.

Queries of one call may be alike, and say little about others. Rows are as varied as the data, and as easy as most
queries, so they hardly ever widen a search.
"""

STAND_INS = 64
"""Rows of each kind that stand in for real queries where exact search is expensive.

With fewer rows, and the margin that stand-ins need, no recall could be promised.
"""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Measurement:
    """One measurement to carry out.

    real: queries of users, (m, dim) of all and of each kind, empty when there are too few; size: number of rows that
    then stand in for them; guarded: whether rows are a kind beside the queries of users; seq: points that live at this
    seq are used; aside: on one core; most_s: no further breadth begins after this many seconds.
    """

    part: SegmentView
    real: Sequence[Matrix]
    size: int
    seed: int
    seq: int
    metric: Metric
    guarded: bool = False
    aside: bool = False
    most_s: float = math.inf

    def carry_out(self, stopped: Callable[[], bool], rests: Rests) -> Measured | None:
        """Measure; None when it was stopped. stopped: called between slices of the work."""
        if stopped():
            return None
        began = boot_s()
        sample = self._sample()
        if not len(sample):
            return Measured(tuning=self.part.tuning.now, took_s=0.0)
        with alone() if self.aside else nullcontext():
            tuning = calibrate(self.part, sample, metric=self.metric, should_stop=stopped, clock=boot_s, most_s=self.most_s)
        return None if tuning is None else Measured(tuning=tuning, took_s=boot_s() - began - rests.rested_s)

    def _sample(self) -> QuerySample:
        part, random = self.part, np.random.default_rng(self.seed)
        if self.real:
            asked = QuerySample.asked(self.real[0], self.metric, *self.real[1:])
            rows = QuerySample.own_rows(part, GUARDS, random, seq=self.seq)
            return asked.guarded_by(rows) if self.guarded and len(rows) else asked
        if part.tuning.now.exact_us(len(part)) > DEAR_US:
            return QuerySample.stand_ins(part, STAND_INS, random, seq=self.seq, metric=self.metric)
        return QuerySample.own_rows(part, self.size, random, seq=self.seq)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Measured:
    """The result of a measurement. took_s: without its rests."""

    tuning: Tuning
    took_s: float


class Rests:
    """The rests between slices of work in one thread."""

    def __init__(self, stopping: threading.Event) -> None:
        """Begin. stopping: ends a rest."""
        self._stopping = stopping
        self._began_s: float | None = None
        self.rested_s = 0.0

    def take(self, searched_s: float) -> None:
        """Rest after a slice, which began when the last rest ended. searched_s: time of the last search."""
        now = boot_s()
        if self._began_s is not None:
            self._stopping.wait(rest_s(now_s=now, searched_s=searched_s, slice_s=now - self._began_s))
        self._began_s = boot_s()
        self.rested_s += self._began_s - now


def fits(tuning: Tuning, part: SegmentView) -> bool:
    """Return whether a tuning was measured on an index of this segment's shape. The segment must have an index."""
    assert part.native is not None
    shape = shape_of(part, part.native)
    known = tuning.shape
    return (known.breadth_name, known.max_breadth, known.quantised, known.rows, known.dim) == (
        shape.breadth_name,
        shape.max_breadth,
        shape.quantised,
        shape.rows,
        shape.dim,
    )


def measurable_parts(view: IndexView) -> list[SegmentView]:
    """Return the sealed segments of a view that have an index."""
    return [part for part in view.parts if part.state is SegmentState.SEALED and part.native is not None and part.name]
