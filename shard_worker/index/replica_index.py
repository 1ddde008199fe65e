"""The index of one replica: its segments, the writer's verbs on them, and the view that readers take.

Threads: one writer thread calls everything but view, search and stats, which any thread may call at any time without
waiting; BuildJob.run belongs to a build thread. Owns which row lives in which segment. Refuses vectors it has not prepared
itself, files nobody verified, and deciding what to build (shard_worker.logic.segment_plan).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shard_worker.index.build import BuildJob, SealedForm, Source
from shard_worker.index.growing import GrowingSegment
from shard_worker.index.lookup import Positions, Rows
from shard_worker.index.native import HnswSettings
from shard_worker.index.sealed import SealedSegment
from shard_worker.index.search import search_view
from shard_worker.index.view import ALIVE, Found, View
from shard_worker.logic.segment_plan import BuildPlan, SegmentState, SegmentSummary
from shoal.core.collection import IndexKind, Metric
from shoal.core.errors import DataLoss, Internal
from shoal.core.points import IdArray, Matrix, check_dim
from shoal.core.scoring import prepared

Segment = GrowingSegment | SealedSegment


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexStats:
    """What the index holds. growing_rows and sealed_rows: visible rows outside of and in sealed segments; dead_rows: of all
    segments; segments: those that hold rows, the growing one included; building: builds begun and not yet swapped or abandoned."""

    points: int
    growing_rows: int
    sealed_rows: int
    dead_rows: int
    segments: int
    building: int
    memory_bytes: int


class ReplicaIndex:
    """Segments of one replica. growing_rows: bound of the growing segment; flat_rows: see SealedForm."""

    def __init__(
        self,
        *,
        dim: int,
        metric: Metric,
        kind: IndexKind,
        growing_rows: int = 10_000,
        flat_rows: int = 4_000,
        hnsw: HnswSettings | None = None,
    ) -> None:
        self._form = SealedForm(dim=dim, metric=metric, kind=kind, flat_rows=flat_rows, hnsw=hnsw or HnswSettings())
        self._capacity = growing_rows
        self._next_key = 1
        self._applied = 0
        self._job: BuildJob | None = None
        self._settled: tuple[Segment, ...] = ()
        """Frozen and sealed segments, oldest first."""
        self._growing = self._new_growing()
        self._view = View(seq=0, parts=())

    @property
    def dim(self) -> int:
        """Dimension of its vectors."""
        return self._form.dim

    # Readers

    def view(self) -> View:
        """Everything published so far, as an immutable value."""
        return self._view

    def search(self, view: View, queries: Matrix, k: int, *, exact: bool, ef: int) -> Found:
        """See search_view. Raises InvalidArgument when queries have another dimension than the index."""
        check_dim(queries, self._form.dim, field="queries")
        return search_view(view, queries, k, exact=exact, ef=ef, metric=self._form.metric)

    def stats(self) -> IndexStats:
        """Sizes; exact as of some moment when the writer thread asks, nearly so in other threads."""
        # The growing segment first: one that freezes meanwhile is then seen twice, not missed.
        growing = self._growing
        segments = tuple(dict.fromkeys((*self._settled, growing)))
        live = {segment: len(segment) - segment.dead for segment in segments}
        sealed_rows = sum(rows for segment, rows in live.items() if isinstance(segment, SealedSegment))
        return IndexStats(
            points=self._view.points,
            growing_rows=sum(live.values()) - sealed_rows,
            sealed_rows=sealed_rows,
            dead_rows=sum(segment.dead for segment in segments),
            segments=sum(1 for segment in segments if len(segment)),
            building=int(self._job is not None),
            memory_bytes=sum(segment.memory_bytes() for segment in segments),
        )

    # Applying

    def apply(self, seq: int, killed_rows: Rows, rows: Rows, ids: IdArray, vectors: Matrix) -> None:
        """What the record `seq` did to the store: rows that died, and new rows, their ids and vectors (n, dim) as given.

        Invisible until publish. Row numbers are ascending and larger than all before. Raises Internal, before anything has
        changed, when seq is not beyond what was applied, columns do not fit or a killed row does not live here.
        """
        if seq <= self._applied:
            raise Internal(f"record {seq} reaches the index after record {self._applied}")
        self._check_columns(rows, ids, vectors)
        located = self._locate(killed_rows)
        self._applied = seq
        for segment, positions in located:
            segment.kill(positions, seq)
        self._append(rows, ids, vectors)

    def publish(self, seq: int) -> None:
        """Make everything applied visible; seq: the last record applied to the store. Raises Internal when it goes back."""
        if seq < self._applied:
            raise Internal(f"cannot publish {seq}: record {self._applied} is applied")
        self._applied = seq
        segments = (*self._settled, self._growing)
        self._view = View(seq=seq, parts=tuple(segment.part() for segment in segments if len(segment)))

    def freeze(self) -> None:
        """Close the growing segment, so that the next build takes it."""
        if len(self._growing):
            self._settled = (*self._settled, self._growing)
            self._growing = self._new_growing()

    # Opening

    def load_sealed(self, *, name: str, index_path: Path, rows_path: Path, live_rows: Rows, ids: IdArray) -> None:
        """Take in a sealed segment from files whose hashes the caller has verified.

        live_rows: (m,) int64, all rows of the store, ascending; ids: (m,) theirs. Invisible until publish. Raises DataLoss when
        the files do not hold a segment of this index, or one of its rows is in another; then nothing has changed.
        """
        segment = SealedSegment.load(
            index_path=index_path, rows_path=rows_path, live_rows=live_rows, ids=ids, dim=self._form.dim, metric=self._form.metric
        )
        part = segment.part()
        twice = self._held(part.rows[part.deaths == ALIVE])
        if twice.any():
            raise DataLoss(f"segment {name!r} holds {np.count_nonzero(twice)} rows that another segment holds")
        self._settle(segment, name)
        self._settled = (*self._settled, segment)

    def missing_rows(self, live_rows: Rows) -> npt.NDArray[np.bool_]:
        """Which of live_rows (m,) lie in no segment, for load_growing. (m,) bool."""
        return ~self._held(live_rows)

    def load_growing(self, rows: Rows, ids: IdArray, vectors: Matrix) -> None:
        """Take in rows of the store that lie in no sealed segment, ascending, over all calls too. Invisible until publish."""
        self._check_columns(rows, ids, vectors)
        self._append(rows, ids, vectors)

    # Building

    def summary(self) -> tuple[SegmentSummary, ...]:
        """The segments that plan_build can choose from."""
        busy = {source.key for source in self._job.sources} if self._job else set()
        return tuple(_summary(segment, segment.key in busy) for segment in self._settled)

    def begin_build(self, plan: BuildPlan) -> BuildJob:
        """Snapshot for a build. Raises Internal when another is running, records are unpublished or a source is unknown."""
        self._check_quiet("begin a build")
        if self._job is not None:
            raise Internal(f"a build of segments {[source.key for source in self._job.sources]} is running")
        known = {segment.key: segment for segment in self._settled}
        unknown = [key for key in plan.sources if key not in known]
        if unknown:
            raise Internal(f"build plan names segments {unknown}, there are {sorted(known)}")
        base = known[plan.base] if plan.base is not None else None
        if base is not None and not (isinstance(base, SealedSegment) and base.is_graph and base.key in plan.sources):
            raise Internal(f"build plan extends segment {base.key}, which is no graph among its sources {plan.sources}")
        self._job = BuildJob(
            seq=self._applied,
            form=self._form,
            base=_source(base, whole=True) if base else None,
            others=tuple(_source(known[key], whole=False) for key in plan.sources if key != plan.base),
        )
        return self._job

    def swap(self, job: BuildJob, sealed: SealedSegment, name: str) -> None:
        """Replace the job's sources by its result in one step, deaths since its snapshot included.

        name: how `BuildJob.replaces` of a later job calls it. A result without rows is dropped. Raises Internal when the job is
        not the running one or records are unpublished.
        """
        self._check_quiet("swap")
        self._check_running(job)
        sealed.adopt_deaths(job.deaths())
        self._settle(sealed, name)
        gone = {source.key for source in job.sources}
        kept = tuple(segment for segment in self._settled if segment.key not in gone)
        self._settled = (*kept, sealed) if len(sealed) else kept
        self._job = None
        self.publish(self._applied)

    def abandon(self, job: BuildJob) -> None:
        """Forget a job that was stopped or has failed; its sources stay. Raises Internal when it is not the running one."""
        self._check_running(job)
        self._job = None

    # Within

    def _append(self, rows: Rows, ids: IdArray, vectors: Matrix) -> None:
        """Take rows into the growing segment, freezing it each time it is full."""
        ready = prepared(vectors, self._form.metric)
        start = 0
        while start < len(rows):
            end = start + min(self._growing.room, len(rows) - start)
            self._growing.append(rows[start:end], ids[start:end], ready[start:end])
            if not self._growing.room:
                self.freeze()
            start = end

    def _locate(self, rows: Rows) -> list[tuple[Segment, Positions]]:
        """Where `rows` live, each of them once. Raises Internal when one does not."""
        located: list[tuple[Segment, Positions]] = []
        missing = len(rows)
        for segment in (self._growing, *reversed(self._settled)):
            if not missing:
                break
            positions = segment.find(rows)[1]
            positions = positions[segment.deaths_at(positions) == ALIVE]
            located.append((segment, positions))
            missing -= len(positions)
        if missing:
            raise Internal(f"{missing} of {len(rows)} rows to kill do not live in the index, rows {rows[:8].tolist()} and so on")
        return located

    def _held(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """Which of `rows` live in some segment. (n,) bool."""
        held = np.zeros(len(rows), dtype=bool)
        for segment in (*self._settled, self._growing):
            found, positions = segment.find(rows)
            held[np.flatnonzero(found)[segment.deaths_at(positions) == ALIVE]] = True
        return held

    def _check_columns(self, rows: Rows, ids: IdArray, vectors: Matrix) -> None:
        if not (len(rows) == len(ids) == len(vectors)) or vectors.ndim != 2 or vectors.shape[1] != self._form.dim:
            raise Internal(f"columns do not fit: {len(rows)} rows, {len(ids)} ids, vectors {vectors.shape} of dimension {self._form.dim}")
        if len(rows) and (rows[0] <= self._growing.last_row or (rows[1:] <= rows[:-1]).any()):
            raise Internal(f"rows {rows[0]} to {rows[-1]} do not ascend from {self._growing.last_row}")

    def _check_quiet(self, verb: str) -> None:
        if self._view.seq != self._applied:
            raise Internal(f"cannot {verb} between apply and publish: record {self._applied} is applied, {self._view.seq} published")

    def _check_running(self, job: BuildJob) -> None:
        if job is not self._job:
            raise Internal("the build job is not the running one")

    def _new_growing(self) -> GrowingSegment:
        return GrowingSegment(key=self._take_key(), dim=self._form.dim, capacity=self._capacity)

    def _settle(self, segment: SealedSegment, name: str) -> None:
        segment.key = self._take_key()
        segment.name = name

    def _take_key(self) -> int:
        key = self._next_key
        self._next_key += 1
        return key


def _summary(segment: Segment, building: bool) -> SegmentSummary:
    sealed = isinstance(segment, SealedSegment)
    return SegmentSummary(
        key=segment.key,
        state=SegmentState.SEALED if sealed else SegmentState.FROZEN,
        rows=len(segment),
        dead=segment.dead,
        graph=isinstance(segment, SealedSegment) and segment.is_graph,
        building=building,
    )


def _source(segment: Segment, *, whole: bool) -> Source:
    """What a build takes of a segment: everything, or the rows that live."""
    part = segment.part()
    positions = np.arange(len(part), dtype=np.int64) if whole else np.flatnonzero(part.deaths == ALIVE)
    return Source(key=segment.key, name=segment.name if isinstance(segment, SealedSegment) else "", part=part, positions=positions)
