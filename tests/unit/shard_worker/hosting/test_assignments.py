"""What a worker does about its shards, with the in-memory store and real folders: make, confirm, serve, drop; and what
it must not do.
"""

import asyncio
import contextlib
import dataclasses
import threading
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shoal.core.cluster_map import ClusterMap, WorkerEntry
from shoal.core.collection import Collection, CollectionSpec, CollectionState
from shoal.core.file_budget import FileBudget
from shoal.core.ids import ClusterId, CollectionId, ReplicaId, RequestId, Revision, ShardId, Term
from shoal.core.points import id_array
from shoal.core.shard_calls import ShardDelete
from shoal.core.shard_config import ShardConfig, ShardState
from shoal.core.slots import split_evenly
from shoal.runtime.clock import boot_s
from shoal.shard_worker.hosting import assignments
from shoal.shard_worker.hosting.assignments import Assignments
from shoal.shard_worker.hosting.config_swaps import ConfigSwaps
from shoal.shard_worker.hosting.folders import WorkerReplicaFolders
from shoal.shard_worker.hosting.host import Host
from shoal.shard_worker.hosting.membership import Membership
from shoal.shard_worker.logic.memory_ledger import ReplicaCost, empty_growing
from shoal.shard_worker.replica.engine import EngineSettings
from shoal.shard_worker.resources.memory import WorkerMemory
from shoal.shard_worker.resources.open_stores import OpenStores
from shoal.shard_worker.resources.pools import Pools
from shoal.shard_worker.storage.failure import StorageFailed
from shoal.shard_worker.storage.folders.worker_folder import WorkerFolder
from shoal.shard_worker.storage.log.log import ReplicaLog
from shoal.store.codecs import encode_collection, encode_shard
from shoal.store.interface import Committed, Operation, Put, Rejected, Transaction
from shoal.store.keys import Keys
from shoal.store.observe import MapObserver
from tests.support.worker.replica_bench import Alone
from tests.twins.store.client import CommitFault, MemoryStore
from tests.twins.store.cluster import MemoryCluster

KEYS = Keys("test")
MIB = 1024 * 1024
SHARD, REPLICA = ShardId(CollectionId("c"), 0), ReplicaId("r")
COLLECTION = Collection(id=SHARD.collection, spec=CollectionSpec(name="n", dim=2), state=CollectionState.CREATING, request_id="q")


class RecordingStore(MemoryStore):
    """Remembers how its transactions ended."""

    def __init__(self, cluster: MemoryCluster) -> None:
        super().__init__(cluster)
        self.rejected = 0

    async def commit(self, transaction: Transaction, timeout_s: float) -> Committed | Rejected:
        outcome = await super().commit(transaction, timeout_s)
        self.rejected += isinstance(outcome, Rejected)
        return outcome


class NoSnapshots:
    """Nobody to fetch a snapshot from."""

    async def fetch(self, entry, replica, primary, still_wanted):
        raise AssertionError(f"a snapshot of {primary}")


class World:
    """One worker without its gRPC server, and the hands of a coordinator."""

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
            changed=lambda: None,
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


def test_a_placed_shard_is_made_confirmed_and_served(tmp_path):
    async def run():
        async with worker(tmp_path) as world:
            await world.place()
            await until(world.serves)
            assert world.shard().state is ShardState.ACTIVE
            assert world.replica_path.is_dir()

    asyncio.run(run())


def test_lost_answers_on_the_way_do_not_stop_it(tmp_path):
    async def run():
        for number, fault in enumerate(CommitFault):
            async with worker(tmp_path / str(number)) as world:
                world.store.fail_next_commit(fault)
                await world.place()
                await until(world.serves)
                assert world.shard().state is ShardState.ACTIVE

    asyncio.run(run())


def test_a_stale_map_never_makes_an_empty_folder_for_an_active_shard(tmp_path):
    """The map says CREATING, but the shard is ACTIVE by now (an earlier life of this worker made it, and its disk was
    wiped).
    """

    async def run():
        async with worker(tmp_path) as world:
            world.blind = True
            stale = await world.place()
            await until(lambda: world.observer.map.revision == stale)
            old = world.observer.map
            await world.place(state=ShardState.ACTIVE)
            world.assignments.see_map(old)
            await until(lambda: world.store.rejected > 0)
            assert not world.replica_path.exists()
            world.blind = False
            world.see()
            await until(lambda: SHARD in world.host.failed)
            assert "missing" in world.host.failed[SHARD].reason.message
            assert not world.replica_path.exists()

    asyncio.run(run())


