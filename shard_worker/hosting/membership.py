"""A worker's membership: its registration in the store under a lease, kept, and made again when the lease was lost.

Holding the lock of the data folder proves that an earlier process of this worker is dead, so its registration may be
replaced. If another incarnation appears under the worker's key while this process runs, another process holds a copy of
the folder: `run` raises. It also raises when an operator has forgotten the worker: its replicas were replaced, and it
is never registered again.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from shoal.core.cluster_map import WorkerEntry
from shoal.core.errors import PreconditionFailed, Unavailable
from shoal.core.ids import Revision, WorkerId
from shoal.core.shown import shown
from shoal.runtime.change_signal import ChangeSignal
from shoal.runtime.clock import boot_s
from shoal.runtime.logs import event as log_event
from shoal.store.codecs import decode_worker, encode_worker
from shoal.store.interface import Absent, Committed, LeaseNotFound, Put, Store, Transaction, Unchanged, Versioned
from shoal.store.keys import Keys
from shoal.store.lease_plan import TICKS_PER_TTL
from shoal.store.leases import OS_THREADS, LeaseKeeper, Threads, hold_lease

log = logging.getLogger("shoal.worker.membership")

RETRY_S = 0.5


class Membership:
    """Keeps one worker registered. The worker's role awaits `run`; everything else may be read at any time."""

    def __init__(
        self,
        *,
        store: Store,
        keys: Keys,
        me: WorkerEntry,
        lease_ttl_s: int,
        changed: Callable[[], None],
        clock: Callable[[], float] = boot_s,
        threads: Threads = OS_THREADS,
        ticks_per_ttl: int = TICKS_PER_TTL,
    ) -> None:
        """me: the registration to publish (its `registration` is ignored); changed: called when the registration
        changes; clock: seconds that go on while the machine is suspended; threads: see LeaseKeeper.
        """
        self._clock, self._threads, self._ticks_per_ttl = clock, threads, ticks_per_ttl
        self._store, self._keys, self._me = store, keys, me
        self._ttl_s = lease_ttl_s
        self._changed = changed
        self._keeper: LeaseKeeper | None = None
        self._news = ChangeSignal()
        self._newest = Revision(0)
        self._successor: WorkerEntry | None = None
        self.registration = Revision(0)

    def held_now(self, registration: Revision) -> bool:
        """Return whether the worker certainly has this registration at this moment.

        Call it after the result that depends on it is fixed.
        """
        return self.registration == registration and self._keeper is not None and self._keeper.is_held(self._clock())

    def lease_age_s(self) -> float | None:
        """Return the seconds since the lease was last renewed; None without one. May be called on any thread."""
        keeper = self._keeper
        return None if keeper is None or keeper.lost else self._clock() - keeper.renewed_at

    def see(self, registered: WorkerEntry | None) -> None:
        """Take the map's entry under this worker's key.

        A later registration of another process ends `run`: the folder was copied.
        """
        if registered is None or registered.incarnation == self._me.incarnation:
            return
        if 0 < self.registration < registered.registration:
            self._successor = registered
            self._news.notify()

    async def run(self) -> None:
        """Register, keep the lease, and register again whenever it was lost.

        Raises PreconditionFailed if another process has replaced the registration, or the worker was forgotten.
        """
        while True:
            await self._register()
            await self._keep()

    async def close(self) -> None:
        """End the lease, and with it the registration."""
        if self._keeper is not None:
            await self._keeper.aclose()
            self._keeper = None

    async def _keep(self) -> None:
        keeper = self._keeper
        assert keeper is not None
        tick_s = keeper.ttl_s / self._ticks_per_ttl
        while not keeper.lost and self._successor is None:
            keeper.tick()
            await self._news.until(lambda: keeper.lost or self._successor is not None, tick_s)
        if self._successor is not None:
            raise _replaced(self._successor)
        log.warning(log_event("lease_lost", worker=self._me.id))
        await self.close()
        self._set(Revision(0))

    async def _register(self) -> None:
        told = False
        while True:
            try:
                if await self._try_register():
                    log.info(log_event("registered", worker=self._me.id, registration=self.registration, address=self._me.address))
                    return
            except (Unavailable, LeaseNotFound) as error:
                if not told:
                    log.warning(log_event("cannot_register", worker=self._me.id, reason=error.message))
                told = True
            await asyncio.sleep(RETRY_S)

    async def _try_register(self) -> bool:
        await self.close()
        found = await self._store.get(self._keys.worker(self._me.id), self._ttl_s)
        self._refuse_foreign(found)
        forgotten = self._keys.forgotten(self._me.id)
        said = await self._store.get(forgotten, self._ttl_s)
        if said is not None:
            raise _forgotten(self._me.id, said.value)
        loop = asyncio.get_running_loop()
        self._keeper = await hold_lease(
            self._store,
            ttl_s=self._ttl_s,
            timeout_s=self._ttl_s,
            clock=self._clock,
            threads=self._threads,
            on_lost=partial(_wake, loop, self._news),
        )
        key = self._keys.worker(self._me.id)
        condition = Absent(key=key) if found is None else Unchanged(key=key, mod_revision=found.mod_revision)
        put = Put(key=key, value=encode_worker(self._me), lease_id=self._keeper.lease_id)
        # It may be forgotten at any moment, but not while it is registered.
        outcome = await self._store.commit(Transaction(compares=(condition, Absent(key=forgotten)), then=(put,)), self._ttl_s)
        if isinstance(outcome, Committed):
            self._newest = outcome.revision
            self._set(outcome.revision)
            return True
        return False

    def _refuse_foreign(self, found: Versioned | None) -> None:
        # An older registration is an earlier process's, in an outdated answer.
        if found is None or found.mod_revision < self._newest or self._newest == 0:
            return
        other = decode_worker(found.key, found.value, found.mod_revision)
        if other.incarnation != self._me.incarnation:
            raise _replaced(other)

    def _set(self, registration: Revision) -> None:
        self.registration = registration
        self._me = dataclasses.replace(self._me, registration=registration)
        self._changed()


def _replaced(other: WorkerEntry) -> PreconditionFailed:
    return PreconditionFailed(f"worker {other.id} is registered by another process (pid {other.pid} on {other.node}); this one ends")


def _forgotten(me: WorkerId, said: bytes) -> PreconditionFailed:
    """Return the error of a worker that was forgotten. said: what is kept of that, for people."""
    try:
        kept = json.loads(said)
        words = f" on {datetime.fromtimestamp(kept['since_ms'] / 1000, UTC):%Y-%m-%d at %H:%M:%S} UTC by {shown(kept['asked_by'])}"
    except (ArithmeticError, LookupError, OSError, TypeError, ValueError):
        words = ""
    return PreconditionFailed(
        f"worker {me} was forgotten{words}: its replicas were replaced, and it cannot return. Delete its data folder, and start "
        "a worker with an empty one to use this machine again"
    )


def _wake(loop: asyncio.AbstractEventLoop, news: ChangeSignal) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(news.notify)
