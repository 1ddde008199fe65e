"""The synchronous half of a replica: log, store, index files and index, opened together and kept in step.

Threads: the replica's one writer thread calls `save_term`, `append`, `apply`, `freeze`, `begin_build`, `swap`, `sweep`, `abandon`,
`checkpoint_if_due` and `close`; a build thread calls `write_segment`; reads and `next_build` may run anywhere beside it.
Refuses to decide: what is appended, committed and built is decided in `logic`.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shard_worker.index.build import BuildJob
from shard_worker.index.cost import estimated_search_us
from shard_worker.index.replica_index import IndexStats, ReplicaIndex
from shard_worker.index.sealed import SealedSegment
from shard_worker.index.view import View
from shard_worker.logic.record import Record, RecordKind
from shard_worker.logic.replica_machine import Opened
from shard_worker.logic.request_memory import Forgetting, RequestMemory
from shard_worker.logic.segment_plan import BuildPlan, plan_build
from shard_worker.storage.log import LogSettings, ReplicaLog
from shard_worker.storage.mutation import Delete, Mutation, Noop, RequestEntry, Rows, Upsert
from shard_worker.storage.points_store import PointsStore, StoreSettings
from shard_worker.storage.replica_folder import ReplicaFolder
from shard_worker.storage.segment_files import SegmentFiles
from shard_worker.storage.small_tables import SegmentEntry
from shoal.core.collection import CollectionSpec
from shoal.core.errors import DataLoss
from shoal.core.ids import Seq, Term
from shoal.core.points import IdArray, Matrix, StoredColumns
from shoal.core.shard_calls import ShardGet, ShardScroll, ShardSearch
from shoal.core.topk import HitColumns
from shoal.runtime.logs import event
from shoal.runtime.metrics import Measure, unmeasured
from shoal.wire.records import ids_of_body, points_of_body

log = logging.getLogger("shoal.worker.engine")

INDEX_SUFFIX, ROWS_SUFFIX = ".faiss", ".rows"
_LOAD_ROWS = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineSettings:
    """growing_rows: bound of the growing segment; checkpoint_bytes: of applied but not checkpointed state; readers: connections
    for reads, more than threads that read, so that the event loop never waits for one; flushed: see LogSettings."""

    growing_rows: int = 10_000
    log_file_bytes: int = 64 * 1024 * 1024
    checkpoint_bytes: int = 64 * 1024 * 1024
    readers: int = 4
    flushed: Measure = unmeasured


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenSegment:
    """The durable files of one sealed segment."""

    name: str
    entries: tuple[SegmentEntry, ...]


class Engine:
    """One open replica on disk and in memory. Made by `open`, ended by `close`."""

    def __init__(
        self, *, folder: ReplicaFolder, log: ReplicaLog, store: PointsStore, index: ReplicaIndex, settings: EngineSettings
    ) -> None:
        self._folder, self._log, self._store, self._index = folder, log, store, index
        self._files = SegmentFiles(folder.segments_path)
        self._settings = settings
        self._forgetting = Forgetting()
        self._segment_bytes = sum(entry.size_bytes for entry in store.segments())

    @classmethod
    def open(cls, folder: ReplicaFolder, spec: CollectionSpec, settings: EngineSettings) -> Engine:
        """Open and verify everything; graphs are read from their files, and rows without an intact file are loaded to be sealed.

        Raises DataLoss for damage that cannot be mended from what is intact, PreconditionFailed, StorageFailed.
        """
        cluster_id, replica_id = folder.cluster_id, folder.ref.replica_id
        store = PointsStore.open(
            folder.store_path, cluster_id=cluster_id, replica_id=replica_id, settings=StoreSettings(readers=settings.readers)
        )
        try:
            replica_log = ReplicaLog.open(
                folder.path,
                cluster_id=cluster_id,
                replica_id=replica_id,
                applied_seq=store.applied_seq,
                settings=LogSettings(file_bytes=settings.log_file_bytes, flushed=settings.flushed),
            )
        except BaseException:
            store.close()
            raise
        index = ReplicaIndex(dim=spec.dim, metric=spec.metric, kind=spec.index, growing_rows=settings.growing_rows)
        engine = cls(folder=folder, log=replica_log, store=store, index=index, settings=settings)
        try:
            engine._load()
        except BaseException:
            replica_log.close()
            store.close()
            raise
        return engine

    def opened(self, memory_of: RequestMemory) -> Opened:
        """What the state machine begins with. memory_of: the memory of this store's requests."""
        tail = tuple(self._log.read(Seq(self._store.applied_seq + 1)))
        last_term, last_seq = self._log.last
        newest_ms = max((record.time_ms for record in tail), default=memory_of.newest_ms)
        return Opened(
            shard=self._folder.ref.shard,
            replica=self._folder.ref.replica_id,
            known_term=Term(max(self._folder.known_term, last_term)),
            last_term=last_term,
            last_seq=last_seq,
            applied_seq=self._store.applied_seq,
            last_time_ms=newest_ms,
            tail=tail,
        )

    def request_memory(self) -> RequestMemory:
        """The writes that are remembered."""
        return RequestMemory(self._store.requests())

    # Writing

    def save_term(self, term: Term) -> None:
        """Make a term durable."""
        self._folder.save_known_term(term)

    def append(self, records: Sequence[Record]) -> None:
        """Append the group; durable on return."""
        self._log.append(records)

    def forget(self, forgetting: Forgetting) -> None:
        """Let the store forget these requests with the next records it applies."""
        self._forgetting = Forgetting(
            through=(*self._forgetting.through, *forgetting.through), clients=(*self._forgetting.clients, *forgetting.clients)
        )

    def apply(self, records: Sequence[Record]) -> tuple[int, ...]:
        """Apply committed records, in one transaction of the store, then to the index, visible at once. Points affected per record."""
        mutations = [_mutation(record) for record in records]
        forgetting, self._forgetting = self._forgetting, Forgetting()
        changes = self._store.apply(mutations, forget=forgetting.through, forget_clients=forgetting.clients)
        for mutation, change in zip(mutations, changes, strict=True):
            if isinstance(mutation, Upsert):
                self._index.apply(change.seq, change.killed_rows, change.rows, mutation.columns.ids, mutation.columns.vectors)
            elif len(change.killed_rows):
                self._index.apply(change.seq, change.killed_rows, *self._no_rows())
        self._index.publish(records[-1].seq)
        return tuple(change.affected for change in changes)

    def checkpoint_if_due(self) -> None:
        """Make the applied state durable and trim the log, once enough has gathered."""
        if self._store.wal_bytes >= self._settings.checkpoint_bytes:
            self._log.trim(self._store.checkpoint())

    def close(self) -> None:
        """Make everything durable and close. Call it after every read has ended."""
        try:
            self._log.close()
        finally:
            self._store.close()

    # Building

    def freeze(self) -> None:
        """Close the growing segment, so that it is sealed next."""
        self._index.freeze()

    def next_build(self, *, everything: bool) -> BuildPlan | None:
        """The build to begin next. everything: until one segment holds all."""
        return plan_build(self._index.summary(), everything=everything)

    def begin_build(self, plan: BuildPlan) -> BuildJob:
        """See ReplicaIndex."""
        return self._index.begin_build(plan)

    def write_segment(self, job: BuildJob, sealed: SealedSegment) -> WrittenSegment:
        """Make the result of a build durable as files."""
        name = f"{job.seq:016d}-{uuid.uuid4().hex[:8]}"
        if not sealed.rows_held:
            return WrittenSegment(name=name, entries=())
        written = (
            self._files.write(name + INDEX_SUFFIX, sealed.write_index),
            self._files.write(name + ROWS_SUFFIX, sealed.write_rows),
        )
        entries = tuple(
            SegmentEntry(name=each.name, size_bytes=each.size_bytes, sha256=each.sha256, rows=sealed.rows_held, applied_seq=Seq(job.seq))
            for each in written
        )
        return WrittenSegment(name=name, entries=entries)

    def swap(self, job: BuildJob, sealed: SealedSegment, written: WrittenSegment) -> None:
        """Put the result of a build in the place of its sources, in the store and in the index. `sweep` then deletes their files."""
        gone = [name + suffix for name in job.replaces for suffix in (INDEX_SUFFIX, ROWS_SUFFIX)]
        self._store.replace_segments(written.entries, gone)
        self._index.swap(job, sealed, written.name)

    def abandon(self, job: BuildJob) -> None:
        """See ReplicaIndex."""
        self._index.abandon(job)

    def sweep(self) -> None:
        """Delete files that have no name any more, after a checkpoint has made that durable."""
        self._log.trim(self._store.checkpoint())
        entries = self._store.segments()
        self._segment_bytes = sum(entry.size_bytes for entry in entries)
        self._files.remove_orphans({entry.name for entry in entries})

    # Reading

    def view(self) -> View:
        """What a search sees from now on."""
        return self._index.view()

    def estimated_us(self, view: View, call: ShardSearch) -> float:
        """Estimated time of a search, in microseconds."""
        return estimated_search_us(view, nq=len(call.queries), k=call.k, exact=call.exact, ef=call.ef, dim=call.queries.shape[1])

    def search(self, view: View, call: ShardSearch) -> HitColumns | None:
        """Hits of the view; None when payloads or vectors were asked for and one of the hits has meanwhile been replaced."""
        found = self._index.search(view, call.queries, call.k, exact=call.exact, ef=call.ef)
        if not (call.with_payload or call.with_vectors):
            return HitColumns(counts=found.counts, ids=found.ids, scores=found.scores)
        stored = self._store.rows(found.rows, with_vectors=call.with_vectors, with_payloads=call.with_payload)
        if not stored.found.all():
            return None
        return HitColumns(
            counts=found.counts,
            ids=found.ids,
            scores=found.scores,
            payloads=stored.columns.payloads,
            vectors=stored.columns.vectors,
        )

    def get(self, call: ShardGet) -> StoredColumns:
        """Points by id."""
        return self._store.get(call.ids, with_vectors=call.with_vectors, with_payloads=call.with_payload)

    def scroll(self, call: ShardScroll) -> StoredColumns:
        """Points in id order."""
        return self._store.scroll(call.after, call.limit, with_vectors=call.with_vectors, with_payloads=call.with_payload)

    def count(self) -> int:
        """Number of points."""
        return self._store.count()

    def index_stats(self) -> IndexStats:
        """What the index holds."""
        return self._index.stats()

    def size_bytes(self) -> int:
        """Bytes on disk."""
        return self._store.size_bytes + self._log.size_bytes + self._segment_bytes

    # Opening

    def _load(self) -> None:
        began = time.monotonic()
        live = self._store.live_rows()
        damaged = [name for name in self._segment_names() if not self._load_segment(name, live.rows, live.ids)]
        missing = np.flatnonzero(self._index.missing_rows(live.rows))
        for start in range(0, len(missing), _LOAD_ROWS):
            part = missing[start : start + _LOAD_ROWS]
            self._index.load_growing(live.rows[part], live.ids[part], self._store.vectors_of(live.rows[part]))
        self._index.publish(self._store.applied_seq)
        if damaged:
            known = {entry.name for entry in self._store.segments()}
            bad = [name + suffix for name in damaged for suffix in (INDEX_SUFFIX, ROWS_SUFFIX)]
            self._store.replace_segments((), [name for name in bad if name in known])
        self.sweep()
        log.info(
            event(
                "replica_opened",
                shard=self._folder.ref.shard,
                points=self._store.count(),
                sealed=len(live.rows) - len(missing),
                damaged_segments=len(damaged),
                seconds=f"{time.monotonic() - began:.2f}",
            )
        )

    def _segment_names(self) -> list[str]:
        return sorted({entry.name.removesuffix(INDEX_SUFFIX).removesuffix(ROWS_SUFFIX) for entry in self._store.segments()})

    def _load_segment(self, name: str, rows: Rows, ids: IdArray) -> bool:
        named = {entry.name: entry for entry in self._store.segments()}
        for suffix in (INDEX_SUFFIX, ROWS_SUFFIX):
            entry = named.get(name + suffix)
            if entry is None or not self._files.verify(entry.name, size_bytes=entry.size_bytes, sha256=entry.sha256):
                log.warning(event("segment_damaged", shard=self._folder.ref.shard, file=name + suffix, action="rebuild"))
                return False
        try:
            self._index.load_sealed(
                name=name,
                index_path=self._files.path(name + INDEX_SUFFIX),
                rows_path=self._files.path(name + ROWS_SUFFIX),
                live_rows=rows,
                ids=ids,
            )
        except DataLoss as error:
            log.warning(event("segment_damaged", shard=self._folder.ref.shard, file=name, reason=error.message, action="rebuild"))
            return False
        return True

    def _no_rows(self) -> tuple[Rows, IdArray, Matrix]:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty((0, self._store.dim), dtype=np.float32)


def _mutation(record: Record) -> Mutation:
    request = None if record.request_id is None else RequestEntry(request_id=record.request_id, time_ms=record.time_ms)
    match record.kind:
        case RecordKind.NOOP:
            return Noop(seq=record.seq, request=request)
        case RecordKind.UPSERT:
            return Upsert(seq=record.seq, columns=points_of_body(record.body), request=request)
        case RecordKind.DELETE:
            return Delete(seq=record.seq, ids=ids_of_body(record.body), request=request)
