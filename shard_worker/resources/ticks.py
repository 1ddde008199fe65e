"""One clock for all replicas of a worker that need to know how time passes: those that lead other members.

A worker whose replicas need no ticks has no timer for them. Used on the event loop.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

TICK_S = 0.1
"""Seconds between two ticks."""


class TicksMember(Protocol):
    """Somebody that may need ticks."""

    def tick(self) -> bool:
        """Take the time. Return whether another tick is needed."""
        ...


class Ticks:
    """The members that need ticks. `run` gives them."""

    def __init__(self) -> None:
        self._members: dict[TicksMember, None] = {}
        self._some = asyncio.Event()

    def __len__(self) -> int:
        """Return how many members need ticks."""
        return len(self._members)

    def want(self, member: TicksMember) -> None:
        """Tick the member from now on, until it needs no more ticks."""
        self._members[member] = None
        self._some.set()

    def leave(self, member: TicksMember) -> None:
        """Tick the member no more. Does nothing if it is not there."""
        self._members.pop(member, None)

    async def run(self) -> None:
        """Give ticks until cancelled. Sleeps while nobody needs them."""
        while True:
            await self._some.wait()
            for member in list(self._members):
                if member in self._members and not member.tick():
                    self.leave(member)
            if not self._members:
                self._some.clear()
            await asyncio.sleep(TICK_S)
