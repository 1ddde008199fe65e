from __future__ import annotations

import asyncio

import pytest

from coordinator import observe
from coordinator.bell import Bell
from coordinator.observe import Observer
from shoal.core.errors import DataLoss, PreconditionFailed
from shoal.core.ids import WorkerId
from shoal.store.codec import encode_worker
from shoal.store.interface import Delete, Operation, Put, Transaction
from shoal.store.memory import MemoryStore
from shoal.store.memory_cluster import MemoryCluster
from tests.unit.coordinator.candidate import Clock, eventually
from tests.unit.coordinator.world import KEYS, worker_entry


class Watched:
    """An observer and the client through which the test changes what it observes."""

    def __init__(self) -> None:
        self.clock = Clock()
        cluster = MemoryCluster(self.clock)
        self.store, self.other = MemoryStore(cluster), MemoryStore(cluster)
        self.bell = Bell()
        self.observer = Observer(store=self.store, keys=KEYS, bell=self.bell, clock=self.clock)
        self.task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Watched:
        self.task = asyncio.create_task(self.observer.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def put(self, *operations: Operation) -> None:
        await self.other.commit(Transaction(then=operations), 1.0)

    async def end(self) -> None:
        assert self.task is not None
        async with asyncio.timeout(10):
            await self.task


def test_the_map_follows_the_store() -> None:
    async def scenario() -> None:
        async with Watched() as it:
            assert not it.observer.listed
            assert it.observer.map.revision == 0
            await eventually(lambda: it.observer.listed)
            heard = it.bell.rings
            entry = worker_entry("w0")
            await it.put(Put(key=KEYS.worker(entry.id), value=encode_worker(entry)))
            assert await it.bell.until(lambda: WorkerId("w0") in it.observer.map.workers, 10.0)
            assert it.bell.rings > heard
            await it.put(Delete(key=KEYS.worker(entry.id)))
            assert await it.bell.until(lambda: not it.observer.map.workers, 10.0)

    asyncio.run(scenario())


def test_silence_is_noticed_and_told_once_and_then_at_most_every_ten_seconds(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(observe, "SILENCE_S", 0.01)
    caplog.set_level("INFO")

    def told(what: str) -> int:
        return sum(record.getMessage().startswith(what) for record in caplog.records)

    async def scenario() -> None:
        async with Watched() as it:
            await eventually(lambda: it.observer.connected)
            it.store.cut()
            await eventually(lambda: not it.observer.connected)
            assert told("store_does_not_answer") == 1
            it.clock.advance(9.9)
            await asyncio.sleep(0.1)
            assert told("store_does_not_answer") == 1
            it.clock.advance(0.2)
            await eventually(lambda: told("store_does_not_answer") == 2)
            it.store.restore()
            await eventually(lambda: it.observer.connected)
            await eventually(lambda: told("store_answers_again") == 1)

    asyncio.run(scenario())


@pytest.mark.parametrize("after", [Put(key=KEYS.cluster, value=b"two"), Delete(key=KEYS.cluster)])
def test_a_store_that_becomes_another_cluster_or_empty_is_refused(after: Operation) -> None:
    async def scenario() -> None:
        async with Watched() as it:
            await it.put(Put(key=KEYS.cluster, value=b"one"))
            await eventually(lambda: it.observer.map.cluster == "one")
            await it.put(after)
            with pytest.raises(PreconditionFailed, match=r"the store held cluster one and now holds (two|none)"):
                await it.end()
            assert it.observer.map.cluster == "one"

    asyncio.run(scenario())


def test_a_value_that_cannot_be_read_ends_the_observation() -> None:
    async def scenario() -> None:
        async with Watched() as it:
            await it.put(Put(key=KEYS.worker(WorkerId("w0")), value=b"not json"))
            with pytest.raises(DataLoss, match="workers/w0"):
                await it.end()

    asyncio.run(scenario())
