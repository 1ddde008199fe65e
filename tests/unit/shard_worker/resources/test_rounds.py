"""Test background work in turns: an idle member costs nothing, a lane does one work at a time, members take turns, and
a work that hangs or fails holds up nobody in another lane.
"""

import asyncio
import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.shard_worker.resources import rounds as module
from shoal.shard_worker.resources.rounds import BackgroundRounds, Rest, RoundLane, Work


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(module, "PAUSE_S", 0.001)
    monkeypatch.setattr(module, "RETRY_S", 0.005)


class Worker:
    """A member with `left` works to do in a lane. told: to which each look and each work adds the name."""

    def __init__(self, name: str, told: list[str], *, left: int = 1, lane: RoundLane = RoundLane.USUAL) -> None:
        self.name, self.told, self.left, self.lane = name, told, left, lane
        self.release = asyncio.Event()
        self.release.set()
        self.looks = self.working = 0

    def look(self) -> Work | Rest:
        self.looks += 1
        assert not self.working, "a member has one work at a time"
        return Work(lane=self.lane, run=self.work) if self.left else Rest()

    async def work(self) -> float:
        self.left, self.working = self.left - 1, 1
        await self.release.wait()
        await asyncio.sleep(0)
        self.told.append(self.name)
        self.working = 0
        return 0.0


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for has no signal
            await asyncio.sleep(0.001)


def test_members_take_turns_and_are_forgotten_when_they_have_nothing_to_do():
    async def run():
        told: list[str] = []
        rounds = BackgroundRounds()
        members = [Worker(name, told, left=3) for name in "abc"]
        for member in members:
            rounds.wake(member)
        await until(lambda: not rounds.awake)
        assert told == list("abc" * 3)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        looks = [member.looks for member in members]
        await asyncio.sleep(0.02)
        assert [member.looks for member in members] == looks, "nobody looks at idle members"

    asyncio.run(run())


def test_a_member_that_hangs_holds_up_its_lane_only():
    async def run():
        told: list[str] = []
        rounds = BackgroundRounds()
        hanging, waiting, other = Worker("hanging", told), Worker("waiting", told), Worker("other", told, lane=RoundLane.FILES)
        hanging.release.clear()
        for member in (hanging, waiting, other):
            rounds.wake(member)
        await until(lambda: told == ["other"])
        await asyncio.sleep(0.01)
        assert told == ["other"]
        hanging.release.set()
        await until(lambda: not rounds.awake)
        assert told == ["other", "hanging", "waiting"]

    asyncio.run(run())


def test_who_waits_for_a_lane_may_take_another_one_meanwhile():
    async def run():
        told: list[str] = []
        rounds = BackgroundRounds()
        hanging, urgent = Worker("hanging", told), Worker("urgent", told, left=2)
        hanging.release.clear()
        rounds.wake(hanging)
        rounds.wake(urgent)
        await until(lambda: urgent.looks == 1)
        urgent.lane = RoundLane.URGENT
        rounds.wake(urgent)
        await until(lambda: told == ["urgent", "urgent"])
        hanging.release.set()
        await until(lambda: not rounds.awake)

    asyncio.run(run())


def test_a_work_or_a_look_that_fails_is_logged_and_tried_again(caplog):
    class Failing(Worker):
        def look(self) -> Work | Rest:
            if not self.looks:
                self.looks = 1
                raise ZeroDivisionError("a look")
            return super().look()

        async def work(self) -> float:
            await super().work()
            if self.left:
                raise ZeroDivisionError("a work")
            return 0.0

    async def run():
        told: list[str] = []
        rounds = BackgroundRounds()
        rounds.wake(Failing("failing", told, left=2))
        await until(lambda: not rounds.awake)
        assert told == ["failing", "failing"]

    asyncio.run(run())
    assert "a look" in caplog.text
    assert "a work" in caplog.text


def test_it_is_looked_at_again_after_the_time_that_it_named():
    class Resting(Worker):
        def look(self) -> Work | Rest:
            self.looks += 1
            return Rest(seconds=0.002 if self.looks < 3 else math.inf)

    async def run():
        rounds, resting = BackgroundRounds(), Resting("resting", [])
        rounds.wake(resting, within_s=0.002)
        await until(lambda: not rounds.awake)
        assert resting.looks == 3

    asyncio.run(run())


def test_who_leaves_is_waited_for_and_not_looked_at_again():
    async def run():
        told: list[str] = []
        rounds = BackgroundRounds()
        leaving, waiting = Worker("leaving", told, left=5), Worker("waiting", told)
        leaving.release.clear()
        rounds.wake(leaving)
        rounds.wake(waiting)
        await until(lambda: bool(leaving.working))
        gone = asyncio.create_task(rounds.leave(leaving))
        await rounds.leave(Worker("never seen", told))
        await asyncio.sleep(0.005)
        assert not gone.done()
        leaving.release.set()
        await gone
        await until(lambda: not rounds.awake)
        assert told == ["leaving", "waiting"]
        assert leaving.left == 4

    asyncio.run(run())


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from(RoundLane)), min_size=1, max_size=12), st.data())
def test_all_work_is_done_once_and_each_lane_does_one_at_a_time(wanted, data):
    async def run():
        told: list[str] = []
        rounds = BackgroundRounds()
        members = [Worker(str(number), told, left=left, lane=lane) for number, (left, lane) in enumerate(wanted)]
        for member in data.draw(st.permutations(members)):
            rounds.wake(member, within_s=data.draw(st.sampled_from([0.0, 0.002])))
        while rounds.awake:
            for lane in RoundLane:
                assert sum(member.working for member in members if member.lane is lane) <= 1
            await asyncio.sleep(0)
        assert sorted(told) == sorted(str(number) for number, (left, _) in enumerate(wanted) for _ in range(left))

    asyncio.run(run())
