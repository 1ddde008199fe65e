"""The synchronous half of a replica: log, store, index files and indexes, opened together and kept consistent.

Threads: the replica's one writer thread calls `save_term`, `append`, `apply`, `freeze`, `sweep`, `checkpoint_if_due`,
`wake`, `rest` and `close`; reads may run in any thread at the same time. Builds are the business of BuiltIndex. Decides
nothing: `logic` decides what is appended and committed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from shoal.core.collection import CollectionSpec
from shoal.core.errors import PreconditionFailed
from shoal.core.ids import Seq, ShardId, Term
from shoal.core.metric import Metric
from shoal.core.named_vectors import NamedVector
from shoal.core.points import PointColumns
from shoal.core.sizing import REPLICA_BASE_BYTES, open_store_bytes
from shoal.runtime.fault_points import fault_point
from shoal.runtime.logs import event
from shoal.runtime.metrics import Measure, unmeasured
from shoal.shard_worker.index.replica_index import DEFAULT_BOUNDS, IndexStats, ReplicaIndex
from shoal.shard_worker.index.search.hot_filters import HotFilters
from shoal.shard_worker.logic.memory_ledger import ReplicaCost, joined_cost
from shoal.shard_worker.logic.replication.leadership import REPLAY_BYTES
from shoal.shard_worker.logic.replication.record import Record, RecordKind
from shoal.shard_worker.logic.replication.request_memory import Forgetting, RequestMemory
from shoal.shard_worker.logic.replication.roles import ReplicaAtOpening
from shoal.shard_worker.payload.matched import PayloadBounds
from shoal.shard_worker.replica.built_index import BuiltIndex
from shoal.shard_worker.replica.joined_changes import joined_changes
from shoal.shard_worker.replica.opening import Opening
from shoal.shard_worker.replica.packed_rows import RowPart, row_parts
from shoal.shard_worker.replica.reading import ReplicaReading
from shoal.shard_worker.replica.segment_texts import SegmentTexts
from shoal.shard_worker.resources.allocator import freeing_for_good, give_back_free_memory
from shoal.shard_worker.storage.folders.replica_folder import ReplicaFolder
from shoal.shard_worker.storage.folders.segment_files import SegmentFiles
from shoal.shard_worker.storage.folders.snapshot_export import PinnedSnapshot, pin_snapshot
from shoal.shard_worker.storage.log.log import LogSettings, ReplicaLog
from shoal.shard_worker.storage.store.mutation import ChangeRows, DeleteRows, Mutation, Noop, PutRows, RemoveRows, RequestEntry
from shoal.shard_worker.storage.store.points_store import PointsStore, StoreSettings
from shoal.shard_worker.text.field_texts import FieldTexts, texts_of
from shoal.wire.point_bytes import points_from_bytes
from shoal.wire.records import exact_delete_of_body, ids_of_body, update_of_body

log = logging.getLogger("shoal.worker.engine")

UNLIMITED = Seq(1 << 62)
"""A seq after every record: no other replica needs the log."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineSettings:
    """Settings of an engine.

    growing_rows: bound of the growing segment; checkpoint_bytes: of applied state since the last checkpoint, at which
    the next one is due; retained_bytes: of the log kept for members that catch up; replay_bytes: see REPLAY_BYTES;
    readers: connections for reads, more than reading threads, so that the event loop never waits for one; flushed: see
    LogSettings; payload_bounds: of the index over payloads; hot_filters: shared by the replicas of a worker;
    maps_unused: see GrowingSegment.
    """

    growing_rows: int = 10_000
    log_file_bytes: int = 64 * 1024 * 1024
    checkpoint_bytes: int = 64 * 1024 * 1024
    retained_bytes: int = 512 * 1024 * 1024
    replay_bytes: int = REPLAY_BYTES
    readers: int = 4
    flushed: Measure = unmeasured
    payload_bounds: PayloadBounds = DEFAULT_BOUNDS
    hot_filters: HotFilters = field(default_factory=HotFilters)
    maps_unused: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Beginning:
    """The initial values of an open replica's state machine."""

    opened: ReplicaAtOpening
    requests: RequestMemory


