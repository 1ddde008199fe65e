"""Test that what a replica holds is freed with its last use, without the garbage collector, however its calls ended."""

import asyncio
import contextlib
import gc
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterator

import numpy as np
import pytest

from shoal.core.errors import DataLoss, InvalidArgument, ShoalError, Unavailable, to_keep
from shoal.core.filter_input import filter_from_input
from shoal.core.ids import ClusterId
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.shard_calls import Consistency, QueryGroup, ReadTerms, ShardCount, ShardSearch
from shoal.core.sizing import replica_files
from shoal.core.tuning_calls import ShardTune
from shoal.shard_worker.hosting.folders import WorkerReplicaFolders
from shoal.shard_worker.replica import engine as engine_module
from shoal.shard_worker.replica.engine import Engine, EngineSettings
from shoal.shard_worker.resources.memory import unbounded_memory
from shoal.shard_worker.resources.open_stores import OpenStores
from shoal.shard_worker.resources.os_limits import open_files
from shoal.shard_worker.resources.pools import Pools
from shoal.shard_worker.storage.failure import StorageFailed
from shoal.shard_worker.storage.folders.worker_folder import WorkerFolder
from tests.support.worker.replica_bench import DIM, REPLICA, SHARD, SPEC, Alone, Bench, opened

WORKER_FILES = 1
"""Number of open files of the worker itself: the lock of its folder."""


@contextlib.contextmanager
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def vectors(count: int) -> np.ndarray:
    return np.random.default_rng(count).normal(size=(count, DIM)).astype(np.float32)


def a_search() -> ShardSearch:
    return ShardSearch(shard=SHARD, queries=vectors(1), groups=(QueryGroup(k=1),))


def parts_of(bench: Bench) -> dict[str, weakref.ref]:
    """Return weak references to the parts of a replica, and to the arrays that take its memory."""
    replica, engine = bench.replica, bench.engine
    held = {"replica": replica, "writer": replica._writer, "machine": replica._writer.machine, "engine": engine}
    held |= {"index": engine.points.index, "store": engine._store, "log": engine._log, "growing": engine.points.index._growing}
    held |= {f"segment {segment.key}": segment for segment in engine.points.index._settled}
    held |= {f"vectors {part.key}": part.vectors for part in engine.points.index.view().parts}
    return {name: weakref.ref(each) for name, each in held.items()}


def alive(parts: dict[str, weakref.ref]) -> list[str]:
    return [name for name, part in parts.items() if part() is not None]


def test_a_closed_replica_is_gone_at_once(tmp_path):
    async def run() -> dict[str, weakref.ref]:
        async with opened(tmp_path, term=1) as bench:
            await bench.upsert(range(3_000), vectors(3_000), tuple(b'{"a": %d}' % (row % 7) for row in range(3_000)))
            await bench.replica.optimize(20.0)
            await bench.upsert([f"s-{row}" for row in range(1_200)], vectors(1_200))
            for _ in range(3):
                await bench.search(vectors(1), 3)
                await bench.search(vectors(80), 3, filter=filter_from_input({"a": 3}, DEFAULT_LIMITS))
            parts = parts_of(bench)
            assert len(parts) >= 13
            return parts

    with no_collector():
        assert alive(asyncio.run(run())) == []


def test_the_arrays_of_a_closed_index_go_although_somebody_still_holds_the_replica(tmp_path):
    async def run() -> None:
        async with opened(tmp_path, term=1) as bench:
            await bench.upsert(range(3_000), vectors(3_000))
            await bench.search(vectors(1), 3, filter=filter_from_input({"$id": {"$ne": 5}}, DEFAULT_LIMITS))
            replica, parts = bench.replica, parts_of(bench)
            parts["sample of queries"] = weakref.ref(replica.vectors.of("").tuner._queries._everything._queries)
        assert [name for name in alive(parts) if name.startswith(("segment", "vectors", "growing", "sample"))] == []
        assert bench.settings.hot_filters.memory_bytes == 0
        assert replica.stats_now().memory_bytes < 1_000_000

    with no_collector():
        asyncio.run(run())


@pytest.mark.parametrize("rows", [0, 10])
def test_only_a_replica_with_rows_searches_the_heaps_for_free_memory(tmp_path, monkeypatch, rows):
    asked = []
    monkeypatch.setattr(engine_module, "give_back_free_memory", lambda: asked.append(rows))

    async def run() -> None:
        for term in (1, 2):
            async with opened(tmp_path, term=term) as bench:
                if rows and term == 1:
                    await bench.upsert(range(rows), vectors(rows))

    asyncio.run(run())
    # At the first closing, the second opening and the second closing.
    assert len(asked) == (3 if rows else 0)


def test_a_build_that_waits_for_its_thread_keeps_nothing_of_a_replica_that_closes(tmp_path):
    closed, left = threading.Event(), ["not looked at"]

    async def run() -> None:
        async with opened(tmp_path, term=1) as bench:
            build, close, asked, parts = bench.pools.build, bench.engine.close, asyncio.Event(), {}

            def busy() -> None:
                assert closed.wait(60)
                left[:] = [name for name in alive(parts) if name.startswith(("segment", "vectors"))]

            async def asked_for(work, withdrawn):
                asked.set()
                return await build(work, withdrawn)

            def close_and_tell() -> None:
                close()
                closed.set()

            before = asyncio.create_task(build(busy, asyncio.Event()))
            await asyncio.sleep(0)
            bench.pools.build, bench.engine.close = asked_for, close_and_tell
            await bench.upsert(range(3_000), vectors(3_000))
            await asked.wait()
            parts |= parts_of(bench)
            assert len(parts) >= 12
        await before

    with no_collector():
        asyncio.run(run())
    assert left == []


