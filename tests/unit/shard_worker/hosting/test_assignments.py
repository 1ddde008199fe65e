"""Test what a worker does about its shards: make, confirm, serve and drop them; and what it must not do. The store is
in memory, the folders are real.
"""

import asyncio
import dataclasses
import threading

import pytest

from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import CollectionSpec, CollectionState
from shoal.core.file_budget import FileBudget
from shoal.core.ids import CollectionId, RequestId, Revision, ShardId, Term
from shoal.core.points import id_array
from shoal.core.shard_calls import ShardDelete
from shoal.core.shard_config import ShardState
from shoal.shard_worker.hosting import assignments
from shoal.shard_worker.logic.memory_ledger import ReplicaCost, empty_growing
from shoal.shard_worker.storage.failure import StorageFailed
from shoal.shard_worker.storage.log.log import ReplicaLog
from shoal.store.codecs import encode_collection
from shoal.store.interface import Put
from tests.twins.store.client import CommitFault
from tests.unit.shard_worker.hosting.one_worker import (
    COLLECTION,
    KEYS,
    MIB,
    SHARD,
    until,
    worker,
)


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
    """The map still says CREATING, but the shard is ACTIVE: this worker made it before, and then its disk was wiped."""

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
    """A thread that opens a replica may cut the replica's log. The folder stays locked until that thread has ended."""

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
