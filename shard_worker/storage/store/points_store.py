"""The applied state of one replica, store.db.

Owns the points, the remembered requests, the names of the index files, and the seq up to which all of them are applied.
The state is a function of the committed log. Refuses mutations out of order, rows whose crc does not match, and
everything after a failed write. At rest it keeps its counters and has no file open.

Threads: one writer calls apply, replace_segments, checkpoint, rest, wake and close; all other methods may be called
from any thread at the same time. While it rests, nothing else is called but what the counters and file sizes answer.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from shoal.core.errors import DataLoss, Internal, ShoalError, Unavailable
from shoal.core.ids import ClusterId, ReplicaId, Seq
from shoal.core.points import IdArray, Matrix, PointId, StoredColumns
from shoal.runtime.fault_points import fault_point
from shoal.shard_worker.logic.replication.request_memory import Remembered
from shoal.shard_worker.storage.durable import fsync_path
from shoal.shard_worker.storage.failure import (
    STORE_ERRORS,
    DiskFull,
    StorageFailed,
    StoreError,
    read_failure,
    store_read_failure,
    store_write_failure,
    write_failure,
)
from shoal.shard_worker.storage.store.connections import ReadPool, checkpoint
from shoal.shard_worker.storage.store.copy import FrozenStore, frozen
from shoal.shard_worker.storage.store.meta_table import (
    Counters,
    StoreIdentity,
    VectorDims,
    read_counters,
    read_identity,
    write_counters,
    write_identity,
)
from shoal.shard_worker.storage.store.mutation import Change, Mutation, Rows
from shoal.shard_worker.storage.store.points_reading import (
    Check,
    LiveRows,
    StoredRows,
    WantedColumns,
    no_rows,
    read_by_id,
    read_by_row,
    read_live_rows,
    read_page,
    unchecked,
)
from shoal.shard_worker.storage.store.points_writing import apply_mutation
from shoal.shard_worker.storage.store.schema import check_tables, connect_reader, connect_writer, create_tables, finish_tables, page_bytes
from shoal.shard_worker.storage.store.small_tables import SegmentEntry, forget_requests, read_requests, read_segments, replace_segments

_VECTOR_CHUNK_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreSettings:
    """readers: read connections; read_wait_s: how long a read waits for one.

    A checkpoint waits `checkpoint_wait_s` for reads of older states to end, and `truncate_wait_s` for all reads, to
    shrink the write-ahead log.
    """

    readers: int = 4
    read_wait_s: float = 10.0
    checkpoint_wait_s: float = 1.0
    truncate_wait_s: float = 0.05
    writer_cache_bytes: int = 16 * 1024 * 1024
    reader_cache_bytes: int = 2 * 1024 * 1024


DEFAULT_STORE_SETTINGS = StoreSettings()


@dataclass(frozen=True, kw_only=True, slots=True)
class _OpenStore:
    """The open files of a store, and what it held when they were opened."""

    identity: StoreIdentity
    counters: Counters
    database_bytes: int
    writer: sqlite3.Connection
    readers: ReadPool

    def close(self) -> None:
        self.readers.close_unused()
        self.writer.close()


class PointsStore:
    """An open store. Created by `open`, ended by `close`."""

    def __init__(
        self,
        *,
        path: Path,
        files: _OpenStore,
        settings: StoreSettings,
    ) -> None:
        self._path, self._identity, self._settings = path, files.identity, settings
        self._counters = files.counters
        self._database_bytes = files.database_bytes
        self._files: _OpenStore | None = files
        self._durable_seq = Seq(0)
        self._refusal: ShoalError | None = None
        self._freezing = threading.Lock()
        self._frozen = 0
        self._note_size()

    @staticmethod
    def create(path: Path, *, cluster_id: ClusterId, replica_id: ReplicaId, dim: int, vectors: VectorDims = ()) -> None:
        """Create a new, empty, durable store at `path`. vectors: see StoreIdentity. Raises StorageFailed."""
        identity = StoreIdentity(cluster_id=cluster_id, replica_id=replica_id, dim=dim, vectors=vectors)
        try:
            connection = create_tables(path)
            try:
                write_identity(connection, identity)
                finish_tables(connection)
            finally:
                connection.close()
            fsync_path(path)
            fsync_path(path.parent)
        except STORE_ERRORS as error:
            raise store_write_failure(error, f"store {path}") from error
        except OSError as error:
            raise write_failure(error, f"store {path}") from error

    @classmethod
    def open(
        cls, path: Path, *, cluster_id: ClusterId, replica_id: ReplicaId, settings: StoreSettings = DEFAULT_STORE_SETTINGS
    ) -> PointsStore:
        """Open the store at `path`, at the last commit that reached the disk.

        Raises DataLoss if it is missing or damaged, PreconditionFailed for a newer format or another cluster's or
        replica's store.
        """
        return cls(path=path, files=_open_store(path, cluster_id, replica_id, settings), settings=settings)

    @property
    def dim(self) -> int:
        """Return the dimension of the vectors."""
        return self._identity.dim

    @property
    def vectors(self) -> VectorDims:
        """Return the named vectors that its vectors are packed of, see StoreIdentity."""
        return self._identity.vectors

    @property
    def applied_seq(self) -> Seq:
        """Return the seq of the last applied mutation."""
        return self._counters.applied_seq

    @property
    def next_row(self) -> int:
        """Return the row number of the next new point. Row numbers only grow."""
        return self._counters.next_row

    def count(self) -> int:
        """Return the number of points."""
        return self._counters.points

    @property
    def size_bytes(self) -> int:
        """Return the bytes of the database and of its write-ahead log, after the last change."""
        return self._size_bytes

    @property
    def database_bytes(self) -> int:
        """Return the bytes of the database once all of the write-ahead log is moved into it.

        The log holds newer versions of pages of the database, so no cache of a connection can grow beyond this.
        """
        return self._database_bytes

    def _note_size(self) -> None:
        """Measure the files after a change, in the writer's thread: others ask often, also where they must not wait."""
        self._size_bytes = _file_bytes(self._path) + self.wal_bytes

    @property
    def wal_bytes(self) -> int:
        """Return the bytes of the write-ahead log, which the next checkpoint moves. Raises StorageFailed."""
        return _file_bytes(self._path.with_name(self._path.name + "-wal"))

    def apply(
        self, mutations: Sequence[Mutation], *, forget: Sequence[tuple[str, int]] = (), forget_clients: Sequence[str] = ()
    ) -> list[Change]:
        """Apply the group in one transaction, with its applied seq, next row and requests. Return one change per
        mutation, in order.

        forget: (client, number) pairs, requests up to and including the number; forget_clients: all requests of these
        clients. Both are forgotten before the group is applied, so the group may remember a new request of such a
        client. Raises Internal, with nothing applied, if a mutation is not the next one or its columns do not fit
        together; DataLoss for damage; StorageFailed if the disk refuses: the store then refuses everything until it is
        opened again.
        """
        with self._transaction() as connection:
            forget_requests(connection, forget, forget_clients)
            changes, counters, shape = [], self._counters, self._shape(with_vectors=True, with_payloads=True)
            for mutation in mutations:
                applied = apply_mutation(connection, mutation, counters, shape)
                counters = applied.counters
                changes.append(applied.change)
            write_counters(connection, counters)
            fault_point("store.apply")
        fault_point("store.applied")
        self._counters = counters
        self._note_size()
        return changes

    def get(self, ids: IdArray, *, with_vectors: bool, with_payloads: bool, check: Check = unchecked) -> StoredColumns:
        """Return the existing points with these ids, (n,), in the requested order, all from one state of the store.

        check: called between two pieces of the read; an error that it raises ends the read. vectors: (found, dim)
        float32 as written. Raises DataLoss for a row whose crc does not match; ResourceExhausted, Unavailable.
        """
        with self._opened().readers.snapshot() as connection:
            return read_by_id(connection, ids.tolist(), self._shape(with_vectors, with_payloads, check))

    def rows(self, rows: Rows, *, with_vectors: bool, with_payloads: bool) -> StoredRows:
        """Return the points in these rows, (n,) int64, in the requested order; missing rows are marked, not an error.

        Raises as get. No rows are answered at rest, too.
        """
        if not len(rows):
            return no_rows(self._shape(with_vectors, with_payloads))
        with self._opened().readers.snapshot() as connection:
            return read_by_row(connection, rows.tolist(), self._shape(with_vectors, with_payloads))

    def scroll(
        self, after: PointId | None, limit: int, *, with_vectors: bool, with_payloads: bool, check: Check = unchecked
    ) -> StoredColumns:
        """Return at most `limit` points that follow `after` (None: from the beginning), ordered by id, integers first.

        Else as get.
        """
        with self._opened().readers.snapshot() as connection:
            return read_page(connection, after, limit, self._shape(with_vectors, with_payloads, check))

    def live_rows(self) -> LiveRows:
        """Return every row and the id of its point, without reading vectors.

        Raises DataLoss if these are not exactly the rows and ids that were written; ResourceExhausted, Unavailable.
        """
        with self._opened().readers.snapshot() as connection:
            return read_live_rows(connection, self._path)

    def vectors_of(self, rows: Rows) -> Matrix:
        """Return the vectors of existing rows (n,) int64 as written, (n, dim) float32.

        Reads in pieces, so that no read transaction lasts long. Raises DataLoss if a row does not exist: for rows that
        may be deleted meanwhile, use `rows`. Else as get.
        """
        vectors = np.empty((len(rows), self.dim), dtype=np.float32)
        step = max(1, _VECTOR_CHUNK_BYTES // (4 * self.dim))
        for at in range(0, len(rows), step):
            part = self.rows(rows[at : at + step], with_vectors=True, with_payloads=False)
            if not part.found.all() or part.columns.vectors is None:
                missing = rows[at : at + step][~part.found]
                raise DataLoss(f"{self._path}: row {missing[0]} does not exist")
            vectors[at : at + step] = part.columns.vectors
        return vectors

    def requests(self) -> list[Remembered]:
        """Return every remembered write, in order of seq. Raises DataLoss for a damaged row."""
        with self._opened().readers.snapshot() as connection:
            return read_requests(connection, self._path)

    def segments(self) -> list[SegmentEntry]:
        """Return every index file that the store names, ordered by name. Raises DataLoss for a damaged row."""
        with self._opened().readers.snapshot() as connection:
            return read_segments(connection, self._path)

    @contextmanager
    def frozen(self) -> Iterator[FrozenStore]:
        """Give access to one state of the store, to copy it while the writer goes on; end before the store is closed.

        The write-ahead log grows meanwhile, and checkpoints are postponed, since each would wait in vain. See
        storage.store.copy.frozen.
        """
        with self._freezing:
            self._frozen += 1
        try:
            with frozen(self._path, busy_wait_s=self._settings.read_wait_s) as state:
                yield state
        finally:
            with self._freezing:
                self._frozen -= 1

    def replace_segments(self, add: Sequence[SegmentEntry], remove: Sequence[str]) -> None:
        """Add and remove names of index files, in one step.

        The change is durable with the next checkpoint. Delete the file of a removed name only after that, or a crash
        brings the name back. Raises Internal if an added name exists or a removed one does not; else as apply.
        """
        with self._transaction() as connection:
            replace_segments(connection, add, remove)
            fault_point("store.name")
        self._note_size()
        fault_point("store.named")

    def checkpoint(self) -> Seq:
        """Move the write-ahead log into the database. Return the applied seq that is now certainly durable.

        Under synchronous=NORMAL a commit is not flushed. But a checkpoint flushes the write-ahead log before it copies
        its pages, and the database file before it counts them as copied. The writer's thread runs it, so these pages
        include the applied seq read before. If a read of an older state lasts longer than `checkpoint_wait_s`, or a
        state is frozen, nothing new is certain and the previous result is returned; it is 0 before the first
        checkpoint. Raises DataLoss, StorageFailed.
        """
        self._check_usable()
        if self._frozen:
            return self._durable_seq
        applied_seq = self._counters.applied_seq
        wait_s, truncate_wait_s = self._settings.checkpoint_wait_s, self._settings.truncate_wait_s
        fault_point("store.checkpoint")
        try:
            if checkpoint(self._opened().writer, wait_s=wait_s, truncate_wait_s=truncate_wait_s):
                self._durable_seq = applied_seq
        except STORE_ERRORS as error:
            raise self._refuse_from_now_on(error) from error
        self._note_size()
        fault_point("store.checkpointed")
        return self._durable_seq

    @property
    def at_rest(self) -> bool:
        """Return whether its files are closed until `wake`."""
        return self._files is None

    def rest(self) -> bool:
        """Close all files until `wake`. Call it after a checkpoint. Return whether they are closed now.

        They are not while a read goes on, a state is frozen, or the write-ahead log holds anything: SQLite would move
        its content at the last close, and tell of no failure.
        """
        files = self._files
        if files is None:
            return True
        if self._refusal is not None or self._frozen or self.wal_bytes or not files.readers.close_unused():
            return False
        self._files = None
        try:
            files.writer.close()
        except STORE_ERRORS as error:
            raise self._refuse_from_now_on(error) from error
        fault_point("store.rested")
        return True

    def wake(self) -> None:
        """Open the files again; does nothing if they are open.

        Raises DataLoss if the store is missing, damaged, or not the one that was closed; PreconditionFailed,
        StorageFailed.
        """
        if self._files is not None:
            return
        self._check_usable()
        identity = self._identity
        files = _open_store(self._path, identity.cluster_id, identity.replica_id, self._settings)
        if (files.identity, files.counters) != (identity, self._counters):
            files.close()
            raise DataLoss(
                f"{self._path} was at {self._counters.applied_seq} when it was closed, it is at {files.counters.applied_seq} now"
            )
        self._files, self._database_bytes = files, files.database_bytes
        self._note_size()
        fault_point("store.woken")

    def close(self) -> None:
        """Checkpoint and close; a second call does nothing.

        Raises StorageFailed; Unavailable if a read does not end.
        """
        files = self._files
        if files is not None:
            files.readers.close()
        if self._refusal is None:
            self._refusal = Unavailable(f"store {self._path} is closed")
        if files is None:
            return
        try:
            files.writer.close()
        except STORE_ERRORS as error:
            raise store_write_failure(error, f"store {self._path}") from error

    def _opened(self) -> _OpenStore:
        if self._files is None:
            raise Internal(f"store {self._path} is at rest")
        return self._files

    def _shape(self, with_vectors: bool, with_payloads: bool, check: Check = unchecked) -> WantedColumns:
        return WantedColumns(path=self._path, dim=self.dim, with_vectors=with_vectors, with_payloads=with_payloads, check=check)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._check_usable()
        writer = self._opened().writer
        try:
            writer.execute("BEGIN IMMEDIATE")
            try:
                yield writer
            except STORE_ERRORS:
                # no ROLLBACK: the store is unusable from now on, and closing it rolls back
                raise
            except BaseException:
                writer.execute("ROLLBACK")
                raise
            held = page_bytes(writer)
            writer.execute("COMMIT")
        except STORE_ERRORS as error:
            raise self._refuse_from_now_on(error) from error
        self._database_bytes = held

    def _refuse_from_now_on(self, error: StoreError) -> ShoalError:
        failure = store_write_failure(error, f"store {self._path}")
        kind = DiskFull if isinstance(failure, DiskFull) else StorageFailed
        self._refusal = kind(f"store {self._path} takes nothing more, an earlier write failed: {failure.message}")
        return failure

    def _check_usable(self) -> None:
        if self._refusal is not None:
            raise self._refusal


def _open_store(path: Path, cluster_id: ClusterId, replica_id: ReplicaId, settings: StoreSettings) -> _OpenStore:
    """Open the files of a store, for its writer and the first read. Raises as PointsStore.open."""
    if not path.is_file():
        raise DataLoss(f"{path} is missing")
    connect = partial(connect_reader, path, cache_bytes=settings.reader_cache_bytes, busy_wait_s=settings.read_wait_s)
    readers = ReadPool(what=f"store {path}", connect=connect, size=settings.readers, wait_s=settings.read_wait_s)
    opened = []
    try:
        opened.append(connect_writer(path, cache_bytes=settings.writer_cache_bytes, busy_wait_s=settings.checkpoint_wait_s))
        identity = read_identity(opened[0], path, cluster_id=cluster_id, replica_id=replica_id)
        check_tables(opened[0], path)
        counters, held = read_counters(opened[0], path), page_bytes(opened[0])
        readers.prepare()
        return _OpenStore(identity=identity, counters=counters, database_bytes=held, writer=opened.pop(), readers=readers)
    except STORE_ERRORS as error:
        raise store_read_failure(error, f"store {path}") from error
    finally:
        for connection in opened:
            connection.close()


def _file_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise read_failure(error, str(path)) from error
