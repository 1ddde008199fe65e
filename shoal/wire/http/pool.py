"""Decides which connection a call gets: an idle one, a new one, or the next one that becomes free. Pure.

Opens and closes nothing, and is not thread-safe: that is the part of `AsyncPool` and of the SDK's blocking pool.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Generic, TypeVar

C = TypeVar("C")
W = TypeVar("W")

KEEP_S = 60.0
"""An idle connection is closed after this time. A server must keep it for longer: see HttpLimits.idle_s."""

MOST = 64
"""Connections of one client to one server. Further calls wait until one of them is free."""

MOST_PATIENT = 1_024
"""The same for calls that take minutes. They have connections of their own, so that they hold up no other call."""


class Instead(Enum):
    """What a call does that gets no idle connection."""

    OPEN = "open a connection"
    WAIT = "wait"


class PoolBook(Generic[C, W]):
    """Connections of one client to one server, and the calls that wait for one.

    most: connections at once. A connection is idle, or one call uses it. Each one counts until `gone` is called for it.
    """

    def __init__(self, most: int) -> None:
        self._most, self._open = most, 0
        self._idle: deque[tuple[C, float]] = deque()
        self._waiting: deque[W] = deque()

    @property
    def opened(self) -> int:
        """Return the number of connections that are open or are being opened."""
        return self._open

    @property
    def is_full(self) -> bool:
        """Return whether `take` would tell a call to wait."""
        return not self._idle and self._open >= self._most

    def take(self) -> C | Instead:
        """Return the idle connection that was used last. Without one: whether to open one, which counts at once."""
        if self._idle:
            return self._idle.pop()[0]
        if self._open < self._most:
            self._open += 1
            return Instead.OPEN
        return Instead.WAIT

    def wait(self, waiter: W) -> None:
        """Add a call to those that wait; `give` and `gone` serve the first one."""
        self._waiting.append(waiter)

    def leave(self, waiter: W) -> bool:
        """Remove a call that does not wait any longer. Return False if it was served already."""
        try:
            self._waiting.remove(waiter)
        except ValueError:
            return False
        return True

    def give(self, connection: C, now: float) -> W | None:
        """Take a connection back. Return the call that gets it now; None if it is idle from now on."""
        if self._waiting:
            return self._waiting.popleft()
        self._idle.append((connection, now))
        return None

    def gone(self) -> W | None:
        """Forget a connection that a call used or failed to open. Return the call that may open one in its place."""
        if self._waiting:
            return self._waiting.popleft()
        self._open -= 1
        return None

    def drop(self, connection: C) -> bool:
        """Forget an idle connection that the peer has closed. Return False if it is not idle.

        No call can wait while a connection is idle.
        """
        for at, (each, _) in enumerate(self._idle):
            if each is connection:
                del self._idle[at]
                self._open -= 1
                return True
        return False

    def expired(self, now: float) -> list[C]:
        """Forget and return the connections that were idle for KEEP_S seconds. The caller closes them."""
        old = []
        while self._idle and now - self._idle[0][1] >= KEEP_S:
            old.append(self._idle.popleft()[0])
            self._open -= 1
        return old

    def all_idle(self) -> list[C]:
        """Forget and return all idle connections. The caller closes them."""
        idle = [each for each, _ in self._idle]
        self._open -= len(idle)
        self._idle.clear()
        return idle

    def all_waiting(self) -> list[W]:
        """Forget and return all calls that wait."""
        waiting = list(self._waiting)
        self._waiting.clear()
        return waiting
