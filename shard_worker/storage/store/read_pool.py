"""A bounded number of read connections, lent out one thread at a time."""

from __future__ import annotations

import queue
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shoal.core.errors import BUSY_RETRY_S, ErrorDetails, ResourceExhausted, Unavailable
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
