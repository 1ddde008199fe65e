"""Which replicas of a worker have their files open.

A replica's files are opened on use. They are closed after some time without use, or earlier when others need them: at
most so many replicas have them open as the limit of the process allows, so the worker never runs out of files. While
all open ones are in use, others wait, first come, first served. Used on the event loop.

A worker that starts, or creates many shards, opens one replica after the other, and most of them are not used then. So
only some replicas are fresh at once: open since they were opened for the first time. The next one makes the least
recently used one of them rest, which it does once.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from types import TracebackType

from shoal.runtime.change_signal import ChangeSignal
from shoal.runtime.clock import boot_s
from shoal.runtime.logs import event
from shoal.shard_worker.logic.idle_stores import PRESSED_IDLE_S, stores_to_rest

log = logging.getLogger("shoal.worker.stores")

LOOK_S = 1.0
"""Pause between two looks for stores without use."""

RESTS_AT_ONCE = 4
"""Stores without use that are closed at the same time: there is no hurry, and each may need some flushes."""

FRESH_AT_ONCE = 256
"""Most replicas that are fresh. One has six files open."""

FRESH_RESTS_AT_ONCE = 16
"""Fresh ones that are closed at the same time, when another one waits: they wait for the same flushes of the disk."""

FRESH_WAITS = 5
"""After so many looks a fresh one does not wait for others any more: they are in use for long."""

Rest = Callable[[], Awaitable[bool]]
"""Closes the files of a replica that nobody uses. Returns whether they are closed."""


class _FilesState(Enum):
    OPEN = auto()
    RESTING = auto()
    AT_REST = auto()


class StoreUse:
    """The use of one replica's files: `async with` it around each use. Uses of one replica may overlap.

    Inside, the replica is not told to close its files. It opens them itself. fresh: whether they have not been closed
    yet, nor refused it twice.
    """

    def __init__(self, stores: OpenStores) -> None:
        self._stores = stores
        self._state = _FilesState.AT_REST
        self._rest: Rest | None = None
        self.users = 0
        self.fresh = True
        self.used_s = self.refused_s = -math.inf

    @property
    def resting(self) -> bool:
        """Return whether the files are being closed."""
        return self._state is _FilesState.RESTING

    @property
    def is_open(self) -> bool:
        """Return whether the files may be open, and stay so during the next synchronous steps."""
        return self._state is _FilesState.OPEN

    def begin(self, rest: Rest) -> None:
        """Take the function that closes the files. Until then they are not closed."""
        self._rest = rest

    def touch(self) -> None:
        """Note a synchronous use of open files."""
        self._stores._touched(self)

    def end(self) -> None:
        """Note that the files are closed for good. Does nothing the second time."""
        self._rest = None
        self._stores._gone(self)

    async def __aenter__(self) -> None:
        self.users += 1
        if self._state is _FilesState.OPEN:
            self._stores._began(self)
            return
        try:
            await self._stores._enter(self)
        except BaseException:
            self._left()
            raise

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._left()

    def _left(self) -> None:
        self.users -= 1
        if not self.users:
            self._stores._ended(self)


@dataclass(kw_only=True, slots=True)
class _Queued:
    """Tasks that wait until one store may be opened. signal: that it may."""

    tasks: int = 0
    signal: ChangeSignal = field(default_factory=ChangeSignal)


class OpenStores:
    """The open stores of one worker. `run` closes those without use."""

    def __init__(
        self,
        *,
        most: int,
        idle_s: float,
        pressed: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = boot_s,
        most_fresh: int = FRESH_AT_ONCE,
    ) -> None:
        """most: replicas that may have their files open; pressed: returns whether memory is short."""
        self._most, self._idle_s, self._pressed, self._clock = most, idle_s, pressed, clock
        self._most_fresh, self._fresh = most_fresh, 0
        self._open: set[StoreUse] = set()
        # Those of them that nobody uses and that are not being closed, the least recently used first.
        self._unused: OrderedDict[StoreUse, None] = OrderedDict()
        self._resting: set[asyncio.Task[None]] = set()
        self._waiting: OrderedDict[StoreUse, _Queued] = OrderedDict()

    def __len__(self) -> int:
        """Return how many replicas have their files open."""
        return len(self._open)

    def use(self) -> StoreUse:
        """Return the use of one more replica, whose files are closed."""
        return StoreUse(self)

    async def run(self) -> None:
        """Close stores without use until cancelled."""
        while True:
            self._look()
            await asyncio.sleep(LOOK_S)

    async def close(self) -> None:
        """Wait for the stores that are being closed."""
        while self._resting:
            await asyncio.wait(self._resting)

    async def _enter(self, use: StoreUse) -> None:
        """Wait until the files may be opened."""
        queued = self._waiting.setdefault(use, _Queued())
        queued.tasks += 1
        looks = 0
        try:
            self._admit()
            while not use.is_open:
                heard = queued.signal.count
                self._look()
                if not await queued.signal.wait(heard, LOOK_S):
                    looks += 1
                    if looks == FRESH_WAITS:
                        self._ripen(use)
                        self._admit()
        finally:
            queued.tasks -= 1
            if not queued.tasks and self._waiting.get(use) is queued:
                del self._waiting[use]
                # Another one is the first now.
                self._admit()

    def _admit(self) -> None:
        """Let those that wait open their files, the first first, as far as there is room.

        A fresh one waits for other fresh ones, and holds up nobody else.
        """
        admitted: list[StoreUse] = []
        for each in self._waiting:
            if not each.is_open:
                if each.fresh and self._fresh >= self._most_fresh:
                    continue
                if each.resting or len(self._open) >= self._most:
                    break
                each._state = _FilesState.OPEN
                self._open.add(each)
                self._fresh += each.fresh
            admitted.append(each)
        for each in admitted:
            self._tell_open(each)

    def _tell_open(self, use: StoreUse) -> None:
        queued = self._waiting.pop(use, None)
        if queued is not None:
            queued.signal.notify()

    def _look(self) -> None:
        idle_s = min(self._idle_s, PRESSED_IDLE_S) if self._pressed() else self._idle_s
        short = len(self._waiting) - len(self._resting) if len(self._open) >= self._most else 0
        wanted = max(0, short)
        most = max(wanted, RESTS_AT_ONCE - len(self._resting))
        self._let_rest(stores_to_rest(self._unused, now_s=self._clock(), idle_s=idle_s, wanted=wanted, most=most))
        if self._waiting and self._fresh >= self._most_fresh:
            wanted = max(0, min(FRESH_RESTS_AT_ONCE, (self._most_fresh + 3) // 4) - len(self._resting))
            fresh = (each for each in self._unused if each.fresh)
            self._let_rest(stores_to_rest(fresh, now_s=self._clock(), idle_s=idle_s, wanted=wanted, most=wanted))

    def _let_rest(self, uses: list[StoreUse]) -> None:
        for use in uses:
            if use._rest is not None:
                use._state = _FilesState.RESTING
                del self._unused[use]
                task = asyncio.create_task(self._close(use, use._rest))
                self._resting.add(task)
                task.add_done_callback(self._resting.discard)

    async def _close(self, use: StoreUse, rest: Rest) -> None:
        closed = False
        try:
            closed = await rest()
        except Exception:
            log.exception(event("store_not_closed"))
        if use not in self._open:
            return
        if closed or use.refused_s > -math.inf:
            # One that refuses for the first time has just begun a write. One that refuses again may do so for long.
            self._ripen(use)
        if closed:
            use._state = _FilesState.AT_REST
            self._open.discard(use)
        else:
            self._stay_open(use)
        self._resting.discard(asyncio.current_task())
        self._admit()
        self._look()

    def _stay_open(self, use: StoreUse) -> None:
        """Note that a store could not be closed. It keeps its place: it was used less recently than the others."""
        use._state, use.refused_s = _FilesState.OPEN, self._clock()
        if not use.users:
            self._unused[use] = None
            self._unused.move_to_end(use, last=False)
        self._tell_open(use)

    def _began(self, use: StoreUse) -> None:
        self._unused.pop(use, None)

    def _touched(self, use: StoreUse) -> None:
        use.used_s = self._clock()
        if use in self._unused:
            self._unused.move_to_end(use)

    def _ended(self, use: StoreUse) -> None:
        """Note that nobody uses it any more."""
        use.used_s = self._clock()
        if use.is_open:
            self._unused[use] = None
            if self._waiting:
                self._look()

    def _ripen(self, use: StoreUse) -> None:
        """Let a store count as fresh no longer."""
        self._fresh -= use.fresh and use in self._open
        use.fresh = False

    def _gone(self, use: StoreUse) -> None:
        self._ripen(use)
        use._state = _FilesState.AT_REST
        self._open.discard(use)
        self._unused.pop(use, None)
        self._admit()
