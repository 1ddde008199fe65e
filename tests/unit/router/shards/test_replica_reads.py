"""Test reads of a shard with several replicas, in virtual time: which replica is asked first, when a second one is
asked, and what happens when a replica does not answer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import pytest

from shoal.core.errors import DataLoss, DeadlineExceeded, ErrorDetails, InvalidArgument, ShoalError, Unavailable
from shoal.core.ids import CollectionId, ShardId
from shoal.core.requests import Count, ReadAs
from shoal.core.shard_calls import Consistency
from shoal.router.cluster.workers import tend
from shoal.runtime.metrics import Measure, MetricSpec, NoMetrics
from tests.twins.cluster import TwinCluster
from tests.twins.virtual_time import FakeClock, run

T = TypeVar("T")

SHARD = ShardId(CollectionId("id-a"), 0)
NOT_READY = Unavailable("not ready", ErrorDetails(shard=str(SHARD)))
REFUSED = Unavailable("connection refused")
USUAL_S = 0.010


class Counted(NoMetrics):
    """Sums the values of each metric, by name and labels."""

    def __init__(self) -> None:
        self.sums: dict[tuple[str, ...], float] = {}

    def measure(self, metric: MetricSpec, *labels: str) -> Measure:
        def add(value: float) -> None:
            self.sums[metric.name, *labels] = self.sums.get((metric.name, *labels), 0.0) + value

        return add

    def __call__(self, *name: str) -> float:
        return self.sums.get(name, 0.0)


class Watched:
    """A cluster of three workers, each with a replica of the same shard. The first one leads. Each worker answers a
    count with its own number.
    """

    def __init__(self) -> None:
        self.counted = Counted()
        self.cluster = TwinCluster(workers=3, clock=FakeClock(), metrics=self.counted)
        self.cluster.add("a", shards=1, replicas=3)
        self.workers = [self.cluster.workers[f"w{number}"] for number in range(3)]
        for worker in self.workers:
            worker.delay_s = USUAL_S

    async def count(self, consistency: Consistency = Consistency.ANY, timeout_s: float = 10.0) -> int:
        """Return the number of the worker that was asked, or -1 if several were."""
        before = [len(worker.calls) for worker in self.workers]
        question = Count(collection="a", read=ReadAs(consistency=consistency))
        await self.cluster.router.reads.count(question, timeout_s)
        asked = [number for number, worker in enumerate(self.workers) if len(worker.calls) > before[number]]
        return asked[-1] if len(asked) == 1 else -1

    def asked(self) -> list[int]:
        """Return how often each worker was asked."""
        return [len(worker.calls) for worker in self.workers]

    def forget_calls(self) -> None:
        for worker in self.workers:
            worker.calls.clear()

    async def warm(self, reads: int = 60) -> None:
        """Make `reads` reads, so that the router learns how long a read usually takes."""
        for _ in range(reads):
            await self.count()
        self.forget_calls()

    async def warm_and_save_hedges(self) -> None:
        """Make reads that take half of the usual time, so that none of them is hedged: all hedges are left for the
        reads that follow.
        """
        await self.warm()
        for worker in self.workers:
            worker.delay_s = USUAL_S / 2
        await self.warm()

    @contextlib.asynccontextmanager
    async def tended(self) -> AsyncIterator[None]:
        """Run the background work of a router's server within the context."""
        tending = asyncio.create_task(tend((*self.cluster.router.tended, self.cluster.calls), self.cluster.view))
        try:
            yield
        finally:
            tending.cancel()
            await asyncio.gather(tending, return_exceptions=True)


def within(work: Callable[[Watched], Awaitable[T]]) -> tuple[T, Watched, float]:
    """Run the work. Return its result, the cluster, and the virtual seconds that it took."""
    watched = Watched()
    clock = watched.cluster.clock
    started = clock.now

    async def tended() -> T:
        async with watched.tended():
            return await work(watched)

    value = run(clock, tended())
    return value, watched, clock.now - started


def test_reads_are_spread_over_the_replicas_in_sync() -> None:
    async def work(watched: Watched) -> None:
        await asyncio.gather(*(watched.count() for _ in range(30)))

    _, watched, _ = within(work)
    assert watched.asked() == [10, 10, 10]


def test_reads_that_only_the_primary_can_answer_go_there() -> None:
    async def work(watched: Watched) -> None:
        for _ in range(5):
            await watched.count(Consistency.PRIMARY)

    assert within(work)[1].asked() == [5, 0, 0]


