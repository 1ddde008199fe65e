"""Searches that travel together, in virtual time: each has the answer that it has alone, and leaves when it wants."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import numpy as np
import pytest

from shoal.core.errors import DeadlineExceeded, InvalidArgument, ResourceExhausted, ShoalError, Unavailable
from shoal.core.ids import CollectionId, ShardId
from shoal.core.metric import Metric
from shoal.core.points import PointColumns, id_array
from shoal.core.replies import Found
from shoal.core.requests import ReadAs, Search, Upsert
from shoal.core.shard_calls import QueryGroup, ShardsSearch
from tests.twins.cluster import TwinCluster, TwinWorker
from tests.twins.virtual_time import FakeClock, run
from tests.unit.router.shards.test_replica_reads import Counted

T = TypeVar("T")

QUICK_S = 0.0005


class Joined:
    """Two workers with four shards, and the queries of many callers."""

    def __init__(self, here: bool = False) -> None:
        self.counted = Counted()
        self.cluster = TwinCluster(workers=2, clock=FakeClock(), metrics=self.counted)
        self.cluster.add("a", shards=4, metric=Metric.L2)
        self.workers: list[TwinWorker] = list(self.cluster.workers.values())
        self.queries = np.random.default_rng(5).integers(-3, 4, size=(40, 4)).astype(np.float32)
        if here:
            self.cluster.calls.here = frozenset(self.cluster.workers)

    async def load(self) -> None:
        vectors = np.random.default_rng(6).integers(-3, 4, size=(80, 4)).astype(np.float32)
        points = PointColumns(ids=id_array(range(80)), vectors=vectors, payloads=tuple(b'{"at":%d}' % at for at in range(80)))
        await self.cluster.router.writes.upsert(Upsert(collection="a", points=points), 10.0)
        for worker in self.workers:
            worker.delay_s = QUICK_S
        await self.search(0)
        self.forget_calls()

    def forget_calls(self) -> None:
        for worker in self.workers:
            worker.calls.clear()

    async def search(self, number: int, count: int = 1, timeout_s: float = 5.0, **options: object) -> Found:
        given = {"groups": (QueryGroup(k=5),), "with_vectors": True, "read": ReadAs(caller="me"), **options}
        question = Search(collection="a", queries=self.queries[number : number + count], **given)
        return await self.cluster.router.reads.search(question, timeout_s)

    def sizes(self) -> list[int]:
        """Queries of each call at the first worker."""
        return [len(call.queries) for call in self.workers[0].calls if isinstance(call, ShardsSearch)]

    async def under_way(self) -> asyncio.Task[Found]:
        """A search that is under way, so that the next ones are joined."""
        task = asyncio.create_task(self.search(39))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return task


def within(work: Callable[[Joined], Awaitable[T]], *, here: bool = False) -> tuple[T, Joined]:
    joined = Joined(here)

    async def loaded() -> T:
        await joined.load()
        return await work(joined)

    return run(joined.cluster.clock, loaded()), joined


def comparable(found: Found) -> tuple[object, ...]:
    hits = found.hits
    assert hits.vectors is not None
    return hits.counts.tolist(), hits.ids.tolist(), hits.scores.tobytes(), hits.payloads, hits.vectors.tobytes(), found.missing_shards


def test_searches_of_the_same_moment_go_as_one_and_each_has_its_own_answer() -> None:
    async def work(joined: Joined) -> None:
        alone = [comparable(await joined.search(number, 1 + number % 3)) for number in range(12)]
        joined.forget_calls()
        found = await asyncio.gather(*(joined.search(number, 1 + number % 3) for number in range(12)))
        assert list(map(comparable, found)) == alone

    _, joined = within(work)
    assert joined.sizes() == [1, 23]
    assert joined.counted("shoal_joined_searches_total") == 11


def test_a_search_that_meets_no_other_goes_at_once_and_alone() -> None:
    async def work(joined: Joined) -> None:
        for number in range(5):
            await joined.search(number)

    _, joined = within(work)
    assert joined.sizes() == [1] * 5
    assert joined.counted("shoal_joined_searches_total") == 0


def test_nothing_is_joined_without_a_hop() -> None:
    async def work(joined: Joined) -> None:
        await asyncio.gather(*(joined.search(number) for number in range(5)))

    assert within(work, here=True)[1].sizes() == [1] * 5


def test_searches_of_other_clients_and_kinds_do_not_wait_for_each_other() -> None:
    async def work(joined: Joined) -> None:
        kinds = [{"read": ReadAs(caller=f"caller {number}")} for number in range(3)]
        kinds += [{"groups": (QueryGroup(k=k),)} for k in (1, 2, 3)]
        await asyncio.gather(*(joined.search(number, **kind) for number, kind in enumerate(kinds)))

    assert within(work)[1].sizes() == [1] * 6


def test_a_call_is_bounded_by_the_time_that_queries_have_taken() -> None:
    async def work(joined: Joined) -> list[int]:
        await asyncio.gather(*(joined.search(number) for number in range(30)))
        quick = joined.sizes()
        joined.forget_calls()
        for worker in joined.workers:
            worker.delay_s = 0.3
        for number in range(12):
            await joined.search(number)
        joined.forget_calls()
        await asyncio.gather(*(joined.search(number) for number in range(10)))
        return quick

    quick, joined = within(work)
    assert quick == [1, 29]
    assert joined.sizes() == [1] * 10


def test_a_caller_leaves_at_its_own_deadline_and_the_others_have_their_answers() -> None:
    async def work(joined: Joined) -> None:
        alone = comparable(await joined.search(2))
        joined.workers[1].delay_s = 1.0
        await joined.under_way()
        hurried = asyncio.create_task(joined.search(1, timeout_s=0.4))
        patient = asyncio.create_task(joined.search(2, timeout_s=5.0))
        clock = joined.cluster.clock
        started = clock.now
        with pytest.raises(DeadlineExceeded):
            await hurried
        assert clock.now - started == pytest.approx(0.4, abs=0.01)
        assert not patient.done()
        assert comparable(await patient) == alone
        assert joined.sizes()[-1] == 2

    within(work)


def test_a_call_for_which_nobody_waits_any_more_is_given_up() -> None:
    async def work(joined: Joined) -> int:
        for worker in joined.workers:
            worker.delay_s = 50.0
        first = await joined.under_way()
        leaving = [asyncio.create_task(joined.search(number, timeout_s=90.0)) for number in range(3)]
        await asyncio.sleep(0.01)
        assert joined.sizes() == [1, 3]
        leaving[0].cancel()
        await asyncio.sleep(0.01)
        assert len(asyncio.all_tasks()) > 4
        for task in (first, *leaving):
            task.cancel()
        await asyncio.gather(first, *leaving, return_exceptions=True)
        await asyncio.sleep(0.01)
        return len(asyncio.all_tasks())

    assert within(work)[0] == 1


@pytest.mark.parametrize("error", [InvalidArgument("bad"), ResourceExhausted("too large")])
def test_a_common_call_that_fails_for_another_reason_than_a_shard_is_done_again_one_by_one(error: ShoalError) -> None:
    async def work(joined: Joined) -> None:
        alone = [comparable(await joined.search(number)) for number in range(4)]
        first = await joined.under_way()
        joined.workers[0].before = [error]
        joined.forget_calls()
        found = await asyncio.gather(*(joined.search(number) for number in range(4)))
        assert list(map(comparable, found)) == alone
        await first

    assert within(work)[1].sizes() == [4, 1, 1, 1, 1]


def test_shards_that_fail_are_missed_by_all_searches_of_a_call() -> None:
    async def work(joined: Joined) -> None:
        joined.workers[0].at_shard = {ShardId(CollectionId("id-a"), 2): [Unavailable("not ready")] * 1_000}
        first = await joined.under_way()
        found = await asyncio.gather(*(joined.search(number, allow_partial=True) for number in range(3)), return_exceptions=True)
        assert [each.missing_shards for each in found if isinstance(each, Found)] == [("a/2",)] * 3
        await asyncio.gather(first, return_exceptions=True)

    _, joined = within(work)
    assert joined.sizes()[0] == 1
    assert joined.sizes()[1] == 3


def test_a_search_without_time_is_refused_as_alone() -> None:
    async def work(joined: Joined) -> None:
        first = await joined.under_way()
        with pytest.raises(DeadlineExceeded, match="a/0"):
            await joined.search(1, timeout_s=0.0)
        await first

    within(work)
