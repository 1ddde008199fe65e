"""Several workers in one process: real folders, the store in memory, and calls between workers that a test can cut."""

import asyncio
import contextlib
import dataclasses
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import numpy as np

from shoal.core.cluster_map import MOVES_FEATURE, WorkerEntry
from shoal.core.collection import Collection, CollectionSpec, CollectionState
from shoal.core.errors import DeadlineExceeded, Unavailable
from shoal.core.ids import ClusterId, CollectionId, ReplicaId, RequestId, Revision, Seq, ShardId, Term, WorkerId
from shoal.core.points import PointColumns, PointId, StoredColumns, id_array
from shoal.core.shard_calls import ReadTerms, ShardDelete, ShardScroll, ShardUpsert, WriteAck
from shoal.core.shard_config import ShardConfig, ShardState
from shoal.core.slots import split_evenly
from shoal.runtime.clock import boot_s
from shoal.shard_worker.hosting.assignments import Assignments
from shoal.shard_worker.hosting.config_swaps import ConfigSwaps
from shoal.shard_worker.hosting.folders import WorkerReplicaFolders
from shoal.shard_worker.hosting.host import Host
from shoal.shard_worker.hosting.membership import Membership
from shoal.shard_worker.logic.replication.append import Append, AppendAnswer
from shoal.shard_worker.logic.replication.leadership import SwapOutcome
from shoal.shard_worker.replica.engine import EngineSettings
from shoal.shard_worker.replica.replica import Replica
from shoal.shard_worker.resources.memory import WorkerMemory
from shoal.shard_worker.resources.open_stores import OpenStores
from shoal.shard_worker.resources.pools import Pools
from shoal.shard_worker.snapshots.fetch import FolderDownloads, SnapshotFetch
from shoal.shard_worker.snapshots.source import SnapshotSource
from shoal.shard_worker.storage.folders.snapshot_manifest import SnapshotAsked, SnapshotManifest
from shoal.shard_worker.storage.folders.worker_folder import WorkerFolder
from shoal.store.codecs import decode_shard, encode_collection, encode_shard
from shoal.store.interface import Committed, Put, Transaction
from shoal.store.keys import Keys
from shoal.store.observe import MapObserver
from tests.twins.store.client import MemoryStore
from tests.twins.store.cluster import MemoryCluster

KEYS = Keys("test")
MIB = 1024 * 1024
DIM = 4
SHARD = ShardId(CollectionId("c"), 0)
SPEC = CollectionSpec(name="n", dim=DIM)


class FleetPeers:
    """Calls from one worker of a fleet to the others: appends, swaps and snapshots."""

    def __init__(self, fleet: "Fleet", me: "Member") -> None:
        self._fleet, self._me = fleet, me

    async def append(self, worker: WorkerId, append: Append, timeout_s: float) -> AppendAnswer:
        return await self._to(worker).host.replica(append.shard).append(append, timeout_s)

    def is_registered(self, worker: WorkerId) -> bool:
        return worker in self._me.observer.map.workers

    async def swap(self, config: ShardConfig, base: Revision) -> tuple[SwapOutcome, Revision]:
        return await self._me.swaps.swap(config, base, config.primary_reg)

    async def begin_snapshot(self, worker: WorkerId, asked: SnapshotAsked, timeout_s: float) -> SnapshotManifest:
        return await self._to(worker).source.begin(asked)

    async def read_snapshot(self, worker: WorkerId, snapshot: str, name: str, offset: int, max_bytes: int, timeout_s: float) -> bytes:
        return await self._to(worker).source.read(snapshot, name, offset, max_bytes)

    async def end_snapshot(self, worker: WorkerId, snapshot: str, timeout_s: float) -> None:
        await self._to(worker).source.end(snapshot)

    def _to(self, worker: WorkerId) -> "Member":
        found = self._fleet.members.get(worker)
        if found is None or {worker, self._me.id} & self._fleet.cut:
            raise Unavailable(f"worker {worker} cannot be reached")
        return found


