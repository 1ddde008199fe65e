"""Keeps one lease alive on its own thread: a process with a busy event loop keeps its lease, one that hangs loses it.

The keeper owns the lease from its grant to its end. It renews the lease, knows until when it is surely held, notices
that it is gone, and revokes it on a clean stop. It never takes a new lease: after a loss, the owner of the keeper has
to register again.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import threading
from collections.abc import Callable
from typing import Protocol

from shoal.core.deadline import Clock
from shoal.core.errors import ShoalError, Unavailable
from shoal.store.interface import Lease, LeaseConnection, LeaseId, Store
from shoal.store.lease_plan import Hold, Pause, Renew, next_step

log = logging.getLogger(__name__)

_REVOCATIONS_PER_TTL = 50
"""Most attempts to revoke a lease within its time to live."""


class Event(Protocol):
    """The part of threading.Event that a keeper needs."""

    def set(self) -> None:
        """See threading.Event."""

    def is_set(self) -> bool:
        """See threading.Event."""

    def wait(self, timeout: float | None = None) -> bool:
        """See threading.Event."""


class Thread(Protocol):
    """The part of threading.Thread that a keeper needs, for a thread that was started."""

    def is_alive(self) -> bool:
        """See threading.Thread."""

    def join(self, timeout: float | None = None) -> None:
        """See threading.Thread."""


class Threads(Protocol):
    """Makes the thread of a keeper: of the operating system, or in the virtual time of a simulation."""

    def event(self) -> Event:
        """Return an event that is not set."""

    def start(self, work: Callable[[], None], name: str) -> Thread:
        """Run `work` in a new thread. The process can end while the thread runs."""


class OsThreads:
    """Threads of the operating system."""

    def event(self) -> Event:
        """See Threads."""
        return threading.Event()

    def start(self, work: Callable[[], None], name: str) -> Thread:
        """See Threads."""
        thread = threading.Thread(target=work, name=name, daemon=True)
        thread.start()
        return thread


OS_THREADS = OsThreads()


def _ignore() -> None:
    """Do nothing: the default for on_lost."""


class LeaseKeeper:
    """Holds one lease. `is_held`, `deadline`, `lost` and `tick` may be called from any thread."""

    def __init__(
        self,
        *,
        lease: Lease,
        granted_at: float,
        connection: LeaseConnection,
        clock: Clock,
        on_lost: Callable[[], None] = _ignore,
        threads: Threads = OS_THREADS,
    ) -> None:
        """clock: counts suspended time, as etcd does for the lease. granted_at: its reading before the grant was sent.

        on_lost: called once, on the keeper's thread, when the lease is gone. threads: makes that thread.
        """
        self.lease_id: LeaseId = lease.id
        self._hold = Hold(ttl_s=float(lease.ttl_s), renewed_at=granted_at, tried_at=granted_at)
        self._connection = connection
        self._clock = clock
        self._on_lost = on_lost
        self._ticked_at = clock()
        self._threads = threads
        self._lost, self._stopping = threads.event(), threads.event()
        self._thread: Thread | None = None

    @property
    def ttl_s(self) -> float:
        """Time to live that the store granted, in seconds."""
        return self._hold.ttl_s

    @property
    def renewed_at(self) -> float:
        """Clock time at which the last successful renewal, or the grant, was sent."""
        return self._hold.renewed_at

    @property
    def deadline(self) -> float:
        """Clock time before which the lease is surely held: 0.95 ttl after the last successful renewal was sent."""
        return self._hold.deadline

    @property
    def lost(self) -> bool:
        """Whether the lease is gone: the store reported so, or the keeper failed and renews it no more. Final."""
        return self._lost.is_set()

    def is_held(self, now: float) -> bool:
        """Return whether the lease is surely held at `now`. Call this after the result that depends on it is fixed."""
        return now < self._hold.deadline and not self._lost.is_set() and not self._stopping.is_set()

    def tick(self) -> None:
        """Report that the main loop is alive. After half the time to live without a tick, renewals stop."""
        self._ticked_at = self._clock()

    def start(self) -> None:
        """Begin to renew."""
        self._thread = self._threads.start(self._run, f"lease-{self.lease_id:x}")

    def stop(self) -> None:
        """Revoke the lease, if the store answers before the lease ends by itself, and end the thread.

        Blocks for at most about the ttl.
        """
        self._stopping.set()
        self.join()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait until the thread has ended, at most timeout_s seconds. It ends by itself when the lease is lost."""
        if self._thread is not None and self._thread.is_alive():
            self._thread.join(timeout_s)

    async def aclose(self) -> None:
        """Do what `stop` does, without blocking the event loop."""
        await asyncio.to_thread(self.stop)

    def step(self) -> float:
        """Do what is due now. Returns the seconds to pause before the next step. Called by the keeper's thread."""
        match next_step(self._hold, ticked_at=self._ticked_at, now=self._clock()):
            case Pause(seconds=seconds):
                return seconds
            case Renew(timeout_s=timeout_s):
                self._renew(timeout_s)
                return 0.0

    def _renew(self, timeout_s: float) -> None:
        sent_at = self._clock()
        self._hold = dataclasses.replace(self._hold, tried_at=sent_at)
        try:
            ttl_s = self._connection.keep_alive(self.lease_id, timeout_s)
        except Unavailable as error:
            log.warning("lease %x was not renewed: %s", self.lease_id, error.message)
            return
        if ttl_s > 0:
            self._hold = Hold(ttl_s=float(ttl_s), renewed_at=sent_at, tried_at=sent_at)
        else:
            self._lose()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set() and not self._lost.is_set():
                self._stopping.wait(self.step())
            if not self._lost.is_set():
                self._revoke()
        except Exception:
            # Renewals have stopped, so the lease will expire. Report it as lost to its owner.
            log.exception("keeper of lease %x failed", self.lease_id)
            self._lose()
        finally:
            self._connection.close()

    def _lose(self) -> None:
        self._lost.set()
        self._on_lost()

    def _revoke(self) -> None:
        """Revoke the lease. A store that is away is asked again for as long as the lease would live: perhaps the same
        signal ended it, and it is being started again.
        """
        pause, ends_at = self._threads.event(), self._hold.renewed_at + self._hold.ttl_s
        while True:
            try:
                self._connection.revoke(self.lease_id, self._hold.ttl_s / 3)
                return
            except ShoalError as error:
                left_s = ends_at - self._clock()
                if not isinstance(error, Unavailable) or left_s <= 0.0:
                    log.warning("lease %x was not revoked and ends by itself: %s", self.lease_id, error.message)
                    return
            pause.wait(min(left_s, self._hold.ttl_s / _REVOCATIONS_PER_TTL))


async def hold_lease(
    store: Store,
    *,
    ttl_s: int,
    timeout_s: float,
    clock: Clock,
    on_lost: Callable[[], None] = _ignore,
    threads: Threads = OS_THREADS,
) -> LeaseKeeper:
    """Get a new lease and return its keeper, which has started. Raises what `Store.grant_lease` raises."""
    granted_at = clock()
    lease = await store.grant_lease(ttl_s, timeout_s)
    connection = store.lease_connection()
    keeper = LeaseKeeper(lease=lease, granted_at=granted_at, connection=connection, clock=clock, on_lost=on_lost, threads=threads)
    keeper.start()
    return keeper
