"""Test the registration of a worker in the in-memory store: at first, after a lost lease, after its process died and
was started again, and beside another process of the same worker.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator

import pytest

from shoal.core.cluster_map import WorkerEntry
from shoal.core.errors import PreconditionFailed
from shoal.core.ids import Revision, WorkerId
from shoal.runtime.clock import boot_s
from shoal.shard_worker.hosting.membership import Membership
from shoal.store.codecs import decode_worker, encode_worker
from shoal.store.interface import DeleteKey, Put, Transaction
from shoal.store.keys import Keys
from tests.twins.store.client import CommitFault, MemoryStore
from tests.twins.store.cluster import MemoryCluster

KEYS = Keys("test")
ME = WorkerId("w")


def entry(incarnation: str) -> WorkerEntry:
    return WorkerEntry(id=ME, address="a:1", incarnation=incarnation, pid=1, node="n", zone="", registration=Revision(0))


class World:
    def __init__(self) -> None:
        self.jumped_s = 0.0
        self.cluster = MemoryCluster(lambda: boot_s() + self.jumped_s)
        self.store, self.other = MemoryStore(self.cluster), MemoryStore(self.cluster)
        self.changes = 0
        self.membership = Membership(store=self.store, keys=KEYS, me=entry("mine"), lease_ttl_s=2, changed=self.count)

    def count(self) -> None:
        self.changes += 1

    def expire_leases(self) -> None:
        """Let the store's clock jump, so that every lease ends in the store. The lease keeper learns of it at its next
        renewal.
        """
        self.jumped_s += 1_000.0
        self.cluster.expire()

    async def registered(self) -> WorkerEntry | None:
        found = await self.other.get(KEYS.worker(ME), 1.0)
        return None if found is None else decode_worker(found.key, found.value, found.mod_revision)

    async def put(self, incarnation: str) -> None:
        await self.other.commit(Transaction(then=(Put(key=KEYS.worker(ME), value=encode_worker(entry(incarnation))),)), 1.0)


async def until(holds) -> None:
    async with asyncio.timeout(20.0):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def running(world: World) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(world.membership.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await world.membership.close()


def test_a_worker_registers_under_a_lease_it_holds_and_leaves_when_closed():
    async def run():
        world = World()
        async with running(world):
            await until(lambda: world.membership.registration != 0)
            found = await world.registered()
            assert found is not None
            assert found.incarnation == "mine"
            assert found.registration == world.membership.registration
            assert world.membership.held_now(world.membership.registration)
            assert world.changes == 1
        assert await world.registered() is None
        assert not world.membership.held_now(world.membership.registration)

    asyncio.run(run())


def test_the_registration_of_a_dead_predecessor_is_replaced():
    async def run():
        world = World()
        await world.put("before")
        async with running(world):
            await until(lambda: world.membership.registration != 0)
            found = await world.registered()
            assert found is not None
            assert found.incarnation == "mine"

    asyncio.run(run())


@pytest.mark.parametrize("fault", list(CommitFault))
def test_lost_answers_end_in_one_registration_that_is_really_there(fault):
    async def run():
        world = World()
        world.store.fail_next_commit(fault)
        async with running(world):
            await until(lambda: world.membership.registration != 0)
            found = await world.registered()
            assert found is not None
            assert found.registration == world.membership.registration

    asyncio.run(run())


def test_a_lost_lease_means_a_new_registration():
    async def run():
        world = World()
        async with running(world):
            await until(lambda: world.membership.registration != 0)
            first = world.membership.registration
            world.expire_leases()
            await until(lambda: world.membership.registration not in (0, first))
            found = await world.registered()
            assert found is not None
            assert found.registration == world.membership.registration > first
            assert world.changes == 3

    asyncio.run(run())


def test_a_worker_whose_place_another_process_took_ends_and_leaves_the_other_alone():
    async def run():
        world = World()
        async with running(world) as task:
            await until(lambda: world.membership.registration != 0)
            await world.other.commit(Transaction(then=(DeleteKey(key=KEYS.worker(ME)),)), 1.0)
            await world.put("other process")
            world.expire_leases()
            with pytest.raises(PreconditionFailed, match="another process"):
                await asyncio.wait_for(task, 20.0)
        found = await world.registered()
        assert found is not None
        assert found.incarnation == "other process"

    asyncio.run(run())


def test_a_later_registration_by_somebody_else_in_the_map_ends_the_worker_at_once():
    """The data folder was copied, and another process runs on the copy. Only one of the two may go on as
    this worker.
    """

    async def run():
        world = World()
        async with running(world) as task:
            await until(lambda: world.membership.registration != 0)
            mine = world.membership.registration
            earlier = dataclasses.replace(entry("before"), registration=Revision(mine - 1))
            world.membership.see(earlier)
            world.membership.see(dataclasses.replace(entry("mine"), registration=mine))
            world.membership.see(None)
            later = dataclasses.replace(entry("other process"), registration=Revision(mine + 1))
            assert not task.done()
            world.membership.see(later)
            with pytest.raises(PreconditionFailed, match="another process"):
                await asyncio.wait_for(task, 20.0)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b'{"asked_by": "ann", "since_ms": 1750000000000}', r"forgotten on 2025-06-15 at 15:06:40 UTC by 'ann': .* Delete its data folder"),
        (b"{}", "worker w was forgotten: its replicas were replaced"),
        (b"\xff", "worker w was forgotten: its replicas were replaced"),
    ],
)
def test_a_worker_that_was_forgotten_is_never_registered_again_and_says_why(said, words):
    async def run():
        world = World()
        await world.other.commit(Transaction(then=(Put(key=KEYS.forgotten(ME), value=said),)), 1.0)
        with pytest.raises(PreconditionFailed, match=words):
            await world.membership.run()
        assert await world.registered() is None

    asyncio.run(run())


def test_a_worker_that_is_forgotten_while_it_registers_is_not_registered(monkeypatch):
    """It is forgotten after it has looked, just before its registration is written."""
    commit = MemoryStore.commit

    async def overtaken(self, transaction, timeout_s):
        if self is world.store:
            await commit(world.other, Transaction(then=(Put(key=KEYS.forgotten(ME), value=b"{}"),)), 1.0)
        return await commit(self, transaction, timeout_s)

    world = World()
    monkeypatch.setattr(MemoryStore, "commit", overtaken)

    async def run():
        with pytest.raises(PreconditionFailed, match="was forgotten"):
            await world.membership.run()
        assert await world.registered() is None

    asyncio.run(run())


def test_a_worker_that_was_forgotten_while_its_lease_was_lost_ends():
    async def run():
        world = World()
        async with running(world) as task:
            await until(lambda: world.membership.registration != 0)
            await world.other.commit(Transaction(then=(Put(key=KEYS.forgotten(ME), value=b"{}"),)), 1.0)
            world.expire_leases()
            with pytest.raises(PreconditionFailed, match="was forgotten"):
                await task

    asyncio.run(run())