class Member:
    """One worker without its gRPC server. sure_of_lease: False makes its lease uncertain."""

    def __init__(self, fleet: "Fleet", folder: Path, settings: EngineSettings) -> None:
        self.store = MemoryStore(fleet.cluster)
        self.sure_of_lease = True
        self.host = Host(memory=WorkerMemory(256 * MIB))
        self.pools = Pools(search_threads=1, build_threads=1)
        self.folder = WorkerFolder.open(folder, ClusterId("cluster"))
        self.id = self.folder.worker_id
        me = WorkerEntry(
            id=self.id,
            address="a:1",
            incarnation=str(folder),
            pid=1,
            node="n",
            zone="",
            features=frozenset({MOVES_FEATURE}),
            registration=Revision(0),
        )
        self.membership = Membership(store=self.store, keys=KEYS, me=me, lease_ttl_s=5, changed=lambda: None)
        self.swaps = ConfigSwaps(store=self.store, keys=KEYS, me=self.id)
        self.stores = OpenStores(most=8, idle_s=0.5)
        self.source = SnapshotSource(host=self.host, folder=self.folder.path, bytes_per_s=1 << 40, move_bytes_per_s=lambda: 1 << 40)
        peers = FleetPeers(fleet, self)
        self.folders = WorkerReplicaFolders(
            folder=self.folder,
            settings=settings,
            pools=self.pools,
            memory=self.host.memory,
            stores=self.stores,
            lease_held=lambda registration: self.sure_of_lease and self.membership.held_now(registration),
            peers=peers,
            changed=self._look_at,
        )
        self.assignments = Assignments(
            host=self.host,
            swaps=self.swaps,
            me=self.id,
            membership=self.membership,
            folders=self.folders,
            snapshots=SnapshotFetch(
                peers=peers,
                downloads=FolderDownloads(self.folder),
                refusal=self.host.memory.refusal_of_filling,
                fetches=self.host.fetches,
            ),
            new_id=lambda: str(uuid.uuid4()),
        )
        self.observer = MapObserver(store=self.store, keys=KEYS, clock=boot_s, changed=lambda: self.assignments.see_map(self.observer.map))
        self._tasks: list[asyncio.Task[None]] = []

    def _look_at(self, shard: ShardId) -> None:
        self.assignments.look_at(shard)

    async def start(self) -> None:
        works = (self.observer.run(), self.membership.run(), self.assignments.run(), self.stores.run(), self.pools.ticks.run())
        self._tasks = [asyncio.create_task(work) for work in works]
        await until(lambda: self.membership.registration != 0)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.membership.close()
        await self.assignments.close()
        await self.stores.close()
        await self.source.close()
        self.pools.close()
        self.folder.close()

    @property
    def replica(self) -> Replica | None:
        return self.host.open.get(SHARD)


