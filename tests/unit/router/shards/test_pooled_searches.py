"""Searches that run as one in the threads of this process, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import numpy as np

from shoal.core.deadline import Deadline
from shoal.core.points import Matrix
from shoal.core.topk import HitColumns
from shoal.router.shards.pooled_searches import PooledSearches
from tests.twins.virtual_time import FakeClock, run

CALL_S = 0.01


class Pool:
    """Answers each query with its first number as the id of one hit, after a while. fails: answers nothing."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.searches = PooledSearches()
        self.calls: list[list[int]] = []
        self.cancelled = 0
        self.fails: Callable[[int], bool] = lambda queries: False

    async def answer(self, queries: Matrix, deadline: Deadline) -> HitColumns | None:
        self.calls.append(queries[:, 0].astype(int).tolist())
        try:
            await asyncio.sleep(CALL_S)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.fails(len(queries)):
            return None
        counts = np.ones(len(queries), dtype=np.int64)
        return HitColumns(counts=counts, ids=queries[:, 0].astype(np.int64), scores=queries[:, 0])

    async def ask(self, *numbers: int, key: str = "a", timeout_s: float = 1.0, most: int = 4, threads: int = 2) -> list[int] | None:
        queries = np.array([[number] for number in numbers], dtype=np.float32)
        deadline = Deadline.after(timeout_s, self.clock)
        now = partial(self.answer, queries, deadline)
        hits = await self.searches.search(key, queries, deadline, now, self.answer, threads=threads, most=most)
        return None if hits is None else hits.ids.tolist()


def played(work: Callable[[Pool], Awaitable[None]]) -> Pool:
    pool = Pool()
    run(pool.clock, work(pool))
    assert pool.searches._alike == {}, "nothing is kept of searches that have ended"
    assert pool.searches._tasks == set()
    return pool


def test_lone_searches_run_at_once_and_those_behind_them_together() -> None:
    async def work(pool: Pool) -> None:
        answers = await asyncio.gather(*(pool.ask(number) for number in range(9)))
        assert answers == [[number] for number in range(9)]

    pool = played(work)
    assert pool.calls == [[0], [1], [2, 3, 4, 5], [6, 7, 8]]


def test_other_kinds_and_batches_that_are_long_enough_do_not_wait() -> None:
    async def work(pool: Pool) -> None:
        asked = [pool.ask(0, threads=1), pool.ask(1, key="b", threads=1), pool.ask(2, 3, 4, 5, threads=1), pool.ask(6, 7, threads=1)]
        assert await asyncio.gather(*asked) == [[0], [1], [2, 3, 4, 5], [6, 7]]

    assert played(work).calls == [[0], [1], [2, 3, 4, 5], [6, 7]]


def test_each_leaves_at_its_deadline_and_the_others_go_on() -> None:
    async def work(pool: Pool) -> None:
        asked = [pool.ask(0, threads=1), pool.ask(1, threads=1, timeout_s=CALL_S / 2), pool.ask(2, threads=1, timeout_s=1.5 * CALL_S)]
        assert await asyncio.gather(*asked, pool.ask(3, threads=1)) == [[0], None, None, [3]]

    assert played(work).calls == [[0], [2, 3]]


def test_a_common_call_without_an_answer_leaves_each_to_itself() -> None:
    async def work(pool: Pool) -> None:
        pool.fails = lambda queries: queries > 1
        assert await asyncio.gather(*(pool.ask(number, threads=1) for number in range(4))) == [[0], None, None, None]
        assert await pool.ask(5) == [5]

    played(work)


def test_a_common_call_ends_when_all_callers_have_left() -> None:
    async def work(pool: Pool) -> None:
        first = asyncio.create_task(pool.ask(0, threads=1))
        others = [asyncio.create_task(pool.ask(number, threads=1)) for number in (1, 2)]
        await first
        await asyncio.sleep(CALL_S / 2)
        others[0].cancel()
        await asyncio.sleep(0)
        assert pool.cancelled == 0
        others[1].cancel()
        await asyncio.wait(others)
        await asyncio.sleep(0)
        assert pool.cancelled == 1
        assert await pool.ask(3, threads=1) == [3]

    assert played(work).calls == [[0], [1, 2], [3]]
