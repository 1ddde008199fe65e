from __future__ import annotations

import asyncio
import dataclasses

import pytest

from shoal.core.access import scope_of
from shoal.core.api_keys import ApiKey
from shoal.store.interface import DeleteKey, Operation, Put, Transaction
from shoal.store.key_codecs import encode_key
from shoal.store.keys import Keys
from shoal.store.observe_keys import KeyObserver
from tests.twins.store.client import MemoryStore
from tests.twins.store.cluster import MemoryCluster

KEYS = Keys("test")


def key(id: str, name: str = "app") -> ApiKey:
    return ApiKey(id=id * 6, name=name, digest="0b" * 32, scopes=(scope_of("*", ["read"]),), created_ms=1)


def put(made: ApiKey, id: str = "") -> Put:
    return Put(key=KEYS.api_key(id or made.id), value=encode_key(made))


class Watched:
    """An observer, and a client with which the test changes what is observed."""

    def __init__(self) -> None:
        self.cluster = MemoryCluster(lambda: 1_000.0)
        self.store, self.other = MemoryStore(self.cluster), MemoryStore(self.cluster)
        self.news = asyncio.Event()
        self.observer = KeyObserver(store=self.store, keys=KEYS, changed=self.news.set)
        self.task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Watched:
        self.task = asyncio.create_task(self.observer.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def commit(self, *operations: Operation) -> None:
        await self.other.commit(Transaction(then=operations), 1.0)

    async def shows(self, *known: ApiKey) -> None:
        async with asyncio.timeout(20.0):
            while not self.observer.listed or dict(self.observer.known) != {each.id: each for each in known}:
                self.news.clear()
                await self.news.wait()


def test_keys_that_are_made_changed_and_revoked_are_seen() -> None:
    asyncio.run(made_changed_and_revoked())


async def made_changed_and_revoked() -> None:
    first, second = key("0a"), key("0b")
    async with Watched() as watched:
        assert not watched.observer.listed
        await watched.shows()
        await watched.commit(put(first), put(second))
        await watched.shows(first, second)
        assert watched.observer.get(first.id) == first
        changed = dataclasses.replace(first, name="other")
        await watched.commit(put(changed), DeleteKey(key=KEYS.api_key(second.id)))
        await watched.shows(changed)
        assert watched.observer.get(second.id) is None


def test_a_key_that_cannot_be_read_opens_nothing_and_keeps_nobody_out(caplog: pytest.LogCaptureFixture) -> None:
    asyncio.run(unreadable())
    assert "api_key_unreadable" in caplog.text


async def unreadable() -> None:
    good, misplaced = key("0a"), key("0c")
    async with Watched() as watched:
        await watched.commit(Put(key=KEYS.api_key("0b" * 6), value=b"{}"), put(good), put(misplaced, id="0d" * 6))
        await watched.shows(good)
        await watched.commit(Put(key=KEYS.api_key(good.id), value=b"?"))
        await watched.shows()
        await watched.commit(DeleteKey(key=KEYS.api_key("0b" * 6)), put(good))
        await watched.shows(good)


def test_a_key_revoked_while_changes_were_missed_is_gone_after_the_next_listing() -> None:
    asyncio.run(revoked_unseen())


async def revoked_unseen() -> None:
    first, second = key("0a"), key("0b")
    async with Watched() as watched:
        await watched.commit(put(first), put(second))
        await watched.shows(first, second)
        watched.store.cut()
        await watched.commit(DeleteKey(key=KEYS.api_key(first.id)))
        listing = await watched.other.list(KEYS.prefix, 1.0)
        watched.cluster.compact(listing.revision)
        assert watched.observer.get(first.id) == first
        watched.store.restore()
        await watched.shows(second)