class Engine:
    """One open replica, on disk and in memory. Created by `open`, ended by `close`."""

    def __init__(
        self,
        *,
        folder: ReplicaFolder,
        log: ReplicaLog,
        store: PointsStore,
        files: SegmentFiles,
        points: BuiltIndex,
        named: Mapping[str, BuiltIndex],
        settings: EngineSettings,
    ) -> None:
        self.points = points
        """The index of its points, and of their vector if this has no name."""
        self.searched: Mapping[str, BuiltIndex] = named or {"": points}
        """The index of each vector, by the vector's name."""
        self.indexes = (points, *named.values())
        """All its indexes."""
        self._folder, self._log, self._store, self._files = folder, log, store, files
        self._settings = settings
        self._forgetting = Forgetting()
        self._decoded: dict[int, tuple[bytes, PointColumns]] = {}
        self._kept_from = (UNLIMITED, UNLIMITED)
        self._pinning, self._pin_lock = 0, threading.Lock()
        self._segment_bytes = sum(entry.size_bytes for entry in store.segments())

    @classmethod
    def open(cls, folder: ReplicaFolder, spec: CollectionSpec, settings: EngineSettings) -> Engine:
        """Open and verify everything. Read graphs from their files; load rows without an intact file to be sealed.

        Raises DataLoss for damage that cannot be repaired from intact data, PreconditionFailed, StorageFailed.
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
        files = SegmentFiles(folder.segments_path)
        points, named = _indexes_of(spec, folder.ref.shard, store, files, settings)
        engine = cls(folder=folder, log=replica_log, store=store, files=files, points=points, named=named, settings=settings)
        try:
            _check_layout(store, spec)
            engine._load()
        except BaseException:
            engine.close()
            give_back_free_memory()
            raise
        return engine

    def beginning(self) -> Beginning:
        """Return the initial values of the state machine.

        The time it takes grows with the remembered writes and the records that are not applied.
        """
        requests = RequestMemory(self._store.requests())
        return Beginning(opened=self._opened(requests), requests=requests)

    def _opened(self, memory_of: RequestMemory) -> ReplicaAtOpening:
        tail = tuple(self._log.read(Seq(self._store.applied_seq + 1)))
        last_term, last_seq = self._log.last
        newest_ms = max((record.time_ms for record in tail), default=memory_of.newest_ms)
        return ReplicaAtOpening(
            shard=self._folder.ref.shard,
            replica=self._folder.ref.replica_id,
            known_term=Term(max(self._folder.known_term, last_term)),
            base=self._log.base,
            runs=tuple(self._log.term_starts.items()),
            last_seq=last_seq,
            applied_seq=self._store.applied_seq,
            last_time_ms=newest_ms,
            tail=tail,
            stretches=self._log.stretches,
            replay_bytes=self._settings.replay_bytes,
        )

    @property
    def reading(self) -> ReplicaReading:
        """Return the reads of its points; call them from any thread."""
        return self.points.reading

    @property
    def texts(self) -> SegmentTexts:
        """Return the text fields of its points, see there."""
        return self.points.texts

    @property
    def tuning_folder(self) -> Path:
        """Return the folder of the measurements of searches."""
        return self._folder.path / "tuning"

    # Writing

    def save_term(self, term: Term) -> None:
        """Make a term durable."""
        self._folder.save_known_term(term)

    def append(self, records: Sequence[Record]) -> None:
        """Append the records. They are durable on return."""
        self._log.append(records)

    def truncate_after(self, seq: Seq) -> None:
        """Cut every record with a higher seq. None of them was committed."""
        self._log.truncate_after(seq)

    def read_log(self, from_seq: Seq, max_bytes: int) -> tuple[Record, ...]:
        """Return records from from_seq on, at least one. From any thread.

        Raises PreconditionFailed if they are trimmed, DataLoss.
        """
        return self._log.read_some(from_seq, max_bytes)

    def pin_snapshot(self, into: Path, *, tuning: bool = True) -> PinnedSnapshot:
        """Make an immutable copy of the applied state below `into`, from any thread, while writing goes on.

        tuning: with the files in tuning_folder.
        """
        with self._pin_lock:
            self._pinning += 1
        try:
            return pin_snapshot(self._folder, self._store, self._term_at, into, tuning=tuning)
        finally:
            with self._pin_lock:
                self._pinning -= 1

    def _term_at(self, seq: Seq) -> Term:
        """Return the term of a record that the log has, or of the record before its first."""
        began = [term for term, first in self._log.term_starts.items() if first <= seq]
        return began[-1] if began else self._log.base[0]

    def keep_log(self, needed_from: Seq, wanted_from: Seq) -> None:
        """Keep the records from needed_from on, and those from wanted_from on while the log is within retained_bytes.

        From any thread.
        """
        self._kept_from = (needed_from, wanted_from)

    def forget(self, forgetting: Forgetting) -> None:
        """Remove these requests from the store with the next records that it applies."""
        self._forgetting = Forgetting(
            through=(*self._forgetting.through, *forgetting.through), clients=(*self._forgetting.clients, *forgetting.clients)
        )

    def apply(self, records: Sequence[Record]) -> tuple[int, ...]:
        """Apply committed records to the store in one transaction, then to the indexes. A search sees all or none.

        Returns the number of points that each record affected.
        """
        mutations = [self._mutation(record) for record in records]
        forgetting, self._forgetting = self._forgetting, Forgetting()
        changes = self._store.apply(mutations, forget=forgetting.through, forget_clients=forgetting.clients)
        for change in joined_changes(changes):
            for each in self.indexes:
                each.apply(change)
        fault_point("apply.indexed")
        for each in self.indexes:
            each.publish(records[-1].seq)
        return tuple(change.affected for change in changes)

    @contextmanager
    def decoded(self, body: bytes, points: PointColumns) -> Iterator[None]:
        """Let `apply` use these points instead of decoding `body` again, until the context ends. From any thread."""
        self._decoded[id(body)] = (body, points)
        try:
            yield
        finally:
            self._decoded.pop(id(body), None)

    def _points_of(self, body: bytes) -> PointColumns:
        known = self._decoded.get(id(body))
        return known[1] if known is not None and known[0] is body else points_from_bytes(body)

    def _mutation(self, record: Record) -> Mutation:
        request = None if record.request_id is None else RequestEntry(request_id=record.request_id, time_ms=record.time_ms)
        match record.kind:
            case RecordKind.NOOP:
                return Noop(seq=record.seq, request=request)
            case RecordKind.UPSERT:
                return PutRows(seq=record.seq, columns=self._points_of(record.body), request=request)
            case RecordKind.DELETE:
                return RemoveRows(seq=record.seq, ids=ids_of_body(record.body), request=request)
            case RecordKind.DELETE_ROWS:
                ids, rows = exact_delete_of_body(record.body)
                return DeleteRows(seq=record.seq, ids=ids, rows=rows, request=request)
            case RecordKind.UPDATE:
                return ChangeRows(seq=record.seq, update=update_of_body(record.body), request=request)

    def checkpoint_if_due(self) -> None:
        """Make the applied state durable and trim the log, if enough was written since the last checkpoint."""
        if self._store.wal_bytes >= self._settings.checkpoint_bytes:
            self._trim(self._store.checkpoint())

    @property
    def log_base(self) -> tuple[Term, Seq]:
        """Return term and seq of the record before the first one that the log keeps."""
        return self._log.base

    def _trim(self, through: Seq) -> None:
        if self._pinning:
            # A snapshot looks up the term of its last record in the log, after its state was copied.
            return
        needed, wanted = self._kept_from
        kept_from = wanted if self._log.size_bytes <= self._settings.retained_bytes else needed
        self._log.trim(Seq(min(through, kept_from - 1)))

    @property
    def at_rest(self) -> bool:
        """Return whether the files are closed, so that the store cannot be read."""
        return self._store.at_rest

    def wake(self) -> bool:
        """Open the files if they are closed. Return whether they were.

        Raises DataLoss if they have changed since, PreconditionFailed, StorageFailed.
        """
        was_closed = self._store.at_rest
        self._store.wake()
        return was_closed

    def rest(self, *, may_write: bool) -> bool:
        """Make everything durable and close the files until `wake`. Return whether they are closed now.

        They stay open if a read goes on, or if something would have to be written and `may_write` is False.
        """
        if self._store.at_rest:
            return True
        is_clean = self._log.is_marked and not self._store.wal_bytes
        if self._pinning or not (may_write or is_clean):
            return False
        if self._store.wal_bytes:
            self._trim(self._store.checkpoint())
        self._log.rest()
        return self._store.rest()

    def close(self) -> None:
        """Make everything durable, close, and free the memory of the indexes. Call it after every read has ended."""
        held_rows = any(each.index.view().parts for each in self.indexes)
        try:
            self._log.close()
        finally:
            try:
                with freeing_for_good():
                    self._free_all()
            finally:
                if held_rows:
                    # Not for empty replicas: hundreds of them may close together, and there is nothing to give back.
                    give_back_free_memory()

    def _free_all(self) -> None:
        try:
            self._store.close()
        finally:
            for each in self.indexes:
                each.close()

    # Building: see BuiltIndex

    def choose_indexes(self, spec: CollectionSpec) -> None:
        """Build segments with the indexes of this specification from now on."""
        for name, each in self.searched.items():
            each.index.choose(spec.vector_of(name).index)

    def freeze(self) -> None:
        """Close the growing segments, so that they are sealed next."""
        for each in self.indexes:
            each.freeze()

    def freeze_worn(self) -> None:
        """See ReplicaIndex."""
        for each in self.indexes:
            each.index.freeze_worn()

    def aim(self, recall: float) -> None:
        """Set another recall target for searches that name none, and for judging segments. Any thread may call it."""
        for each in self.indexes:
            each.reading.aim(recall)
            each.index.aim(recall)

    def waiting_reason(self) -> str:
        """Return why rows have no index although one was chosen, as text; else ""."""
        return "; ".join(reason for each in self.indexes if (reason := each.waiting_reason()))

    def save_memory(self, room_bytes: int) -> None:
        """Let automatic indexes give up as much as needed for all rows to fit into room_bytes and the memory of sealed
        segments. Each vector has a share by the numbers of its rows. See ReplicaIndex."""
        indexes = [each.index for each in self.searched.values()]
        numbers = [each.view().points * each.dim for each in indexes]
        sealed = [each.sealed_bytes() for each in indexes]
        for index, mine, own in zip(indexes, numbers, sealed, strict=True):
            share = (room_bytes + sum(sealed)) * mine // max(1, sum(numbers)) if len(indexes) > 1 else room_bytes + own
            index.save_memory(share - own)

    def sweep(self) -> None:
        """Checkpoint, then delete the files that the store no longer names. Does nothing while a snapshot is pinned."""
        if self._pinning:
            return
        self._trim(self._store.checkpoint())
        give_back_free_memory()
        self._remove_orphans()

    def _remove_orphans(self) -> None:
        entries = self._store.segments()
        self._segment_bytes = sum(entry.size_bytes for entry in entries)
        self._files.remove_orphans({entry.name for entry in entries})

    # Figures

    def index_stats(self) -> IndexStats:
        """Return the figures of the indexes together. Rows of a named vector count beside those of the points."""
        stats = [each.index.stats() for each in self.indexes]
        sums = {name: sum(getattr(each, name) for each in stats) for name in IndexStats.__slots__}
        return IndexStats(**sums | {"points": stats[0].points})

    def cost(self) -> ReplicaCost:
        """Return the memory that the replica takes from the worker's budget."""
        cost, at_rest = joined_cost([each.index.cost() for each in self.indexes]), self._store.at_rest
        opened = open_store_bytes(self._store.database_bytes, self._settings.readers)
        held = cost.held + REPLICA_BASE_BYTES
        return replace(cost, held=held, waking=opened) if at_rest else replace(cost, held=held + opened)

    def mean_point_bytes(self) -> float:
        """Return the mean bytes of one point in the store."""
        return self._store.size_bytes / max(1, self._store.count())

    def size_bytes(self) -> int:
        """Return the bytes on disk."""
        return self._store.size_bytes + self._log.size_bytes + self._segment_bytes

    # Opening

    def _load(self) -> None:
        began, shard = time.monotonic(), self._folder.ref.shard
        opening = Opening(
            shard=shard,
            store=self._store,
            files=self._files,
            points=self.points,
            named={each.name: each for each in self.indexes[1:]},
            bounds=self._settings.payload_bounds,
        )
        sealed, damaged = opening.load()
        if self._store.count() or self._store.wal_bytes:
            self.sweep()
        else:
            # Nothing was loaded and nothing waits for a checkpoint: many replicas are empty when a worker starts.
            self._remove_orphans()
        opening.mend()
        points, seconds = self._store.count(), f"{time.monotonic() - began:.2f}"
        log.info(event("replica_opened", shard=shard, points=points, sealed=sealed, damaged_segments=damaged, seconds=seconds))


