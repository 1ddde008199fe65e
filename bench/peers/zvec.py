"""Zvec: an embedded library."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.peers.peer import EF_CONSTRUCTION, Condition, M, Peer, PeerRows, Running, Searcher, Vectors

_BATCH = 1_000


class Zvec(Peer):
    """See Peer."""

    name, packages = "Zvec (library)", ("zvec",)

    @contextmanager
    def run(self, folder: Path) -> Iterator[Running]:
        """See Peer."""
        yield _ZvecCollection(folder / "collection")


class _ZvecCollection:
    address = ""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._collection: Any = None

    def load(self, rows: PeerRows) -> None:
        """See Running."""
        import zvec

        columns = [zvec.FieldSchema(name, zvec.DataType.INT64, index_param=zvec.InvertIndexParam()) for name in ("label", "bucket")]
        graph = zvec.HnswIndexParam(metric_type=zvec.MetricType.L2, m=M, ef_construction=EF_CONSTRUCTION)
        vectors = [zvec.VectorSchema("v", zvec.DataType.VECTOR_FP32, rows.vectors.shape[1], index_param=graph)]
        self._collection = zvec.create_and_open(str(self._folder), zvec.CollectionSchema("fashion", fields=columns, vectors=vectors))
        for start in range(0, len(rows.vectors), _BATCH):
            self._collection.insert(
                [
                    zvec.Doc(
                        id=str(each),
                        fields={"label": int(rows.labels[each]), "bucket": int(rows.buckets[each])},
                        vectors={"v": rows.vectors[each]},
                    )
                    for each in range(start, min(start + _BATCH, len(rows.vectors)))
                ]
            )
        self._collection.optimize()

    def searcher(self) -> Searcher:
        """See Running."""
        return _ZvecSearcher(self._collection)

    def pids(self) -> list[int]:
        """See Running."""
        return [os.getpid()]


class _ZvecSearcher:
    def __init__(self, collection: Any) -> None:
        import zvec

        self._collection, self._zvec = collection, zvec

    def one(self, query: Vectors, k: int, ef: int, condition: Condition | None = None) -> list[int]:
        """See Searcher."""
        ask = self._zvec.Query("v", vector=query, param=self._zvec.HnswQueryParam(ef=ef))
        only = None if condition is None else f"{condition.column} = {condition.value}"
        return [int(found.id) for found in self._collection.query(ask, topk=k, filter=only, output_fields=[])]

    def batch(self, queries: Vectors, k: int, ef: int) -> list[list[int]]:
        """See Searcher."""
        return [self.one(query, k, ef) for query in queries]

    def close(self) -> None:
        """See Searcher."""
