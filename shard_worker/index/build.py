"""A build: rows of several segments become one sealed segment, in a thread of its own.

Owns the snapshot it reads: parts whose arrays no longer move. An index among the sources that is worth it is copied and the copy
extended, dead rows included; else the segment is made afresh from live rows. Never holds all rows twice: they are read in blocks, and
an index is trained on a bounded sample. Refuses to touch what is being searched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shard_worker.index.clusters import block_length
from shard_worker.index.native import NativeIndex
from shard_worker.index.native_training import trained_index
from shard_worker.index.sealed import SealedSegment
from shard_worker.index.view import Part
from shard_worker.logic.segment_form import SealedForm
from shard_worker.payload.sealed import SealedPayloads
from shoal.core.index_spec import IndexSpec
from shoal.core.points import Matrix
from shoal.core.topk import concat_ids

_BLOCK_FLOATS = 400_000
_BLOCK_ROWS = 4_096
"""Rows are added in blocks, so that a build can be told to stop: about a quarter of a second each in one thread, in a graph."""

_SAMPLE_SEED = 11


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Source:
    """Rows of one segment that a build takes: those at `positions` (m,) of `part`, ascending. trained_rows: see SealedSegment."""

    key: int
    name: str
    part: Part
    positions: npt.NDArray[np.int64]
    trained_rows: int = 0

    def blocks(self, step: int) -> Iterator[Matrix]:
        """Its vectors, at most `step` rows (m, dim) at a time."""
        for start in range(0, len(self.positions), step):
            yield self.part.vectors[self.positions[start : start + step]]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BuildJob:
    """One build, made by ReplicaIndex.begin_build and to be given to its swap or abandon.

    seq: sequence number that the snapshot was taken at; base: the source whose index is extended, taken whole; others: the
    sources whose rows are inserted.
    """

    seq: int
    form: SealedForm
    base: Source | None
    others: tuple[Source, ...]

    @property
    def sources(self) -> tuple[Source, ...]:
        """All sources, in the order in which their rows lie in the result."""
        return (self.base, *self.others) if self.base else self.others

    @property
    def replaces(self) -> tuple[str, ...]:
        """Names of the sealed segments that the result replaces."""
        return tuple(source.name for source in self.sources if source.name)

    @property
    def inserts(self) -> int:
        """Rows that will be inserted: the work."""
        return sum(len(source.positions) for source in self.others)

    @property
    def rows(self) -> int:
        """Rows of the result, dead ones of the base included."""
        return sum(len(source.positions) for source in self.sources)

    @property
    def spec(self) -> IndexSpec:
        """The index the result will have."""
        if self.base is not None and self.base.part.native is not None:
            return self.base.part.native.spec
        return self.form.wanted(self.inserts)

    def run(self, should_stop: Callable[[], bool]) -> SealedSegment | None:
        """The sealed segment, or None as soon as should_stop() is true. In a build thread (see build_thread_init).

        should_stop is asked several times a second, but not while an index is copied to be extended, payload indexes are merged or
        a training passes over its sample; these take a second for each GB or two.
        """
        native = self._filled(should_stop)
        if native is None:
            return None
        native.settle()
        return SealedSegment(
            native=native,
            dim=self.form.dim,
            rows=np.concatenate([np.empty(0, dtype=np.int64), *(source.part.rows[source.positions] for source in self.sources)]),
            ids=concat_ids([source.part.ids[source.positions] for source in self.sources]),
            deaths=self.deaths(),
            payloads=SealedPayloads.build([(source.part.payloads, source.positions) for source in self.sources]),
            vectors=self._all_blocks,
            trained_rows=self._trained_rows,
        )

    def deaths(self) -> npt.NDArray[np.int64]:
        """Deaths of the result's rows so far; final when the writer thread asks."""
        return np.concatenate([np.empty(0, dtype=np.int64), *(source.part.deaths[source.positions] for source in self.sources)])

    @property
    def _trained_rows(self) -> int:
        if self.base is not None:
            return self.base.trained_rows
        return self.inserts if self.spec.trained else 0

    def _filled(self, should_stop: Callable[[], bool]) -> NativeIndex | None:
        """The index over all rows."""
        start = self._start(should_stop)
        if start is None:
            return None
        if start.has_lists:
            return self._listed(start, should_stop)
        native = start.clone() if self.base is not None else start
        for vectors in self._new_blocks(_BLOCK_ROWS):
            if should_stop():
                return None
            native.add(vectors)
        return native

    def _listed(self, start: NativeIndex, should_stop: Callable[[], bool]) -> NativeIndex | None:
        """A copy of `start` with all rows in its lists. They are assigned before, so that each list gets exactly the room it needs."""
        step = block_length(start.spec.nlist, self.form.dim)
        assigned = [np.empty(0, dtype=np.int64)]
        for vectors in self._new_blocks(step):
            if should_stop():
                return None
            assigned.append(start.lists_of(vectors))
        lists = np.concatenate(assigned)
        native = start.clone_with_room(lists)
        done = 0
        for vectors in self._new_blocks(_BLOCK_ROWS):
            if should_stop():
                return None
            native.add(vectors, lists[done : done + len(vectors)])
            done += len(vectors)
        return native

    def _start(self, should_stop: Callable[[], bool]) -> NativeIndex | None:
        """The index that is copied and extended, or an empty one to fill."""
        if self.base is not None and self.base.part.native is not None:
            return self.base.part.native
        form, spec = self.form, self.spec
        if not spec.trained:
            return NativeIndex.empty(spec, form.dim, form.metric, ef_construction=form.ef_construction)
        sample = self._sample(spec)
        return trained_index(spec, sample, form.metric, should_stop=should_stop, ef_construction=form.ef_construction)

    def _sample(self, spec: IndexSpec) -> Matrix:
        """Rows to train on, drawn evenly from all sources, the same for the same sources."""
        total = self.inserts
        count = spec.training_rows(total, self.form.dim)
        drawn = np.sort(np.random.default_rng(_SAMPLE_SEED).choice(total, count, replace=False))
        sample: Matrix = np.empty((count, self.form.dim), dtype=np.float32)
        first, filled = 0, 0
        for source in self.others:
            end = first + len(source.positions)
            here = drawn[np.searchsorted(drawn, first) : np.searchsorted(drawn, end)] - first
            # Any mode but the default writes into `out` without a copy between.
            np.take(source.part.vectors, source.positions[here], axis=0, out=sample[filled : filled + len(here)], mode="clip")
            first, filled = end, filled + len(here)
        return sample

    def _new_blocks(self, step: int) -> Iterator[Matrix]:
        """Vectors of the rows to insert."""
        for source in self.others:
            yield from source.blocks(self._step(step))

    def _all_blocks(self) -> Iterator[Matrix]:
        """Vectors of all rows of the result."""
        for source in self.sources:
            yield from source.blocks(self._step(_BLOCK_ROWS))

    def _step(self, most: int) -> int:
        return max(1, min(most, _BLOCK_ROWS, _BLOCK_FLOATS // self.form.dim))
