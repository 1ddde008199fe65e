"""Test a pool whose works wait for events. So the speed of the machine does not decide which work begins, is skipped or
goes first.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from shoal.core.deadline import Deadline
from shoal.core.errors import DeadlineExceeded, ResourceExhausted, Unavailable
from shoal.core.turns import Asker, Turn
from shoal.runtime.fair_pool import MOST_WORKS, SLICE_S, FairPool, UntilTurn

HEAVY, LIGHT = Asker("1", "heavy"), Asker("2", "light")
LONG_S = 30.0


class Clock:
    """Clock that only moves when the test sets it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Held:
    """Work that looks at its turn again and again until `let_go` is set. Each look takes more than a slice."""

    def __init__(self, clock: Clock) -> None:
        self.begun, self.let_go, self.looks = threading.Event(), threading.Event(), 0
        self._clock = clock

    def __call__(self, turn: Turn) -> str:
        self.begun.set()
        while not self.let_go.is_set():
            self.looks += 1
            self._clock.now += SLICE_S
            turn.pause()
            self.let_go.wait(0.001)
        return "done"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pool(clock: Clock) -> Iterator[FairPool]:
    made = FairPool(1, name="test", what="works", limit="waiting_works", clock=clock)
    yield made
    made.close()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONG_S):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def begin(pool: FairPool, held: Held, asker: Asker = HEAVY, deadline: Deadline | None = None) -> asyncio.Task[str]:
    task = asyncio.create_task(pool.run(held, asker, deadline))
    await until(held.begun.is_set)
    return task


def test_work_whose_caller_left_before_its_turn_is_never_begun(pool: FairPool, clock: Clock) -> None:
    async def story() -> None:
        first, ran = Held(clock), list[int]()
        running = await begin(pool, first)
        waiting = [asyncio.create_task(pool.run(lambda _, n=number: ran.append(n), HEAVY)) for number in range(100)]  # type: ignore[misc]
        last = asyncio.create_task(pool.run(lambda _: ran.append(100), HEAVY))
        await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
        assert {type(each) for each in await asyncio.gather(*waiting, return_exceptions=True)} == {asyncio.CancelledError}
        assert not last.done()
        first.let_go.set()
        assert await running == "done"
        await last
        assert ran == [100]

    asyncio.run(story())


def test_work_that_runs_ends_when_its_caller_leaves_and_the_next_has_its_turn(pool: FairPool, clock: Clock) -> None:
    async def story() -> None:
        running = await begin(pool, Held(clock))
        after = asyncio.create_task(pool.run(lambda _: "after", HEAVY))
        running.cancel()
        assert await after == "after"
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(story())


def test_work_ends_at_its_deadline_though_nobody_cancels_it(pool: FairPool, clock: Clock) -> None:
    async def story() -> None:
        held = Held(clock)
        running = await begin(pool, held, deadline=pool.deadline(10 * SLICE_S))
        with pytest.raises(DeadlineExceeded):
            await running
        assert held.looks <= 11

    asyncio.run(story())


def test_work_whose_deadline_passed_while_it_waited_is_not_begun(pool: FairPool, clock: Clock) -> None:
    async def story() -> None:
        first, ran = Held(clock), list[str]()
        running = await begin(pool, first)
        late = asyncio.create_task(pool.run(lambda _: ran.append("late"), HEAVY, pool.deadline(1.0)))
        await asyncio.sleep(0)
        clock.now += 2.0
        first.let_go.set()
        await running
        with pytest.raises(DeadlineExceeded):
            await late
        assert ran == []

    asyncio.run(story())


def test_short_work_of_another_collection_goes_before_long_work_that_runs(pool: FairPool, clock: Clock) -> None:
    async def story() -> None:
        first, second = Held(clock), Held(clock)
        running = [await begin(pool, first), asyncio.create_task(pool.run(second, HEAVY))]
        for _ in range(5):
            assert await pool.run(lambda _: "light", LIGHT) == "light"
        assert not first.let_go.is_set()
        assert not second.begun.is_set()
        first.let_go.set()
        second.let_go.set()
        assert await asyncio.gather(*running) == ["done", "done"]

    asyncio.run(story())


def test_work_that_was_put_off_ends_when_its_caller_leaves(pool: FairPool, clock: Clock) -> None:
    async def story() -> None:
        first, second = Held(clock), Held(clock)
        put_off = await begin(pool, first)
        running = await begin(pool, second, LIGHT)
        looks = first.looks
        put_off.cancel()
        with pytest.raises(asyncio.CancelledError):
            await put_off
        assert first.looks <= looks + 1
        second.let_go.set()
        assert await running == "done"

    asyncio.run(story())


def test_too_many_are_refused_but_not_for_another_caller(pool: FairPool, clock: Clock) -> None:
    async def story() -> None:
        running = await begin(pool, Held(clock))
        waiting = [asyncio.create_task(pool.run(lambda _: None, HEAVY)) for _ in range(MOST_WORKS - 1)]
        await asyncio.sleep(0)
        with pytest.raises(ResourceExhausted) as refused:
            await pool.run(lambda _: None, HEAVY)
        assert refused.value.details.limit == "waiting_works"
        assert await pool.run(lambda _: "light", LIGHT) == "light"
        for task in (running, *waiting):
            task.cancel()
        await asyncio.gather(running, *waiting, return_exceptions=True)

    asyncio.run(story())


def test_closing_ends_what_runs_and_what_waits(clock: Clock) -> None:
    async def story() -> None:
        pool = FairPool(1, name="test", what="works", limit="waiting_works", clock=clock)
        held = Held(clock)
        running = [await begin(pool, held), *(asyncio.create_task(pool.run(lambda _: None, HEAVY)) for _ in range(3))]
        await asyncio.sleep(0)
        await asyncio.to_thread(pool.close)
        assert {type(each) for each in await asyncio.gather(*running, return_exceptions=True)} <= {DeadlineExceeded, Unavailable}
        with pytest.raises(Unavailable):
            await pool.run(lambda _: None, LIGHT)

    asyncio.run(story())


def test_a_failure_is_the_callers(pool: FairPool) -> None:
    def fail(_: Turn) -> None:
        raise ResourceExhausted("too large")

    with pytest.raises(ResourceExhausted, match="too large"):
        asyncio.run(pool.run(fail, LIGHT))


def test_a_lone_turn_ends_at_its_deadline_or_when_its_caller_leaves(clock: Clock) -> None:
    turn = UntilTurn(Deadline.after(1.0, clock))
    turn.pause()
    clock.now += 1.0
    with pytest.raises(DeadlineExceeded):
        turn.pause()
    left = UntilTurn(Deadline.after(1.0, clock))
    left.leave()
    with pytest.raises(DeadlineExceeded):
        left.check()
