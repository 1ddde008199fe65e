"""The SQLite side of store.db: tables, connections and their settings.

`id` has no declared type and so no affinity: 1 and '1' are different ids, integers sort before strings, and strings
sort by their UTF-8 bytes. Every row carries the crc32c of its content.
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
    """Create a file with empty tables. Return a connection to it, within a transaction. Raises sqlite3.Error.

    Nothing is flushed, and a crash leaves a file of no use. End the transaction with `finish_tables`.
    """
    connection = _connect(path, "rwc")
    # set the page size first: the first written page fixes it
    connection.execute("PRAGMA page_size = 16384")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA journal_mode = MEMORY")
    connection.execute("BEGIN")
    for statement in _TABLES:
        connection.execute(statement)
    return connection


def finish_tables(connection: sqlite3.Connection) -> None:
    """Commit what was written since `create_tables`, and set WAL mode. Raises sqlite3.Error."""
    connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode = WAL")


def check_tables(connection: sqlite3.Connection, path: Path) -> None:
    """Raise DataLoss if the tables are not declared as they were created.

    A changed declaration would change the meaning of statements.
    """
    found = {statement for (statement,) in connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")}
    if found != set(_TABLES):
        raise DataLoss(f"{path} is damaged: its tables are not declared as they were created")


def connect_writer(path: Path, *, cache_bytes: int, busy_wait_s: float) -> sqlite3.Connection:
    """Open the one connection that writes.

    Commits are not flushed: the log is the source of durability. Raises sqlite3.Error.
    """
    connection = _connect(path, "rw")
    _tune(connection, cache_bytes=cache_bytes, busy_wait_s=busy_wait_s)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    # some builds of SQLite overwrite deleted content with zeros, which writes pages for no use
    connection.execute("PRAGMA secure_delete = OFF")
    return connection


def page_bytes(connection: sqlite3.Connection) -> int:
    """Return the bytes of all pages of the database, as the connection sees it: with those that are only in the
    write-ahead log. Raises sqlite3.Error.
    """
    ((pages,),), ((size,),) = connection.execute("PRAGMA page_count"), connection.execute("PRAGMA page_size")
    return int(pages) * int(size)


def connect_reader(path: Path, *, cache_bytes: int, busy_wait_s: float) -> sqlite3.Connection:
    """Open a connection that reads beside the writer. Raises sqlite3.Error."""
    connection = _connect(path, "rw")
    _tune(connection, cache_bytes=cache_bytes, busy_wait_s=busy_wait_s)
    connection.execute("PRAGMA query_only = ON")
    return connection


def connect_copy(path: Path) -> sqlite3.Connection:
    """Open a connection to a new file into which a store is copied, without flushes. Raises sqlite3.Error."""
    connection = _connect(path, "rwc")
    connection.execute("PRAGMA synchronous = OFF")
    return connection


def connect_inspector(path: Path) -> sqlite3.Connection:
    """Open a connection that reads a store no other process has open, and changes no file. Raises sqlite3.Error.

    Without locks and in exclusive mode, SQLite keeps its index of the write-ahead log in memory instead of in a file.
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