def test_a_replica_opens_as_many_files_as_is_told_and_closes_them(tmp_path):
    async def run() -> None:
        async with opened(tmp_path / "warm", term=1):
            pass
        before = open_files()
        async with opened(tmp_path / "it", term=1) as bench:
            await bench.upsert(range(3_000), vectors(3_000))
            await bench.replica.optimize(20.0)
            await bench.search(vectors(1), 3)
            assert open_files() - before <= replica_files(readers=1) + WORKER_FILES
            with contextlib.ExitStack() as busy:
                for _ in range(EngineSettings().readers):
                    busy.enter_context(bench.engine._store._opened().readers.snapshot())
                assert open_files() - before <= replica_files(EngineSettings().readers) + WORKER_FILES
                assert open_files() - before >= replica_files(EngineSettings().readers)
        assert open_files() == before

    asyncio.run(run())


async def searches_that_fail(bench: Bench) -> None:
    reading, gate = bench.engine.reading, threading.Event()

    def late(view, call, turn):
        assert gate.wait(60)
        raise Unavailable("in vain")

    reading.search, reading.estimated_us = late, lambda *_: 1e9
    with pytest.raises(ShoalError):
        await bench.replica.search(a_search(), 0.02)
    left = asyncio.create_task(bench.replica.search(a_search(), 20.0))
    await asyncio.sleep(0.01)
    left.cancel()
    await asyncio.wait({left})
    gate.set()
    with pytest.raises(Unavailable, match="in vain"):
        await bench.replica.search(a_search(), 20.0)
    del reading.search, reading.estimated_us, left


async def calls_that_are_refused(bench: Bench) -> None:
    with pytest.raises(InvalidArgument):
        await bench.search(vectors(1), 0)
    with pytest.raises(InvalidArgument):
        await bench.upsert(range(5), np.ones((5, DIM + 1)))
    bench.lease[0] = False
    with pytest.raises(Unavailable):
        await bench.replica.count(ShardCount(shard=SHARD, terms=ReadTerms(consistency=Consistency.PRIMARY)), 5.0)
    bench.lease[0] = True
    with pytest.raises(ShoalError):
        await bench.replica.tune(ShardTune(shard=SHARD, k=3), 0.0)


async def a_build_that_fails(bench: Bench) -> None:
    def refuse(job, sealed):
        raise StorageFailed("no room for a segment")

    bench.engine.points.write_segment = refuse
    with pytest.raises(StorageFailed):
        await bench.replica.optimize(20.0)
    del bench.engine.points.write_segment


async def a_write_that_fails(bench: Bench) -> None:
    def refuse(records):
        raise StorageFailed("the disk is gone")

    bench.engine.append = refuse
    with pytest.raises(StorageFailed):
        await bench.upsert(range(900), vectors(900))
    with pytest.raises(ShoalError):
        await bench.upsert(range(900), vectors(900))
    del bench.engine.append


@pytest.mark.parametrize("ends", [searches_that_fail, calls_that_are_refused, a_build_that_fails, a_write_that_fails])
def test_a_call_that_fails_leaves_nothing_to_the_collector(tmp_path, ends: Callable[[Bench], Awaitable[None]]):
    async def run() -> dict[str, weakref.ref]:
        async with opened(tmp_path, term=1) as bench:
            await bench.upsert(range(900), vectors(900))
            parts = parts_of(bench)
            gc.collect()
            await ends(bench)
            await asyncio.sleep(0.05)
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            gc.set_debug(0)
            left = [repr(each)[:200] for each in gc.garbage if isinstance(each, (BaseException, asyncio.Future, np.ndarray, bytes))]
            gc.garbage.clear()
            assert left == []
            return parts

    with no_collector():
        assert alive(asyncio.run(run())) == []


def test_an_opening_that_fails_keeps_nothing_of_what_it_read(tmp_path, monkeypatch):
    async def run() -> tuple[DataLoss, list[weakref.ref]]:
        worker, pools = WorkerFolder.open(tmp_path, ClusterId("cluster")), Pools(search_threads=1, build_threads=1)
        folders = WorkerReplicaFolders(
            folder=worker,
            settings=EngineSettings(),
            pools=pools,
            memory=unbounded_memory(),
            stores=OpenStores(most=1, idle_s=60.0),
            lease_held=lambda _: True,
            peers=Alone(),
            changed=lambda: None,
        )
        loaded: list[weakref.ref] = []

        def refuse(engine: Engine) -> None:
            loaded.extend([weakref.ref(engine), weakref.ref(engine.points.index), weakref.ref(engine._store)])
            raise DataLoss("the last block is damaged")

        monkeypatch.setattr(Engine, "_opened", lambda engine, requests: refuse(engine))
        kept = DataLoss("")
        try:
            await folders.open(SHARD, REPLICA, SPEC)
        except DataLoss as error:
            kept = to_keep(error)
        pools.close()
        worker.close()
        return kept, loaded

    async def prepare() -> None:
        async with opened(tmp_path, term=1) as bench:
            await bench.upsert(range(900), vectors(900))

    asyncio.run(prepare())
    with no_collector():
        kept, loaded = asyncio.run(run())
        assert "last block" in kept.message
        assert kept.__traceback__ is None
        assert [each() for each in loaded] == [None] * 3
