"""Moves SQLite's write-ahead log into the database file, beside reads that never pause."""

from __future__ import annotations

import sqlite3
import time

from shoal.core.deadline import Deadline
from shoal.runtime.fault_points import fault_point

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.001, 0.02


def checkpoint(connection: sqlite3.Connection, *, wait_s: float, truncate_wait_s: float) -> bool:
    """Move everything that is committed now into the database file, and flush it. Call it where nothing else writes.

    Returns False when reads of older states did not end within wait_s seconds. Then waits up to truncate_wait_s for all
    reads, to free the log's room; when they do not end, a later call shrinks the log. SQLite's own waiting (FULL) is
    not used: it waits until a read mark is free, and overlapping reads of the newest state take turns in holding it. A
    passive attempt looks at the marks afresh each time. Raises sqlite3.Error.
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
