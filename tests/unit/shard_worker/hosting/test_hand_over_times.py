"""Test for how long a worker says that writes waited when it handed a shard over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from shoal.core.ids import CollectionId, ShardId
from shoal.core.shard_calls import HandOverTime
from shoal.shard_worker.hosting import hand_over_times
from shoal.shard_worker.hosting.hand_over_times import MOST_KEPT, MOST_S, HandOverTimes
from tests.twins.coordinator.bare_coordinator import ManualClock, eventually

SHARD = ShardId(CollectionId("c"), 0)


class Measured:
    def __init__(self) -> None:
        self.clock, self.took = ManualClock(), list[float]()
        self.times = HandOverTimes(took=self.took.append, clock=self.clock, wall_ms=lambda: 1_234)


def measured(scenario: Callable[[Measured], Awaitable[None]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hand_over_times, "LOOK_S", 0.0)

    async def run() -> None:
        await scenario(Measured())

    asyncio.run(run())


def test_the_time_ends_when_the_new_primary_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(it: Measured) -> None:
        followed: list[bool] = []
        it.times.measure(SHARD, it.times.now(), lambda: bool(followed))
        it.clock.advance(0.25)
        await asyncio.sleep(0)
        assert not it.times.newest()
        followed.append(True)
        await eventually(lambda: bool(it.took))
        assert it.took == [0.25]
        assert it.times.newest() == {str(SHARD): HandOverTime(seconds=0.25, ended_ms=1_234)}

    measured(scenario, monkeypatch)


def test_a_replica_that_ends_and_a_primary_that_never_begins_have_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(it: Measured) -> None:
        it.times.measure(SHARD, it.times.now(), lambda: None)
        it.times.measure(SHARD, it.times.now(), lambda: False)
        await asyncio.sleep(0)
        it.clock.advance(MOST_S + 1)
        await eventually(lambda: not it.times._looking)
        assert not it.took
        assert not it.times.newest()

    measured(scenario, monkeypatch)


def test_the_oldest_times_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(it: Measured) -> None:
        shards = [ShardId(CollectionId("c"), number) for number in range(MOST_KEPT + 2)]
        for shard in (*shards[:-2], shards[0], *shards[-2:]):
            it.times.measure(shard, it.times.now(), lambda: True)
            await eventually(lambda: not it.times._looking)
        assert set(it.times.newest()) == {str(shard) for shard in shards if shard not in (shards[1], shards[2])}

    measured(scenario, monkeypatch)


def test_nothing_is_looked_at_after_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(it: Measured) -> None:
        it.times.measure(SHARD, it.times.now(), lambda: False)
        it.times.close()
        await eventually(lambda: not it.times._looking)
        assert not it.times.newest()

    measured(scenario, monkeypatch)