def test_a_slow_replica_is_spared_and_found_again_when_it_is_fast() -> None:
    async def work(watched: Watched) -> tuple[int, int]:
        watched.workers[1].delay_s = 0.3
        await watched.warm()
        for _ in range(50):
            await watched.count()
        slow = watched.asked()[1]
        watched.workers[1].delay_s = USUAL_S / 2
        await asyncio.sleep(5.0)
        for _ in range(50):
            await watched.count()
        return slow, watched.asked()[1] - slow

    (slow, fast), _, _ = within(work)
    assert slow <= 2
    assert fast >= 25


@pytest.mark.parametrize("error", [NOT_READY, REFUSED, DataLoss("crc"), DeadlineExceeded("lags", ErrorDetails(shard=str(SHARD)))])
def test_a_read_that_fails_at_one_replica_goes_to_the_next_at_once(error: ShoalError) -> None:
    async def work(watched: Watched) -> None:
        watched.workers[0].before, watched.workers[1].before = [error], [error]
        await watched.count()

    _, watched, took_s = within(work)
    assert watched.asked() == [1, 1, 1]
    assert took_s == pytest.approx(USUAL_S)


def test_only_when_all_have_failed_it_waits_and_then_asks_them_all_again() -> None:
    async def work(watched: Watched) -> None:
        for worker in watched.workers:
            worker.before = [NOT_READY]
        await watched.count()

    _, watched, took_s = within(work)
    assert sorted(watched.asked()) == [1, 1, 2]
    assert took_s == pytest.approx(0.02 + USUAL_S)


def test_what_is_wrong_with_a_request_is_not_asked_of_another_replica() -> None:
    async def work(watched: Watched) -> None:
        watched.workers[0].before = [InvalidArgument("bad")]
        with pytest.raises(InvalidArgument):
            await watched.count()

    assert within(work)[1].asked() == [1, 0, 0]


def test_damage_everywhere_is_told_at_once_and_damage_beside_others_that_may_come_back_is_waited_for() -> None:
    async def work(watched: Watched) -> None:
        for worker in watched.workers:
            worker.before = [DataLoss("crc")]
        with pytest.raises(DataLoss):
            await watched.count()
        for worker, error in zip(watched.workers, (DataLoss("crc"), NOT_READY, DataLoss("crc")), strict=True):
            worker.before = [error] * 100
        with pytest.raises(Unavailable):
            await watched.count()

    within(work)


def test_a_worker_that_has_gone_is_not_asked_and_when_all_are_gone_they_are_named() -> None:
    async def work(watched: Watched) -> None:
        watched.cluster.remove_worker("w0")
        assert await watched.count() == 1
        for worker in ("w1", "w2"):
            watched.cluster.remove_worker(worker)
        with pytest.raises(Unavailable, match=r"a/0: worker w0 is down and worker w1 is down and worker w2 is down"):
            await watched.count()

    within(work)


def test_a_read_that_takes_longer_than_usual_is_sent_to_another_replica_too() -> None:
    async def work(watched: Watched) -> float:
        await watched.warm_and_save_hedges()
        watched.workers[0].delay_s = 0.4
        clock, times = watched.cluster.clock, []
        for _ in range(9):
            started = clock.now
            await watched.count()
            times.append(clock.now - started)
        return max(times)

    slowest_s, watched, _ = within(work)
    assert slowest_s == pytest.approx(1.5 * USUAL_S)
    copies = sum(watched.asked()) - 9
    assert copies >= 1
    counted = watched.counted
    assert counted("shoal_hedged_reads_total") == counted("shoal_shard_calls_total", "cancelled")
    assert counted("shoal_hedges_won_total") >= copies
    assert counted("shoal_breakers_opened_total") == counted("shoal_shard_retries_total") == 0


def test_hedges_are_bounded_when_everything_is_slow() -> None:
    async def work(watched: Watched) -> None:
        await watched.warm()
        for worker in watched.workers:
            worker.delay_s = 0.1
        for _ in range(400):
            await watched.count()

    assert 400 <= sum(within(work)[1].asked()) <= 400 + 0.05 * 460


def test_reads_at_the_primary_are_never_hedged() -> None:
    async def work(watched: Watched) -> None:
        await watched.warm()
        for _ in range(60):
            await watched.count(Consistency.PRIMARY)
        watched.workers[0].delay_s = 3.0
        for _ in range(3):
            await watched.count(Consistency.PRIMARY)

    assert within(work)[1].asked() == [63, 0, 0]


