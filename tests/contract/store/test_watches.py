"""Watching: a listing first, then every change once and in order, through cuts and compaction."""

from __future__ import annotations

import asyncio

import pytest

from shoal.core.errors import PreconditionFailed
from shoal.store.interface import DeleteKey, Delta, Listed, Put, Store, Transaction
from tests.contract.store.conftest import InWorld
from tests.contract.store.eventually import Replica, connected, disconnected, heard
from tests.contract.store.worlds import CALL_S, World, present, put


def test_a_watch_lists_first(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        store = world.client()
        revision = await put(store, world.key("a"), b"1")
        async with store.watch(world.prefix) as watch:
            listed = await heard(watch)
            assert isinstance(listed, Listed)
            assert listed.entries == (await present(store, world.key("a")),)
            assert listed.revision >= revision

    in_world(scenario)


def test_a_watch_says_all_that_a_revision_changed_in_one_delta(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        store = world.client()
        await put(store, world.key("gone"), b"")
        async with store.watch(world.prefix) as watch:
            await heard(watch)
            then = (
                Put(key=world.key("b"), value=b"2"),
                DeleteKey(key=world.key("gone")),
                Put(key=world.key("a"), value=b"1"),
                Put(key=f"/elsewhere{world.prefix}", value=b"not watched"),
                DeleteKey(key=world.key("never was")),
            )
            outcome = await store.commit(Transaction(then=then), CALL_S)
            delta = await heard(watch)
            entries = (await present(store, world.key("b")), await present(store, world.key("a")))
            assert delta == Delta(revision=outcome.revision, changed=entries, deleted=(world.key("gone"),))

    in_world(scenario)


def test_a_watch_does_not_hear_of_other_prefixes(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        store = world.client()
        async with store.watch(world.key("in/")) as watch:
            await heard(watch)
            for name in ("in0", "in", "io/a"):
                await put(store, world.key(name), b"")
            revision = await put(store, world.key("in/a"), b"")
            assert (await heard(watch)).revision == revision

    in_world(scenario)


def test_a_watch_hears_every_change_once_and_in_order_while_several_write(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        store = world.client()
        writers = [world.client() for _ in range(4)]
        async with store.watch(world.prefix) as watch:
            await heard(watch)
            writing = [asyncio.create_task(_write(writer, world, name)) for name, writer in enumerate(writers)]
            deltas = [await heard(watch) for _ in range(4 * 50)]
            committed = [revision for revisions in await asyncio.gather(*writing) for revision in revisions]
            assert [delta.revision for delta in deltas] == sorted(committed)

    in_world(scenario)


async def _write(writer: Store, world: World, name: int) -> list[int]:
    return [await put(writer, world.key(f"{name}/{number % 7}"), str(number).encode()) for number in range(50)]


def test_a_slow_reader_misses_nothing(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        store = world.client()
        async with store.watch(world.prefix) as watch:
            await heard(watch)
            revisions = [await put(store, world.key("a"), str(number).encode()) for number in range(300)]
            assert [(await heard(watch)).revision for _ in revisions] == revisions

    in_world(scenario)


def test_a_cancelled_read_loses_nothing(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        store = world.client()
        async with store.watch(world.prefix) as watch:
            await heard(watch)
            with pytest.raises(TimeoutError):
                await heard(watch, patience_s=0.05)
            revision = await put(store, world.key("a"), b"")
            assert (await heard(watch)).revision == revision

    in_world(scenario)


def test_a_watch_that_was_cut_off_goes_on_where_it_was(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        store = world.client()
        async with store.watch(world.prefix) as watch:
            await heard(watch)
            await connected(watch)
            assert watch.problem is None
            await world.cut()
            await disconnected(watch)
            assert watch.problem
            revisions = [await world.put_from_outside(world.key("a"), b"1"), await world.put_from_outside(world.key("a"), None)]
            await world.restore()
            deltas = [await heard(watch), await heard(watch)]
            assert [delta.revision for delta in deltas] == revisions
            assert all(isinstance(delta, Delta) for delta in deltas)
            await connected(watch)

    in_world(scenario)


def test_a_watch_that_missed_compacted_history_lists_again(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        store = world.client()
        await put(store, world.key("gone"), b"")
        async with store.watch(world.prefix) as watch:
            await heard(watch)
            await connected(watch)
            await world.cut()
            await disconnected(watch)
            await world.put_from_outside(world.key("gone"), None)
            await world.put_from_outside(world.key("a"), b"1")
            last = await world.put_from_outside(world.key("a"), b"2")
            await world.compact(last)
            await world.restore()
            listed = await heard(watch)
            assert isinstance(listed, Listed)
            assert [(entry.key, entry.value) for entry in listed.entries] == [(world.key("a"), b"2")]
            after = await world.put_from_outside(world.key("a"), b"3")
            assert (await heard(watch)).revision == after

    in_world(scenario)


def test_a_deletion_at_the_compacted_revision_is_not_missed(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        store = world.client()
        await put(store, world.key("a"), b"")
        replica = Replica()
        async with store.watch(world.prefix) as watch:
            replica.absorb(await heard(watch))
            await connected(watch)
            await world.cut()
            await disconnected(watch)
            await world.compact(await world.put_from_outside(world.key("a"), None))
            await world.restore()
            await replica.follow(watch, until=lambda values: not values)

    in_world(scenario)


def test_a_watch_that_starts_cut_off_waits_and_says_why(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        store = world.client()
        await world.cut()
        async with store.watch(world.prefix) as watch:
            with pytest.raises(TimeoutError):
                await heard(watch, patience_s=0.3)
            assert not watch.connected
            assert watch.problem
            await world.restore()
            assert isinstance(await heard(watch), Listed)
            await connected(watch)

    in_world(scenario)


def test_a_cut_every_few_changes_loses_none(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        store = world.client()
        replica = Replica()
        async with store.watch(world.prefix) as watch:
            replica.absorb(await heard(watch))
            for number in range(6):
                await connected(watch)
                for step in range(5):
                    await world.put_from_outside(world.key(f"{step}"), f"{number}".encode())
                await world.cut()
                await disconnected(watch)
                await world.put_from_outside(world.key("odd"), b"" if number % 2 else None)
                await world.restore()
            await world.put_from_outside(world.key("end"), b"")
            await replica.follow(watch, until=lambda values: world.key("end") in values)
        expected = {world.key(f"{step}"): b"5" for step in range(5)} | {world.key("odd"): b"", world.key("end"): b""}
        assert replica.values == expected
        assert replica.revisions == sorted(set(replica.revisions))
        assert replica.listings == 1

    in_world(scenario)


def test_a_closed_watch_ends_for_a_reader_that_waits(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        watch = world.client().watch(world.prefix)
        await heard(watch)
        waiting = asyncio.create_task(_next_or_end(watch))
        await asyncio.sleep(0)
        await watch.aclose()
        assert await waiting == "end"
        assert await _next_or_end(watch) == "end"
        assert not watch.connected

    in_world(scenario)


async def _next_or_end(watch: object) -> object:
    return await anext(watch, "end")  # type: ignore[call-overload]


def test_a_watch_of_a_closed_store_says_so(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        store = world.client()
        async with store.watch(world.prefix) as watch:
            await heard(watch)
            await store.close()
            with pytest.raises(PreconditionFailed):
                await heard(watch)
            assert not watch.connected

    in_world(scenario)
