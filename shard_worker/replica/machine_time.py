"""Tells the machine of a replica how time passes: often while something is under way, seldom while it only sends
heartbeats, and not at all while it leads no others. Used on the event loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from shoal.runtime.clock import boot_s
from shoal.shard_worker.logic.replication.events import Tick
from shoal.shard_worker.logic.replication.machine import ReplicaMachine
from shoal.shard_worker.resources.ticks import TICK_S, Ticks

QUIET_TICK_S = 0.3
"""Seconds between two ticks of a primary that has nothing to do but to send heartbeats."""


class MachineTime:
    """The time of one machine. A member of `ticks` while the machine needs it."""

    def __init__(self, machine: ReplicaMachine, ticks: Ticks, clock: Callable[[], float] = boot_s) -> None:
        self._machine, self._ticks, self._clock = machine, ticks, clock
        self._feed: Callable[[Tick], None] = _drop
        self._told_s = -math.inf
        self._closed = False

    def begin(self, feed: Callable[[Tick], None]) -> None:
        """Pass the time on to `feed` from now on."""
        self._feed = feed

    def tell(self) -> None:
        """Tell the time now."""
        self._told_s = self._clock()
        self._feed(Tick(now_ms=int(self._told_s * 1000)))

    def before_write(self) -> None:
        """Tell the time if that was not done lately: how long a member takes to answer is measured from here on."""
        if self._machine.wants_ticks and self._clock() - self._told_s > TICK_S:
            self.tell()

    def want(self) -> None:
        """Take ticks from now on: the machine begins to need them."""
        if not self._closed:
            self._ticks.want(self)

    def tick(self) -> bool:
        """See TicksMember."""
        if not self._machine.wants_ticks:
            return False
        if self._clock() - self._told_s >= QUIET_TICK_S or not self._machine.is_quiet:
            self.tell()
        return True

    def close(self) -> None:
        """Take no more ticks."""
        self._closed = True
        self._feed = _drop
        self._ticks.leave(self)


def _drop(tick: Tick) -> None:
    """Do nothing: nobody takes the time yet."""
