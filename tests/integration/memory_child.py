"""Run a replica in a process whose memory is limited: fill it until it refuses, search it, delete half of it, and fill
it again.

`python -m tests.integration.memory_child FOLDER INDEX DIM MIB`. MIB: what the process may take beyond what it has at
its start. Prints the outcome as JSON.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from pathlib import Path

import numpy as np

from shoal.core.collection import CollectionSpec
from shoal.core.errors import ResourceExhausted
from shoal.core.ids import ClusterId, CollectionId, ReplicaId, RequestId, Revision, ShardId, Term, WorkerId
from shoal.core.memory_budget import memory_budget
from shoal.core.points import PointColumns
from shoal.core.shard_calls import Exact, QueryGroup, ShardDelete, ShardSearch, ShardUpsert
from shoal.core.shard_config import ShardConfig, ShardState
from shoal.core.slots import split_evenly
from shoal.shard_worker.hosting.folders import WorkerReplicaFolders
from shoal.shard_worker.index.native.threads import settle_linear_algebra
from shoal.shard_worker.replica.engine import EngineSettings
from shoal.shard_worker.replica.replica import Replica
from shoal.shard_worker.resources.allocator import settle_allocator
from shoal.shard_worker.resources.memory import WorkerMemory
from shoal.shard_worker.resources.open_stores import OpenStores
from shoal.shard_worker.resources.os_limits import memory_limits
from shoal.shard_worker.resources.pools import Pools
from shoal.shard_worker.storage.folders.worker_folder import WorkerFolder
from tests.support.worker.replica_bench import Alone

SHARD, REPLICA = ShardId(CollectionId("c"), 0), ReplicaId("r")
MIB = 1024 * 1024
BATCH, GROWING_ROWS, PATIENCE_S = 500, 2_000, 120.0
PAYLOAD = b'{"label": 3, "bucket": 17}'
CONFIG = ShardConfig(
    shard=SHARD,
    term=Term(1),
    primary=REPLICA,
    primary_reg=Revision(1),
    isr=(REPLICA,),
    elr=(),
    learners=(),
    worker_of={REPLICA: WorkerId("w")},
    min_isr=1,
    rf=1,
    state=ShardState.ACTIVE,
    slots=split_evenly(1),
)


class Filler:
    """Writes to one replica and records the most memory that its account showed."""

    def __init__(self, replica: Replica, memory: WorkerMemory, dim: int) -> None:
        self.replica, self.memory, self.dim = replica, memory, dim
        self.points, self.calls, self.refusal, self.most_used = 0, 0, "", 0
        self._rng = np.random.default_rng(7)

    def request(self) -> RequestId:
        self.calls += 1
        return RequestId("client", self.calls)

    async def batch(self) -> bool:
        """Write the next points. Return whether they were taken."""
        ids = np.arange(self.points, self.points + BATCH)
        columns = PointColumns(ids=ids, vectors=self._rng.random((BATCH, self.dim), dtype=np.float32), payloads=(PAYLOAD,) * BATCH)
        try:
            call = ShardUpsert(shard=SHARD, request_id=self.request(), points=columns)
            await self.replica.write(call, PATIENCE_S)
        except ResourceExhausted as error:
            if error.details.limit != "memory":
                raise
            self.refusal = error.message
            return False
        self.points += BATCH
        self.most_used = max(self.most_used, self.memory.used_bytes)
        return True

    async def fill(self) -> int:
        """Write until writes are refused although no build runs. Return the number of points that were taken."""
        before = self.points
        while True:
            while await self.batch():
                pass
            await self.quiet()
            if not await self.batch():
                return self.points - before

    async def quiet(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while (await self.replica.stats()).builds_pending:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def found(self, *, exact: bool) -> int:
        queries = self._rng.random((3, self.dim), dtype=np.float32)
        accuracy = {"accuracy": Exact()} if exact else {}
        call = ShardSearch(shard=SHARD, queries=queries, groups=(QueryGroup(k=10),), **accuracy)  # type: ignore[arg-type]
        return int((await self.replica.search(call, PATIENCE_S)).hits.counts.sum())

    async def delete(self, ids: range) -> int:
        removed = 0
        for start in range(ids.start, ids.stop, 1000):
            part = np.arange(start, min(start + 1000, ids.stop))
            call = ShardDelete(shard=SHARD, request_id=self.request(), ids=part)
            removed += (await self.replica.write(call, PATIENCE_S)).affected
        return removed


async def story(replica: Replica, memory: WorkerMemory, dim: int) -> dict[str, object]:
    filler = Filler(replica, memory, dim)
    taken = await filler.fill()
    searched = [await filler.found(exact=True), await filler.found(exact=False)]
    removed = await filler.delete(range(0, taken, 1)[: taken // 2])
    searched += [await filler.found(exact=True), await filler.found(exact=False)]
    await replica.optimize(PATIENCE_S)
    again = await filler.fill()
    stats = await replica.stats()
    return {
        "taken": taken,
        "removed": removed,
        "again": again,
        "searched": searched,
        "points": stats.points,
        "refusal": filler.refusal,
        "most_used": filler.most_used,
        "budget": memory.budget_bytes,
    }


def limit_more(mib: int) -> None:
    """Limit the data of this process to `mib` more than it has now."""
    taken = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData"))
    limit = int(taken.split()[1]) * 1024 + mib * MIB
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


async def run(folder: Path, index: str, dim: int, mib: int) -> dict[str, object]:
    settle_allocator()
    settle_linear_algebra(4)
    limit_more(mib)
    memory = WorkerMemory(memory_budget(memory_limits(), percent=75, given_bytes=0).budget_bytes)
    pools = Pools(search_threads=1, build_threads=1)
    worker = WorkerFolder.open(folder, ClusterId("cluster"))
    settings = EngineSettings(growing_rows=GROWING_ROWS, log_file_bytes=4 * MIB, checkpoint_bytes=4 * MIB, readers=2)
    folders = WorkerReplicaFolders(
        folder=worker,
        settings=settings,
        pools=pools,
        memory=memory,
        stores=OpenStores(most=64, idle_s=60.0),
        lease_held=lambda _: True,
        peers=Alone(),
        changed=lambda shard: None,
    )
    spec = CollectionSpec(name="c", dim=dim, index=index)
    await folders.create(SHARD, REPLICA, spec)
    replica = await folders.open(SHARD, REPLICA, spec)
    replica.tell(CONFIG, Revision(2), Revision(1))
    async with asyncio.timeout(PATIENCE_S):
        while (await replica.stats()).role != "primary":  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    told = await story(replica, memory, dim)
    await replica.close()
    pools.close()
    worker.close()
    return told


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))))
