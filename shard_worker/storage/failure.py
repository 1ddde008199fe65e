"""Converts errors of the operating system and of SQLite into errors of Shoal's tree.

Neither OSError nor sqlite3.Error leaves this room.
"""

from __future__ import annotations

import dataclasses
import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from shoal.core.errors import DataLoss, ErrorDetails, ShoalError, Unavailable
from shoal.shard_worker.logic.replication.events import DISK_LIMIT
from shoal.shard_worker.storage.durable import FlushFailed

_FULL_ERRNO = frozenset({errno.ENOSPC, errno.EDQUOT})
_DAMAGED = frozenset(
    # the last three: our statements are fixed, so they can only fail with these errors if the tables are damaged
    {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH}
)
_NO_ROOM = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE})
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


STORE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""The errors that a call of the sqlite3 module raises. UnicodeDecodeError: for a damaged schema, the module fails to
decode SQLite's own message.
"""

StoreError = sqlite3.Error | UnicodeDecodeError


class StorageFailed(Unavailable):
    """The disk refused a write or a flush.

    The object that holds the file refuses everything from then on: which bytes reached the disk is unknown until the
    file is opened again.
    """


class DiskFull(StorageFailed):
    """There was no space for a write. Flushed data is not in doubt: with space, the file can be opened again and used.

    A failed flush is never a DiskFull, even if the disk is full: the kernel may have dropped earlier writes.
    """

    def __init__(self, message: str, details: ErrorDetails | None = None) -> None:
        super().__init__(message, dataclasses.replace(details or ErrorDetails(), limit=DISK_LIMIT))


def write_failure(error: OSError, what: str) -> StorageFailed:
    """Return the error for a failed write, flush or rename."""
    if error.errno not in _FULL_ERRNO:
        return StorageFailed(f"{what}: write failed: {error}")
    kind = StorageFailed if isinstance(error, FlushFailed) else DiskFull
    return kind(f"{what}: disk full: {error}")


@contextmanager
def writes_retyped(what: str) -> Iterator[None]:
    """Convert an OSError within the block into a StorageFailed that names `what`."""
    try:
        yield
    except OSError as error:
        raise write_failure(error, what) from error


def read_failure(error: OSError, what: str) -> ShoalError:
    """Return the error for a failed read: DataLoss if the bytes are unreadable or gone, else StorageFailed."""
    if isinstance(error, FileNotFoundError):
        return DataLoss(f"{what} is missing")
    if error.errno == errno.EIO:
        return DataLoss(f"{what} is unreadable: {error}")
    return StorageFailed(f"{what}: read failed: {error}")


def store_write_failure(error: StoreError, what: str) -> ShoalError:
    """Return the error for a failed SQLite transaction or checkpoint: DataLoss if the file is damaged, else
    StorageFailed.
    """
    code = _primary_code(error)
    if isinstance(error, UnicodeDecodeError) or code in _DAMAGED:
        return DataLoss(f"{what}: the file is damaged: {error}")
    return _no_room(error, what) or StorageFailed(f"{what}: write failed: {error}")


def store_read_failure(error: StoreError, what: str) -> ShoalError:
    """Return the error for a failed SQLite query.

    DataLoss if the file is damaged, Unavailable if it is locked or closed, DiskFull if there is no space, else
    StorageFailed.
    """
    code, full = _primary_code(error), _no_room(error, what)
    if full is not None:
        return full
    if code in _BUSY:
        return Unavailable(f"{what}: locked: {error}")
    if isinstance(error, sqlite3.ProgrammingError):
        return Unavailable(f"{what}: read failed: {error}")
    if code is None or code in _DAMAGED or code == sqlite3.SQLITE_IOERR:
        # no code: the sqlite3 module itself could not decode a stored text
        return DataLoss(f"{what}: the file is damaged: {error}")
    return StorageFailed(f"{what}: read failed: {error}")


def _no_room(error: StoreError, what: str) -> DiskFull | None:
    # A failed flush is always SQLITE_IOERR_FSYNC, never one of these.
    full = getattr(error, "sqlite_errorcode", None) in _NO_ROOM
    return DiskFull(f"{what}: disk full: {error}") if full else None


def _primary_code(error: StoreError) -> int | None:
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
