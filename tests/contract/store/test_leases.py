"""Leases: keys that live as long as somebody says so."""

from __future__ import annotations

import asyncio

import pytest

from shoal.core.errors import InvalidArgument
from shoal.store.interface import Absent, Committed, Delta, LeaseId, LeaseNotFound, Put, Transaction
from tests.contract.store.conftest import InWorld
from tests.contract.store.eventually import eventually, heard
from tests.contract.store.worlds import CALL_S, World, present, put


def test_a_lease_is_granted_for_at_least_what_was_asked(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        store = world.client()
        short, longer = await store.grant_lease(1, CALL_S), await store.grant_lease(30, CALL_S)
        assert (short.ttl_s, longer.ttl_s) == (2, 30)
        assert short.id != longer.id
        assert await store.keep_alive(longer.id, CALL_S) == 30
        for ttl_s in (0, -1, 10_000_000_000):
            with pytest.raises(InvalidArgument):
                await store.grant_lease(ttl_s, CALL_S)

    in_world(scenario)


def test_a_key_carries_its_lease_until_it_is_put_without(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        store = world.client()
        lease = await store.grant_lease(30, CALL_S)
        await put(store, world.key("a"), b"", lease_id=lease.id)
        assert (await present(store, world.key("a"))).lease == lease.id
        await put(store, world.key("a"), b"")
        await store.revoke_lease(lease.id, CALL_S)
        assert (await present(store, world.key("a"))).lease is None

    in_world(scenario)


def test_an_expired_lease_takes_its_keys_along_in_one_revision(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        store = world.client()
        lease = await store.grant_lease(2, CALL_S)
        await put(store, world.key("b"), b"", lease_id=lease.id)
        await put(store, world.key("a"), b"", lease_id=lease.id)
        await put(store, world.key("stays"), b"")
        async with store.watch(world.prefix) as watch:
            await heard(watch)
            await world.pass_time(2.1)
            delta = await heard(watch)
            assert isinstance(delta, Delta)
            assert (delta.changed, delta.deleted) == ((), (world.key("a"), world.key("b")))
        assert [entry.key for entry in (await store.list(world.prefix, CALL_S)).entries] == [world.key("stays")]
        assert await store.keep_alive(lease.id, CALL_S) == 0
        with pytest.raises(LeaseNotFound):
            await put(store, world.key("a"), b"", lease_id=lease.id)

    in_world(scenario)


def test_a_lease_that_is_kept_alive_outlives_its_ttl(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        store = world.client()
        kept, left = await store.grant_lease(2, CALL_S), await store.grant_lease(2, CALL_S)
        await put(store, world.key("kept"), b"", lease_id=kept.id)
        await put(store, world.key("left"), b"", lease_id=left.id)

        async def left_is_gone() -> bool:
            assert await store.keep_alive(kept.id, CALL_S) == 2
            await world.pass_time(0.4)
            return await store.get(world.key("left"), CALL_S) is None

        await eventually(left_is_gone)
        assert await store.get(world.key("kept"), CALL_S) is not None

    in_world(scenario)


def test_a_revoked_lease_takes_its_keys_along_and_can_be_revoked_again(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        store = world.client()
        lease = await store.grant_lease(30, CALL_S)
        await put(store, world.key("a"), b"", lease_id=lease.id)
        for _ in range(2):
            await store.revoke_lease(lease.id, CALL_S)
            assert await store.get(world.key("a"), CALL_S) is None
        assert await store.keep_alive(lease.id, CALL_S) == 0

    in_world(scenario)


def test_a_lease_that_never_was_is_gone(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        store = world.client()
        assert await store.keep_alive(LeaseId(0x7EEE), CALL_S) == 0
        await store.revoke_lease(LeaseId(0x7EEE), CALL_S)

    in_world(scenario)


def test_a_registration_under_a_new_lease_replaces_the_old_one(in_world: InWorld) -> None:
    """A restarted worker puts its key under its new lease; the end of the old lease must not take it away."""

    async def scenario(world: World) -> None:
        store = world.client()
        old, new = await store.grant_lease(30, CALL_S), await store.grant_lease(30, CALL_S)
        key = world.key("worker")
        created = await store.commit(Transaction(compares=(Absent(key=key),), then=(Put(key=key, value=b"1", lease_id=old.id),)), CALL_S)
        assert isinstance(created, Committed)
        await put(store, key, b"2", lease_id=new.id)
        await store.revoke_lease(old.id, CALL_S)
        entry = await present(store, key)
        assert (entry.value, entry.lease) == (b"2", new.id)

    in_world(scenario)


def test_a_lease_connection_renews_and_revokes_on_its_own(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        store = world.client()
        lease = await store.grant_lease(30, CALL_S)
        await put(store, world.key("a"), b"", lease_id=lease.id)
        connection = store.lease_connection()
        await store.close()
        assert await asyncio.to_thread(connection.keep_alive, lease.id, CALL_S) == 30
        for _ in range(2):
            await asyncio.to_thread(connection.revoke, lease.id, CALL_S)
        assert await asyncio.to_thread(connection.keep_alive, lease.id, CALL_S) == 0
        connection.close()
        assert await world.client().get(world.key("a"), CALL_S) is None

    in_world(scenario)
