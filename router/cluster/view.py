"""Holds the newest cluster map that the router knows, and lets callers wait for a newer one.

While the store cannot be reached, the last map stays. Before the first map, every read raises Unavailable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from shoal.core.cluster_map import ClusterMap
from shoal.core.deadline import Deadline
from shoal.core.errors import Unavailable
from shoal.runtime.change_signal import ChangeSignal


class ClusterView(Protocol):
    """The newest cluster map of the router."""

    @property
    def current(self) -> ClusterMap:
        """The newest map. Raises Unavailable while there is none."""
        ...

    async def wait_for_change(self, seen: ClusterMap, timeout_s: float) -> None:
        """Wait until the newest map is not `seen`, for at most timeout_s seconds."""
        ...


class MapView:
    """The ClusterView of a router, which publishes every new map here. Used from one event loop."""

    def __init__(self) -> None:
        self._current: ClusterMap | None = None
        self._changed = ChangeSignal()

    @property
    def current(self) -> ClusterMap:
        """See ClusterView."""
        if self._current is None:
            raise Unavailable("the router has no cluster map yet: etcd has not answered")
        return self._current

    def publish(self, newest: ClusterMap) -> None:
        """Take a new map and wake all waiting callers. Does nothing if it is the newest map already."""
        if newest is self._current:
            return
        self._current = newest
        self._changed.notify()

    async def wait_for_first(self) -> None:
        """Wait until there is a map."""
        await self._changed.until(lambda: self._current is not None, None)

    async def wait_for_change(self, seen: ClusterMap, timeout_s: float) -> None:
        """See ClusterView."""
        await self._changed.until(lambda: self._current is not seen, timeout_s)


async def wait_until(view: ClusterView, holds: Callable[[ClusterMap], bool], deadline: Deadline) -> bool:
    """Wait until `holds` is true for the newest map. Returns whether this was so before the deadline."""
    while not holds(seen := view.current):
        if deadline.passed:
            return False
        await view.wait_for_change(seen, deadline.left_s)
    return True
