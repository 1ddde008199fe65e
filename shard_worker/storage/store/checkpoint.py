"""Moving SQLite's write-ahead log into the database file, beside reads that never pause."""

from __future__ import annotations

import sqlite3
import time

from shoal.runtime.fault_points import fault_point

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
