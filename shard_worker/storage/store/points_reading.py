"""Reads the table `points`. Checks every row that is read against its crc; a mismatch is DataLoss."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from shoal.core.errors import DataLoss
from shoal.core.points import IdArray, Matrix, PointId, StoredColumns, id_array
from shoal.shard_worker.storage.checksum import key_crc, part_crc, point_crc
from shoal.shard_worker.storage.store.chunks import in_chunks, marks
from shoal.shard_worker.storage.store.meta_table import read_counters
from shoal.shard_worker.storage.store.mutation import Rows

_NOT_WRITTEN_BY_US = (TypeError, struct.error, UnicodeEncodeError)
"""Errors of the checksum functions for a stored value whose type was changed by damage."""

_HEAD = "row, id, seq, crc, payload_crc, vector_crc"
_BY_ROW = "points WHERE row"
_BY_ID = "points INDEXED BY points_by_id WHERE id"


_PAGE_ROWS = 1_024
"""Points of a page that are read at once."""

Check = Callable[[], None]
"""Called between two pieces of a read; raises to end the read."""


def unchecked() -> None:
    """Do nothing, so that the read goes on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WantedColumns:
    """The columns to read of each point.

    path: of the store, for errors; dim: of the stored vectors; check: called between two pieces of a read.
    """

    path: Path
    dim: int
    with_vectors: bool
    with_payloads: bool
    check: Check = unchecked


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredRows:
    """Points by row number.

    found: (n,) bool, true for each requested row that exists; columns: the existing ones, in the requested order.
    """

    found: npt.NDArray[np.bool_]
    columns: StoredColumns


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveRows:
    """Every row and the id of its point. rows: (n,) int64 ascending; ids: (n,)."""

    rows: Rows
    ids: IdArray


class _Point(NamedTuple):
    row: int
    id: PointId
    payload: bytes | None
    vector: bytes | None


def read_by_id(connection: sqlite3.Connection, ids: Sequence[PointId], shape: WantedColumns) -> StoredColumns:
    """Return the points with these ids, in this order; missing ones are left out."""
    found: dict[PointId, _Point] = {}
    for chunk in in_chunks(ids):
        shape.check()
        found.update((point.id, point) for point in _select(connection, f"{_BY_ID} IN ({marks(len(chunk))})", chunk, shape))
    if not found.keys() <= set(ids):
        raise DataLoss(f"{shape.path} is damaged: the index on id leads to rows of other ids")
    return _columns([found[point_id] for point_id in ids if point_id in found], shape)


def read_by_row(connection: sqlite3.Connection, rows: Sequence[int], shape: WantedColumns) -> StoredRows:
    """Return the points in these rows, in this order."""
    found: dict[int, _Point] = {}
    for chunk in in_chunks(rows):
        found.update((point.row, point) for point in _select(connection, f"{_BY_ROW} IN ({marks(len(chunk))})", chunk, shape))
    mask = np.array([row in found for row in rows], dtype=np.bool_)
    return StoredRows(found=mask, columns=_columns([found[row] for row in rows if row in found], shape))


def no_rows(shape: WantedColumns) -> StoredRows:
    """Return what `read_by_row` returns for no rows."""
    return StoredRows(found=np.zeros(0, dtype=np.bool_), columns=_columns((), shape))


def read_page(connection: sqlite3.Connection, after: PointId | None, limit: int, shape: WantedColumns) -> StoredColumns:
    """Return at most `limit` points whose ids follow `after`, ordered by id."""
    points: list[_Point] = []
    while len(points) < limit:
        shape.check()
        condition, values = ("IS NOT NULL", []) if after is None else ("> ?", [after])
        wanted = min(_PAGE_ROWS, limit - len(points))
        read = _select(connection, f"{_BY_ID} {condition} ORDER BY id LIMIT ?", [*values, wanted], shape)
        points += read
        if len(read) < wanted:
            break
        after = read[-1].id
    return _columns(points, shape)


def read_live_rows(connection: sqlite3.Connection, path: Path) -> LiveRows:
    """Return every row and its id, from the index on id alone, without reading vectors.

    Raises DataLoss if the index does not hold exactly the rows and ids that were written.
    """
    keys = connection.execute("SELECT row, id FROM points INDEXED BY points_by_id").fetchall()
    known = read_counters(connection, path)
    if len(keys) != known.points or _keys_sum(keys) != known.keys_sum:
        raise DataLoss(f"{path} is damaged: the index on id does not hold the {known.points} points that were written")
    rows = np.fromiter((row for row, _ in keys), dtype=np.int64, count=len(keys))
    order = np.argsort(rows)
    return LiveRows(rows=rows[order], ids=id_array(point_id for _, point_id in keys)[order])


def _keys_sum(keys: Sequence[tuple[Any, Any]]) -> int | None:
    try:
        return sum(key_crc(row, point_id) for row, point_id in keys) % 2**32
    except _NOT_WRITTEN_BY_US:
        return None


def _select(connection: sqlite3.Connection, source: str, values: Sequence[Any], shape: WantedColumns) -> list[_Point]:
    # Read only the wanted columns: a vector is most of a row. Fetch all rows at once: a statement that an error leaves
    # unfinished would delay the next checkpoint.
    payloads, vectors = shape.with_payloads, shape.with_vectors
    wanted = f"{'payload' if payloads else 'NULL'}, {'vector' if vectors else 'NULL'}"
    points: list[_Point] = []
    for row, point_id, seq, crc, payload_crc, vector_crc, payload, vector in connection.execute(
        f"SELECT {_HEAD}, {wanted} FROM {source}", values
    ).fetchall():
        try:
            whole = (
                point_crc(row, point_id, seq, payload_crc, vector_crc) == crc
                and (not payloads or part_crc(payload) == payload_crc)
                and (not vectors or part_crc(vector) == vector_crc)
            )
        except _NOT_WRITTEN_BY_US:
            whole = False
        if not whole:
            raise DataLoss(f"{shape.path} is damaged: the crc of row {row} (id {point_id!r}) does not match")
        points.append(_Point(row, point_id, payload, vector))
    return points


def _columns(points: Sequence[_Point], shape: WantedColumns) -> StoredColumns:
    return StoredColumns(
        ids=id_array(point.id for point in points),
        vectors=_matrix(points, shape.dim) if shape.with_vectors else None,
        payloads=tuple(point.payload for point in points) if shape.with_payloads else None,
    )


def _matrix(points: Sequence[_Point], dim: int) -> Matrix:
    data = b"".join([point.vector or b"" for point in points])
    matrix: Matrix = np.frombuffer(data, dtype="<f4").reshape(len(points), dim)
    return matrix
