"""One store in memory that several clients share, over one injected clock. Safe to use from several threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shoal.core.deadline import Clock
from shoal.core.ids import Revision
from tests.twins.store.state import MemoryState

Wake = Callable[[], None]


class MemoryCluster:
    """Shared state of MemoryStores. clock: seconds; a lease expires at the next `touch` or `expire` after its time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._state = MemoryState()
        self._lock = threading.Lock()
        self._wakes: set[Wake] = set()

    @contextmanager
    def touch(self) -> Iterator[tuple[MemoryState, float]]:
        """Hold the state alone, with expired leases gone, and the time. Wakes the watches when something changed."""
        wakes: tuple[Wake, ...] = ()
        try:
            with self._lock:
                before = self._state.revision
                now = self._clock()
                self._state.expire(now)
                try:
                    yield self._state, now
                finally:
                    wakes = tuple(self._wakes) if self._state.revision != before else ()
        finally:
            for wake in wakes:
                wake()

    def expire(self) -> None:
        """End the leases whose time is over, as etcd does by itself. Call it after the clock was moved."""
        with self.touch():
            pass

    def compact(self, revision: Revision) -> None:
        """Forget the history up to a revision."""
        with self.touch() as (state, _):
            state.compact(revision)

    def subscribe(self, wake: Wake) -> None:
        """Call `wake`, from any thread, after each change."""
        with self._lock:
            self._wakes.add(wake)

    def unsubscribe(self, wake: Wake) -> None:
        """Stop calling `wake`."""
        with self._lock:
            self._wakes.discard(wake)
