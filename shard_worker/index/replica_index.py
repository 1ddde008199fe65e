"""The index of one replica: its segments, the writer's operations on them, and the view that searches use.

Threads: one writer thread calls everything except view, search and stats; any thread may call these at any time without
waiting. BuildJob.run belongs to a build thread. Owns which row lives in which segment. Prepares all vectors itself,
takes only verified files, and does not decide what to build (see shoal.shard_worker.logic.segments.segment_plan).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shoal.core.errors import DataLoss, Internal
from shoal.core.index_spec import IndexSpec, parse_index
from shoal.core.metric import Metric
from shoal.core.points import IdArray, Matrix
from shoal.core.scoring import prepared
from shoal.core.shard_calls import DEFAULT_RECALL
from shoal.core.sizing import merge_bytes, text_build_bytes
from shoal.shard_worker.index.build import BuildJob, Source
from shoal.shard_worker.index.growing import GrowingSegment
from shoal.shard_worker.index.lookup import Positions, Rows
from shoal.shard_worker.index.sealed import SealedSegment
from shoal.shard_worker.index.view import ALIVE, IndexView
from shoal.shard_worker.logic.memory_ledger import ReplicaCost
from shoal.shard_worker.logic.segments.segment_form import FLAT_ROWS, SealedForm, saving_for
from shoal.shard_worker.logic.segments.segment_plan import WORN_DIVISOR, BuildPlan, SegmentState, SegmentSummary
from shoal.shard_worker.payload.matched import PayloadBounds
from shoal.shard_worker.payload.sealed import SealedPayloads
from shoal.shard_worker.text.field_texts import FieldTexts
from shoal.shard_worker.text.part import TextPart

Segment = GrowingSegment | SealedSegment

Payloads = Sequence[bytes | None]

DEFAULT_BOUNDS = PayloadBounds()

_keys = itertools.count(1)
"""Keys of segments are never reused in a process, so that replicas may share a cache by them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexStats:
    """Sizes of the index.

    growing_rows and sealed_rows: visible rows outside of and in sealed segments; dead_rows: of all segments; segments:
    those that hold rows, the growing one included; building: builds that have begun and are not yet swapped or
    abandoned.
    """

    points: int
    growing_rows: int
    sealed_rows: int
    dead_rows: int
    segments: int
    building: int
    memory_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TextsLacking:
    """A sealed segment whose rows (n,), row numbers of the store, are to get an index of these text fields."""

    name: str
    rows: Rows
    texts: FieldTexts


