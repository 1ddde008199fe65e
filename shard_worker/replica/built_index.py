"""One index of a replica: what is to be built next, its builds, and the files of its segments.

A replica has one such index over its points and, with named vectors, one over each of these (ADR 36). All of them have
one log, one store and one folder of files; the name of a segment tells which of them it belongs to.

Threads: the replica's writer thread calls `apply`, `publish`, `freeze`, `begin_build`, `swap`, `abandon` and `close`; a
build thread calls `write_segment`; reads and `next_build` may run in any thread at the same time. Decides nothing:
`logic` decides what is built.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from shoal.core.ids import Seq
from shoal.runtime.fault_points import fault_point
from shoal.shard_worker.index.build import BuildJob
from shoal.shard_worker.index.replica_index import ReplicaIndex
from shoal.shard_worker.index.sealed import TEXT_SUFFIX, VECTORS_SUFFIX, SealedSegment
from shoal.shard_worker.index.search.hot_filters import HotFilters
from shoal.shard_worker.logic.segments.segment_plan import BuildPlan, plan_build
from shoal.shard_worker.replica.packed_rows import RowPart
from shoal.shard_worker.replica.reading import ReplicaReading
from shoal.shard_worker.replica.segment_names import segment_name, segment_of
from shoal.shard_worker.replica.segment_texts import SegmentTexts, never
from shoal.shard_worker.storage.folders.segment_files import SegmentFiles
from shoal.shard_worker.storage.store.mutation import Change
from shoal.shard_worker.storage.store.points_store import PointsStore
from shoal.shard_worker.storage.store.small_tables import SegmentEntry


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenSegment:
    """The durable files of one sealed segment."""

    name: str
    entries: tuple[SegmentEntry, ...]


class BuiltIndex:
    """One index of a replica, with the half of it that builds segments."""

    def __init__(
        self,
        *,
        name: str,
        part: RowPart,
        index: ReplicaIndex,
        reading: ReplicaReading,
        store: PointsStore,
        files: SegmentFiles,
        hot_filters: HotFilters,
    ) -> None:
        self.name = name
        """Name of the vector, "" of the index of the points."""
        self.part = part
        """What the index holds of stored rows."""
        self.index = index
        self.reading = reading
        """The reads that use this index; call them from any thread."""
        self.texts = SegmentTexts(store, files, index)
        """The text fields of this index, see there."""
        self._store, self._files, self._hot_filters = store, files, hot_filters

    def apply(self, change: Change) -> None:
        """Apply what a record changed in the store. Invisible until `publish`. Raises as ReplicaIndex.apply."""
        killed, columns = change.killed_rows, change.written
        if self.part.bit is not None:
            # The points that died may lack this vector.
            killed = killed[~self.index.missing_rows(killed)]
        if columns is None:
            if len(killed):
                empty = np.empty(0, dtype=np.int64)
                self.index.apply(change.seq, killed, empty, empty, np.empty((0, self.index.dim), dtype=np.float32), None)
            return
        rows, ids, vectors, payloads = change.rows, columns.ids, self.part.of(columns.vectors), columns.payloads
        held = self.part.held(columns.vectors)
        if held is not None and len(held) < len(rows):
            rows, ids, vectors = rows[held], ids[held], vectors[held]
            payloads = None if payloads is None else tuple(payloads[at] for at in held.tolist())
        if len(killed) or len(rows):
            self.index.apply(change.seq, killed, rows, ids, vectors, payloads)

    def publish(self, seq: Seq) -> None:
        """Make everything applied visible to reads. seq: of the last record that the store applied."""
        self.index.publish(seq)

    def freeze(self) -> None:
        """Close the growing segment, so that it is sealed next."""
        self.index.freeze()

    def next_build(self, *, everything: bool) -> BuildPlan | None:
        """Return the build to begin next. everything: build until one segment holds all rows."""
        return plan_build(self.index.summary(), everything=everything)

    def waiting_reason(self) -> str:
        """Return why rows have no index although one was chosen, as text; else ""."""
        reason = self.index.waiting_reason()
        return f"vector {self.name!r}: {reason}" if reason and self.name else reason

    def build_bytes(self, job: BuildJob) -> int:
        """Return the most memory in bytes that a build takes, including its result."""
        return self.index.build_bytes(job.rows, job.dearest)

    def begin_build(self, plan: BuildPlan) -> BuildJob:
        """See ReplicaIndex."""
        fault_point("build.begin")
        return self.index.begin_build(plan)

    def write_segment(self, job: BuildJob, sealed: SealedSegment, should_stop: Callable[[], bool] = never) -> WrittenSegment:
        """Write the result of a build into durable files.

        Texts that no source had are read from the store, which must be open then; raises TextsStopped there once
        should_stop() is true.
        """
        fault_point("build.built")
        name = segment_name(job.seq, self.name)
        if not sealed.rows_held:
            return WrittenSegment(name=name, entries=())
        writers = dict(sealed.files())
        if job.texts is not None and TEXT_SUFFIX not in writers:
            writers[TEXT_SUFFIX] = partial(self.texts.produce, rows=sealed.rows, texts=job.texts, should_stop=should_stop)
        written = [self._files.write(name + suffix, write) for suffix, write in writers.items()]
        if VECTORS_SUFFIX in writers:
            sealed.map_vectors(self._files.path(name + VECTORS_SUFFIX))
        if job.texts is not None:
            sealed.hold_texts(self.texts.read(name + TEXT_SUFFIX, job.texts))
        entries = tuple(
            SegmentEntry(name=each.name, size_bytes=each.size_bytes, sha256=each.sha256, rows=sealed.rows_held, applied_seq=Seq(job.seq))
            for each in written
        )
        return WrittenSegment(name=name, entries=entries)

    def swap(self, job: BuildJob, sealed: SealedSegment, written: WrittenSegment) -> None:
        """Replace the sources of a build by its result, in the store and in the index.

        Engine.sweep then deletes their files.
        """
        replaced = set(job.replaces)
        gone = [entry.name for entry in self._store.segments() if segment_of(entry.name) in replaced]
        self._store.replace_segments(written.entries, gone)
        fault_point("swap.named")
        self.index.swap(job, sealed, written.name)
        self._hot_filters.forget(source.key for source in job.sources)
        fault_point("swap.done")

    def abandon(self, job: BuildJob) -> None:
        """See ReplicaIndex."""
        self.index.abandon(job)

    def close(self) -> None:
        """Free the memory of the index. Call it after every read has ended."""
        self._hot_filters.forget(self.index.close())
