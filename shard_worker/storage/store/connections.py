"""Connections to one store: a bounded pool for reads, and the checkpoint.

A read connection is lent to one thread at a time. A checkpoint moves SQLite's write-ahead log into the database file,
also while reads go on without a pause.
"""

from __future__ import annotations

import queue
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shoal.core.deadline import Deadline
from shoal.core.errors import BUSY_RETRY_S, ErrorDetails, ResourceExhausted, Unavailable
from shoal.runtime.fault_points import fault_point
from shoal.shard_worker.storage.failure import STORE_ERRORS, store_read_failure


class ReadPool:
    """The read connections to one store."""

    def __init__(self, *, what: str, connect: Callable[[], sqlite3.Connection], size: int, wait_s: float) -> None:
        self._what, self._size, self._wait_s = what, size, wait_s
        self._closed = False
        self._idle: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue(maxsize=size)
        for _ in range(size):
            self._idle.put_nowait(connect())

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection inside one read transaction: all statements see the same state.

        Raises ResourceExhausted if all connections are busy for too long, Unavailable if the pool is closed. Converts
        the errors of SQLite.
        """
        connection = self._take()
        try:
            connection.execute("BEGIN")
            yield connection
        except STORE_ERRORS as error:
            raise store_read_failure(error, self._what) from error
        finally:
            self._give_back(connection)

    def close(self) -> None:
        """Close every connection when it is returned; a second call does nothing.

        Raises Unavailable if one is not returned in time.
        """
        if self._closed:
            return
        self._closed = True
        for _ in range(self._size):
            try:
                self._idle.get(timeout=self._wait_s).close()
            except queue.Empty:
                raise Unavailable(f"{self._what}: a read still runs after {self._wait_s} s") from None

    def _take(self) -> sqlite3.Connection:
        if self._closed:
            raise Unavailable(f"{self._what} is closed")
        try:
            return self._idle.get(timeout=self._wait_s)
        except queue.Empty:
            if self._closed:
                raise Unavailable(f"{self._what} is closed") from None
            raise ResourceExhausted(
                f"{self._what}: all {self._size} read connections were busy for {self._wait_s} s",
                ErrorDetails(limit="read_connections", retry_after_s=BUSY_RETRY_S),
            ) from None

    def _give_back(self, connection: sqlite3.Connection) -> None:
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        finally:
            self._idle.put_nowait(connection)


_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.001, 0.02


def checkpoint(connection: sqlite3.Connection, *, wait_s: float, truncate_wait_s: float) -> bool:
    """Move everything committed so far into the database file and flush it. Call it where nothing else writes.

    Returns False if reads of older states did not end within wait_s seconds. Otherwise waits up to truncate_wait_s for
    all reads to end, to free the space of the write-ahead log; if they do not end, a later call shrinks it. SQLite's
    own waiting (FULL) is not used: it waits until a read mark is free, and overlapping reads of the newest state hold
    the mark in turn. A passive attempt reads the marks again each time. Raises sqlite3.Error.
    """
    deadline, pause_s = Deadline.after(wait_s, time.monotonic), _FIRST_PAUSE_S
    while not _copy(connection):
        if deadline.passed:
            return False
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
    fault_point("store.copied")
    connection.execute(f"PRAGMA busy_timeout = {int(truncate_wait_s * 1000)}")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return True


def _copy(connection: sqlite3.Connection) -> bool:
    busy, logged, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return not busy and logged == copied
