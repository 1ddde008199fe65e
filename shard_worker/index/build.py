"""A build: rows of several segments become one sealed segment, in a thread of its own.

Owns the snapshot that it reads: parts whose arrays no longer move. If one of the sources has an index worth keeping,
the index is copied and the copy extended, dead rows included. Otherwise the segment is made anew from live rows. The
index can be built elsewhere (see native/task.py); the rest is always built here. Never holds all rows twice: they are
read in blocks, and an index is trained on a bounded sample. Changes nothing that is being searched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from shoal.core.errors import Internal
from shoal.core.index_spec import IndexFamily, IndexSpec
from shoal.core.points import Matrix
from shoal.core.topk import concat_ids
from shoal.shard_worker.index.codes import TRIAL_ROWS, CodeRange, codes_suffice
from shoal.shard_worker.index.native.filling import block_step, filled
from shoal.shard_worker.index.native.index import NativeIndex, Packed
from shoal.shard_worker.index.native.task import Material, NativeTask, PackedIndex, carried_rows, unpacked
from shoal.shard_worker.index.native.training import trained_index
from shoal.shard_worker.index.sealed import SealedSegment
from shoal.shard_worker.index.view import SegmentView
from shoal.shard_worker.logic.segments.segment_form import SealedForm
from shoal.shard_worker.payload.sealed import SealedPayloads
from shoal.shard_worker.text.field_texts import FieldTexts
from shoal.shard_worker.text.sealed import TextMerge

_SAMPLE_SEED = 11

_ANEW_RATIO = 2
"""Codes are made anew when there are at most this many rows of the base for each new row."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Source:
    """Rows of one segment that a build takes: those at `positions` (m,) of `part`, ascending.

    trained_rows: see SealedSegment.
    """

    key: int
    name: str
    part: SegmentView
    positions: npt.NDArray[np.int64]
    trained_rows: int = 0

    def blocks(self, step: int) -> Iterator[Matrix]:
        """Yield its vectors, at most `step` rows (m, dim) at a time."""
        for start in range(0, len(self.positions), step):
            yield self.part.vectors[self.positions[start : start + step]]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BuildJob:
    """One build, made by ReplicaIndex.begin_build; ends with ReplicaIndex.swap or abandon.

    seq: sequence number of the snapshot; base: the source whose index is extended, taken whole; others: the sources
    whose rows are inserted; texts: the text fields of the result, None for none.
    """

    seq: int
    form: SealedForm
    base: Source | None
    others: tuple[Source, ...]
    texts: FieldTexts | None = None

    @property
    def sources(self) -> tuple[Source, ...]:
        """Return all sources, in the order of their rows in the result."""
        return (self.base, *self.others) if self.base else self.others

    @property
    def replaces(self) -> tuple[str, ...]:
        """Return the names of the sealed segments that the result replaces."""
        return tuple(source.name for source in self.sources if source.name)

    @property
    def inserts(self) -> int:
        """Return the number of rows to insert: the amount of work."""
        return sum(len(source.positions) for source in self.others)

    @property
    def rows(self) -> int:
        """Return the number of rows of the result, dead rows of the base included."""
        return sum(len(source.positions) for source in self.sources)

    @property
    def spec(self) -> IndexSpec:
        """Return the spec of the index that the result will have."""
        if self.base is not None and self.base.part.native is not None:
            return self.base.part.native.spec
        return self.form.wanted(self.inserts)

    @property
    def dearest(self) -> IndexSpec:
        """Return the spec to reserve memory for, whatever `decided` decides."""
        return self.form.dearest(self.spec)

    def decided(self) -> BuildJob:
        """Return the job with its kind of graph chosen by a trial on its rows. Call it in the build thread, once.

        If no codes tell its rows apart, an automatic graph is over vectors. If the new rows do not fit the codes of the
        base, all rows are inserted anew: over codes of their own if they are many, so that this is rare; else over
        vectors, which take any row (ADR 21).
        """
        job = self
        if not self._base_suffices():
            if _ANEW_RATIO * self.inserts >= self.rows - self.inserts:
                job = replace(self, base=None, others=self.sources)
            elif self.form.tries_codes:
                return replace(self, form=replace(self.form, coded=False), base=None, others=self.sources)
        tried = job.base is None and job.dearest != job.spec
        if tried and not codes_suffice(job._drawn(TRIAL_ROWS), job.form.metric):
            return replace(job, form=replace(job.form, coded=False))
        return job

    def run(self, should_stop: Callable[[], bool]) -> SealedSegment | None:
        """Return the sealed segment, or None as soon as should_stop() is true. In a build thread (see
        build_thread_init).

        should_stop is called about once a second, but not while an index is copied to be extended, payload indexes are
        merged, or training makes a pass over its sample. Each of these takes about a second for every one or two GB.
        """
        native = self._filled(should_stop)
        if native is None:
            return None
        native.settle()
        return self._assembled(native)

    def task(self) -> NativeTask:
        """Return the task that a builder elsewhere must do; `adopt` takes its result."""
        form = self.form
        return NativeTask(index=self.spec.text, dim=form.dim, metric=form.metric, ef_construction=form.ef_construction, rows=self.rows)

    def material(self) -> Material:
        """Return the data for the task.

        Any one thread may read it, during searches, too. Nothing is copied before it is requested.
        """
        return Material(base=self._packed_base, sample=self._task_sample, blocks=lambda: self._new_blocks(carried_rows(self.form.dim)))

    def adopt(self, built: PackedIndex) -> SealedSegment:
        """Return the sealed segment around an index that was built elsewhere for `task`. In a build thread.

        Raises DataLoss or Internal when it is not the index of this job's rows, as far as this can be checked without
        building it.
        """
        native = unpacked(self.task(), built)
        if native.holds_vectors:
            self._check_vectors(native.vectors())
        return self._assembled(native)

    def deaths(self) -> npt.NDArray[np.int64]:
        """Return the deaths of the result's rows so far; final when called in the writer thread."""
        return np.concatenate([np.empty(0, dtype=np.int64), *(source.part.deaths[source.positions] for source in self.sources)])

    @property
    def _trained_rows(self) -> int:
        if self.base is not None:
            return self.base.trained_rows
        return self.form.trained_rows(self.spec, self.inserts)

    def _assembled(self, native: NativeIndex) -> SealedSegment:
        return SealedSegment(
            native=native,
            dim=self.form.dim,
            rows=np.concatenate([np.empty(0, dtype=np.int64), *(source.part.rows[source.positions] for source in self.sources)]),
            ids=concat_ids([source.part.ids[source.positions] for source in self.sources]),
            deaths=self.deaths(),
            payloads=SealedPayloads.build([(source.part.payloads, source.positions) for source in self.sources]),
            vectors=self._all_blocks,
            trained_rows=self._trained_rows,
            text_merge=self._text_merge(),
        )

    def _text_merge(self) -> TextMerge | None:
        """Return the index of the texts; None without text fields, or if a source lacks one: it is made from payloads
        then."""
        texts = self.texts
        held = [(source.part.texts, source.positions) for source in self.sources]
        found = [(part, positions) for part, positions in held if part is not None and texts and part.fingerprint == texts.fingerprint]
        if texts is None or len(found) < len(held):
            return None
        return TextMerge(found, fields=texts.names, fingerprint=texts.fingerprint)

    @property
    def _extended(self) -> NativeIndex | None:
        """Return the index of which a copy is extended; it is searched meanwhile."""
        return None if self.base is None else self.base.part.native

    def _filled(self, should_stop: Callable[[], bool]) -> NativeIndex | None:
        """Return the index over all rows."""
        extended = self._extended
        start = self._empty(should_stop) if extended is None else extended
        if start is None:
            return None
        return filled(start, self._new_blocks, dim=self.form.dim, copy=extended is not None, should_stop=should_stop)

    def _empty(self, should_stop: Callable[[], bool]) -> NativeIndex | None:
        """Return an index without rows, trained if its kind needs training."""
        form, sample = self.form, self._task_sample()
        if sample is None:
            return NativeIndex.empty(self.spec, form.dim, form.metric, ef_construction=form.ef_construction)
        return trained_index(self.spec, sample, form.metric, should_stop=should_stop, ef_construction=form.ef_construction)

    def _packed_base(self) -> Packed | None:
        return None if self._extended is None else self._extended.packed()

    def _task_sample(self) -> Matrix | None:
        """Return the sample to train on; None when the index needs no training or is already trained."""
        if not self.spec.trained or self._extended is not None:
            return None
        return self._drawn(self.spec.training_rows(self.inserts, self.form.dim))

    def _check_vectors(self, held: Matrix) -> None:
        """Check that `held` (n, dim) are the vectors of the result's rows. Raises Internal when they are not."""
        done = 0
        for block in self._all_blocks():
            wrong = np.flatnonzero((held[done : done + len(block)] != block).any(axis=1))
            if len(wrong):
                raise Internal(f"the vector of row {done + wrong[0]} of {len(held)} differs between the index and its source")
            done += len(block)

    def _base_suffices(self) -> bool:
        """Return whether the new rows fit the codes of the base. An index that was named is trained again by its
        growth instead."""
        held = self._extended.code_range() if self._extended is not None and self.form.spec.family is IndexFamily.AUTO else None
        return held is None or codes_suffice(self._drawn(TRIAL_ROWS), self.form.metric, CodeRange(low=held[0], width=held[1]))

    def _drawn(self, most: int) -> Matrix:
        """Draw at most `most` of the rows to insert, evenly from all sources; the same rows for the same sources."""
        total = self.inserts
        count = min(most, total)
        drawn = np.sort(np.random.default_rng(_SAMPLE_SEED).choice(total, count, replace=False))
        sample: Matrix = np.empty((count, self.form.dim), dtype=np.float32)
        first, done = 0, 0
        for source in self.others:
            end = first + len(source.positions)
            here = drawn[np.searchsorted(drawn, first) : np.searchsorted(drawn, end)] - first
            # Every mode except the default writes to `out` without an intermediate copy.
            np.take(source.part.vectors, source.positions[here], axis=0, out=sample[done : done + len(here)], mode="clip")
            first, done = end, done + len(here)
        return sample

    def _new_blocks(self, step: int) -> Iterator[Matrix]:
        """Yield the vectors of the rows to insert, at most `step` rows at a time."""
        for source in self.others:
            yield from source.blocks(step)

    def _all_blocks(self) -> Iterator[Matrix]:
        """Yield the vectors of all rows of the result."""
        for source in self.sources:
            yield from source.blocks(block_step(self.form.dim))
