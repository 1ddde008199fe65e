"""When a machine is told the time: often while something is under way, seldom while it is quiet."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from shoal.shard_worker.replica.machine_time import QUIET_TICK_S, MachineTime
from shoal.shard_worker.resources.ticks import TICK_S, Ticks


class Play:
    """A machine whose needs a test sets, and a clock that a test moves. told: the times that it was told, in ms."""

    def __init__(self, *, wants_ticks: bool = True, is_quiet: bool = False) -> None:
        self.machine = SimpleNamespace(wants_ticks=wants_ticks, is_quiet=is_quiet)
        self.told: list[int] = []
        self.now_s = 100.0
        self.ticks = Ticks()
        self.time = MachineTime(cast("Any", self.machine), self.ticks, lambda: self.now_s)
        self.time.begin(lambda tick: self.told.append(tick.now_ms))

    def tick(self, after_s: float) -> bool:
        self.now_s += after_s
        return self.time.tick()


def test_each_tick_is_passed_on_while_something_is_under_way():
    play = Play()
    assert all(play.tick(TICK_S) for _ in range(3))
    assert len(play.told) == 3
    assert play.told[0] < play.told[1] < play.told[2]


def test_a_quiet_machine_gets_few_ticks_and_one_before_a_write():
    play = Play(is_quiet=True)
    assert play.tick(0.0)
    assert all(play.tick(QUIET_TICK_S / 4) for _ in range(3))
    assert play.told == [100_000]
    play.time.before_write()
    play.time.before_write()
    assert len(play.told) == 2
    play.tick(2 * QUIET_TICK_S)
    assert len(play.told) == 3


def test_one_that_leads_nobody_gets_none():
    play = Play(wants_ticks=False)
    assert not play.tick(1.0)
    play.time.before_write()
    assert play.told == []


def test_after_its_end_it_takes_no_ticks():
    play = Play()
    play.time.want()
    assert len(play.ticks) == 1
    play.time.close()
    play.time.want()
    assert len(play.ticks) == 0
