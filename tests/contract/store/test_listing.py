"""Listing: everything below a prefix, nothing else, in order, at one revision however many pages it takes."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from shoal.core.errors import InvalidArgument
from shoal.store.interface import Put, Store, Transaction
from tests.contract.store.conftest import InWorld
from tests.contract.store.worlds import CALL_S, World, put

MANY = 300
"""More than two pages."""


def test_a_listing_holds_the_prefix_and_nothing_beside_it(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        store = world.client()
        for name in ("b/2", "b/10", "b0", "b", "a/z", "c/", "b/ä"):
            await put(store, world.key(name), name.encode())
        listing = await store.list(world.key("b/"), CALL_S)
        assert [entry.key.removeprefix(world.prefix) for entry in listing.entries] == ["b/10", "b/2", "b/ä"]
        assert all(entry.value == entry.key.removeprefix(world.prefix).encode() for entry in listing.entries)

    in_world(scenario)


def test_an_empty_listing_has_the_revision_of_the_store(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        store = world.client()
        revision = await put(store, world.key("a"), b"")
        listing = await store.list(world.key("none/"), CALL_S)
        assert (listing.entries, listing.revision >= revision) == ((), True)

    in_world(scenario)


def test_an_empty_prefix_is_refused(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(InvalidArgument):
            await world.client().list("", CALL_S)

    in_world(scenario)


def test_a_listing_of_many_pages_is_complete_and_in_order(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        store = world.client()
        keys = await _put_many(store, world)
        assert [entry.key for entry in (await store.list(world.prefix, CALL_S)).entries] == keys

    in_world(scenario)


def test_a_listing_of_many_pages_is_of_one_revision_while_others_write(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        store, writer = world.client(), world.client()
        keys = await _put_many(store, world)
        done = asyncio.Event()
        writing = asyncio.create_task(_write_both_ends(writer, keys, done))
        seen = set[bytes]()
        while len(seen) < 10:
            entries = (await store.list(world.prefix, CALL_S)).entries
            assert entries[0].value == entries[-1].value, "the first and the last page are of different revisions"
            seen.add(entries[0].value)
        done.set()
        await writing

    in_world(scenario)


async def _put_many(store: Store, world: World) -> list[str]:
    keys = [world.key(f"{number:04}") for number in range(MANY)]
    for start in range(0, MANY, 100):
        then = tuple(Put(key=key, value=b"0") for key in keys[start : start + 100])
        await store.commit(Transaction(then=then), CALL_S)
    return keys


async def _write_both_ends(store: Store, keys: list[str], done: asyncio.Event) -> None:
    for number in itertools.count(1):
        if done.is_set():
            return
        value = str(number).encode()
        then = (Put(key=keys[0], value=value), Put(key=keys[-1], value=value))
        await store.commit(Transaction(then=then), CALL_S)
