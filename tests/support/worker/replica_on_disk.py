"""The data folder of a stopped worker with one small replica: sealed and growing rows, several log files."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shoal.core.collection import CollectionSpec
from shoal.shard_worker.fsck.finding import Finding, ReplicaReport
from shoal.shard_worker.fsck.replica_check import check_replica
from shoal.shard_worker.fsck.targets import Target
from shoal.shard_worker.storage.checksum import part_crc, point_crc
from shoal.shard_worker.storage.folders.worker_folder import WorkerFolder
from tests.support.worker.engine_driver import CLUSTER, REF, Driven, layout_of
from tests.support.worker.replica_bench import DIM, SPEC

POINTS = 20


def make_worker(folder: Path, *, clean: bool = True, spec: CollectionSpec = SPEC, more: int = 0) -> Path:
    """Fill the data folder `folder` and return the folder of its replica.

    clean: the worker was stopped in order, else killed; more: number of additional points; with them, all points are
    sealed in one segment.
    """
    worker = WorkerFolder.open(folder, CLUSTER)
    worker.create(REF, dim=spec.point_dim, vectors=layout_of(spec))
    path = folder / REF.shard.collection / str(REF.shard.number) / REF.replica_id
    driven = Driven(path, spec)
    fill(driven)
    if more:
        vectors = np.random.default_rng(3).normal(size=(more, DIM)).tolist()
        driven.upsert(range(1_000, 1_000 + more), vectors, [b"{}"] * more)
        driven.build(everything=True)
    if clean:
        driven.close()
        worker.close()
        return path
    driven.copy_to(folder / "killed")
    driven.close()
    worker.close()
    replace_folder(path, folder / "killed")
    return path


def fill(driven: Driven) -> None:
    """Write twenty points, ids 0-16 and three strings. Two are replaced and two are deleted after the first sixteen
    were sealed.
    """
    ids: list[int | str] = [*range(17), "a", "b", "c"]
    vectors = [[float(at), float(at % 3), 1.0, -float(at)] for at in range(len(ids))]
    payloads = [None if at % 4 == 3 else b'{"n":%d,"in":{"list":["x",%d]}}' % (at % 5, at) for at in range(len(ids))]
    for start in range(0, 16, 4):
        driven.upsert(ids[start : start + 4], vectors[start : start + 4], payloads[start : start + 4])
    while driven.build(everything=False):
        pass
    driven.upsert(ids[16:], vectors[16:], payloads[16:])
    driven.upsert([0, 1], [[9.0, 9.0, 9.0, 9.0], [8.0, 8.0, 8.0, 8.0]], [None, b'{"n":1}'])
    driven.delete([2, 3])


def replace_folder(path: Path, by: Path) -> None:
    """Replace a folder that no process uses any more by another one."""
    path.rename(path.with_name("abandoned"))
    by.rename(path)
    for each in sorted(path.with_name("abandoned").rglob("*"), reverse=True):
        each.rmdir() if each.is_dir() else each.unlink()
    path.with_name("abandoned").rmdir()


def checked(path: Path) -> ReplicaReport:
    return check_replica(Target(replica=path, worker=path.parents[2]), CLUSTER, lambda text: None)


def found_in(report: ReplicaReport, name: str) -> list[Finding]:
    """Return the findings in files whose name contains `name`."""
    return [finding for finding in report.findings if name in finding.file]


def change(path: Path, statement: str, values: Sequence[Any] = ()) -> None:
    """Change store.db without its replica."""
    connection = sqlite3.connect(path / "store.db")
    with connection:
        assert connection.execute(statement, values).rowcount >= 1
    connection.close()


def forge(path: Path, row: int, *, payload: bytes | None = None, vector: bytes | None = None) -> None:
    """Give a row of the store another payload or vector, with matching crcs."""
    connection = sqlite3.connect(path / "store.db")
    ((point_id, seq, old_payload, old_vector),) = connection.execute("SELECT id, seq, payload, vector FROM points WHERE row = ?", (row,))
    parts = (old_payload if payload is None else payload, old_vector if vector is None else vector)
    crcs = tuple(map(part_crc, parts))
    with connection:
        connection.execute(
            "UPDATE points SET payload = ?, vector = ?, payload_crc = ?, vector_crc = ?, crc = ? WHERE row = ?",
            (*parts, *crcs, point_crc(row, point_id, seq, *crcs), row),
        )
    connection.close()


def flip(path: Path, offset: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1 << bit
    path.write_bytes(data)
