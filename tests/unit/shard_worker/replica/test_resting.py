"""A replica whose files are closed answers as before. What it needs to open them again is reserved, and a failure to
open them fails it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import random
from pathlib import Path

import numpy as np
import pytest

from shoal.core.deadline import Deadline
from shoal.core.errors import DataLoss, ResourceExhausted, ShoalError
from shoal.core.filter_input import filter_from_input
from shoal.core.health import ReplicaRole
from shoal.core.ids import ShardId
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.points import id_array
from shoal.core.shard_calls import QueryGroup, ShardCount, ShardGet, ShardScroll, ShardSearch
from shoal.core.sizing import REPLICA_BASE_BYTES, open_store_bytes
from shoal.runtime.clock import boot_s
from shoal.shard_worker.resources.memory import WorkerMemory
from tests.support.worker.replica_bench import DIM, REPLICA, SHARD, Bench, opened

EVEN = filter_from_input({"n": {"$gte": 50}}, DEFAULT_LIMITS)


def vectors(count: int) -> np.ndarray:
    return np.arange(count * DIM, dtype=np.float32).reshape(count, DIM)


async def filled(bench: Bench, count: int = 100) -> None:
    await bench.upsert(range(count), vectors(count), tuple(b'{"n":%d}' % number for number in range(count)))


def files_open_below(folder: Path) -> list[str]:
    links = (f"/proc/self/fd/{each}" for each in os.listdir("/proc/self/fd"))
    return [
        target for target in (os.readlink(link) for link in links if os.path.islink(link)) if target.startswith(str(replica_folder(folder)))
    ]


def replica_folder(folder: Path) -> Path:
    return folder / SHARD.collection / str(SHARD.number) / REPLICA


async def ids_of(bench: Bench) -> list[object]:
    call = ShardScroll(shard=SHARD, after=None, limit=1_000, filter=None, with_payload=False, with_vectors=False)
    return (await bench.replica.scroll(call, 20.0)).ids.tolist()


async def found_and_completed(bench: Bench) -> tuple[bytes | None, ...] | None:
    """Search in two steps, as for several shards at once: the payload of the second step, with the store at rest."""
    call = ShardSearch(shard=SHARD, queries=vectors(1), groups=(QueryGroup(k=1),), with_payload=True)
    deadline = Deadline.after(20.0, boot_s)
    found = await bench.replica.find(call, deadline)
    await bench.rest()
    columns = await bench.replica.complete(found, np.arange(1), call, deadline)
    assert columns is not None
    return columns.payloads


async def until_failed(bench: Bench) -> None:
    async with asyncio.timeout(20):
        while bench.replica.failure is None:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    assert bench.replica.role is ReplicaRole.FAILED


def test_nothing_is_open_and_vectors_are_searched_without_opening_it(tmp_path):
    async def run() -> None:
        async with opened(tmp_path, term=1) as bench:
            await filled(bench)
            assert files_open_below(tmp_path)
            await bench.rest()
            assert files_open_below(tmp_path) == []
            assert (await bench.search(vectors(1), 3, with_payload=False)).ids.tolist() == [0, 1, 2]
            assert await bench.replica.count(ShardCount(shard=SHARD), 20.0) == 100
            assert (await bench.replica.stats()).points == 100
            assert files_open_below(tmp_path) == []

    asyncio.run(run())


def test_an_empty_replica_is_searched_without_opening_it(tmp_path):
    async def run() -> None:
        async with opened(tmp_path, term=1) as bench:
            await bench.rest()
            assert (await bench.search(vectors(1), 3, filter=EVEN, with_payload=True)).counts.tolist() == [0]
            assert await bench.replica.count(ShardCount(shard=SHARD, filter=EVEN), 20.0) == 0
            assert files_open_below(tmp_path) == []

    asyncio.run(run())


def test_every_other_call_opens_it(tmp_path):
    async def run() -> None:
        async with opened(tmp_path, term=1) as bench:
            await filled(bench)
            get = ShardGet(shard=SHARD, ids=id_array([3]), with_payload=True, with_vectors=True)
            for _ in range(2):
                await bench.rest()
                assert (await bench.replica.get(get, 20.0)).payloads == (b'{"n":3}',)
                await bench.rest()
                assert (await bench.search(vectors(1), 2, with_payload=True)).payloads == (b'{"n":0}', b'{"n":1}')
                await bench.rest()
                assert (await bench.search(vectors(1), 2, filter=EVEN)).ids.tolist() == [50, 51]
                await bench.rest()
                assert await bench.replica.count(ShardCount(shard=SHARD, filter=EVEN), 20.0) == 50
                await bench.rest()
                assert len(await ids_of(bench)) == 100
                await bench.rest()
                assert await found_and_completed(bench) == (b'{"n":0}',)
                await bench.rest()
                await bench.upsert([3], vectors(4)[3:], (b'{"n":3}',))
                await bench.rest()
                await bench.replica.optimize(20.0)
            await bench.rest()
            assert (await bench.delete_matching(EVEN)).affected == 50
            await bench.rest()
            assert (await bench.delete([0])).affected == 1
            await bench.rest()
            pinned = await bench.replica.snapshot(lambda engine: engine.pin_snapshot(tmp_path))
            pinned.release()
            await bench.rest()
        async with opened(tmp_path, term=2) as bench:
            assert await ids_of(bench) == list(range(1, 50))

    asyncio.run(run())


def test_an_empty_replica_at_rest_is_booked_at_its_base_and_its_writes_at_what_they_open(tmp_path):
    async def run() -> None:
        async with opened(tmp_path, term=1) as bench:
            await bench.rest()
            held = bench.memory.replica_bytes()[SHARD]
            assert REPLICA_BASE_BYTES <= held < REPLICA_BASE_BYTES + 4_096
            cost = bench.engine.cost()
            assert cost.waking == open_store_bytes(bench.engine._store.database_bytes)
            tight = WorkerMemory(1 << 30)
            tight.open(SHARD, cost)
            left = tight.budget_bytes - tight.used_bytes
            claim = tight.admit(SHARD, 1, 1)
            assert tight.promised_bytes > cost.waking
            claim.give_back()
            other = ShardId(SHARD.collection, 1)
            tight.open(other, dataclasses.replace(cost, held=left - cost.waking))
            with pytest.raises(ResourceExhausted, match="no memory for 1 points"):
                tight.admit(SHARD, 1, 1)
            await filled(bench)
            assert bench.memory.replica_bytes()[SHARD] > held + cost.waking
            await bench.rest()
            assert bench.engine.cost().waking
            assert bench.memory.replica_bytes()[SHARD] == bench.engine.cost().held

    asyncio.run(run())


def test_a_replica_tells_its_size_with_open_files_whether_it_rests_or_not(tmp_path):
    async def run() -> None:
        async with opened(tmp_path, term=1) as bench:
            await filled(bench)
            for rests in (False, True):
                if rests:
                    await bench.rest()
                cost, store = bench.engine.cost(), open_store_bytes(bench.engine._store.database_bytes)
                assert (cost.waking > 0) == rests
                assert bench.replica.status.memory_bytes == cost.lasting == cost.held + cost.waking - cost.passing
                assert cost.lasting >= REPLICA_BASE_BYTES + store

    asyncio.run(run())


@pytest.mark.parametrize("use", ["read", "write"])
def test_a_store_that_is_damaged_while_it_rests_fails_the_replica(tmp_path, use):
    async def run() -> None:
        async with opened(tmp_path, term=1) as bench:
            await filled(bench)
            await bench.rest()
            store = replica_folder(tmp_path) / "store.db"
            store.write_bytes(bytes(100) + store.read_bytes()[100:])
            with pytest.raises(DataLoss):
                await (ids_of(bench) if use == "read" else bench.upsert([1], vectors(1)))
            await until_failed(bench)
            with pytest.raises(DataLoss):
                await bench.search(vectors(1), 1)

    asyncio.run(run())


def test_a_log_that_goes_away_while_it_rests_fails_the_replica_at_the_next_write(tmp_path):
    async def run() -> None:
        async with opened(tmp_path, term=1) as bench:
            await filled(bench)
            await bench.rest()
            for path in (replica_folder(tmp_path) / "log").iterdir():
                path.unlink()
            assert len(await ids_of(bench)) == 100
            with pytest.raises(DataLoss, match="is missing"):
                await bench.upsert([1], vectors(1))
            await until_failed(bench)

    asyncio.run(run())


def test_without_room_on_the_disk_it_stays_open_unless_there_is_nothing_to_write(tmp_path):
    async def run() -> None:
        async with opened(tmp_path, term=1) as bench:
            await filled(bench)
            bench.replica.tell_space("full")
            assert not await bench.replica._files._rest()
            assert len(await ids_of(bench)) == 100
            bench.replica.tell_space(None)
            await bench.rest()
            assert len(await ids_of(bench)) == 100
            bench.replica.tell_space("full")
            await bench.rest()
            assert len(await ids_of(bench)) == 100

    asyncio.run(run())


@pytest.mark.parametrize("seed", range(3))
def test_whoever_reads_and_writes_while_it_is_closed_and_opened_sees_everything(tmp_path, seed):
    async def run() -> None:
        rng, done = random.Random(seed), asyncio.Event()
        async with opened(tmp_path, term=1) as bench:
            await filled(bench, 20)
            written, rests = 20, 0

            async def close() -> None:
                nonlocal rests
                while rests < 5:
                    await bench.rest()
                    rests += 1
                    await asyncio.sleep(0.001)
                done.set()

            async def write() -> None:
                nonlocal written
                while not done.is_set():
                    await bench.upsert([written], vectors(1), (b'{"n":99}',))
                    written += 1
                    await asyncio.sleep(rng.random() * 0.02)

            async def read() -> None:
                while not done.is_set():
                    least = written
                    found = await ids_of(bench)
                    assert found == list(range(len(found)))
                    assert len(found) >= least
                    hits = await bench.search(vectors(1), 3, filter=EVEN, with_payload=True)
                    assert all(payload == b'{"n":99}' for payload in hits.payloads)
                    await asyncio.sleep(rng.random() * 0.02)

            async with asyncio.timeout(60):
                await asyncio.gather(close(), write(), read(), read())

    asyncio.run(run())


def test_a_replica_is_closed_at_rest_and_while_it_is_going_to_rest(tmp_path):
    async def run() -> None:
        async with opened(tmp_path, term=1) as bench:
            await filled(bench)
            await bench.rest()
        async with opened(tmp_path, term=2) as bench:
            await filled(bench)
            resting = asyncio.create_task(bench.rest())
            await asyncio.sleep(0)
        await resting
        async with opened(tmp_path, term=3) as bench:
            assert len(await ids_of(bench)) == 100
            await bench.rest()
            await bench.replica.close()
            with pytest.raises(ShoalError):
                await ids_of(bench)

    asyncio.run(run())
