"""Reads a store from end to end for a check, without changing any file.

Owns one connection that writes nothing, not even the files that SQLite keeps beside a database in use. It takes no
lock: the caller makes sure that no worker has the store open. Describes damage row by row where the table can still be
read.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shoal.core.errors import DataLoss
from shoal.core.ids import ClusterId, ReplicaId
from shoal.core.payload import stored_value
from shoal.core.points import PointId
from shoal.shard_worker.logic.replication.request_memory import Remembered
from shoal.shard_worker.storage.checksum import key_crc, part_crc, point_crc
from shoal.shard_worker.storage.failure import STORE_ERRORS, store_read_failure
from shoal.shard_worker.storage.store.meta_table import Counters, StoreIdentity, read_counters, read_identity
from shoal.shard_worker.storage.store.points_reading import read_live_rows
from shoal.shard_worker.storage.store.schema import check_tables, connect_inspector
from shoal.shard_worker.storage.store.small_tables import SegmentEntry, read_requests, read_segments

CHUNK_ROWS = 512

MOST_PROBLEMS = 100
"""Most problems that SQLite itself reports."""

_NOT_WRITTEN_BY_US = (TypeError, struct.error, UnicodeEncodeError)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredPoint:
    """A row of `points` whose crcs are right. payload: JSON (UTF-8) or None; vector: little-endian float32."""

    row: int
    id: PointId
    seq: int
    key_crc: int
    payload: bytes | None
    vector: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class BadPoint:
    """A damaged row of `points`. reason: text for people."""

    row: int
    reason: str


class StoreInspection:
    """A store that no other process has open. Created by `opened`. Every method raises DataLoss for unreadable data."""

    def __init__(self, *, path: Path, connection: sqlite3.Connection) -> None:
        self._path, self._connection = path, connection

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator[StoreInspection]:
        """Open the store at `path`, at the last commit that reached the disk.

        Raises DataLoss if it is missing or not a database.
        """
        if not path.is_file():
            raise DataLoss(f"{path} is missing")
        with _retyped(path):
            connection = connect_inspector(path)
        try:
            yield cls(path=path, connection=connection)
        finally:
            connection.close()

    def identity(self, *, cluster_id: ClusterId, replica_id: ReplicaId) -> StoreIdentity:
        """Check the tables and return the identity. Raises PreconditionFailed for a newer format or another's store."""
        with _retyped(self._path):
            check_tables(self._connection, self._path)
            return read_identity(self._connection, self._path, cluster_id=cluster_id, replica_id=replica_id)

    def counters(self) -> Counters:
        """Return the counters: the applied seq and the expected content."""
        with _retyped(self._path):
            return read_counters(self._connection, self._path)

    def problems(self) -> list[str]:
        """Return the problems that SQLite finds in pages, order, and between index and table. At most MOST_PROBLEMS."""
        with _retyped(self._path):
            found = [str(text) for (text,) in self._connection.execute(f"PRAGMA integrity_check({MOST_PROBLEMS})")]
        return [] if found == ["ok"] else found

    def check_keys(self) -> None:
        """Raise DataLoss if the index on id does not hold exactly the rows and ids that were written."""
        with _retyped(self._path):
            read_live_rows(self._connection, self._path)

    def points(self, identity: StoreIdentity, counters: Counters) -> Iterator[list[StoredPoint | BadPoint]]:
        """Yield every row of the table, ascending, each checked, in chunks of at most CHUNK_ROWS."""
        after: int = -(2**63)
        statement = (
            "SELECT row, id, seq, crc, payload_crc, vector_crc, payload, vector FROM points NOT INDEXED WHERE row > ? ORDER BY row LIMIT ?"
        )
        while True:
            with _retyped(self._path):
                found = self._connection.execute(statement, (after, CHUNK_ROWS)).fetchall()
            if not found:
                return
            yield [_checked(row, identity, counters) for row in found]
            after = found[-1][0]

    def requests(self) -> list[Remembered]:
        """Return every remembered write."""
        with _retyped(self._path):
            return read_requests(self._connection, self._path)

    def segments(self) -> list[SegmentEntry]:
        """Return every index file that the store names."""
        with _retyped(self._path):
            return read_segments(self._connection, self._path)


def _checked(found: tuple[Any, ...], identity: StoreIdentity, counters: Counters) -> StoredPoint | BadPoint:
    row, point_id, seq, crc, payload_crc, vector_crc, payload, vector = found
    try:
        right = (point_crc(row, point_id, seq, payload_crc, vector_crc), part_crc(payload), part_crc(vector))
        key = key_crc(row, point_id)
    except _NOT_WRITTEN_BY_US as error:
        return BadPoint(row=row, reason=f"it holds a value of another type ({error})")
    if right != (crc, payload_crc, vector_crc):
        wrong = [name for name, one, other in zip(_PARTS, right, (crc, payload_crc, vector_crc), strict=True) if one != other]
        return BadPoint(row=row, reason=f"the crc of its {', '.join(wrong)} does not match (id {point_id!r})")
    reason = _unfit(row, seq, payload, vector, identity, counters)
    if reason:
        return BadPoint(row=row, reason=f"{reason} (id {point_id!r})")
    return StoredPoint(row=row, id=point_id, seq=seq, key_crc=key, payload=payload, vector=vector)


_PARTS = ("head", "payload", "vector")


def _unfit(row: int, seq: int, payload: bytes | None, vector: bytes, identity: StoreIdentity, counters: Counters) -> str:
    """Return why a row with right crcs is impossible, as text; "" if it is possible."""
    if not 1 <= row < counters.next_row:
        return f"its row number is not from 1 to {counters.next_row - 1}"
    if not 1 <= seq <= counters.applied_seq:
        return f"it was written by record {seq}, the store has applied {counters.applied_seq}"
    if len(vector) != 4 * identity.dim:
        return f"its vector has {len(vector)} bytes, dimension {identity.dim} needs {4 * identity.dim}"
    if payload is not None and not _is_object(payload):
        return "its payload is no JSON object"
    return ""


def _is_object(payload: bytes) -> bool:
    return isinstance(stored_value(payload), dict)


@contextmanager
def _retyped(path: Path) -> Iterator[None]:
    try:
        yield
    except STORE_ERRORS as error:
        raise store_read_failure(error, f"store {path}") from error
