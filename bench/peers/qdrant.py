"""Qdrant Edge: the engine of Qdrant as a library."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.peers.peer import EF_CONSTRUCTION, Condition, M, Peer, PeerRows, Running, Searcher, Vectors

_BATCH, _SCAN_KB = 1_000, 10_000


class QdrantEdge(Peer):
    """See Peer."""

    name, packages = "Qdrant Edge (library)", ("qdrant-edge-py",)

    @contextmanager
    def run(self, folder: Path) -> Iterator[Running]:
        """See Peer."""
        yield _EdgeShard(folder / "shard")


class _EdgeShard:
    address = ""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shard: Any = None

    def load(self, rows: PeerRows) -> None:
        """See Running."""
        import qdrant_edge as edge

        config = edge.EdgeConfig(
            vectors=edge.EdgeVectorParams(size=rows.vectors.shape[1], distance=edge.Distance.Euclid),
            hnsw_config=edge.HnswIndexConfig(m=M, ef_construct=EF_CONSTRUCTION, full_scan_threshold=_SCAN_KB),
            optimizers=edge.EdgeOptimizersConfig(default_segment_number=1, indexing_threshold=_SCAN_KB),
        )
        self._folder.mkdir(parents=True)
        self._shard = edge.EdgeShard.create(str(self._folder), config)
        for start in range(0, len(rows.vectors), _BATCH):
            points = [
                edge.Point(each, rows.vectors[each].tolist(), {"label": int(rows.labels[each]), "bucket": int(rows.buckets[each])})
                for each in range(start, min(start + _BATCH, len(rows.vectors)))
            ]
            self._shard.update(edge.UpdateOperation.upsert_points(points))
        for column in ("label", "bucket"):
            self._shard.update(edge.UpdateOperation.create_field_index(column, edge.PayloadSchemaType.Integer))
        self._shard.optimize()

    def searcher(self) -> Searcher:
        """See Running."""
        return _EdgeSearcher(self._shard)

    def pids(self) -> list[int]:
        """See Running."""
        return [os.getpid()]


class _EdgeSearcher:
    def __init__(self, shard: Any) -> None:
        import qdrant_edge

        self._shard, self._edge = shard, qdrant_edge

    def one(self, query: Vectors, k: int, ef: int, condition: Condition | None = None) -> list[int]:
        """See Searcher."""
        return [point.id for point in self._shard.query(self._request(query, k, ef, condition))]

    def batch(self, queries: Vectors, k: int, ef: int) -> list[list[int]]:
        """See Searcher."""
        requests = [self._request(query, k, ef, None) for query in queries]
        found = self._shard.query_batch(self._edge.QueryBatchRequest(requests))
        return [[point.id for point in points] for points in found]

    def close(self) -> None:
        """See Searcher."""

    def _request(self, query: Vectors, k: int, ef: int, condition: Condition | None) -> Any:
        edge = self._edge
        only = None
        if condition is not None:
            only = edge.Filter(must=[edge.FieldCondition(condition.column, match=edge.MatchValue(condition.value))])
        nearest = edge.Query.Nearest(query.tolist())
        return edge.QueryRequest(limit=k, query=nearest, filter=only, with_payload=False, params=edge.SearchParams(hnsw_ef=ef))