class ReplicaIndex:
    """Segments of one replica.

    index: as in CollectionSpec; growing_rows: bound of the growing segment; flat_rows: see SealedForm; bounds: of the
    index over payloads; texts: the text fields, None for none; recall: target of searches; maps_unused: see
    GrowingSegment.
    """

    def __init__(
        self,
        *,
        dim: int,
        metric: Metric,
        index: str = "auto",
        growing_rows: int = 10_000,
        flat_rows: int = FLAT_ROWS,
        bounds: PayloadBounds = DEFAULT_BOUNDS,
        texts: FieldTexts | None = None,
        recall: float = DEFAULT_RECALL,
        maps_unused: bool = False,
    ) -> None:
        self._form = SealedForm(dim=dim, metric=metric, spec=parse_index(index, dim), flat_rows=flat_rows)
        self._capacity, self._bounds, self._maps_unused = growing_rows, bounds, maps_unused
        self._texts, self._recall = texts, recall
        self._applied = 0
        self._job: BuildJob | None = None
        self._settled: tuple[Segment, ...] = ()
        """Frozen and sealed segments, oldest first."""
        self._growing = self._new_growing()
        self._view = IndexView(seq=0, parts=(), texts=texts)

    @property
    def dim(self) -> int:
        """Return the dimension of its vectors."""
        return self._form.dim

    @property
    def metric(self) -> Metric:
        """Return the metric that compares its vectors."""
        return self._form.metric

    # Readers

    def view(self) -> IndexView:
        """Return everything published so far, as an immutable value."""
        return self._view

    def stats(self) -> IndexStats:
        """Return sizes: exact in the writer thread, approximate in other threads."""
        # Read the growing segment first: if it freezes meanwhile, it is read twice instead of missed.
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

    def apply(self, seq: int, killed_rows: Rows, rows: Rows, ids: IdArray, vectors: Matrix, payloads: Payloads | None) -> None:
        """Apply the changes of the record `seq`: rows that died, and new rows with ids, vectors (n, dim) and payloads
        as given.

        Invisible until publish. Row numbers are ascending and larger than all before. Raises Internal, before anything
        has changed, when seq is not beyond what was applied, columns do not fit or a killed row does not live here.
        """
        if seq <= self._applied:
            raise Internal(f"record {seq} reaches the index after record {self._applied}")
        self._check_columns(rows, ids, vectors)
        located = self._locate(killed_rows)
        self._applied = seq
        for segment, positions in located:
            segment.kill(positions, seq)
        self._append(rows, ids, vectors, payloads)

    def publish(self, seq: int) -> None:
        """Make everything applied visible; seq: the last record applied to the store.

        Raises Internal when seq is below a record that was applied.
        """
        if seq < self._applied:
            raise Internal(f"cannot publish {seq}: record {self._applied} is applied")
        self._applied = seq
        segments = (*self._settled, self._growing)
        parts = tuple(segment.part() for segment in segments if len(segment))
        self._view = IndexView(seq=seq, parts=parts, texts=self._texts)

    def freeze(self) -> None:
        """Close the growing segment, so that the next build takes it."""
        if len(self._growing):
            self._growing.freeze()
            self._settled = (*self._settled, self._growing)
            self._growing = self._new_growing()

    def freeze_worn(self) -> None:
        """Close the growing segment if it has so many dead rows that it should be built without them."""
        if self._growing.dead * WORN_DIVISOR > len(self._growing):
            self.freeze()

    # Opening

    def load_sealed(
        self,
        *,
        name: str,
        paths: Mapping[str, Path],
        live_rows: Rows,
        ids: IdArray,
        payloads: Callable[[Rows], SealedPayloads],
        texts: Callable[[Rows], TextPart | None] = lambda _: None,
    ) -> None:
        """Load a sealed segment from files, by suffix, whose hashes the caller has verified.

        live_rows: (m,) int64, all rows of the store, ascending; ids: (m,) their ids; payloads: returns the index over
        the payloads of the segment's rows; texts: returns the index of their texts, None if it is still to be made.
        Invisible until publish. Raises DataLoss when the files do not hold a segment of this index, or when one of its
        rows is in another segment; then nothing has changed.
        """
        segment = SealedSegment.load(paths, live_rows=live_rows, ids=ids, dim=self._form.dim, metric=self._form.metric, payloads=payloads)
        part = segment.part()
        twice = self._held(part.rows[part.deaths == ALIVE])
        if twice.any():
            raise DataLoss(f"segment {name!r} holds {np.count_nonzero(twice)} rows that another segment holds")
        held_texts = texts(part.rows)
        if held_texts is not None:
            segment.hold_texts(held_texts)
        self._learn_kind(segment)
        self._settle(segment, name)
        self._settled = (*self._settled, segment)

    def missing_rows(self, live_rows: Rows) -> npt.NDArray[np.bool_]:
        """Return which of live_rows (m,) are in no segment, for load_growing. (m,) bool."""
        return ~self._held(live_rows)

    def load_growing(self, rows: Rows, ids: IdArray, vectors: Matrix, payloads: Payloads | None) -> None:
        """Load rows of the store that are in no sealed segment. Row numbers ascend, also from call to call.

        Invisible until publish.
        """
        self._check_columns(rows, ids, vectors)
        self._append(rows, ids, vectors, payloads)

    # Building

    def summary(self) -> tuple[SegmentSummary, ...]:
        """Return the segments that plan_build can choose from."""
        busy = {source.key for source in self._job.sources} if self._job else set()
        return tuple(_summary(segment, self._form, self._recall, segment.key in busy) for segment in self._settled)

    def choose(self, index: str) -> None:
        """Use this index for segments from now on. Existing segments keep theirs until they are built anew."""
        self._form = replace(self._form, spec=parse_index(index, self._form.dim), coded=True)

    def aim(self, recall: float) -> None:
        """Judge segments by another target of recall. Any thread may call it."""
        self._recall = recall

    def save_memory(self, room_bytes: int) -> None:
        """Let an automatic index give up as much as needed for all rows to fit into room_bytes and the memory of sealed
        segments."""
        saving = saving_for(self._view.points, self._form.dim, self.sealed_bytes() + room_bytes, self._form.saving)
        self._form = replace(self._form, saving=saving)

    def sealed_bytes(self) -> int:
        """Return the memory of sealed segments."""
        return sum(segment.memory_bytes() for segment in self._settled if isinstance(segment, SealedSegment))

    # Texts

    @property
    def texts(self) -> FieldTexts | None:
        """Return the text fields that are wanted."""
        return self._texts

    def choose_texts(self, texts: FieldTexts | None) -> None:
        """Want these text fields from now on, None for none. Publishes.

        New rows are indexed so at once. The growing segment is closed, and gets its index with its build. Sealed
        segments that lack a field are told by `lacking_texts`. A field that is no longer wanted is not shown any more.
        Raises Internal when records are unpublished.
        """
        self._check_quiet("choose texts")
        if (texts and texts.fingerprint) == (self._texts and self._texts.fingerprint):
            return
        self._texts = texts
        self.freeze()
        self._growing = self._new_growing()
        for segment in self._settled:
            segment.want_texts(texts)
        self.publish(self._applied)

    def lacking_texts(self) -> tuple[TextsLacking, ...]:
        """Return the sealed segments that lack an index of a text field that is wanted, the smallest first. From any
        thread."""
        texts = self._texts
        if texts is None:
            return ()
        lacking = [segment for segment in self._settled if isinstance(segment, SealedSegment) and segment.lacks_texts()]
        return tuple(TextsLacking(name=each.name, rows=each.part().rows, texts=texts) for each in sorted(lacking, key=len))

    def hold_texts(self, name: str, texts: TextPart) -> bool:
        """Let a sealed segment use this index of the texts of its rows; return False if there is no such segment.

        Publishes. Raises Internal when it has another number of rows, or records are unpublished.
        """
        self._check_quiet("take texts")
        found = [segment for segment in self._settled if isinstance(segment, SealedSegment) and segment.name == name]
        for segment in found:
            segment.hold_texts(texts)
        self.publish(self._applied)
        return bool(found)

    def waiting_reason(self) -> str:
        """Return why rows are still searched exactly although another index was chosen, as a text; else ""."""
        held = sum(len(segment) - segment.dead for segment in self._settled)
        return self._form.waiting_reason(held) if held else ""

    def cost(self) -> ReplicaCost:
        """Return the memory it holds, and the most that its next build may take in addition.

        The next build is the largest segment built anew with all waiting rows, in no more expensive form than it has
        now. When another index was chosen, no memory is kept free for it: that rebuild waits until there is some.
        """
        sealed = [segment for segment in self._settled if isinstance(segment, SealedSegment)]
        largest = max(sealed, key=len, default=None)
        waiting = [segment for segment in (*self._settled, self._growing) if isinstance(segment, GrowingSegment)]
        rows = sum(map(len, waiting)) + (0 if largest is None else len(largest))
        wanted = self.build_bytes(rows, self._form.dearest(self._form.wanted(rows)))
        as_it_is = wanted if largest is None else self.build_bytes(rows, largest.spec)
        return ReplicaCost(
            held=self.stats().memory_bytes,
            growing=self._growing.size(),
            next_build=min(wanted, as_it_is),
            passing=sum(segment.passing_bytes() for segment in waiting),
        )

    def build_bytes(self, rows: int, spec: IndexSpec) -> int:
        """Return the most memory that a build of `rows` rows takes, its result included. spec: the index that it
        builds."""
        segments = (*self._settled, self._growing)
        held_rows = max(1, sum(len(segment) for segment in segments))
        payload_bytes = sum(segment.payload_bytes() for segment in segments) / held_rows
        text_bytes = sum(segment.text_bytes() for segment in segments)
        return merge_bytes(spec, self._form.dim, rows, payload_bytes) + text_build_bytes(text_bytes)

    def begin_build(self, plan: BuildPlan) -> BuildJob:
        """Return a snapshot for a build.

        Raises Internal when another build is running, records are unpublished or a source is unknown.
        """
        self._check_quiet("begin a build")
        if self._job is not None:
            raise Internal(f"a build of segments {[source.key for source in self._job.sources]} is running")
        known = {segment.key: segment for segment in self._settled}
        unknown = [key for key in plan.sources if key not in known]
        if unknown:
            raise Internal(f"build plan names segments {unknown}, there are {sorted(known)}")
        base = known[plan.base] if plan.base is not None else None
        if base is not None and not (isinstance(base, SealedSegment) and base.extendable and base.key in plan.sources):
            raise Internal(f"build plan extends segment {base.key}, which is not extendable or not one of its sources {plan.sources}")
        if any(_fails(segment, self._form, self._recall) for segment in known.values()):
            self._form = replace(self._form, coded=False)
        self._job = BuildJob(
            seq=self._applied,
            form=self._form,
            base=_source(base, whole=True) if base else None,
            others=tuple(_source(known[key], whole=False) for key in plan.sources if key != plan.base),
            texts=self._texts,
        )
        return self._job

    def swap(self, job: BuildJob, sealed: SealedSegment, name: str) -> None:
        """Replace the job's sources by its result in one step, with the deaths since its snapshot.

        name: of the result, listed in `BuildJob.replaces` of a later job. A result without rows is dropped. Raises
        Internal when the job is not the running one or records are unpublished.
        """
        self._check_quiet("swap")
        self._check_running(job)
        sealed.adopt_deaths(job.deaths())
        self._learn_kind(sealed)
        self._settle(sealed, name)
        gone = {source.key for source in job.sources}
        kept = tuple(segment for segment in self._settled if segment.key not in gone)
        self._settled = (*kept, sealed) if len(sealed) else kept
        self._job = None
        self.publish(self._applied)

    def abandon(self, job: BuildJob) -> None:
        """Forget a job that was stopped or has failed; its sources stay.

        Raises Internal when it is not the running job.
        """
        self._check_running(job)
        self._job = None

    def close(self) -> tuple[int, ...]:
        """Release all segments, even if the index itself is still referenced. Return the keys of the segments.

        Views that were taken before stay complete.
        """
        keys = tuple(segment.key for segment in (*self._settled, self._growing))
        self._settled, self._job = (), None
        self._growing = self._new_growing()
        self._view = IndexView(seq=self._view.seq, parts=())
        return keys

    # Internals

    def _append(self, rows: Rows, ids: IdArray, vectors: Matrix, payloads: Payloads | None) -> None:
        """Append rows to the growing segment. Freeze it each time it is full."""
        ready = prepared(vectors, self._form.metric)
        start = 0
        while start < len(rows):
            end = start + min(self._growing.room, len(rows) - start)
            self._growing.append(rows[start:end], ids[start:end], ready[start:end], payloads[start:end] if payloads else None)
            if not self._growing.room:
                self.freeze()
            start = end

    def _locate(self, rows: Rows) -> list[tuple[Segment, Positions]]:
        """Return where each of `rows` lives. Raises Internal when one does not live here."""
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
        """Return which of `rows` live in some segment. (n,) bool."""
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
        return GrowingSegment(
            key=next(_keys),
            dim=self._form.dim,
            capacity=self._capacity,
            bounds=self._bounds,
            texts=self._texts,
            maps_unused=self._maps_unused,
        )

    def _learn_kind(self, segment: SealedSegment) -> None:
        """Try no codes any more, once a graph was made without them: its rows go into later segments."""
        if self._form.keeps_vectors(segment.form):
            self._form = replace(self._form, coded=False)

    def _settle(self, segment: SealedSegment, name: str) -> None:
        segment.key = next(_keys)
        segment.name = name
        segment.want_texts(self._texts)


