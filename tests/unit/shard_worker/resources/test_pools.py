from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

import pytest

from shoal.shard_worker.resources.pools import CHORES, Pools

PATIENCE_S = 20


def _pools() -> Pools:
    return Pools(search_threads=1, build_threads=1)


def test_chores_are_done_one_after_the_other_in_a_thread_of_their_own() -> None:
    async def run() -> None:
        pools, done = _pools(), threading.Event()
        seen: list[str] = []
        for number in range(3):
            assert pools.chore(lambda stopped, number=number: seen.append(f"{number} {threading.current_thread().name} {stopped()}"))
        assert pools.chore(lambda _: done.set())
        assert await asyncio.to_thread(done.wait, PATIENCE_S)
        pools.close()
        assert seen == [f"{number} chore_0 False" for number in range(3)]

    asyncio.run(run())


def test_beyond_a_number_of_waiting_chores_they_are_refused_until_one_is_done() -> None:
    async def run() -> None:
        pools, go, done = _pools(), threading.Event(), threading.Event()
        assert pools.chore(lambda _: bool(go.wait(PATIENCE_S)) and None)
        taken = [pools.chore(lambda _: None) for _ in range(2 * CHORES)]
        assert taken.count(True) == CHORES - 1
        go.set()
        async with asyncio.timeout(PATIENCE_S):
            while not pools.chore(lambda _: done.set()):
                await asyncio.to_thread(done.wait, 0.01)
        assert await asyncio.to_thread(done.wait, PATIENCE_S)
        pools.close()

    asyncio.run(run())


def test_a_chore_sees_that_the_worker_ends_and_none_begins_afterwards() -> None:
    async def run() -> None:
        pools, began, ended = _pools(), threading.Event(), threading.Event()

        def chore(stopped: Callable[[], bool]) -> None:
            began.set()
            while not stopped():
                pass
            ended.set()

        assert pools.chore(chore)
        assert await asyncio.to_thread(began.wait, PATIENCE_S)
        await asyncio.to_thread(pools.close)
        assert ended.is_set()
        assert not pools.chore(chore)

    asyncio.run(run())


def test_a_chore_that_fails_is_a_line_in_the_log_and_the_next_is_done(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        pools, done = _pools(), threading.Event()

        def failing(_: Callable[[], bool]) -> None:
            raise MemoryError("no room")

        with caplog.at_level(logging.ERROR):
            assert pools.chore(failing)
            assert pools.chore(lambda _: done.set())
            assert await asyncio.to_thread(done.wait, PATIENCE_S)
        pools.close()
        assert "chore_failed" in caplog.text
        assert "no room" in caplog.text

    asyncio.run(run())


def test_memory_is_given_back_once_for_all_replicas_that_close_together(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        given, pools = threading.Semaphore(0), _pools()
        monkeypatch.setattr("shoal.shard_worker.resources.pools.GIVE_BACK_S", 0.01)
        monkeypatch.setattr("shoal.shard_worker.resources.pools.give_back_free_memory", given.release)
        for _ in range(2):
            for _ in range(100):
                pools.give_back_soon()
            assert await asyncio.to_thread(given.acquire, timeout=PATIENCE_S)
        pools.close()
        pools.give_back_soon()
        assert not given.acquire(blocking=False)

    asyncio.run(run())
