"""The tables `requests` (remembered writes) and `segments` (known index files)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shoal.core.errors import DataLoss, Internal
from shoal.core.ids import RequestId, Seq
from shoal.shard_worker.logic.replication.request_memory import Remembered
from shoal.shard_worker.storage.checksum import values_crc


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentEntry:
    """One file under `segments/`. rows: number of its rows; applied_seq: of the state that it was built from."""

    name: str
    size_bytes: int
    sha256: str
    rows: int
    applied_seq: Seq


def remember_request(connection: sqlite3.Connection, entry: Remembered) -> None:
    """Remember one write."""
    values = (entry.request_id.client, entry.request_id.number, entry.seq, entry.affected, entry.time_ms)
    connection.execute(
        "INSERT OR REPLACE INTO requests (client, number, seq, affected, time_ms, crc) VALUES (?, ?, ?, ?, ?, ?)",
        (*values, values_crc(values)),
    )


def forget_requests(connection: sqlite3.Connection, through: Iterable[tuple[str, int]], clients: Iterable[str]) -> None:
    """Forget writes. through: (client, number) pairs, up to and including the number; clients: all writes of these."""
    connection.executemany("DELETE FROM requests WHERE client = ? AND number <= ?", through)
    connection.executemany("DELETE FROM requests WHERE client = ?", [(client,) for client in clients])


def read_requests(connection: sqlite3.Connection, path: Path) -> list[Remembered]:
    """Return every remembered write, in order of seq. Raises DataLoss for a damaged row."""
    found = connection.execute("SELECT client, number, seq, affected, time_ms, crc FROM requests ORDER BY seq").fetchall()
    return [
        Remembered(request_id=RequestId(client, number), seq=Seq(seq), affected=affected, time_ms=time_ms)
        for client, number, seq, affected, time_ms in (_checked(row, path, "requests") for row in found)
    ]


def replace_segments(connection: sqlite3.Connection, add: Sequence[SegmentEntry], remove: Sequence[str]) -> None:
    """Add and remove names of files. Raises Internal if an added name exists or a removed one does not."""
    for name in remove:
        if connection.execute("DELETE FROM segments WHERE name = ?", (name,)).rowcount != 1:
            raise Internal(f"segment file {name} is not named in the store")
    for entry in add:
        values = (entry.name, entry.size_bytes, entry.sha256, entry.rows, entry.applied_seq)
        inserted = connection.execute("INSERT OR IGNORE INTO segments VALUES (?, ?, ?, ?, ?, ?)", (*values, values_crc(values)))
        if inserted.rowcount != 1:
            raise Internal(f"segment file {entry.name} is already named in the store")


def read_segments(connection: sqlite3.Connection, path: Path) -> list[SegmentEntry]:
    """Return every named file, ordered by name. Raises DataLoss for a damaged row."""
    found = connection.execute("SELECT name, size_bytes, sha256, rows, applied_seq, crc FROM segments ORDER BY name").fetchall()
    return [
        SegmentEntry(name=name, size_bytes=size_bytes, sha256=sha256, rows=rows, applied_seq=Seq(applied_seq))
        for name, size_bytes, sha256, rows, applied_seq in (_checked(row, path, "segments") for row in found)
    ]


def _checked(row: tuple[Any, ...], path: Path, table: str) -> tuple[Any, ...]:
    *values, crc = row
    try:
        right = values_crc(values) == crc
    except TypeError:
        right = False
    if not right:
        raise DataLoss(f"{path} is damaged: the crc of a row of {table} does not match: {tuple(values)}")
    return tuple(values)