def _fails(segment: Segment, form: SealedForm, recall: float) -> bool:
    """Return whether a segment is to be built anew without codes."""
    return isinstance(segment, SealedSegment) and form.fails(segment.form, unable=segment.unable(recall))


def _summary(segment: Segment, form: SealedForm, recall: float, building: bool) -> SegmentSummary:
    if not isinstance(segment, SealedSegment):
        return SegmentSummary(
            key=segment.key, state=SegmentState.FROZEN, rows=len(segment), dead=segment.dead, extendable=False, building=building
        )
    live = len(segment) - segment.dead
    return SegmentSummary(
        key=segment.key,
        state=SegmentState.SEALED,
        rows=len(segment),
        dead=segment.dead,
        extendable=segment.extendable,
        form=segment.form,
        outdated=form.outdated(segment.form, live=live, trained_rows=segment.trained_rows, unable=segment.unable(recall)),
        trained_rows=segment.trained_rows,
        building=building,
    )


def _source(segment: Segment, *, whole: bool) -> Source:
    """Return what a build takes of a segment: all rows, or the rows that live."""
    part = segment.part()
    positions = np.arange(len(part), dtype=np.int64) if whole else np.flatnonzero(part.deaths == ALIVE)
    if isinstance(segment, SealedSegment):
        return Source(key=segment.key, name=segment.name, part=part, positions=positions, trained_rows=segment.trained_rows)
    return Source(key=segment.key, name="", part=part, positions=positions)
