"""A twin of a worker of another process that also takes searches in bytes."""

from __future__ import annotations

import dataclasses

from shoal.core.cluster_map import WorkerEntry
from shoal.core.express import EncodedSearch, HitBytes
from shoal.core.points import Matrix
from shoal.core.shard_calls import ShardsFound, ShardsSearch
from shoal.wire.search_bytes import bytes_of_hits
from tests.twins.cluster import TwinCluster, TwinWorker


class EncodedTwin:
    """EncodedSearch at a TwinWorker."""

    def __init__(self, worker: TwinWorker, call: ShardsSearch) -> None:
        self._worker, self._call = worker, call

    async def run(self, queries: Matrix, caller: str, timeout_s: float) -> HitBytes | ShardsFound:
        found = await self._worker.search_shards(dataclasses.replace(self._call, queries=queries, caller=caller), timeout_s)
        return found if found.failed or found.explain else HitBytes(bytes_of_hits(found.hits))


class EncodedWorker:
    """A TwinWorker with searches in bytes. worker: the twin, which tests look at."""

    def __init__(self, worker: TwinWorker) -> None:
        self.worker = worker
        self.search, self.search_shards, self.write, self.close = worker.search, worker.search_shards, worker.write, worker.close
        self.get, self.scroll, self.count, self.stats = worker.get, worker.scroll, worker.count, worker.stats
        self.optimize, self.tune, self.measure_recall, self.status = worker.optimize, worker.tune, worker.measure_recall, worker.status

    def encoded(self, call: ShardsSearch) -> EncodedSearch:
        return EncodedTwin(self.worker, call)


class EncodedCluster(TwinCluster):
    """A TwinCluster whose workers take searches in bytes."""

    def connect(self, worker: WorkerEntry) -> EncodedWorker:  # type: ignore[override]
        return EncodedWorker(super().connect(worker))
