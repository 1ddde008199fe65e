"""Test replicas that close, fail or are late while work is under way: nothing hangs, spins, blocks the event loop or
stays open.
"""

import asyncio
import threading
import time

import numpy as np
import pytest

from shoal.core.errors import DeadlineExceeded, InvalidArgument, PreconditionFailed, ShoalError, Unavailable
from shoal.core.ids import RequestId
from shoal.core.shard_calls import QueryGroup, ShardCount, ShardSearch
from shoal.shard_worker.storage.failure import StorageFailed
from shoal.wire.shard_calls import request_id_from_message, request_id_to_message
from tests.support.worker.replica_bench import DIM, SHARD, Bench, opened


def vectors(count: int) -> np.ndarray:
    return np.random.default_rng(count).normal(size=(count, DIM)).astype(np.float32)


async def ticks_during(work: "asyncio.Task[None]") -> float:
    """Return the longest time for which the event loop stood still while `work` ran."""
    longest, before = 0.0, time.monotonic()
    while not work.done():
        await asyncio.sleep(0.01)
        now = time.monotonic()
        longest, before = max(longest, now - before), now
    work.result()
    return longest


def writer_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("writer")]


def test_a_disk_that_fails_after_a_build_breaks_the_replica_and_it_still_closes(tmp_path):
    async def run():
        async with opened(tmp_path, term=1) as bench:
            await bench.upsert(range(3_000), vectors(3_000))
            engine = bench.engine

            def refuse() -> None:
                raise StorageFailed("disk full")

            engine.sweep = refuse
            with pytest.raises(StorageFailed, match="disk full"):
                await bench.replica.optimize(20.0)
            assert bench.replica.failure is not None

    asyncio.run(run())
    assert writer_threads() == []


def test_optimize_tells_at_once_why_it_cannot(tmp_path):
    async def run():
        async with opened(tmp_path, term=1) as bench:
            await bench.upsert(range(500), vectors(500))
            engine = bench.engine

            def refuse(job, sealed):
                raise StorageFailed("no room for a segment")

            engine.points.write_segment = refuse
            began = time.monotonic()
            with pytest.raises(StorageFailed, match="no room"):
                await bench.replica.optimize(120.0)
            assert time.monotonic() - began < 60.0

    asyncio.run(run())


async def closing(bench: Bench) -> None:
    await bench.replica.close()

    async def closed_already() -> None:
        return None

    bench.replica.close = closed_already


def test_closing_does_not_wait_for_another_replicas_build(tmp_path):
    async def run():
        gate = threading.Event()
        async with opened(tmp_path, term=1, growing_rows=1_000) as bench:
            other = asyncio.create_task(bench.pools.build(gate.wait, asyncio.Event()))
            await bench.upsert(range(3_000), vectors(3_000))
            await closing(bench)
            assert not other.done()
            gate.set()
            await other

    asyncio.run(run())


def test_closing_beside_optimize_keeps_the_loop_running_and_answers_it(tmp_path):
    async def run():
        async with opened(tmp_path, term=1) as bench:
            await bench.upsert(range(500), vectors(500))
            gate, append = threading.Event(), bench.engine.append

            def append_late(records):
                assert gate.wait(60)
                append(records)

            bench.engine.append = append_late
            busy = asyncio.create_task(bench.upsert([1], vectors(1)))
            await asyncio.sleep(0)
            optimizing = asyncio.create_task(bench.replica.optimize(60.0))
            await asyncio.sleep(0)
            ending = asyncio.create_task(closing(bench))
            asyncio.get_running_loop().call_later(0.5, gate.set)
            assert await ticks_during(ending) < 0.4
            await asyncio.wait({busy}, timeout=20.0)
            assert busy.done()
            with pytest.raises(Unavailable, match="closing"):
                await asyncio.wait_for(optimizing, 20.0)

    asyncio.run(run())


def test_a_search_is_given_up_at_its_deadline_and_holds_up_no_write(tmp_path):
    async def run():
        async with opened(tmp_path, term=1) as bench:
            await bench.upsert(range(500), vectors(500))
            gate = threading.Event()
            reading, search = bench.engine.reading, bench.engine.reading.search

            def slow(view, call, turn):
                assert gate.wait(60)
                return search(view, call, turn)

            reading.search = slow
            reading.estimated_us = lambda *_: 1e9
            late = [ShardSearch(shard=SHARD, queries=vectors(1), groups=(QueryGroup(k=1),)) for _ in range(4)]
            for outcome in await asyncio.gather(*(bench.replica.search(call, 0.05) for call in late), return_exceptions=True):
                assert isinstance(outcome, DeadlineExceeded)
            assert (await bench.upsert(range(30_000), vectors(30_000))).affected == 30_000
            gate.set()

    asyncio.run(run())


def test_a_request_too_old_to_tell_says_maybe(tmp_path):
    async def run():
        async with opened(tmp_path, term=1) as bench:
            first = RequestId("c", 1)
            await bench.upsert([1], vectors(1), request_id=first)
            for start in range(2, 1_300, 200):
                await asyncio.gather(
                    *(bench.upsert([5], vectors(1), request_id=RequestId("c", number)) for number in range(start, start + 200))
                )
            with pytest.raises(PreconditionFailed, match="too old") as caught:
                await bench.upsert([1], vectors(1), request_id=first)
            assert set(caught.value.details.applied.values()) == {"maybe"}

    asyncio.run(run())


@pytest.mark.parametrize("ids", [[""], ["x" * 513]])
def test_ids_that_are_none_are_refused_before_they_are_logged(tmp_path, ids):
    async def run():
        async with opened(tmp_path, term=1) as bench:
            with pytest.raises(InvalidArgument, match=r"ids\[0\]"):
                await bench.upsert(ids, vectors(1))
            assert await bench.replica.count(ShardCount(shard=SHARD), 5.0) == 0

    asyncio.run(run())


def test_a_request_number_that_cannot_be_stored_is_refused_at_the_door():
    with pytest.raises(InvalidArgument, match="request_id"):
        request_id_from_message(request_id_to_message(RequestId("c", 2**63)))


def test_everything_is_released_although_a_part_fails_to_close(tmp_path):
    async def run():
        async with opened(tmp_path, term=1) as bench:
            await bench.upsert([1], vectors(1))
            real = bench.engine.close

            def refuse() -> None:
                real()
                raise StorageFailed("cannot close")

            bench.engine.close = refuse

    with pytest.raises(ShoalError, match="cannot close"):
        asyncio.run(run())
    assert writer_threads() == []
