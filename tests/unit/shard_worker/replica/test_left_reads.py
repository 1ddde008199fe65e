"""Test reads whose callers have left, at a replica with two search threads: reads that wait are not begun, reads that
run end, and no other caller waits behind them.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shoal.core.errors import DeadlineExceeded, Unavailable
from shoal.core.filter import Contains, Or
from shoal.core.ids import RequestId
from shoal.core.shard_calls import QueryGroup, ReadTerms, ShardCount, ShardDeleteMatching, ShardGet, ShardScroll, ShardSearch
from shoal.core.turns import Turn
from shoal.shard_worker.index.view import IndexView
from shoal.shard_worker.replica import reading
from shoal.shard_worker.replica.replica import UNDISTURBED_TRIES
from shoal.shard_worker.storage.store.connections import ReadPool
from tests.support.worker.replica_bench import DIM, SHARD, Bench, opened

THREADS, MANY = 2, 100
FILTER = Or(tuple(Contains(("text",), f"absent {number}") for number in range(50)))
LONG_S = 60.0


class Endless:
    """Replaces the searches of a replica by searches that run until their turn ends. begun: number of searches that
    began. ended: number of searches that were told that nobody waits for them.
    """

    def __init__(self, bench: Bench) -> None:
        self.begun, self.ended, self._lock = 0, 0, threading.Lock()
        self._real = bench.engine.reading.search
        bench.engine.reading.search = self.search  # type: ignore[method-assign]
        bench.engine.reading.estimated_us = lambda *_: 1e9  # type: ignore[method-assign]

    def search(self, view: IndexView, call: ShardSearch, turn: Turn) -> Any:
        if call.terms.caller == "short":
            return self._real(view, call, turn)
        with self._lock:
            self.begun += 1
        try:
            while True:
                turn.pause()
                threading.Event().wait(0.001)
        finally:
            with self._lock:
                self.ended += 1


def search_of(caller: str) -> ShardSearch:
    return ShardSearch(shard=SHARD, queries=np.zeros((1, DIM), dtype=np.float32), groups=(QueryGroup(k=1),), terms=ReadTerms(caller=caller))


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONG_S):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def at(folder: Path, story: Callable[[Bench], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        async with opened(folder, term=1) as bench:
            payloads = [b'{"text": "%s"}' % (b"x" * 200)] * 50
            await bench.upsert(range(50), np.ones((50, DIM)), payloads)
            await story(bench)

    asyncio.run(run())


def test_searches_whose_callers_left_are_not_begun_and_those_that_run_end(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        endless = Endless(bench)
        left = [asyncio.create_task(bench.replica.search(search_of("heavy"), LONG_S)) for _ in range(MANY)]
        await until(lambda: endless.begun == THREADS)
        # The newest is cancelled first. Otherwise an older one could begin as soon as a running one ends.
        for task in reversed(left):
            task.cancel()
        assert {type(each) for each in await asyncio.gather(*left, return_exceptions=True)} == {asyncio.CancelledError}
        assert (await bench.replica.search(search_of("short"), LONG_S)).hits.ids.tolist() == [0]
        await until(lambda: endless.ended == THREADS)
        assert endless.begun == THREADS

    at(tmp_path, story)


def test_a_short_search_of_another_caller_has_its_turn_beside_long_ones(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        endless = Endless(bench)
        heavy = [asyncio.create_task(bench.replica.search(search_of("heavy"), LONG_S)) for _ in range(MANY)]
        await until(lambda: endless.begun == THREADS)
        for _ in range(5):
            assert (await bench.replica.search(search_of("short"), LONG_S)).hits.ids.tolist() == [0]
        assert endless.ended == 0
        for task in heavy:
            task.cancel()
        await asyncio.gather(*heavy, return_exceptions=True)

    at(tmp_path, story)


def test_closing_does_not_wait_for_a_backlog_and_tells_its_callers(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        endless = Endless(bench)
        waiting = [asyncio.create_task(bench.replica.search(search_of("heavy"), 3_600.0)) for _ in range(MANY)]
        await until(lambda: endless.begun == THREADS)
        async with asyncio.timeout(LONG_S):
            await bench.replica.close()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(each) for each in outcomes} == {Unavailable}
        assert (endless.begun, endless.ended) == (THREADS, THREADS)

    at(tmp_path, story)


@pytest.mark.parametrize(
    "ask",
    [
        lambda bench: bench.replica.search(search_with_filter(), 0.0),
        lambda bench: bench.replica.count(ShardCount(shard=SHARD, filter=FILTER), 0.0),
        lambda bench: bench.replica.scroll(ShardScroll(shard=SHARD, after=None, limit=5, filter=FILTER), 0.0),
        lambda bench: bench.replica.scroll(ShardScroll(shard=SHARD, after=None, limit=5), 0.0),
        lambda bench: bench.replica.get(ShardGet(shard=SHARD, ids=np.arange(40)), 0.0),
        lambda bench: bench.replica.write(ShardDeleteMatching(shard=SHARD, request_id=RequestId("c", 1), filter=FILTER), 0.0),
    ],
    ids=["search", "count", "scroll matching", "scroll", "get", "delete"],
)
def test_what_waits_beyond_its_deadline_reads_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Callable[[Bench], Coroutine[Any, Any, Any]]
) -> None:
    async def story(bench: Bench) -> None:
        endless = Endless(bench)
        busy = [asyncio.create_task(bench.replica.search(search_of("heavy"), LONG_S)) for _ in range(THREADS)]
        await until(lambda: endless.begun == THREADS)
        snapshots, real = [], ReadPool.snapshot
        monkeypatch.setattr(ReadPool, "snapshot", lambda pool: snapshots.append(1) or real(pool))  # type: ignore[func-returns-value]
        with pytest.raises(DeadlineExceeded):
            await ask(bench)
        for task in busy:
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)
        assert snapshots == []
        await bench.replica.get(ShardGet(shard=SHARD, ids=np.arange(40)), LONG_S)
        assert snapshots == [1], "a read in time is one that this test would have seen"

    at(tmp_path, story)


def search_with_filter() -> ShardSearch:
    return ShardSearch(shard=SHARD, queries=np.zeros((1, DIM), dtype=np.float32), groups=(QueryGroup(k=1, filter=FILTER),))


def test_a_read_between_writes_ends_when_its_caller_leaves(tmp_path: Path) -> None:
    """A read that the writer disturbs again and again is at last done while all writes wait."""

    async def story(bench: Bench) -> None:
        begun, tried = threading.Event(), list[ShardSearch]()

        def disturbed(view: IndexView, call: ShardSearch, turn: Turn) -> None:
            tried.append(call)
            if len(tried) <= UNDISTURBED_TRIES:
                return
            begun.set()
            while True:
                turn.pause()
                threading.Event().wait(0.001)

        bench.engine.reading.search = disturbed  # type: ignore[method-assign,assignment]
        reading = asyncio.create_task(bench.replica.search(search_of("disturbed"), LONG_S))
        await until(begun.is_set)
        reading.cancel()
        async with asyncio.timeout(LONG_S):
            assert (await bench.upsert([1], np.ones((1, DIM)))).affected == 1

    at(tmp_path, story)


def test_hits_are_completed_from_the_store_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(bench: Bench) -> None:
        options = {"with_payload": True, "with_vectors": True}
        at_once = await bench.search(np.ones(DIM), 50, **options)
        monkeypatch.setattr(reading, "ROWS_AT_ONCE", 7)
        in_pieces = await bench.search(np.ones(DIM), 50, **options)
        assert in_pieces.ids.tolist() == at_once.ids.tolist() == list(range(50))
        assert in_pieces.payloads == at_once.payloads
        assert np.array_equal(in_pieces.vectors, at_once.vectors)

    at(tmp_path, story)
