"""LanceDB, embedded. It has no HNSW over plain floats: IVF of one partition with an HNSW over SQ8 codes, refined."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.peers.peer import EF_CONSTRUCTION, Condition, M, Peer, PeerRows, Running, Searcher, Vectors

_REFINE = 2


class LanceDb(Peer):
    """See Peer."""

    name, packages = "LanceDB (library)", ("lancedb",)

    @contextmanager
    def run(self, folder: Path) -> Iterator[Running]:
        """See Peer."""
        os.environ.setdefault("LANCE_LOG", "error")
        os.environ.setdefault("RUST_LOG", "error")
        import lancedb

        yield _LanceTable(lancedb.connect(str(folder)))


class _LanceTable:
    address = ""

    def __init__(self, database: Any) -> None:
        self._database = database
        self._table: Any = None

    def load(self, rows: PeerRows) -> None:
        """See Running."""
        import pyarrow as pa

        vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.vectors.ravel()), rows.vectors.shape[1])
        columns = {"id": pa.array(range(len(rows.vectors))), "vector": vectors, "label": rows.labels, "bucket": rows.buckets}
        self._table = self._database.create_table("fashion", pa.table(columns))
        self._table.create_index(
            "l2", vector_column_name="vector", index_type="IVF_HNSW_SQ", num_partitions=1, m=M, ef_construction=EF_CONSTRUCTION
        )
        self._table.create_scalar_index("label")
        self._table.create_scalar_index("bucket")

    def searcher(self) -> Searcher:
        """See Running."""
        return _LanceSearcher(self._table)

    def pids(self) -> list[int]:
        """See Running."""
        return [os.getpid()]


class _LanceSearcher:
    def __init__(self, table: Any) -> None:
        self._table = table

    def one(self, query: Vectors, k: int, ef: int, condition: Condition | None = None) -> list[int]:
        """See Searcher."""
        search = self._table.search(query).select(["id", "_distance"]).limit(k).ef(max(ef, k * _REFINE)).nprobes(1).refine_factor(_REFINE)
        if condition is not None:
            search = search.where(f"{condition.column} = {condition.value}", prefilter=True)
        ids: list[int] = search.to_arrow().column("id").to_pylist()
        return ids

    def batch(self, queries: Vectors, k: int, ef: int) -> list[list[int]]:
        """See Searcher."""
        return [self.one(query, k, ef) for query in queries]

    def close(self) -> None:
        """See Searcher."""
