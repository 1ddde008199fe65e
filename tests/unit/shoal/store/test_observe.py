from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from shoal.core.cluster_map import WorkerEntry
from shoal.core.errors import DataLoss, PreconditionFailed
from shoal.core.ids import Revision, WorkerId
from shoal.store import observe
from shoal.store.codecs import encode_worker
from shoal.store.interface import DeleteKey, Operation, Put, Transaction
from shoal.store.keys import Keys
from shoal.store.observe import MapObserver
from tests.twins.store.client import MemoryStore
from tests.twins.store.cluster import MemoryCluster

KEYS = Keys("test")
WORKER = WorkerEntry(id=WorkerId("w0"), address="w0:1", incarnation="i", pid=1, node="n", zone="z", registration=Revision(1))


class Clock:
    """Clock that only moves when the test sets it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def eventually(met: Callable[[], bool]) -> None:
    async with asyncio.timeout(20.0):
        while not met():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


class Watched:
    """An observer, and a client with which the test changes what is observed."""

    def __init__(self) -> None:
        self.clock = Clock()
        cluster = MemoryCluster(self.clock)
        self.store, self.other = MemoryStore(cluster), MemoryStore(cluster)
        self.changes = 0
        self.observer = MapObserver(store=self.store, keys=KEYS, clock=self.clock, changed=self.count)
        self.task: asyncio.Task[None] | None = None

    def count(self) -> None:
        self.changes += 1

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
            heard = it.changes
            await it.put(Put(key=KEYS.worker(WORKER.id), value=encode_worker(WORKER)))
            await eventually(lambda: WORKER.id in it.observer.map.workers)
            assert it.changes > heard
            await it.put(DeleteKey(key=KEYS.worker(WORKER.id)))
            await eventually(lambda: not it.observer.map.workers)

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
            it.clock.now += 9.9
            await asyncio.sleep(0.1)
            assert told("store_does_not_answer") == 1
            it.clock.now += 0.2
            await eventually(lambda: told("store_does_not_answer") == 2)
            it.store.restore()
            await eventually(lambda: it.observer.connected)
            await eventually(lambda: told("store_answers_again") == 1)

    asyncio.run(scenario())


def test_a_start_is_no_reason_to_complain_for_some_seconds(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(observe, "SILENCE_S", 0.01)

    def told() -> int:
        return sum(record.getMessage().startswith("store_does_not_answer") for record in caplog.records)

    async def scenario() -> None:
        it = Watched()
        it.store.cut()
        async with it:
            await asyncio.sleep(0.1)
            it.clock.now += observe.PATIENCE_S - 0.1
            await asyncio.sleep(0.1)
            assert told() == 0
            it.clock.now += 0.2
            await eventually(lambda: told() == 1)

    asyncio.run(scenario())


@pytest.mark.parametrize("after", [Put(key=KEYS.cluster, value=b"two"), DeleteKey(key=KEYS.cluster)])
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
