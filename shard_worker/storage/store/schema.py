"""store.db as SQLite sees it: tables, connections and their settings.

`id` has no declared type, hence no affinity: 1 and '1' are different ids, integers sort before strings, strings by
their UTF-8 bytes. Every row carries the crc32c of what it holds.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from shoal.core.errors import DataLoss

STORE_FORMAT = 1

_TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE points (row INTEGER PRIMARY KEY, id NOT NULL, seq INTEGER NOT NULL, crc INTEGER NOT NULL,"
    " payload_crc INTEGER NOT NULL, vector_crc INTEGER NOT NULL, payload BLOB, vector BLOB NOT NULL)",
    "CREATE UNIQUE INDEX points_by_id ON points (id)",
    "CREATE TABLE segments (name TEXT PRIMARY KEY, size_bytes INTEGER NOT NULL, sha256 TEXT NOT NULL, rows INTEGER NOT NULL,"
    " applied_seq INTEGER NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE requests (client TEXT NOT NULL, number INTEGER NOT NULL, seq INTEGER NOT NULL, affected INTEGER NOT NULL,"
    " time_ms INTEGER NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (client, number)) WITHOUT ROWID",
)


def create_tables(path: Path) -> sqlite3.Connection:
    """A writing connection to a new file with empty tables, in WAL mode. Raises sqlite3.Error."""
    connection = _connect(path, "rwc")
    # page size before anything else: it is fixed by the first page that is written
    connection.execute("PRAGMA page_size = 16384")
    connection.execute("PRAGMA journal_mode = WAL")
    for statement in _TABLES:
        connection.execute(statement)
    return connection


def check_tables(connection: sqlite3.Connection, path: Path) -> None:
    """Raise DataLoss when the tables are not those that were created: a changed declaration would change what
    statements mean.
    """
    found = {statement for (statement,) in connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")}
    if found != set(_TABLES):
        raise DataLoss(f"{path} is damaged: its tables are declared otherwise than they were created")


def connect_writer(path: Path, *, cache_bytes: int, busy_wait_s: float) -> sqlite3.Connection:
    """The one connection that writes.

    Commits are not flushed: the log is the source of durability. Raises sqlite3.Error.
    """
    connection = _connect(path, "rw")
    _tune(connection, cache_bytes=cache_bytes, busy_wait_s=busy_wait_s)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    # deleted content is overwritten with zeros where SQLite was built so: pages written for nothing
    connection.execute("PRAGMA secure_delete = OFF")
    return connection


def connect_reader(path: Path, *, cache_bytes: int, busy_wait_s: float) -> sqlite3.Connection:
    """A connection that reads beside the writer. Raises sqlite3.Error."""
    connection = _connect(path, "rw")
    _tune(connection, cache_bytes=cache_bytes, busy_wait_s=busy_wait_s)
    connection.execute("PRAGMA query_only = ON")
    return connection


def connect_copy(path: Path) -> sqlite3.Connection:
    """A connection to a new file that a store is copied into, not flushed. Raises sqlite3.Error."""
    connection = _connect(path, "rwc")
    connection.execute("PRAGMA synchronous = OFF")
    return connection


def connect_inspector(path: Path) -> sqlite3.Connection:
    """A connection that reads a store nobody else has open and leaves every file as it is. Raises sqlite3.Error.

    Without locks, and alone by declaration, SQLite keeps its index of the write-ahead log in memory instead of in a
    file.
    """
    connection = _connect(path, "ro", "&vfs=unix-none")
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA cell_size_check = ON")
    return connection


def _connect(path: Path, mode: str, more: str = "") -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}{more}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, cached_statements=128)


def _tune(connection: sqlite3.Connection, *, cache_bytes: int, busy_wait_s: float) -> None:
    connection.execute(f"PRAGMA cache_size = -{cache_bytes // 1024}")
    connection.execute(f"PRAGMA busy_timeout = {int(busy_wait_s * 1000)}")
    connection.execute("PRAGMA cell_size_check = ON")
