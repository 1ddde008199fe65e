"""One worker without its gRPC server, with the in-memory store and real folders, and the hands of a coordinator."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

from shoal.core.cluster_map import WorkerEntry
from shoal.core.collection import Collection, CollectionSpec, CollectionState
from shoal.core.ids import ClusterId, CollectionId, ReplicaId, Revision, ShardId, Term
from shoal.core.shard_config import ShardConfig, ShardState
from shoal.core.slots import split_evenly
from shoal.runtime.clock import boot_s
from shoal.shard_worker.hosting.assignments import Assignments
from shoal.shard_worker.hosting.config_swaps import ConfigSwaps
from shoal.shard_worker.hosting.folders import WorkerReplicaFolders
from shoal.shard_worker.hosting.host import Host
from shoal.shard_worker.hosting.membership import Membership
from shoal.shard_worker.replica.engine import EngineSettings
from shoal.shard_worker.resources.memory import WorkerMemory
from shoal.shard_worker.resources.open_stores import OpenStores
from shoal.shard_worker.resources.pools import Pools
from shoal.shard_worker.storage.folders.worker_folder import WorkerFolder
from shoal.store.codecs import encode_collection, encode_shard
from shoal.store.interface import Committed, Operation, Put, Rejected, Transaction
from shoal.store.keys import Keys
from shoal.store.observe import MapObserver
from tests.support.worker.replica_bench import Alone
from tests.twins.store.client import MemoryStore
from tests.twins.store.cluster import MemoryCluster

KEYS = Keys("test")
MIB = 1024 * 1024
SHARD, REPLICA = ShardId(CollectionId("c"), 0), ReplicaId("r")
COLLECTION = Collection(id=SHARD.collection, spec=CollectionSpec(name="n", dim=2), state=CollectionState.CREATING, request_id="q")


class RecordingStore(MemoryStore):
    """Store that counts its rejected transactions."""

    def __init__(self, cluster: MemoryCluster) -> None:
        super().__init__(cluster)
        self.rejected = 0

    async def commit(self, transaction: Transaction, timeout_s: float) -> Committed | Rejected:
        outcome = await super().commit(transaction, timeout_s)
        self.rejected += isinstance(outcome, Rejected)
        return outcome


class NoSnapshots:
    """Fails the test when a snapshot is fetched."""

    async def fetch(self, entry, replica, primary, still_wanted):
        raise AssertionError(f"a snapshot of {primary}")


class World:
    """One worker without its gRPC server. The test plays the coordinator."""

    def __init__(self, folder: Path) -> None:
        cluster = MemoryCluster(boot_s)
        self.store, self.other = RecordingStore(cluster), MemoryStore(cluster)
        self.host = Host(memory=WorkerMemory(64 * MIB))
        self.pools = Pools(search_threads=1, build_threads=1)
        self.folder = WorkerFolder.open(folder, ClusterId("cluster"))
        self.id = self.folder.worker_id
        me = WorkerEntry(id=self.id, address="a:1", incarnation="i", pid=1, node="n", zone="", registration=Revision(0))
        self.membership = Membership(store=self.store, keys=KEYS, me=me, lease_ttl_s=5, changed=lambda: None)
        self.folders = WorkerReplicaFolders(
            folder=self.folder,
            settings=EngineSettings(),
            pools=self.pools,
            memory=self.host.memory,
            stores=OpenStores(most=64, idle_s=60.0),
            lease_held=self.membership.held_now,
            peers=Alone(),
            changed=self._look_at,
        )
        self.assignments = Assignments(
            host=self.host,
            swaps=ConfigSwaps(store=self.store, keys=KEYS, me=self.id),
            me=self.id,
            membership=self.membership,
            folders=self.folders,
            snapshots=NoSnapshots(),
            new_id=lambda: str(uuid.uuid4()),
        )
        self.observer = MapObserver(store=self.store, keys=KEYS, clock=boot_s, changed=self.see)
        self.blind = False

    def _look_at(self, shard: ShardId) -> None:
        self.assignments.look_at(shard)

    def see(self) -> None:
        if not self.blind:
            self.assignments.see_map(self.observer.map)

    @property
    def replica_path(self) -> Path:
        return self.folder.path / SHARD.collection / "0" / REPLICA

    async def put(self, *operations: Operation) -> Revision:
        outcome = await self.other.commit(Transaction(then=operations), 1.0)
        assert isinstance(outcome, Committed)
        return outcome.revision

    def config(self, **changes: object) -> ShardConfig:
        made = ShardConfig(
            shard=SHARD,
            term=Term(1),
            primary=REPLICA,
            primary_reg=self.membership.registration,
            isr=(REPLICA,),
            elr=(),
            learners=(),
            worker_of={REPLICA: self.id},
            min_isr=1,
            rf=1,
            state=ShardState.CREATING,
            slots=split_evenly(1),
        )
        return dataclasses.replace(made, **changes)  # type: ignore[arg-type]

    async def place(self, **changes: object) -> Revision:
        return await self.put(
            Put(key=KEYS.collection(COLLECTION.id), value=encode_collection(COLLECTION)),
            Put(key=KEYS.shard(SHARD), value=encode_shard(self.config(**changes))),
        )

    def shard(self) -> ShardConfig:
        return self.observer.map.shards[SHARD].config

    def serves(self) -> bool:
        replica = self.host.open.get(SHARD)
        return replica is not None and replica.role == "primary"


async def until(holds) -> None:
    async with asyncio.timeout(20.0):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def worker(folder: Path) -> AsyncIterator[World]:
    world = World(folder)
    tasks = [asyncio.create_task(work) for work in (world.observer.run(), world.membership.run(), world.assignments.run())]
    try:
        await until(lambda: world.membership.registration != 0)
        yield world
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await world.membership.close()
        await world.assignments.close()
        world.pools.close()
        world.folder.close()
