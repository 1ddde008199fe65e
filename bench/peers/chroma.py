"""Chroma: the server of its wheel, and its HTTP client."""

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

_COLLECTION, _BATCH, _START_S, _EF_AT_FIRST = "fashion", 1_000, 60.0, 100


class Chroma(ServerPeer):
    """See ServerPeer."""

    name, packages = "Chroma", ("chromadb",)

    @contextmanager
    def run(self, folder: Path) -> Iterator[Running]:
        """See Peer."""
        port = free_port()
        command = [str(Path(sys.executable).parent / "chroma"), "run", "--path", str(folder), "--host", "127.0.0.1", "--port", str(port)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with terminated(process):
            yield _ChromaServer(f"127.0.0.1:{port}", process.pid)

    def connect(self, address: str) -> Searcher:
        """See Peer."""
        return _ChromaClient(_client(address))


class _ChromaServer:
    def __init__(self, address: str, pid: int) -> None:
        self.address, self._pid = address, pid

    def load(self, rows: PeerRows) -> None:
        """See Running."""
        graph = {"space": "l2", "ef_construction": EF_CONSTRUCTION, "max_neighbors": M, "ef_search": _EF_AT_FIRST}
        collection = _client(self.address).create_collection(_COLLECTION, configuration={"hnsw": graph})
        for start in range(0, len(rows.vectors), _BATCH):
            numbers = range(start, min(start + _BATCH, len(rows.vectors)))
            collection.add(
                ids=[str(number) for number in numbers],
                embeddings=rows.vectors[start : start + _BATCH],
                metadatas=[{"label": int(rows.labels[number]), "bucket": int(rows.buckets[number])} for number in numbers],
            )

    def searcher(self) -> Searcher:
        """See Running."""
        return _ChromaClient(_client(self.address))

    def pids(self) -> list[int]:
        """See Running."""
        return [self._pid]


class _ChromaClient:
    """The collection has one ef for all clients; it is changed when another one is asked for."""

    def __init__(self, client: Any) -> None:
        self._collection = client.get_collection(_COLLECTION)
        self._ef = self._collection.configuration["hnsw"]["ef_search"]

    def one(self, query: Vectors, k: int, ef: int, condition: Condition | None = None) -> list[int]:
        """See Searcher."""
        self._set(ef)
        where = None if condition is None else {condition.column: condition.value}
        found = self._collection.query(query_embeddings=[query], n_results=k, where=where, include=[])
        return [int(number) for number in found["ids"][0]]

    def batch(self, queries: Vectors, k: int, ef: int) -> list[list[int]]:
        """See Searcher."""
        self._set(ef)
        found = self._collection.query(query_embeddings=queries, n_results=k, include=[])
        return [[int(number) for number in ids] for ids in found["ids"]]

    def close(self) -> None:
        """See Searcher. The HTTP client closes its connections when it is collected."""

    def _set(self, ef: int) -> None:
        if ef != self._ef:
            self._collection.modify(configuration={"hnsw": {"ef_search": ef}})
            self._ef = ef


def _client(address: str) -> Any:
    import chromadb
    from chromadb.config import Settings

    host, _, port = address.rpartition(":")
    end = time.monotonic() + _START_S
    while True:
        try:
            return chromadb.HttpClient(host, int(port), settings=Settings(anonymized_telemetry=False))
        except ValueError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
