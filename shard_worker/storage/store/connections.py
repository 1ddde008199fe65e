"""Connections to one store: a bounded number of them for reads, lent to one thread at a time; and moving SQLite's
write-ahead log into the database file beside reads that never pause.
"""

from __future__ import annotations

import queue
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shoal.core.errors import BUSY_RETRY_S, ErrorDetails, ResourceExhausted, Unavailable
from shoal.runtime.fault_points import fault_point
from shoal.shard_worker.storage.failure import STORE_ERRORS, store_read_failure


class ReadPool:
    """Read connections to one store."""

    def __init__(self, *, what: str, connect: Callable[[], sqlite3.Connection], size: int, wait_s: float) -> None:
        self._what, self._size, self._wait_s = what, size, wait_s
        self._closed = False
        self._idle: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue(maxsize=size)
        for _ in range(size):
            self._idle.put_nowait(connect())

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """A connection inside one read transaction: all statements see the same state.

        Raises ResourceExhausted when all are lent for too long, Unavailable when the pool is closed; re-types what
        SQLite raises.
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
        """Close every connection as it comes back; a second call does nothing.

        Raises Unavailable when one does not in time.
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
    """Whether everything that is committed now lies, flushed, in the database file. Called where nothing else writes.

    Waits up to wait_s for reads of older states, then up to truncate_wait_s for all reads to give the log's room back;
    when that fails the log is shrunk by a later call. SQLite's own waiting (FULL) is not used: it waits for a read mark
    to be free, and reads of the newest state that overlap take turns in holding it. A passive attempt looks at the
    marks afresh each time. Raises sqlite3.Error.
    """
    deadline, pause_s = time.monotonic() + wait_s, _FIRST_PAUSE_S
    while not _copy(connection):
        if time.monotonic() >= deadline:
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
