"""Milvus Lite: the gRPC server of its wheel, and pymilvus."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.peers.peer import EF_CONSTRUCTION, Condition, M, PeerRows, Running, Searcher, ServerPeer, Vectors
from bench.peers.servers import free_port, terminated

_COLLECTION, _BATCH, _START_S = "fashion", 1_000, 60.0


class MilvusLite(ServerPeer):
    """See ServerPeer."""

    name, packages = "Milvus Lite", ("milvus-lite", "pymilvus")

    @contextmanager
    def run(self, folder: Path) -> Iterator[Running]:
        """See Peer."""
        port = free_port()
        command = [str(Path(sys.executable).parent / "milvus-lite"), "server", "--data-dir", str(folder / "data"), "--host", "127.0.0.1"]
        command += ["--port", str(port)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with terminated(process):
            yield _MilvusServer(f"http://127.0.0.1:{port}", process.pid)

    def connect(self, address: str) -> Searcher:
        """See Peer."""
        return _MilvusClient(_client(address))


class _MilvusServer:
    def __init__(self, address: str, pid: int) -> None:
        self.address, self._pid = address, pid

    def load(self, rows: PeerRows) -> None:
        """See Running."""
        from pymilvus import DataType

        client = _client(self.address)
        schema = client.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("v", DataType.FLOAT_VECTOR, dim=rows.vectors.shape[1])
        schema.add_field("label", DataType.INT64)
        schema.add_field("bucket", DataType.INT64)
        indexes = client.prepare_index_params()
        indexes.add_index("v", index_type="HNSW", metric_type="L2", params={"M": M, "efConstruction": EF_CONSTRUCTION})
        indexes.add_index("label", index_type="INVERTED")
        indexes.add_index("bucket", index_type="INVERTED")
        client.create_collection(_COLLECTION, schema=schema, index_params=indexes)
        for start in range(0, len(rows.vectors), _BATCH):
            numbers = range(start, min(start + _BATCH, len(rows.vectors)))
            client.insert(
                _COLLECTION,
                [
                    {"id": each, "v": rows.vectors[each], "label": int(rows.labels[each]), "bucket": int(rows.buckets[each])}
                    for each in numbers
                ],
            )
        client.flush(_COLLECTION)
        client.load_collection(_COLLECTION)
        client.close()

    def searcher(self) -> Searcher:
        """See Running."""
        return _MilvusClient(_client(self.address))

    def pids(self) -> list[int]:
        """See Running."""
        return [self._pid]


class _MilvusClient:
    def __init__(self, client: Any) -> None:
        self._client = client

    def one(self, query: Vectors, k: int, ef: int, condition: Condition | None = None) -> list[int]:
        """See Searcher."""
        return self._search(query[None, :], k, ef, "" if condition is None else f"{condition.column} == {condition.value}")[0]

    def batch(self, queries: Vectors, k: int, ef: int) -> list[list[int]]:
        """See Searcher."""
        return self._search(queries, k, ef, "")

    def close(self) -> None:
        """See Searcher."""
        self._client.close()

    def _search(self, queries: Vectors, k: int, ef: int, condition: str) -> list[list[int]]:
        found = self._client.search(
            _COLLECTION, list(queries), limit=k, filter=condition, output_fields=["id"], search_params={"params": {"ef": ef}}
        )
        return [[hit["id"] for hit in hits] for hits in found]


def _client(address: str) -> Any:
    from pymilvus import MilvusClient, MilvusException

    end = time.monotonic() + _START_S
    while True:
        try:
            return MilvusClient(address)
        except MilvusException:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
