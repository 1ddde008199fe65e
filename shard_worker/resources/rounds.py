"""Background work of all replicas of a worker, in turns: one timer for all of them, and none while nothing is to do.

A member is looked at when it was woken, or when the time has come that it named at the last look. A look is short and
says what to do: a work in one of a few lanes, or to rest. A lane carries out one work at a time, members that wait for
it take turns, and a member has at most one work at a time. So a member that has nothing to do costs nothing, and a work
that hangs holds up its lane only. Used on the event loop only.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import math
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from shoal.runtime.clock import boot_s
from shoal.runtime.logs import event

log = logging.getLogger("shoal.worker.rounds")

PAUSE_S = 0.2
"""Shortest pause between two looks at one member."""

LOOKS_AT_ONCE = 16
"""Most looks before the event loop does other things."""

RETRY_S = 60.0
"""Time for which a member is left alone after a look or a work that failed."""


class RoundLane(Enum):
    """What works wait for: the disk, the thread for urgent work, the thread for other work."""

    FILES = "files"
    URGENT = "urgent"
    USUAL = "usual"


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What a member wants to do now. run: does it, and returns the seconds until the next look."""

    lane: RoundLane
    run: Callable[[], Coroutine[Any, Any, float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rest:
    """A member has nothing to do. seconds: until the next look; infinite: until it is woken."""

    seconds: float = math.inf


class RoundsMember(Protocol):
    """Somebody with background work."""

    def look(self) -> Work | Rest:
        """Return what to do now. It is not called while a work of this member runs."""
        ...


@dataclass(slots=True)
class _Place:
    """What is known of a member that is not idle.

    due_s: when to look at it, infinite for no such time; looked_s: of the last look; work: that runs; kept_s: it is
    forgotten after this time if nothing else is due, infinite for no such time.
    """

    due_s: float = math.inf
    looked_s: float = -math.inf
    work: asyncio.Task[float] | None = None
    kept_s: float = math.inf

    @property
    def next_s(self) -> float:
        return min(self.due_s, self.kept_s)


class BackgroundRounds:
    """The members of one worker. Wake them on the event loop; each leaves before it ends."""

    def __init__(self) -> None:
        self._places: dict[RoundsMember, _Place] = {}
        self._queue: list[tuple[float, int, RoundsMember]] = []
        self._numbers = itertools.count()
        self._working: dict[RoundLane, RoundsMember] = {}
        self._waiting: dict[RoundLane, dict[RoundsMember, None]] = {lane: {} for lane in RoundLane}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_s = math.inf

    @property
    def awake(self) -> int:
        """Return the number of members that are not idle."""
        return len(self._places)

    def wake(self, member: RoundsMember, *, within_s: float = 0.0) -> None:
        """Look at the member within this time, but not sooner than PAUSE_S after the last look."""
        place = self._places.get(member)
        if place is None:
            place = self._places[member] = _Place()
        due_s = max(boot_s() + within_s, place.looked_s + PAUSE_S)
        if due_s < place.due_s:
            self._schedule(member, place, due_s)

    async def leave(self, member: RoundsMember) -> None:
        """Look at the member no more, and wait for its work. Tell the work to stop before."""
        place = self._places.pop(member, None)
        for waiting in self._waiting.values():
            waiting.pop(member, None)
        self._queue = [each for each in self._queue if each[2] is not member]
        heapq.heapify(self._queue)
        self._set_timer()
        if place is not None and place.work is not None:
            await asyncio.wait({place.work})

    def _schedule(self, member: RoundsMember, place: _Place, due_s: float) -> None:
        place.due_s = due_s
        self._queue_up(member, place)

    def _queue_up(self, member: RoundsMember, place: _Place) -> None:
        if place.work is None and place.next_s < math.inf:
            heapq.heappush(self._queue, (place.next_s, next(self._numbers), member))
            self._set_timer()

    def _set_timer(self) -> None:
        """Let `_turn` be called when the first member is due."""
        if self._timer is not None and self._queue and self._queue[0][0] == self._timer_s:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._queue:
            self._timer_s = self._queue[0][0]
            self._timer = asyncio.get_running_loop().call_later(max(0.0, self._timer_s - boot_s()), self._turn)

    def _turn(self) -> None:
        self._timer = None
        now, looks = boot_s(), 0
        while self._queue and self._queue[0][0] <= now and looks < LOOKS_AT_ONCE:
            at_s, _, member = heapq.heappop(self._queue)
            place = self._places.get(member)
            if place is None or place.work is not None or place.next_s != at_s:
                continue
            if place.due_s <= now:
                looks += 1
                self._look(member, place)
            elif place.due_s == math.inf and not any(member in waiting for waiting in self._waiting.values()):
                del self._places[member]
            else:
                place.kept_s = math.inf
                self._queue_up(member, place)
        self._set_timer()

    def _look(self, member: RoundsMember, place: _Place) -> None:
        place.looked_s, place.due_s, place.kept_s = boot_s(), math.inf, math.inf
        try:
            wish = member.look()
        except Exception:
            log.exception(event("background_look_failed", member=member))
            wish = Rest(seconds=RETRY_S)
        match wish:
            case Rest(seconds=seconds):
                place.kept_s = place.looked_s + PAUSE_S if seconds == math.inf else math.inf
                self._schedule(member, place, place.looked_s + max(seconds, PAUSE_S))
            case Work(lane=lane):
                waiting = self._waiting[lane]
                if lane in self._working or (waiting and next(iter(waiting)) is not member):
                    waiting.setdefault(member)
                else:
                    waiting.pop(member, None)
                    self._begin(member, place, wish)

    def _begin(self, member: RoundsMember, place: _Place, work: Work) -> None:
        self._working[work.lane] = member
        place.work = asyncio.create_task(work.run())
        place.work.add_done_callback(lambda ended: self._ended(member, work.lane, ended))

    def _ended(self, member: RoundsMember, lane: RoundLane, ended: asyncio.Task[float]) -> None:
        del self._working[lane]
        place = self._places.get(member)
        seconds = RETRY_S
        if ended.cancelled():
            log.warning(event("background_work_cancelled", member=member))
        elif (error := ended.exception()) is not None:
            log.error(event("background_work_failed", member=member, reason=f"{type(error).__name__}: {error}"), exc_info=error)
        else:
            seconds = ended.result()
        if place is not None:
            place.work = None
            self._schedule(member, place, min(place.due_s, boot_s() + seconds))
        self._offer(lane)

    def _offer(self, lane: RoundLane) -> None:
        """Let those that wait for a lane take it, the first first."""
        waiting = self._waiting[lane]
        while waiting and lane not in self._working:
            first = next(iter(waiting))
            place = self._places[first]
            if place.work is None:
                self._look(first, place)
            if lane not in self._working:
                waiting.pop(first, None)
