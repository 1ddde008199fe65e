"""Searches with one call a worker, in virtual time: who is asked for which shards, and what becomes of failures."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.errors import (
    DataLoss,
    DeadlineExceeded,
    ErrorDetails,
    InvalidArgument,
    PreconditionFailed,
    ResourceExhausted,
    ShoalError,
    Unavailable,
)
from shoal.core.ids import CollectionId, ShardId, WorkerId
from shoal.core.points import PointColumns, id_array
from shoal.core.replies import Found
from shoal.core.requests import ReadAs, Search, Upsert
from shoal.core.shard_calls import Consistency, QueryGroup, ShardSearch, ShardsSearch
from shoal.router.cluster.workers import tend
from shoal.router.logic.replica_choice import ReplicaLoad
from tests.twins.cluster import TwinCluster, worker_entry
from tests.twins.virtual_time import FakeClock, run
from tests.unit.router.shards.test_replica_reads import USUAL_S, Counted

T = TypeVar("T")

SHARDS, POINTS = 6, 60
REFUSED = Unavailable("connection refused")
TOO_LARGE = ResourceExhausted("too large", ErrorDetails(limit="message_bytes"))


def shard(number: int) -> ShardId:
    return ShardId(CollectionId("id-a"), number)


def points(count: int = POINTS) -> PointColumns:
    vectors = np.random.default_rng(3).integers(-2, 3, size=(count, 4)).astype(np.float32)
    ids = id_array(f"id {number}" if number % 4 == 0 else number for number in range(count))
    return PointColumns(ids=ids, vectors=vectors, payloads=tuple(b'{"at":%d}' % at for at in range(count)))


def question(**options: object) -> Search:
    queries = np.random.default_rng(4).integers(-2, 3, size=(3, 4)).astype(np.float32)
    given_options = {"collection": "a", "queries": queries, "groups": (QueryGroup(k=5),), "with_vectors": True, **options}
    return Search(**given_options)


def comparable(found: Found) -> tuple[object, ...]:
    hits = found.hits
    vectors = None if hits.vectors is None else hits.vectors.tobytes()
    return hits.counts.tolist(), hits.ids.tolist(), hits.scores.tobytes(), hits.payloads, vectors, found.explain, found.missing_shards


class Searched:
    """Three workers and a collection of six shards, and the right answer to the question."""

    def __init__(self, replicas: int) -> None:
        self.counted = Counted()
        self.cluster = TwinCluster(workers=3, clock=FakeClock(), metrics=self.counted)
        self.cluster.add("a", shards=SHARDS, replicas=replicas)
        self.workers = [self.cluster.workers[WorkerId(f"w{number}")] for number in range(3)]

    async def load(self) -> None:
        await self.cluster.router.writes.upsert(Upsert(collection="a", points=points()), 10.0)
        self.forget_calls()
        for worker in self.workers:
            worker.delay_s = USUAL_S

    async def search(self, timeout_s: float = 10.0, **options: object) -> Found:
        return await self.cluster.router.reads.search(question(**options), timeout_s)

    async def right(self, timeout_s: float = 10.0, **options: object) -> float:
        """Search, and compare the answer with that of the whole. Return the seconds it took."""
        started = self.cluster.clock.now
        found = await self.search(timeout_s, **options)
        assert comparable(found)[:5] == expected()[:5]
        return self.cluster.clock.now - started

    def forget_calls(self) -> None:
        for worker in self.workers:
            worker.calls.clear()

    def asked(self) -> list[list[list[int]]]:
        """Numbers of the shards in each call, of each worker."""
        return [[numbers(call) for call in worker.calls] for worker in self.workers]

    def calls(self) -> int:
        return sum(len(worker.calls) for worker in self.workers)

    async def warm(self, searches: int = 60) -> None:
        """So many searches that it is known how long they take."""
        for _ in range(searches):
            await self.right()
        self.forget_calls()

    @contextlib.asynccontextmanager
    async def tended(self) -> AsyncIterator[None]:
        tending = asyncio.create_task(tend((*self.cluster.router.tended, self.cluster.calls), self.cluster.view))
        try:
            yield
        finally:
            tending.cancel()
            await asyncio.gather(tending, return_exceptions=True)


def numbers(call: object) -> list[int]:
    match call:
        case ShardSearch(shard=one):
            return [one.number]
        case ShardsSearch(shards=several):
            return [each.number for each in several]
    raise AssertionError(f"not a search: {call}")


@functools.cache
def expected() -> tuple[object, ...]:
    """The answer to the question if all points are in one shard. It is not known where they are."""

    async def asked() -> Found:
        cluster = TwinCluster(workers=1)
        cluster.add("a", shards=1)
        await cluster.router.writes.upsert(Upsert(collection="a", points=points()), 10.0)
        return await cluster.router.reads.search(question(), 10.0)

    return comparable(asyncio.run(asked()))


def within(work: Callable[[Searched], Awaitable[T]], replicas: int = 3) -> tuple[T, Searched, float]:
    """What the work returns, and the seconds it took."""
    expected()
    searched = Searched(replicas)
    started = searched.cluster.clock.now

    async def tended() -> T:
        await searched.load()
        async with searched.tended():
            return await work(searched)

    value = run(searched.cluster.clock, tended())
    return value, searched, searched.cluster.clock.now - started


def test_each_worker_is_asked_once_for_all_its_shards() -> None:
    async def work(searched: Searched) -> None:
        await searched.right()

    _, searched, took_s = within(work, replicas=1)
    assert searched.asked() == [[[0, 3]], [[1, 4]], [[2, 5]]]
    assert took_s == pytest.approx(USUAL_S)
    assert searched.counted("shoal_shard_calls_total", "ok") == SHARDS + SHARDS  # the load wrote to each shard, too


@pytest.mark.parametrize("consistency", [Consistency.ANY, Consistency.SESSION])
def test_shards_with_several_replicas_are_spread_over_the_workers(consistency: Consistency) -> None:
    async def work(searched: Searched) -> None:
        await searched.right(read=ReadAs(consistency=consistency))

    _, searched, _ = within(work)
    assert [len(calls) for calls in searched.asked()] == [1, 1, 1]
    assert sorted(number for calls in searched.asked() for call in calls for number in call) == list(range(SHARDS))
    assert [len(call) for calls in searched.asked() for call in calls] == [2, 2, 2]


def test_primaries_are_asked_for_their_shards() -> None:
    async def work(searched: Searched) -> None:
        for number in range(SHARDS):
            searched.cluster.lead(shard(number), "w1" if number < 5 else "w2")
        await searched.right(read=ReadAs(consistency=Consistency.PRIMARY))

    assert within(work)[1].asked() == [[], [[0, 1, 2, 3, 4]], [[5]]]


@pytest.mark.parametrize("error", [REFUSED, DataLoss("crc"), DeadlineExceeded("late"), PreconditionFailed("1 of 3")])
def test_a_call_that_fails_is_regrouped_at_once(error: ShoalError) -> None:
    async def work(searched: Searched) -> None:
        searched.workers[0].before = [error]
        await searched.right()

    _, searched, took_s = within(work)
    assert took_s == pytest.approx(USUAL_S)
    assert sum(len(call) for calls in searched.asked() for call in calls) == SHARDS + 2


def test_a_shard_that_fails_is_asked_for_elsewhere_alone() -> None:
    async def work(searched: Searched) -> None:
        once = {shard(number): [Unavailable("not ready", ErrorDetails(shard=str(shard(number))))] for number in (1, 4)}
        for worker in searched.workers:
            worker.at_shard = once
        await searched.right()

    _, searched, took_s = within(work)
    asked = [number for calls in searched.asked() for call in calls for number in call]
    assert sorted(asked) == sorted([*range(SHARDS), 1, 4])
    assert searched.calls() in (4, 5)
    assert took_s == pytest.approx(2 * USUAL_S)


def test_a_shard_that_fails_everywhere_is_waited_for_and_the_others_are_not_asked_again() -> None:
    async def work(searched: Searched) -> None:
        searched.workers[1].at_shard = {shard(4): [REFUSED, REFUSED]}
        await searched.right()

    _, searched, took_s = within(work, replicas=1)
    assert searched.asked() == [[[0, 3]], [[1, 4], [4], [4]], [[2, 5]]]
    assert took_s == pytest.approx(3 * USUAL_S + 0.02 + 0.04)
    assert searched.counted("shoal_shard_retries_total") == 2


def test_a_shard_that_was_not_ready_is_asked_for_again_however_long_the_others_of_its_call_took() -> None:
    async def work(searched: Searched) -> None:
        searched.workers[1].at_shard = {shard(4): [REFUSED]}
        searched.workers[1].delay_s = 5.0
        await searched.right(timeout_s=20.0)

    assert within(work, replicas=1)[1].asked()[1] == [[1, 4], [4]]


def test_a_partial_answer_leaves_out_what_cannot_answer_and_nothing_else() -> None:
    async def work(searched: Searched) -> Found:
        searched.workers[1].at_shard = {shard(4): [REFUSED] * 100}
        searched.cluster.remove_worker("w2")
        return await searched.search(allow_partial=True)

    found, _, took_s = within(work, replicas=1)
    assert found.missing_shards == ("a/2", "a/4", "a/5")
    assert took_s == pytest.approx(2.0, abs=0.1)


def test_the_worst_error_of_all_shards_is_raised_and_names_its_shard() -> None:
    async def work(searched: Searched) -> None:
        searched.workers[1].at_shard = {shard(4): [DataLoss(f"crc in {shard(4)}")]}
        searched.cluster.remove_worker("w2")
        await searched.search()

    with pytest.raises(DataLoss, match="crc in a/4") as caught:
        within(work, replicas=1)
    assert caught.value.details.shard == "a/4"


def test_what_is_wrong_with_a_request_is_not_asked_of_another_worker() -> None:
    async def work(searched: Searched) -> None:
        for worker in searched.workers:
            worker.before = [InvalidArgument("bad")]
        with pytest.raises(InvalidArgument, match="a/0: bad"):
            await searched.search(allow_partial=True)
        assert searched.calls() == 3

    within(work)


def test_a_slow_group_is_hedged_once_by_the_next_workers_of_its_shards() -> None:
    async def work(searched: Searched) -> tuple[float, int]:
        await searched.warm()
        for worker in searched.workers:
            worker.delay_s = USUAL_S / 2
        await searched.warm()
        searched.workers[0].delay_s = 0.4
        slowest = max([await searched.right() for _ in range(9)])
        return slowest, searched.calls()

    (slowest_s, calls), searched, _ = within(work)
    assert slowest_s == pytest.approx(1.5 * USUAL_S)
    counted = searched.counted
    assert counted("shoal_hedged_reads_total") >= 1
    assert counted("shoal_hedges_won_total") >= 1
    assert counted("shoal_breakers_opened_total") == counted("shoal_shard_retries_total") == 0
    assert counted("shoal_shard_calls_total", "cancelled") >= 2
    assert calls <= 9 * 3 + 9 * 2


def test_hedges_are_bounded_when_everything_is_slow() -> None:
    async def work(searched: Searched) -> int:
        await searched.warm()
        for worker in searched.workers:
            worker.delay_s = 0.1
        for _ in range(200):
            await searched.right()
        return searched.calls()

    calls, searched, _ = within(work)
    assert searched.counted("shoal_hedged_reads_total") <= 0.05 * 3 * 260
    assert calls <= 600 + 2 * 0.05 * 780


def test_searches_at_primaries_and_of_only_replicas_are_never_hedged() -> None:
    async def work(searched: Searched) -> None:
        for _ in range(60):
            await searched.right(read=ReadAs(consistency=Consistency.PRIMARY))
        searched.workers[0].delay_s = 3.0
        await searched.right(read=ReadAs(consistency=Consistency.PRIMARY))

    assert [len(calls) for calls in within(work)[1].asked()] == [61, 61, 61]


def test_a_frozen_worker_costs_a_search_half_a_second_and_is_then_asked_last() -> None:
    async def work(searched: Searched) -> list[float]:
        searched.workers[0].frozen = True
        return [await searched.right() for _ in range(12)]

    times, searched, _ = within(work)
    assert max(times) == pytest.approx(0.5 + USUAL_S)
    assert sum(took_s > 0.1 for took_s in times) <= 3
    assert searched.counted("shoal_shard_retries_total") == sum(len(call) for call in searched.asked()[0])


def test_two_frozen_workers_of_three_are_got_around() -> None:
    async def work(searched: Searched) -> float:
        for worker in searched.workers[:2]:
            worker.frozen = True
        return await searched.right()

    assert within(work)[0] == pytest.approx(0.5 + 2.0 + USUAL_S)


def test_a_frozen_worker_that_wakes_up_is_found_by_a_probe() -> None:
    async def work(searched: Searched) -> int:
        searched.workers[0].frozen = True
        await asyncio.gather(*(searched.right() for _ in range(5)))
        assert searched.counted("shoal_breakers_opened_total") == 1
        searched.workers[0].frozen = False
        searched.forget_calls()
        for _ in range(40):
            await searched.right()
            await asyncio.sleep(0.1)
        return len(searched.workers[0].calls)

    assert within(work)[0] >= 20


def test_replicas_that_are_not_ready_are_asked_last_and_their_worker_is_not() -> None:
    async def work(searched: Searched) -> None:
        gone = Unavailable("not ready", ErrorDetails(shard=str(shard(0))))
        searched.workers[0].at_shard = {shard(0): [gone] * 1_000}
        for _ in range(40):
            await searched.right()
            await asyncio.sleep(0.01)

    _, searched, _ = within(work)
    of_first = [call for call in searched.asked()[0] if 0 in call]
    assert 3 <= len(of_first) <= 6
    assert len(searched.asked()[0]) >= 30


def test_a_frozen_primary_is_given_up_when_the_map_shows_another_and_its_shards_are_then_asked_for_one_by_one() -> None:
    async def work(searched: Searched) -> float:
        searched.workers[0].frozen = True
        asking = asyncio.create_task(searched.right(read=ReadAs(consistency=Consistency.PRIMARY)))
        await asyncio.sleep(3.0)
        searched.cluster.lead(shard(0), "w1")
        await asyncio.sleep(1.0)
        searched.cluster.lead(shard(3), "w2")
        return await asking

    took_s, searched, _ = within(work)
    assert took_s == pytest.approx(4.0 + USUAL_S, abs=0.01)
    assert searched.asked() == [[[0, 3], [3]], [[1, 4], [0]], [[2, 5], [3]]]


def test_a_search_ends_although_the_map_overtakes_its_calls_again_and_again() -> None:
    async def work(searched: Searched) -> float:
        for worker in searched.workers:
            worker.delay_s = 1.0
        asking = asyncio.create_task(searched.right(read=ReadAs(consistency=Consistency.PRIMARY)))
        for turn in range(30):
            await asyncio.sleep(0.1)
            searched.cluster.lead(shard(0), f"w{turn % 3}")
        return await asking

    took_s, searched, _ = within(work)
    assert took_s == pytest.approx(4.0, abs=0.1)
    # Shards that the map does not touch are asked for once in the group, and at most once more alone.
    assert all(sum(call == [number] for calls in searched.asked() for call in calls) <= 1 for number in range(1, SHARDS))


def test_a_common_answer_too_large_for_a_message_is_asked_for_shard_by_shard() -> None:
    async def work(searched: Searched) -> None:
        searched.workers[0].before = [TOO_LARGE]
        await searched.right()
        searched.workers[0].before = [TOO_LARGE] * 2
        with pytest.raises(ResourceExhausted, match="too large"):
            await searched.search()

    _, searched, _ = within(work, replicas=1)
    assert searched.asked()[0] == [[0, 3], [0], [3], [0, 3], [0], [3]]


@pytest.mark.parametrize("replicas", [1, 3])
def test_workers_of_an_older_version_are_asked_shard_by_shard_until_they_register_anew(replicas: int) -> None:
    async def work(searched: Searched) -> None:
        for worker in searched.workers[:2]:
            worker.older = True
        await searched.right()
        await searched.right()
        searched.forget_calls()
        await searched.right()
        for calls, most in zip(searched.asked(), (1, 1, SHARDS), strict=True):
            assert all(len(call) <= most for call in calls)
        searched.workers[0].older = False
        known = searched.cluster.view.current.workers
        searched.cluster.change(workers={**known, WorkerId("w0"): worker_entry(WorkerId("w0"), registration=9)})
        searched.forget_calls()
        await searched.right()
        assert [len(call) for call in searched.asked()[0]] == [2]

    _, searched, _ = within(work, replicas)
    assert searched.counted("shoal_breakers_opened_total") == 0


def test_a_caller_that_leaves_takes_its_calls_along() -> None:
    async def work(searched: Searched) -> int:
        for worker in searched.workers:
            worker.delay_s = 50.0
        asking = asyncio.create_task(searched.search(timeout_s=100.0))
        await asyncio.sleep(0.7)
        assert searched.calls() > 3
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert all(load.in_flight == 0 for load in loads(searched).values())
        return len(asyncio.all_tasks())

    watching_and_working = 2
    assert within(work)[0] == watching_and_working


def loads(searched: Searched) -> dict[WorkerId, ReplicaLoad]:
    traffic = searched.cluster.router.tended[1]
    return traffic.worker_loads(searched.cluster.workers, frozenset())


def test_the_explanation_is_in_the_order_of_the_shards() -> None:
    async def work(searched: Searched) -> Found:
        searched.workers[0].delay_s = 0.2
        return await searched.search(explain=True)

    assert [each.shard for each in within(work, replicas=1)[0].explain] == list(range(SHARDS))


FAULTS = st.sampled_from([None, None, REFUSED, DataLoss("crc"), Unavailable("not ready", ErrorDetails(shard="s"))])


@settings(max_examples=60, deadline=None)
@given(
    replicas=st.integers(1, 3),
    calls=st.lists(st.lists(FAULTS, max_size=3), min_size=3, max_size=3),
    shards=st.dictionaries(st.tuples(st.integers(0, 2), st.integers(0, SHARDS - 1)), st.lists(FAULTS, max_size=2), max_size=6),
    slow=st.lists(st.sampled_from([USUAL_S, 0.8]), min_size=3, max_size=3),
    frozen=st.frozensets(st.integers(0, 2), max_size=1),
    older=st.frozensets(st.integers(0, 2)),
    consistency=st.sampled_from(Consistency),
    partial=st.booleans(),
)
def test_whatever_fails_an_answer_is_that_of_its_shards_bit_for_bit(
    replicas: int,
    calls: list[list[ShoalError | None]],
    shards: dict[tuple[int, int], list[ShoalError | None]],
    slow: list[float],
    frozen: frozenset[int],
    older: frozenset[int],
    consistency: Consistency,
    partial: bool,
) -> None:
    """The same faults meet a router that asks in groups. What it answers is compared with workers that have no faults
    and are asked shard by shard.
    """

    async def work(searched: Searched) -> None:
        for worker in searched.workers:
            worker.older = True
        alone = comparable(await searched.search(explain=True))
        for number, worker in enumerate(searched.workers):
            worker.before, worker.delay_s = list(calls[number]), slow[number]
            worker.frozen, worker.older = number in frozen, number in older
            worker.at_shard = {shard(at): list(errors) for (home, at), errors in shards.items() if home == number}
        searched.cluster.change(workers={worker: worker_entry(worker, registration=9) for worker in searched.cluster.workers})
        try:
            found = await searched.search(timeout_s=4.0, explain=True, allow_partial=partial, read=ReadAs(consistency=consistency))
        except ShoalError:
            assert calls or shards or frozen
            return
        if not found.missing_shards:
            assert comparable(found) == alone
        else:
            assert partial
            left = {name.removeprefix("a/") for name in found.missing_shards}
            assert {each.shard for each in found.explain} == set(range(SHARDS)) - set(map(int, left))

    within(work, replicas)