class Fleet:
    """The workers, and the actions of a coordinator on them."""

    def __init__(self, folder: Path, settings: EngineSettings) -> None:
        self.cluster = MemoryCluster(boot_s)
        self.members: dict[WorkerId, Member] = {}
        self.cut: set[WorkerId] = set()
        self._folder, self._settings = folder, settings
        self._store = MemoryStore(self.cluster)
        self._numbers = 0

    async def add(self, name: str) -> Member:
        member = Member(self, self._folder / name, self._settings)
        self.members[member.id] = member
        await member.start()
        return member

    async def stop(self, member: Member) -> None:
        del self.members[member.id]
        await member.stop()

    async def close(self) -> None:
        for member in list(self.members.values()):
            await self.stop(member)

    async def place(self, primary: Member, *learners: Member, min_isr: int, spec: CollectionSpec = SPEC) -> None:
        """Place a collection of one shard, as its creation leaves it."""
        spec = dataclasses.replace(spec, replicas=1 + len(learners))
        collection = Collection(id=SHARD.collection, spec=spec, state=CollectionState.ACTIVE, request_id="q")
        names = [ReplicaId(f"placed-{number}") for number in range(1 + len(learners))]
        config = ShardConfig(
            shard=SHARD,
            term=Term(1),
            primary=names[0],
            primary_reg=primary.membership.registration,
            isr=(names[0],),
            elr=(),
            learners=tuple(names[1:]),
            worker_of={name: member.id for name, member in zip(names, (primary, *learners), strict=True)},
            min_isr=min_isr,
            rf=1 + len(learners),
            state=ShardState.CREATING,
            slots=split_evenly(1),
        )
        await self.put(collection, config)

    async def put(self, collection: Collection | None, config: ShardConfig) -> None:
        operations = [Put(key=KEYS.shard(SHARD), value=encode_shard(config))]
        if collection is not None:
            operations.append(Put(key=KEYS.collection(collection.id), value=encode_collection(collection)))
        assert isinstance(await self._store.commit(Transaction(then=tuple(operations)), 1.0), Committed)

    async def elect(self, candidate: Member, *, without: tuple[ReplicaId, ...]) -> None:
        """Begin a new term, as a failover does."""
        before = await self.config()
        replica = next(each for each, home in before.worker_of.items() if home == candidate.id)
        assert replica in before.isr
        isr = tuple(each for each in before.isr if each not in without)
        registration = candidate.membership.registration
        changes = dataclasses.replace(before, term=Term(before.term + 1), primary=replica, primary_reg=registration, isr=isr)
        await self.put(None, dataclasses.replace(changes, learners=(*before.learners, *without)))

    async def config(self) -> ShardConfig:
        found = await self._store.get(KEYS.shard(SHARD), 1.0)
        assert found is not None
        return decode_shard(SHARD, found.key, found.value)

    async def until_isr(self, size: int) -> ShardConfig:
        async with asyncio.timeout(20.0):
            while len((await self.config()).isr) != size:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return await self.config()

    async def upsert_until_refused(self, primary: Member, ids: Sequence[PointId], value: float) -> None:
        """Write again and again while writes are only not acknowledged in time. Raises the error of the first refused
        write.
        """
        while True:
            with contextlib.suppress(DeadlineExceeded):
                await self.upsert(primary, ids, value, timeout_s=0.2)

    async def upsert(
        self,
        primary: Member,
        ids: Sequence[PointId],
        value: float,
        *,
        request_id: RequestId | None = None,
        timeout_s: float = 10.0,
        payloads: tuple[bytes | None, ...] | None = None,
    ) -> WriteAck:
        vectors = np.full((len(ids), DIM), value, dtype=np.float32)
        points = PointColumns(ids=id_array(ids), vectors=vectors, payloads=payloads)
        call = ShardUpsert(shard=SHARD, request_id=request_id or self._next(), points=points)
        return await primary.host.write(call, timeout_s)

    async def delete(self, primary: Member, ids: Sequence[PointId]) -> WriteAck:
        return await primary.host.write(ShardDelete(shard=SHARD, request_id=self._next(), ids=id_array(ids)), 10.0)

    async def content(self, member: Member, at_least: Seq = Seq(0)) -> dict[PointId, float]:
        """Return the content of a replica that has applied `at_least`: the first component of each vector by id."""
        terms = ReadTerms(min_seq=at_least)
        call = ShardScroll(shard=SHARD, after=None, limit=10_000, filter=None, with_payload=False, with_vectors=True, terms=terms)
        page = await self._when_ready(lambda: member.host.scroll(call, 10.0))
        assert page.vectors is not None
        return dict(zip(page.ids.tolist(), page.vectors[:, 0].tolist(), strict=True))

    async def _when_ready(self, read: Callable[[], Awaitable[StoredColumns]]) -> StoredColumns:
        """Read again while the replica reports that it is not ready, as it does just after joining."""
        async with asyncio.timeout(20.0):
            while True:
                try:
                    return await read()
                except Unavailable:
                    await asyncio.sleep(0.01)

    def _next(self) -> RequestId:
        self._numbers += 1
        return RequestId("client", self._numbers)


async def until(holds: Callable[[], object]) -> None:
    """Return once `holds()` is true. Raises TimeoutError after 20 s."""
    async with asyncio.timeout(20.0):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def fleet(folder: Path, settings: EngineSettings | None = None) -> AsyncIterator[Fleet]:
    made = Fleet(folder, settings or EngineSettings())
    try:
        yield made
    finally:
        await made.close()
