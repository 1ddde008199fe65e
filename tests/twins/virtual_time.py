"""A clock and a view that only tests control, and an event loop in which time passes at once.

Time passes only if there is nothing to do: waits are exact and take no real time.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from shoal.core.cluster_map import ClusterMap
from shoal.router.cluster.view import MapView

T = TypeVar("T")


class FakeClock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class ScriptedView:
    """A view without real waits: each wait plays the next scripted event, or lets the time pass."""

    def __init__(self, clock: FakeClock, current: ClusterMap) -> None:
        self.current = current
        self.events: list[Callable[[], None]] = []
        self.waits: list[float] = []
        self._clock = clock

    async def wait_for_change(self, seen: ClusterMap, timeout_s: float) -> None:
        assert timeout_s > 0
        if self.current is not seen:
            return
        self.waits.append(timeout_s)
        if self.events:
            self.events.pop(0)()
        else:
            self._clock.now += timeout_s


class LiveView(MapView):
    """A MapView whose map is replaced by assignment."""

    def __init__(self, current: ClusterMap) -> None:
        super().__init__()
        self.publish(current)

    @property
    def current(self) -> ClusterMap:
        return super().current

    @current.setter
    def current(self, newest: ClusterMap) -> None:
        self.publish(newest)


class _Selector(selectors.SelectSelector):
    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everybody waits, for nothing that will ever happen"
            self._clock.now += max(0.0, timeout)
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, clock: FakeClock) -> None:
        super().__init__(_Selector(clock))
        self._virtual = clock

    def time(self) -> float:
        return self._virtual.now


def run(clock: FakeClock, work: Coroutine[Any, Any, T]) -> T:
    """Run the work by this clock. Return its result."""
    with asyncio.Runner(loop_factory=lambda: _Loop(clock)) as runner:
        return runner.run(work)