def _indexes_of(
    spec: CollectionSpec, shard: ShardId, store: PointsStore, files: SegmentFiles, settings: EngineSettings
) -> tuple[BuiltIndex, dict[str, BuiltIndex]]:
    """Return the index of the points, and that of each named vector."""

    def made(vector: NamedVector, part: RowPart, texts: FieldTexts | None) -> BuiltIndex:
        index = ReplicaIndex(
            dim=vector.dim,
            metric=vector.metric,
            index=vector.index,
            growing_rows=settings.growing_rows,
            bounds=settings.payload_bounds,
            texts=texts,
            recall=spec.recall,
            maps_unused=settings.maps_unused,
        )
        reading = ReplicaReading(
            shard=shard,
            metric=vector.metric,
            recall=spec.recall,
            index=index,
            store=store,
            hot=settings.hot_filters,
            vector=vector.name,
        )
        return BuiltIndex(
            name=vector.name, part=part, index=index, reading=reading, store=store, files=files, hot_filters=settings.hot_filters
        )

    whole, parts = row_parts([each.dim for each in spec.vectors])
    lone = NamedVector(name="", dim=1, metric=Metric.L2, index="flat") if spec.vectors else spec.vector_of("")
    points = made(lone, whole, texts_of(spec.text))
    return points, {each.name: made(each, part, None) for each, part in zip(spec.vectors, parts, strict=True)}


def _check_layout(store: PointsStore, spec: CollectionSpec) -> None:
    """Raise PreconditionFailed unless the rows of the store are made of the vectors of the collection."""
    wanted = tuple((each.name, each.dim) for each in spec.vectors)
    if store.vectors != wanted:
        raise PreconditionFailed(f"the store has rows of the named vectors {store.vectors}, collection {spec.name!r} has {wanted}")