def test_only_the_tombstone_deletes_and_then_the_worker_leaves_the_shard(tmp_path):
    async def run():
        async with worker(tmp_path) as world:
            await world.place()
            await until(world.serves)
            world.blind = True
            world.assignments.see_map(ClusterMap())
            await until(lambda: SHARD not in world.host.open)
            assert world.replica_path.is_dir()
            world.blind = False
            world.see()
            await until(lambda: SHARD in world.host.open)
            dropping = dataclasses.replace(COLLECTION, state=CollectionState.DROPPING)
            await world.put(Put(key=KEYS.collection(COLLECTION.id), value=encode_collection(dropping)))
            await until(lambda: world.shard().worker_of == {})
            assert not world.replica_path.exists()
            assert SHARD not in world.host.open

    asyncio.run(run())


def test_a_worker_with_a_new_registration_serves_only_once_it_is_elected_again(tmp_path):
    async def run():
        async with worker(tmp_path) as world:
            await world.place()
            await until(world.serves)
        async with worker(tmp_path) as world:
            await world.place(state=ShardState.ACTIVE, primary_reg=Revision(1))
            await until(lambda: SHARD in world.host.open)
            await until(lambda: world.host.open[SHARD].role == "waiting")
            assert not world.serves()
            await world.place(state=ShardState.ACTIVE, term=Term(2))
            await until(world.serves)

    asyncio.run(run())


def test_closing_waits_for_a_replica_that_is_being_opened(tmp_path):
    """A thread that opens a replica may cut its log: the folder's lock must not be given back before it has ended."""

    async def run():
        async with worker(tmp_path) as world:
            folders, gate, began = world.folders, threading.Event(), threading.Event()
            real = folders.open

            async def slow(*arguments):
                def wait() -> None:
                    began.set()
                    assert gate.wait(60)

                await asyncio.to_thread(wait)
                return await real(*arguments)

            folders.open = slow
            await world.place()
            await until(began.is_set)
            closing = asyncio.create_task(world.assignments.close())
            done, _ = await asyncio.wait({closing}, timeout=0.2)
            assert not done
            gate.set()
            await closing
            assert world.host.open == {}

    asyncio.run(run())


def test_a_shard_whose_replica_cannot_be_opened_is_not_confirmed_and_opening_is_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(assignments, "REOPEN_AFTER_S", 0.1)

    async def run():
        async with worker(tmp_path) as world:
            folders = world.folders
            real, failures = folders.open, iter([StorageFailed("too many open files"), OSError("again")])

            async def at_first_not(*arguments):
                failure = next(failures, None)
                if failure is not None:
                    assert world.shard().state is ShardState.CREATING
                    raise failure
                return await real(*arguments)

            folders.open = at_first_not
            await world.place()
            await until(world.serves)
            assert SHARD not in world.host.failed

    asyncio.run(run())


def test_a_swap_that_was_rejected_is_not_tried_again_on_the_same_map(tmp_path):
    async def run():
        async with worker(tmp_path) as world:
            world.blind = True
            stale = await world.place()
            await until(lambda: world.observer.map.revision == stale)
            old = world.observer.map
            await world.place(term=Term(2))
            world.assignments.see_map(old)
            await until(lambda: world.store.rejected > 0)
            for _ in range(200):
                await asyncio.sleep(0)
            assert world.store.rejected == 1
            world.blind = False
            world.see()
            await until(world.serves)

    asyncio.run(run())


def test_a_cancellation_is_not_lost_when_there_is_something_to_do_at_that_moment(tmp_path):
    async def run():
        async with worker(tmp_path) as world:
            for _ in range(50):
                running = asyncio.create_task(world.assignments.run())
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                world.assignments.wake()
                running.cancel()
                done, _ = await asyncio.wait({running}, timeout=5.0)
                assert done, "the cancellation was swallowed"
                assert running.cancelled()

    asyncio.run(run())


def test_an_altered_collection_is_told_to_the_open_replica_once(tmp_path, monkeypatch):
    async def run():
        async with worker(tmp_path) as world:
            await world.place()
            await until(world.serves)
            told: list[CollectionSpec] = []
            replica = world.host.open[SHARD]
            monkeypatch.setattr(replica, "tell_spec", told.append)
            altered = dataclasses.replace(COLLECTION, spec=dataclasses.replace(COLLECTION.spec, index="flat", recall=0.5))
            await world.put(Put(key=KEYS.collection(COLLECTION.id), value=encode_collection(altered)))
            await until(lambda: told)
            await world.put(Put(key=KEYS.collection(CollectionId("x")), value=encode_collection(dataclasses.replace(altered, id="x"))))
            await until(lambda: CollectionId("x") in world.observer.map.collections)
            for _ in range(200):
                await asyncio.sleep(0)
            assert told == [altered.spec]

    asyncio.run(run())


