"""Many replicas on one worker: bounded threads, no file at rest, and no more open at once than allowed."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from shoal.core.collection import CollectionSpec
from shoal.core.health import ReplicaRole
from shoal.core.ids import ClusterId, RequestId, Revision, ShardId
from shoal.core.metric import Metric
from shoal.core.points import PointColumns
from shoal.core.shard_calls import ShardScroll, ShardUpsert
from shoal.core.sizing import REPLICA_BASE_BYTES
from shoal.shard_worker.hosting import folders
from shoal.shard_worker.hosting.folders import WorkerReplicaFolders
from shoal.shard_worker.replica.engine import EngineSettings
from shoal.shard_worker.replica.replica import Replica
from shoal.shard_worker.resources import open_stores
from shoal.shard_worker.resources.memory import WorkerMemory
from shoal.shard_worker.resources.open_stores import OpenStores
from shoal.shard_worker.resources.pools import Pools
from shoal.shard_worker.resources.writer_pool import WRITER_THREADS
from shoal.shard_worker.storage.folders.worker_folder import WorkerFolder
from tests.support.worker.replica_bench import REPLICA, SHARD, Alone, config

COUNT, MANY, MOST_OPEN, DIM = 60, 200, 8, 4
SPEC = CollectionSpec(name="c", dim=DIM, metric=Metric.L2)
SHARDS = [ShardId(SHARD.collection, number) for number in range(COUNT)]


class Many:
    """The replicas of one worker, without a network."""

    def __init__(self, folder: Path, count: int) -> None:
        self.path = folder
        self.shards = [ShardId(SHARD.collection, number) for number in range(count)]
        self.folder = WorkerFolder.open(folder, ClusterId("cluster"))
        self.pools = Pools(search_threads=1, build_threads=1)
        self.memory = WorkerMemory(1 << 33)
        self.stores = OpenStores(most=MOST_OPEN, idle_s=60.0)
        self.folders = WorkerReplicaFolders(
            folder=self.folder,
            settings=EngineSettings(),
            pools=self.pools,
            memory=self.memory,
            stores=self.stores,
            lease_held=lambda _: True,
            peers=Alone(),
            changed=lambda shard: None,
        )
        self.replicas: dict[ShardId, Replica] = {}

    async def open(self, term: int) -> None:
        for shard, replica in zip(self.shards, await asyncio.gather(*(self._opened(each) for each in self.shards)), strict=True):
            self.replicas[shard] = replica
            replica.tell(dataclasses.replace(config(term), shard=shard), Revision(100 + term), Revision(term))
        await until(lambda: all(each.role is ReplicaRole.PRIMARY for each in self.replicas.values()))

    async def _opened(self, shard: ShardId) -> Replica:
        if (shard, REPLICA) not in self.folders.existing():
            await self.folders.create(shard, REPLICA, SPEC)
        return await self.folders.open(shard, REPLICA, SPEC)

    async def write(self, shard: ShardId, number: int) -> None:
        vectors = np.full((1, DIM), number, dtype=np.float32)
        columns = PointColumns(ids=np.array([number]), vectors=vectors, payloads=None)
        await self.replicas[shard].write(ShardUpsert(shard=shard, request_id=RequestId("client", number), points=columns), 20.0)

    async def ids(self, shard: ShardId) -> list[object]:
        call = ShardScroll(shard=shard, after=None, limit=10, filter=None, with_payload=False, with_vectors=False)
        return (await self.replicas[shard].scroll(call, 20.0)).ids.tolist()

    async def rest(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Close the files of all replicas: none was used for longer than the bound from now on."""
        monkeypatch.setattr(self.stores, "_idle_s", 0.0)
        running = asyncio.create_task(self.stores.run())
        await until(lambda: not len(self.stores))
        running.cancel()

    def stores_open(self) -> int:
        """Return of how many replicas this process has the store or the log open."""
        links = (f"/proc/self/fd/{each}" for each in os.listdir("/proc/self/fd"))
        targets = [Path(os.readlink(link)) for link in links if os.path.islink(link)]
        below = {target.relative_to(self.path).parts[1] for target in targets if self.path in target.parents and target.parent != self.path}
        return len(below)


async def until(condition) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@asynccontextmanager
async def many(folder: Path, term: int, count: int = COUNT) -> AsyncIterator[Many]:
    made = Many(folder, count)
    try:
        await made.open(term)
        yield made
    finally:
        await asyncio.gather(*(replica.close() for replica in made.replicas.values()))
        made.pools.close()
        made.folder.close()


@pytest.fixture(autouse=True)
def looks_often(monkeypatch):
    monkeypatch.setattr(open_stores, "LOOK_S", 0.02)


def test_threads_and_files_do_not_grow_with_the_replicas(tmp_path, monkeypatch):
    async def run() -> None:
        async with many(tmp_path, 1) as world:
            for number in (1, 2):
                await asyncio.gather(*(world.write(shard, number) for shard in SHARDS))
                assert world.stores_open() <= MOST_OPEN
            assert await asyncio.gather(*(world.ids(shard) for shard in SHARDS)) == [[1, 2]] * COUNT
            assert sum(thread.name.startswith("writer") for thread in threading.enumerate()) <= WRITER_THREADS
            await world.rest(monkeypatch)
            assert world.stores_open() == 0
        async with many(tmp_path, 2) as world:
            assert world.stores_open() <= MOST_OPEN
            assert await asyncio.gather(*(world.ids(shard) for shard in SHARDS)) == [[1, 2]] * COUNT

    asyncio.run(run())


def test_replicas_are_opened_a_few_at_a_time(tmp_path, monkeypatch):
    """Else all would be ready as late as the last."""
    monkeypatch.setattr(folders, "OPENINGS_AT_ONCE", 2)
    lock, two, begun, most, engine_of = threading.Lock(), threading.Event(), 0, 0, folders._engine_of

    def counted(*given):
        nonlocal begun, most
        with lock:
            begun += 1
            most = max(most, begun)
            if begun == 2:
                two.set()
        # The first waits for another one beside it, however fast openings are.
        assert two.wait(20.0)
        try:
            return engine_of(*given)
        finally:
            with lock:
                begun -= 1

    monkeypatch.setattr(folders, "_engine_of", counted)

    async def run() -> None:
        async with many(tmp_path, 1, 12):
            assert most == 2

    asyncio.run(run())


def test_empty_replicas_at_rest_are_booked_at_little_more_than_their_base_and_have_no_timers(tmp_path, monkeypatch):
    async def run() -> None:
        async with many(tmp_path, 1, MANY) as world:
            await world.rest(monkeypatch)
            booked = world.memory.replica_bytes()
            assert len(booked) == MANY
            assert all(REPLICA_BASE_BYTES <= held < REPLICA_BASE_BYTES + 4_096 for held in booked.values())
            await until(lambda: not world.pools.rounds.awake)
            assert (len(world.pools.ticks), world.stores_open()) == (0, 0)
            assert timers() < 10
            await world.write(SHARDS[7], 1)
            assert world.memory.replica_bytes()[SHARDS[7]] > booked[SHARDS[7]] + 4_096
            assert world.memory.promised_bytes == 0

    asyncio.run(run())


def timers() -> int:
    """Return how many timers the event loop has."""
    scheduled = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
    return sum(not handle.cancelled() for handle in scheduled)
