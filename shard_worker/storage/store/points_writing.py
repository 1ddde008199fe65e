"""Applies mutations to the table `points`, inside the caller's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np

from shoal.core.errors import DataLoss, Internal
from shoal.core.ids import Seq
from shoal.core.point_change import UpdatePacked, UpdateVectors, changed_points
from shoal.core.points import Matrix, PointColumns, PointId
from shoal.shard_worker.logic.replication.request_memory import Remembered
from shoal.shard_worker.storage.checksum import key_crc, key_crcs, part_crcs, point_crcs
from shoal.shard_worker.storage.store.chunks import in_chunks, marks
from shoal.shard_worker.storage.store.meta_table import Counters
from shoal.shard_worker.storage.store.mutation import Change, ChangeRows, DeleteRows, Mutation, Noop, PutRows, RemoveRows, Rows
from shoal.shard_worker.storage.store.points_reading import WantedColumns, read_by_id
from shoal.shard_worker.storage.store.small_tables import remember_request


@dataclass(frozen=True, kw_only=True, slots=True)
class Applied:
    """The change that one mutation made, and the counters after it."""

    change: Change
    counters: Counters


@dataclass(frozen=True, kw_only=True, slots=True)
class _Keys:
    """Added or removed rows, ascending, and the sum of their key_crc."""

    rows: Rows
    crc_sum: int


_ABSENT = object()
_NOTHING = _Keys(rows=np.empty(0, dtype=np.int64), crc_sum=0)


def apply_mutation(connection: sqlite3.Connection, mutation: Mutation, counters: Counters, shape: WantedColumns) -> Applied:
    """Apply one mutation and remember its request. shape: how to read the points that an update changes.

    Raises Internal if it is not the next one or its content is inconsistent; DataLoss if index and table disagree, or
    if a point that is read is damaged; sqlite3.Error.
    """
    if mutation.seq != counters.applied_seq + 1:
        raise Internal(f"mutation {mutation.seq} cannot be applied after {counters.applied_seq}")
    match mutation:
        case PutRows():
            _check_columns(mutation.columns, mutation.seq, shape.dim)
            applied = _put(connection, mutation.seq, mutation.columns, counters)
        case RemoveRows():
            applied = _delete(connection, mutation, counters)
        case DeleteRows():
            applied = _delete_rows(connection, mutation, counters)
        case ChangeRows():
            applied = _change(connection, mutation, counters, shape)
        case Noop():
            applied = _applied(mutation.seq, counters, killed=_NOTHING, made=_NOTHING, affected=0)
    if mutation.request is not None:
        remembered = Remembered(
            request_id=mutation.request.request_id,
            seq=mutation.seq,
            affected=applied.change.affected,
            time_ms=mutation.request.time_ms,
        )
        remember_request(connection, remembered)
    return applied


def _put(connection: sqlite3.Connection, seq: Seq, columns: PointColumns, counters: Counters) -> Applied:
    ids: list[PointId] = columns.ids.tolist()
    killed = _kill(connection, ids)
    connection.executemany(
        "INSERT INTO points (row, id, seq, crc, payload_crc, vector_crc, payload, vector) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        _table_rows(columns, ids, counters.next_row, seq),
    )
    rows = range(counters.next_row, counters.next_row + len(ids))
    made = _Keys(rows=np.array(rows, dtype=np.int64), crc_sum=sum(key_crcs(rows, columns.ids)))
    return _applied(seq, counters, killed=killed, made=made, affected=len(ids), written=columns)


def _change(connection: sqlite3.Connection, mutation: ChangeRows, counters: Counters, shape: WantedColumns) -> Applied:
    update, ids = mutation.update, mutation.update.ids.tolist()
    if len(set(ids)) != len(ids):
        raise Internal(f"update {mutation.seq} gives an id twice")
    match update.change:
        case UpdateVectors(vectors) | UpdatePacked(vectors) if vectors.shape != (len(ids), shape.dim):
            raise Internal(f"update {mutation.seq} has vectors of shape {vectors.shape}, it needs {(len(ids), shape.dim)}")
    return _put(connection, mutation.seq, changed_points(read_by_id(connection, ids, shape), update), counters)


def _delete(connection: sqlite3.Connection, delete: RemoveRows, counters: Counters) -> Applied:
    killed = _kill(connection, delete.ids.tolist())
    return _applied(delete.seq, counters, killed=killed, made=_NOTHING, affected=len(killed.rows))


def _delete_rows(connection: sqlite3.Connection, delete: DeleteRows, counters: Counters) -> Applied:
    if len(delete.ids) != len(delete.rows):
        raise Internal(f"delete {delete.seq} has {len(delete.rows)} rows for {len(delete.ids)} ids")
    found = _rows_of(connection, delete.ids.tolist())
    still = [row for row, point_id in zip(delete.rows.tolist(), delete.ids.tolist(), strict=True) if found.get(row, _ABSENT) == point_id]
    killed = _remove(connection, {row: found[row] for row in still})
    return _applied(delete.seq, counters, killed=killed, made=_NOTHING, affected=len(killed.rows))


def _applied(seq: Seq, counters: Counters, *, killed: _Keys, made: _Keys, affected: int, written: PointColumns | None = None) -> Applied:
    counters = Counters(
        applied_seq=seq,
        next_row=counters.next_row + len(made.rows),
        points=counters.points + len(made.rows) - len(killed.rows),
        keys_sum=(counters.keys_sum + made.crc_sum - killed.crc_sum) % 2**32,
    )
    return Applied(change=Change(seq=seq, killed_rows=killed.rows, rows=made.rows, affected=affected, written=written), counters=counters)


def _kill(connection: sqlite3.Connection, ids: list[PointId]) -> _Keys:
    """Delete the rows of the ids that exist."""
    return _remove(connection, _rows_of(connection, ids))


def _rows_of(connection: sqlite3.Connection, ids: list[PointId]) -> dict[int, PointId]:
    """Return the row of each id that exists."""
    found: dict[int, PointId] = {}
    for chunk in in_chunks(ids):
        found.update(connection.execute(f"SELECT row, id FROM points WHERE id IN ({marks(len(chunk))})", chunk).fetchall())
    return found


def _remove(connection: sqlite3.Connection, found: dict[int, PointId]) -> _Keys:
    rows = sorted(found)
    deleted = connection.executemany("DELETE FROM points WHERE row = ?", [(row,) for row in rows]).rowcount if rows else 0
    if deleted != len(rows):
        raise DataLoss(f"index and table of points disagree: {len(rows)} rows found by id, {deleted} of them exist")
    return _keys(rows, [found[row] for row in rows])


def _keys(rows: Sequence[int], ids: Sequence[PointId]) -> _Keys:
    return _Keys(rows=np.array(rows, dtype=np.int64), crc_sum=sum(map(key_crc, rows, ids)))


def _check_columns(columns: PointColumns, seq: Seq, dim: int) -> None:
    ids: list[PointId] = columns.ids.tolist()
    if columns.vectors.shape != (len(ids), dim):
        raise Internal(f"upsert {seq} has vectors of shape {columns.vectors.shape}, the store needs {(len(ids), dim)}")
    if columns.payloads is not None and len(columns.payloads) != len(ids):
        raise Internal(f"upsert {seq} has {len(columns.payloads)} payloads for {len(ids)} points")
    if len(set(ids)) != len(ids):
        raise Internal(f"upsert {seq} gives an id twice")


def _table_rows(
    columns: PointColumns, ids: list[PointId], first_row: int, seq: int
) -> Iterator[tuple[int, PointId, int, int, int, int, bytes | None, bytes]]:
    rows = range(first_row, first_row + len(ids))
    payloads, vectors = columns.payloads or (None,) * len(ids), _row_bytes(columns.vectors)
    payload_crcs, vector_crcs = part_crcs(payloads), part_crcs(vectors)
    crcs = point_crcs(rows, columns.ids, seq, payload_crcs, vector_crcs)
    return zip(rows, ids, repeat(seq), crcs, payload_crcs, vector_crcs, payloads, vectors, strict=False)


def _row_bytes(vectors: Matrix) -> list[bytes]:
    """Return the little-endian bytes of each row, copied once."""
    rows = np.ascontiguousarray(vectors, dtype="<f4")
    listed: list[bytes] = rows.view(f"V{rows.shape[1] * rows.itemsize}").reshape(-1).tolist()
    return listed