def test_open_replicas_are_in_the_account_and_leave_it(tmp_path):
    async def run():
        async with worker(tmp_path) as world:
            assert world.host.memory.replica_bytes() == {}
            await world.place()
            await until(world.serves)
            held = world.host.memory.replica_bytes()[SHARD]
            status = await world.host.status(1.0)
            assert status.replica_bytes == {str(SHARD): held}
            assert 0 < held <= status.memory_used_bytes <= status.memory_budget_bytes == world.host.memory.budget_bytes
            dropping = dataclasses.replace(COLLECTION, state=CollectionState.DROPPING)
            await world.put(Put(key=KEYS.collection(COLLECTION.id), value=encode_collection(dropping)))
            await until(lambda: world.shard().worker_of == {})
            assert world.host.memory.replica_bytes() == {}
            assert world.host.memory.used_bytes == 0

    asyncio.run(run())


def test_a_replica_that_finds_no_memory_is_not_made_says_why_and_is_made_once_there_is_some(tmp_path, monkeypatch):
    monkeypatch.setattr(assignments, "LOOK_AGAIN_S", 0.05)

    async def run():
        async with worker(tmp_path) as world:
            other = ShardId(CollectionId("other"), 0)
            world.host.memory.open(other, ReplicaCost(held=world.host.memory.budget_bytes - MIB, growing=empty_growing(2, 1)))
            epoch = await world.place()
            await until(lambda: world.host.unmade)
            assert "no memory for another replica" in (await world.host.status(1.0)).failed[str(SHARD)]
            assert not world.replica_path.exists()
            await until(lambda: world.observer.map.revision >= epoch)
            assert world.observer.map.shards[SHARD].epoch == epoch, "nothing was claimed"
            world.host.memory.close(other)
            await until(world.serves)
            assert not world.host.unmade

    asyncio.run(run())


def test_a_replica_that_would_open_too_many_files_is_not_made_or_opened_and_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(assignments, "LOOK_AGAIN_S", 0.05)
    monkeypatch.setattr(assignments, "REOPEN_AFTER_S", 0.05)
    few = FileBudget(limit=64, for_replicas=10, each=12, open_at_once=1)

    async def run():
        async with worker(tmp_path) as world:
            world.host.files = few
            await world.place()
            await until(lambda: world.host.unmade)
            assert "no open files for another replica: it needs 12, 10 of the 10" in world.host.unmade[SHARD]
            world.host.files = dataclasses.replace(few, for_replicas=12)
            await until(world.serves)
        async with worker(tmp_path) as world:
            world.host.files = few
            await world.place(state=ShardState.ACTIVE, term=Term(2))
            await until(lambda: "no open files" in world.host.failures().get(str(SHARD), ""))
            world.host.files = dataclasses.replace(few, for_replicas=12)
            await until(world.serves)

    asyncio.run(run())


def test_a_replica_that_finds_no_memory_to_be_opened_is_opened_once_there_is_some(tmp_path, monkeypatch):
    monkeypatch.setattr(assignments, "REOPEN_AFTER_S", 0.05)

    async def run():
        async with worker(tmp_path) as world:
            await world.place()
            await until(world.serves)
        async with worker(tmp_path) as world:
            other = ShardId(CollectionId("other"), 0)
            world.host.memory.open(other, ReplicaCost(held=world.host.memory.budget_bytes, growing=empty_growing(2, 1)))
            await world.place(state=ShardState.ACTIVE, term=Term(2))
            await until(lambda: "no memory" in world.host.failures().get(str(SHARD), ""))
            world.host.memory.close(other)
            await until(world.serves)

    asyncio.run(run())


def test_a_replica_that_has_failed_is_closed_holds_no_memory_and_still_says_why(tmp_path, monkeypatch):
    async def run():
        async with worker(tmp_path) as world:
            await world.place()
            await until(world.serves)

            def refuse(log: ReplicaLog, records: object) -> None:
                raise StorageFailed("the disk is gone")

            monkeypatch.setattr(ReplicaLog, "append", refuse)
            call = ShardDelete(shard=SHARD, request_id=RequestId("c", 1), ids=id_array([1]))
            with pytest.raises(StorageFailed):
                await world.host.write(call, 20.0)
            await until(lambda: SHARD not in world.host.open and world.host.memory.replica_bytes() == {})
            assert "the disk is gone" in world.host.failures()[str(SHARD)]
            with pytest.raises(StorageFailed, match="the disk is gone") as refused:
                await world.host.write(call, 20.0)
            assert refused.value.details.applied == {str(SHARD): "no"}
            assert world.host.failed[SHARD].reason.__traceback__ is None
            for _ in range(3):
                world.assignments.wake()
                await asyncio.sleep(0.01)
            assert SHARD not in world.host.open, "what failed after a flush is not opened again in this process"

    asyncio.run(run())
