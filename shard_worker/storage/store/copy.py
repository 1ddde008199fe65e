"""Copies one state of a store while the writer goes on, and turns the copy into the store of another replica."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from shoal.core.errors import DataLoss
from shoal.core.ids import ClusterId, ReplicaId, Seq
from shoal.shard_worker.storage.failure import STORE_ERRORS, store_read_failure, store_write_failure
from shoal.shard_worker.storage.store.meta_table import Counters, read_counters, read_identity, write_replica_id
from shoal.shard_worker.storage.store.schema import check_tables, connect_copy, connect_reader, connect_writer
from shoal.shard_worker.storage.store.small_tables import SegmentEntry, read_segments

_READ_CODES = frozenset({sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ})
_CACHE_BYTES = 2 * 1024 * 1024


class FrozenStore:
    """One state of a store; all reads here see this state. Created by `frozen`."""

    def __init__(self, *, path: Path, connection: sqlite3.Connection) -> None:
        self._path, self._connection = path, connection
        self.applied_seq: Seq = read_counters(connection, path).applied_seq
        """Seq of the last applied mutation."""
        self.segments: tuple[SegmentEntry, ...] = tuple(read_segments(connection, path))
        """The index files that the store names."""

    def copy_to(self, target: Path) -> None:
        """Copy the state into one new file, not flushed.

        Raises DataLoss if the store cannot be read, StorageFailed if the disk refuses.
        """
        try:
            with closing(connect_copy(target)) as connection:
                self._connection.backup(connection)
        except STORE_ERRORS as error:
            # only the code tells whether the source or the target failed
            reading = getattr(error, "sqlite_errorcode", None) in _READ_CODES
            what = f"copy of store {self._path} to {target}"
            raise (store_read_failure if reading else store_write_failure)(error, what) from error


@contextmanager
def frozen(path: Path, *, busy_wait_s: float) -> Iterator[FrozenStore]:
    """Give access to one state of the open store at `path` while the writer goes on.

    The store's write-ahead log cannot shrink before the end of the block. Raises DataLoss for damage, Unavailable,
    StorageFailed.
    """
    try:
        connection = connect_reader(path, cache_bytes=_CACHE_BYTES, busy_wait_s=busy_wait_s)
    except STORE_ERRORS as error:
        raise store_read_failure(error, f"store {path}") from error
    with closing(connection):
        try:
            connection.execute("BEGIN")
            state = FrozenStore(path=path, connection=connection)
        except STORE_ERRORS as error:
            raise store_read_failure(error, f"store {path}") from error
        yield state


def adopt_store(path: Path, *, cluster_id: ClusterId, source: ReplicaId, replica_id: ReplicaId) -> Counters:
    """Turn the copied store of replica `source` at `path` into the store of `replica_id`. Return its counters; not
    flushed.

    Raises PreconditionFailed if it is the store of another replica or cluster, or newer than this program; DataLoss,
    StorageFailed.
    """
    if not path.is_file():
        raise DataLoss(f"{path} is missing")
    what = f"store {path}"
    try:
        with closing(connect_writer(path, cache_bytes=_CACHE_BYTES, busy_wait_s=0.0)) as connection:
            read_identity(connection, path, cluster_id=cluster_id, replica_id=source)
            check_tables(connection, path)
            connection.execute("BEGIN IMMEDIATE")
            write_replica_id(connection, replica_id)
            connection.execute("COMMIT")
            return read_counters(connection, path)
    except STORE_ERRORS as error:
        raise store_write_failure(error, what) from error
