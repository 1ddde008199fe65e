"""The table `meta`: the identity of the store and its counters."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from shoal.core.errors import DataLoss, PreconditionFailed
from shoal.core.ids import ClusterId, ReplicaId, Seq
from shoal.shard_worker.storage.checksum import values_crc
from shoal.shard_worker.storage.sealed_json import check_cluster, check_format
from shoal.shard_worker.storage.store.schema import STORE_FORMAT

VectorDims = tuple[tuple[str, int], ...]
"""Name and dimension of named vectors."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreIdentity:
    """The cluster and replica that a store belongs to. dim: of its vectors; vectors: name and dimension of each named
    vector that these are packed of (ADR 36), in their order, empty if they are not packed."""

    cluster_id: ClusterId
    replica_id: ReplicaId
    dim: int
    vectors: VectorDims = ()

    @property
    def dims(self) -> list[int]:
        """Return the dimensions of the named vectors."""
        return [dim for _, dim in self.vectors]


@dataclass(frozen=True, kw_only=True, slots=True)
class Counters:
    """The applied seq of the store and its expected content.

    next_row: first row number never used so far, not even by a deleted row; points: rows in `points`; keys_sum: sum of
    their key_crc modulo 2**32, to detect a damaged index on id.
    """

    applied_seq: Seq = Seq(0)
    next_row: int = 1
    points: int = 0
    keys_sum: int = 0


def write_identity(connection: sqlite3.Connection, identity: StoreIdentity) -> None:
    """Fill the table of a new store."""
    _write(connection, {"format": STORE_FORMAT, "cluster_id": identity.cluster_id, "replica_id": identity.replica_id, "dim": identity.dim})
    if identity.vectors:
        _write(connection, {"vectors": json.dumps(identity.vectors)})
    write_counters(connection, Counters())


def write_replica_id(connection: sqlite3.Connection, replica_id: ReplicaId) -> None:
    """Assign the store to another replica, in the caller's transaction."""
    _write(connection, {"replica_id": replica_id})


def write_counters(connection: sqlite3.Connection, counters: Counters) -> None:
    """Replace the counters, in the caller's transaction."""
    _write(connection, asdict(counters))


def read_identity(connection: sqlite3.Connection, path: Path, *, cluster_id: ClusterId, replica_id: ReplicaId) -> StoreIdentity:
    """Read and check the identity.

    Raises PreconditionFailed for a newer format or another replica's or cluster's store, DataLoss for damage.
    """
    check_format(path, _read(connection, path, "format", int), STORE_FORMAT)
    check_cluster(path, _read(connection, path, "cluster_id", str), cluster_id)
    found = _read(connection, path, "replica_id", str)
    if found != replica_id:
        raise PreconditionFailed(f"{path} belongs to replica {found}, not to {replica_id}")
    dim, vectors = _read(connection, path, "dim", int), _read_vectors(connection, path)
    if vectors and dim != 1 + sum(each for _, each in vectors):
        raise DataLoss(f"{path} is damaged: its rows of {dim} numbers are not packed of {vectors}")
    return StoreIdentity(cluster_id=cluster_id, replica_id=replica_id, dim=dim, vectors=vectors)


def read_counters(connection: sqlite3.Connection, path: Path) -> Counters:
    """Return the committed counters. Raises DataLoss for damage."""
    return Counters(
        applied_seq=Seq(_read(connection, path, "applied_seq", int)),
        next_row=_read(connection, path, "next_row", int),
        points=_read(connection, path, "points", int),
        keys_sum=_read(connection, path, "keys_sum", int),
    )


def _read_vectors(connection: sqlite3.Connection, path: Path) -> VectorDims:
    """Return the named vectors. Stores without them, also those of versions that knew none, do not have the key."""
    if connection.execute("SELECT 1 FROM meta WHERE key = 'vectors'").fetchone() is None:
        return ()
    return tuple((str(name), int(dim)) for name, dim in json.loads(_read(connection, path, "vectors", str)))


def _write(connection: sqlite3.Connection, values: Mapping[str, int | str]) -> None:
    connection.executemany(
        "INSERT OR REPLACE INTO meta (key, value, crc) VALUES (?, ?, ?)",
        [(key, value, values_crc((key, value))) for key, value in values.items()],
    )


def _read(connection: sqlite3.Connection, path: Path, key: str, kind: type[int] | type[str]) -> Any:
    found = connection.execute("SELECT value, crc FROM meta WHERE key = ?", (key,)).fetchone()
    if found is None:
        raise DataLoss(f"{path} is damaged: meta holds no {key}")
    value, crc = found
    if not isinstance(value, kind) or values_crc((key, value)) != crc:
        raise DataLoss(f"{path} is damaged: the crc of {key} in meta does not match")
    return value
