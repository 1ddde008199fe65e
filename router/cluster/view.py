"""The router's view of the cluster: the newest map, and the wake-up of those who wait for a newer one.

Answers from the last map when the store cannot be reached. Refuses to be asked before there is a first one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from shoal.core.cluster_map import ClusterMap
from shoal.core.errors import Unavailable

Clock = Callable[[], float]
"""Seconds on a clock that never jumps."""


class ClusterView(Protocol):
    """What the router knows of the cluster."""

    @property
    def current(self) -> ClusterMap:
        """The newest map. Raises Unavailable while there is none."""
        ...

    async def wait_for_change(self, seen: ClusterMap, timeout_s: float) -> None:
        """Return when the newest map is not `seen` (any more), or after timeout_s seconds."""
        ...


class MapView:
    """A View that is told every new map. Used from one event loop."""

    def __init__(self) -> None:
        self._current: ClusterMap | None = None
        self._changed = asyncio.Event()

    @property
    def current(self) -> ClusterMap:
        """See ClusterView."""
        if self._current is None:
            raise Unavailable("the router has not heard from the store yet")
        return self._current

    def publish(self, newest: ClusterMap) -> None:
        """Take a new map and wake everybody who waits. The same map again is no news."""
        if newest is self._current:
            return
        self._current = newest
        waited_for, self._changed = self._changed, asyncio.Event()
        waited_for.set()

    async def wait_for_first(self) -> None:
        """Return when there is a map."""
        if self._current is None:
            await self._changed.wait()

    async def wait_for_change(self, seen: ClusterMap, timeout_s: float) -> None:
        """See ClusterView."""
        if self._current is not seen:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return


async def wait_until(view: ClusterView, clock: Clock, holds: Callable[[ClusterMap], bool], until: float) -> bool:
    """Wait for a map for which `holds`, at most until that time on the clock. Returns whether there is one."""
    while not holds(seen := view.current):
        left_s = until - clock()
        if left_s <= 0:
            return False
        await view.wait_for_change(seen, left_s)
    return True
