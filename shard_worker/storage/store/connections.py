"""Connections to one store: a bounded pool for reads, and the checkpoint.

A read connection is lent to one thread at a time. A checkpoint moves SQLite's write-ahead log into the database file,
also while reads go on without a pause.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shoal.core.deadline import Deadline
from shoal.core.errors import BUSY_RETRY_S, ErrorDetails, ResourceExhausted, Unavailable
from shoal.runtime.fault_points import fault_point
from shoal.shard_worker.storage.failure import STORE_ERRORS, store_read_failure


class ReadPool:
    """The read connections to one store: made when they are needed, at most `size`."""

    def __init__(self, *, what: str, connect: Callable[[], sqlite3.Connection], size: int, wait_s: float) -> None:
        self._what, self._connect, self._size, self._wait_s = what, connect, size, wait_s
        self._changed = threading.Condition()
        self._idle: list[sqlite3.Connection] = []
        self._made = 0
        self._closed = False

    def prepare(self) -> None:
        """Make the first connection, so that the next read need not. Raises sqlite3.Error."""
        if self._may_make():
            self._give_back(self._make())

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection inside one read transaction: all statements see the same state.

        Raises ResourceExhausted if all connections are busy for too long, Unavailable if the pool is closed. Converts
        the errors of SQLite.
        """
        connection: sqlite3.Connection | None = None
        try:
            connection = self._take()
            connection.execute("BEGIN")
            yield connection
        except STORE_ERRORS as error:
            raise store_read_failure(error, self._what) from error
        finally:
            if connection is not None:
                self._give_back(connection)

    def close_unused(self) -> bool:
        """Close every connection, unless one is lent: then do nothing. Return whether they are closed now."""
        with self._changed:
            if len(self._idle) < self._made:
                return False
            self._closed = True
            unused, self._idle, self._made = self._idle, [], 0
        for connection in unused:
            connection.close()
        return True

    def close(self) -> None:
        """Close every connection when it is returned; a second call does nothing.

        Raises Unavailable if one is not returned in time.
        """
        deadline = Deadline.after(self._wait_s, time.monotonic)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            while self._made:
                if not self._changed.wait_for(lambda: bool(self._idle), deadline.left_s):
                    raise Unavailable(f"{self._what}: a read still runs after {self._wait_s} s")
                self._idle.pop().close()
                self._made -= 1

    def _take(self) -> sqlite3.Connection:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._idle or self._made < self._size, self._wait_s)
            if self._closed:
                raise Unavailable(f"{self._what} is closed")
            if self._idle:
                return self._idle.pop()
            if self._made == self._size:
                raise ResourceExhausted(
                    f"{self._what}: all {self._size} read connections were busy for {self._wait_s} s",
                    ErrorDetails(limit="read_connections", retry_after_s=BUSY_RETRY_S),
                )
            self._made += 1
        return self._make()

    def _may_make(self) -> bool:
        with self._changed:
            may = not self._closed and not self._made
            self._made += may
        return may

    def _make(self) -> sqlite3.Connection:
        """Make a connection that is already counted."""
        try:
            return self._connect()
        except BaseException:
            with self._changed:
                self._made -= 1
                self._changed.notify()
            raise

    def _give_back(self, connection: sqlite3.Connection) -> None:
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        finally:
            with self._changed:
                self._idle.append(connection)
                self._changed.notify()


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
