"""Who needs ticks gets them, and a clock without members sleeps."""

from __future__ import annotations

import asyncio

import pytest

from shoal.shard_worker.resources import ticks
from shoal.shard_worker.resources.ticks import Ticks


@pytest.fixture(autouse=True)
def ticks_often(monkeypatch):
    monkeypatch.setattr(ticks, "TICK_S", 0.001)


class Member:
    """Needs a number of ticks. leaves: another member that it lets leave at its first tick."""

    def __init__(self, clock: Ticks, needs: int, leaves: Member | None = None) -> None:
        self.clock, self.left, self.taken, self.leaves = clock, needs, 0, leaves

    def tick(self) -> bool:
        self.taken += 1
        if self.leaves is not None:
            self.clock.leave(self.leaves)
        return self.taken < self.left


def run(scene) -> None:
    async def bounded() -> None:
        clock = Ticks()
        running = asyncio.create_task(clock.run())
        async with asyncio.timeout(20):
            await scene(clock)
        running.cancel()

    asyncio.run(bounded())


async def until(condition) -> None:
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


def test_members_are_ticked_while_they_need_it_and_again_when_they_want_it():
    async def scene(clock: Ticks) -> None:
        short, long = Member(clock, 2), Member(clock, 5)
        for member in (short, long, short):
            clock.want(member)
        assert len(clock) == 2
        await until(lambda: not len(clock))
        assert (short.taken, long.taken) == (2, 5)
        long.left = 7
        clock.want(long)
        await until(lambda: not len(clock))
        assert (short.taken, long.taken) == (2, 7)

    run(scene)


def test_who_leaves_gets_no_tick_any_more():
    async def scene(clock: Ticks) -> None:
        second = Member(clock, 100)
        first = Member(clock, 3, leaves=second)
        clock.want(first)
        clock.want(second)
        await until(lambda: not len(clock))
        clock.leave(second)
        assert (first.taken, second.taken) == (3, 0)

    run(scene)


def test_without_members_it_sleeps():
    async def scene(clock: Ticks) -> None:
        clock.want(Member(clock, 1))
        await until(lambda: not len(clock))
        await until(lambda: not clock._some.is_set())

    run(scene)