def test_a_frozen_worker_costs_a_read_half_a_second_and_is_then_asked_last() -> None:
    async def work(watched: Watched) -> list[float]:
        watched.workers[0].frozen = True
        clock, times = watched.cluster.clock, []
        for _ in range(12):
            started = clock.now
            await watched.count()
            times.append(clock.now - started)
        return times

    times, watched, _ = within(work)
    assert max(times) == pytest.approx(0.5 + USUAL_S)
    assert sum(took_s > 0.1 for took_s in times) <= 3
    assert watched.counted("shoal_shard_retries_total") == watched.asked()[0]


def test_two_frozen_workers_of_three_are_got_around() -> None:
    async def work(watched: Watched) -> None:
        for worker in watched.workers[:2]:
            worker.frozen = True
        await watched.count()

    assert within(work)[2] == pytest.approx(0.5 + 2.0 + USUAL_S)


def test_a_frozen_worker_that_wakes_up_is_found_by_a_probe() -> None:
    async def work(watched: Watched) -> int:
        watched.workers[0].frozen = True
        await asyncio.gather(*(watched.count() for _ in range(30)))
        assert watched.counted("shoal_breakers_opened_total") == 1
        watched.workers[0].frozen = False
        watched.forget_calls()
        for _ in range(40):
            await asyncio.gather(*(watched.count() for _ in range(3)))
            await asyncio.sleep(0.1)
        return watched.asked()[0]

    assert within(work)[0] >= 20


@pytest.mark.parametrize(("others", "copies"), [(True, 1), (False, 2)])
def test_a_worker_that_is_long_at_one_read_is_not_taken_for_frozen_while_it_answers_others(others: bool, copies: int) -> None:
    async def work(watched: Watched) -> None:
        watched.cluster.add("b", shards=1)
        watched.workers[0].delay_s = 2.0
        long = asyncio.create_task(watched.count())
        await asyncio.sleep(0.001)
        for worker in watched.workers:
            worker.delay_s = 2.0
        watched.workers[0].delay_s = USUAL_S
        while not long.done():
            if others:
                await watched.cluster.router.reads.count(Count(collection="b"), 10.0)
            await asyncio.sleep(0.1)

    calls = [call for worker in within(work)[1].workers for call in worker.calls if call.shard == SHARD]
    assert len(calls) == copies


def test_a_read_at_a_replica_that_leaves_the_isr_goes_to_another_one() -> None:
    async def work(watched: Watched) -> float:
        for worker in watched.workers:
            worker.delay_s = 0.4
        asking = asyncio.create_task(watched.count())
        await asyncio.sleep(0.001)
        asked = watched.asked().index(1)
        for worker in watched.workers:
            worker.delay_s = USUAL_S
        config, started = watched.cluster.view.current.shards[SHARD].config, watched.cluster.clock.now
        watched.cluster.configure(SHARD, isr=tuple(each for each in config.isr if config.worker_of[each] != f"w{asked}"))
        await asking
        return watched.cluster.clock.now - started

    took_s, watched, _ = within(work)
    assert took_s == pytest.approx(USUAL_S)
    assert sum(watched.asked()) == 2


def test_a_caller_that_leaves_takes_its_reads_along() -> None:
    async def work(watched: Watched) -> int:
        for worker in watched.workers:
            worker.delay_s = 50.0
        asking = asyncio.create_task(watched.count(timeout_s=100.0))
        await asyncio.sleep(0.7)
        assert sum(watched.asked()) == 2
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        return len(asyncio.all_tasks())

    watching_and_working = 2
    assert within(work)[0] == watching_and_working


def test_replicas_of_one_shard_that_are_not_ready_do_not_close_their_worker_for_other_shards() -> None:
    async def work(watched: Watched) -> tuple[int, int]:
        cluster = watched.cluster
        cluster.add("b", shards=1, replicas=3)
        del watched.workers[0].shards[SHARD]
        asked: dict[str, int] = {"a": 0, "b": 0}
        for name in ("a", "b"):
            before = len(watched.workers[0].calls)
            for _ in range(30):
                await cluster.router.reads.count(Count(collection=name, read=ReadAs(consistency=Consistency.ANY)), 10.0)
            asked[name] = len(watched.workers[0].calls) - before
        return asked["a"], asked["b"]

    (of_a, of_b), _, _ = within(work)
    assert of_a <= 6
    assert of_b >= 5
