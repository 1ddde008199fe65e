"""Run a worker's replicas in a process of their own, through all events after which memory must be given back.

`python -m tests.integration.give_back_child FOLDER` prints a JSON line for each step. resident: memory of the process
beyond the least that it had after a drop. held: what the account says. reserve: the part of it that is taken only
later.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import json
import resource
import sys
from pathlib import Path
from unittest import mock

import numpy as np

from shoal.core.collection import CollectionSpec
from shoal.core.errors import DataLoss
from shoal.core.ids import ClusterId, RequestId, Revision
from shoal.core.points import PointColumns
from shoal.core.shard_calls import Exact, QueryGroup, ShardDelete, ShardSearch, ShardUpsert
from shoal.core.sizing import REPLICA_BASE_BYTES, store_cache_bytes
from shoal.shard_worker.hosting.folders import WorkerReplicaFolders
from shoal.shard_worker.index.native.threads import settle_linear_algebra
from shoal.shard_worker.replica.engine import EngineSettings
from shoal.shard_worker.replica.replica import Replica
from shoal.shard_worker.resources.allocator import settle_allocator
from shoal.shard_worker.resources.memory import WorkerMemory
from shoal.shard_worker.resources.open_stores import OpenStores
from shoal.shard_worker.resources.pools import Pools
from shoal.shard_worker.storage.failure import StorageFailed
from shoal.shard_worker.storage.folders.worker_folder import WorkerFolder
from shoal.shard_worker.storage.log.log import ReplicaLog
from tests.integration.memory_child import CONFIG, REPLICA, SHARD
from tests.support.worker.replica_bench import Alone

DIM, POINTS, BATCH, ROUNDS, READERS, PATIENCE_S = 512, 6_000, 6_000, 11, 2, 60.0
MOMENT_S = 5.0
"""How long threads that have ended their work may take to let go of it, on a busy machine."""
LEAST = POINTS * DIM * 4 // 3
"""At most this is left when nothing is held: a third of the vectors."""
SPEC = CollectionSpec(name="c", dim=DIM, index="flat")


def private_bytes() -> int:
    """Return the memory of this process in RAM without the pages of files, because the system may drop those."""
    _, resident, shared = Path("/proc/self/statm").read_text(encoding="ascii").split()[:3]
    return (int(resident) - int(shared)) * resource.getpagesize()


class Worker:
    """The parts of a worker that hold its replicas' memory."""

    def __init__(self, path: Path) -> None:
        self.memory = WorkerMemory(1 << 33)
        self.pools = Pools(search_threads=2, build_threads=1)
        self.folder = WorkerFolder.open(path, ClusterId("cluster"))
        self.folders = WorkerReplicaFolders(
            folder=self.folder,
            settings=EngineSettings(growing_rows=2_500, readers=READERS),
            pools=self.pools,
            memory=self.memory,
            stores=OpenStores(most=64, idle_s=60.0),
            lease_held=lambda _: True,
            peers=Alone(),
            changed=lambda shard: None,
        )
        self.calls, self.before, self.term = 0, 1 << 62, 0

    def say(self, step: str) -> None:
        held = sum(self.memory.replica_bytes().values())
        reserve = REPLICA_BASE_BYTES + store_cache_bytes(self.stored_bytes, READERS) if held else 0
        print(json.dumps({"step": step, "resident": private_bytes() - self.before, "held": held, "reserve": reserve}), flush=True)

    @property
    def stored_bytes(self) -> int:
        return sum(store.stat().st_size for store in Path(self.folder.path).rglob("store.db*"))

    def damage(self) -> None:
        for store in Path(self.folder.path).rglob("store.db"):
            store.write_bytes(b"damaged" * 1000)

    async def say_empty(self, step: str, least: int) -> None:
        """Say a step after which nothing is held, once at most `least` bytes are left, or after a time without that."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(MOMENT_S):
                while private_bytes() - self.before > least:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        self.say(step)

    async def open(self) -> Replica:
        replica = await self.folders.open(SHARD, REPLICA, SPEC)
        self.term += 1
        replica.tell(dataclasses.replace(CONFIG, term=self.term), Revision(2), Revision(1))
        async with asyncio.timeout(PATIENCE_S):
            while replica.role != "primary":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return replica

    async def close(self, replica: Replica) -> None:
        await replica.close()
        self.memory.close(SHARD)

    async def fill(self, replica: Replica, points: int) -> None:
        rng = np.random.default_rng(1)
        for start in range(0, points, BATCH):
            columns = PointColumns(ids=np.arange(start, start + BATCH), vectors=rng.random((BATCH, DIM), dtype=np.float32), payloads=None)
            await replica.write(ShardUpsert(shard=SHARD, request_id=self.request(), points=columns), PATIENCE_S)
        queries = rng.random((4, DIM), dtype=np.float32)
        call = ShardSearch(shard=SHARD, queries=queries, groups=(QueryGroup(k=10),), accuracy=Exact())
        assert (await replica.search(call, PATIENCE_S)).hits.counts.sum() == 40

    def request(self) -> RequestId:
        self.calls += 1
        return RequestId(f"client-{self.calls // 1000}", self.calls)


async def drops(worker: Worker) -> None:
    for number in range(ROUNDS):
        await worker.folders.create(SHARD, REPLICA, SPEC)
        replica = await worker.open()
        await worker.fill(replica, POINTS)
        worker.say(f"loaded {number}")
        await worker.close(replica)
        del replica
        await worker.folders.drop(SHARD, REPLICA, with_asides=True)
        worker.before = min(worker.before, private_bytes())
        await worker.say_empty(f"dropped {number}", LEAST)


async def changes(worker: Worker) -> None:
    await worker.folders.create(SHARD, REPLICA, SPEC)
    replica = await worker.open()
    await worker.fill(replica, POINTS)
    await replica.optimize(PATIENCE_S)
    worker.say("merged")
    replica.tell_spec(dataclasses.replace(SPEC, index="sq8"))
    await replica.optimize(PATIENCE_S)
    worker.say("altered")
    replica.tell_spec(SPEC)
    await replica.optimize(PATIENCE_S)
    worker.say("altered back")
    await worker.close(replica)
    await worker.say_empty("closed", LEAST)
    replica = await worker.open()
    worker.say("reopened")
    call = ShardDelete(shard=SHARD, request_id=worker.request(), ids=np.arange(POINTS // 2))
    await replica.write(call, PATIENCE_S)
    await replica.optimize(PATIENCE_S)
    worker.say("emptied by half")

    def refuse(log: ReplicaLog, records: object) -> None:
        raise StorageFailed("the disk is gone")

    with mock.patch.object(ReplicaLog, "append", refuse), contextlib.suppress(StorageFailed):
        await worker.fill(replica, BATCH)
    assert replica.failure is not None
    await worker.close(replica)
    del replica
    await worker.say_empty("failed", LEAST)
    worker.damage()
    try:
        await worker.open()
    except DataLoss:
        await worker.say_empty("not opened", LEAST)


async def run(path: Path) -> None:
    settle_allocator()
    settle_linear_algebra(4)
    gc.disable()
    worker = Worker(path)
    await drops(worker)
    await changes(worker)
    worker.pools.close()
    worker.folder.close()


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1])))
