"""Elects the leading coordinator: it holds the key `leader` in etcd under its lease. Another coordinator stands by and
takes over when the key is gone.

It owns this coordinator's lease and knows whether the coordinator may act. It may not act from the moment at which the
lease is not surely held. Every step also compares the key, so a leader that has not noticed its end commits nothing.
"""

from __future__ import annotations

import asyncio
import logging
from typing import assert_never

from shoal.coordinator.logic.campaign import Lead, Look, Move, Run, StandBy, StepDown, next_move
from shoal.core.cluster_map import ClusterMap
from shoal.core.deadline import Clock
from shoal.core.errors import Unavailable
from shoal.core.ids import Revision
from shoal.runtime.change_signal import ChangeSignal
from shoal.runtime.logs import event
from shoal.store.codecs import encode_leader
from shoal.store.interface import Absent, Committed, LeaseNotFound, Put, Store, Transaction
from shoal.store.keys import Keys
from shoal.store.lease_plan import TICKS_PER_TTL
from shoal.store.leases import OS_THREADS, LeaseKeeper, Threads, hold_lease
from shoal.store.observe import ObservedMap

log = logging.getLogger("shoal.coordinator.election")


def proof_of_leadership(leadership: Revision | None, cluster: ClusterMap) -> Revision:
    """Return the creation revision of our key `leader`, which transactions compare.

    Raises Unavailable, naming the leader, if we do not lead.
    """
    if leadership is not None:
        return leadership
    leader = cluster.leader
    raise Unavailable("no coordinator leads now" if leader is None else f"this coordinator does not lead, {leader.address} does")


class Election:
    """One candidate for leading coordinator.

    lease_ttl_s: time until a leader that vanished can be replaced. timeout_s: for each call of the store.
    """

    def __init__(
        self,
        *,
        store: Store,
        keys: Keys,
        observer: ObservedMap,
        changes: ChangeSignal,
        clock: Clock,
        lease_ttl_s: int,
        timeout_s: float,
        threads: Threads = OS_THREADS,
        ticks_per_ttl: int = TICKS_PER_TTL,
    ) -> None:
        self._threads, self._ticks_per_ttl = threads, ticks_per_ttl
        self._store, self._keys, self._observer, self._changes, self._clock = store, keys, observer, changes, clock
        self._lease_ttl_s, self._timeout_s = lease_ttl_s, timeout_s
        self._keeper: LeaseKeeper | None = None
        self._leadership: Revision | None = None
        self._followed: str | None = None

    def leadership(self) -> Revision | None:
        """Return the creation revision of our key while we lead and surely hold its lease, else None."""
        keeper = self._keeper
        return self._leadership if keeper is not None and keeper.is_held(self._clock()) else None

    def lease_age_s(self) -> float | None:
        """Return the seconds since our lease was last renewed, None without a lease. May be called on any thread."""
        keeper = self._keeper
        return None if keeper is None or keeper.lost else self._clock() - keeper.renewed_at

    async def run(self, address: str) -> None:
        """Stand for election without end. address: host:port under which others reach this coordinator."""
        await self._changes.until(lambda: self._observer.listed, timeout_s=None)
        while True:
            keeper = await self._new_lease()
            ticking = asyncio.create_task(_tick(keeper, self._ticks_per_ttl))
            try:
                await self._hold(keeper, address)
            finally:
                self._end_leadership("the lease is gone" if keeper.lost else "stopping")
                self._keeper = None
                ticking.cancel()
                await asyncio.gather(ticking, return_exceptions=True)
                await keeper.aclose()

    async def _new_lease(self) -> LeaseKeeper:
        while True:
            try:
                return await hold_lease(
                    self._store,
                    ttl_s=self._lease_ttl_s,
                    timeout_s=self._timeout_s,
                    clock=self._clock,
                    threads=self._threads,
                )
            except Unavailable as error:
                log.debug(event("no_lease_yet", reason=error.message))
                await self._changes.wait(self._changes.count, self._pause_s)

    @property
    def _pause_s(self) -> float:
        """Seconds until the next look if no change is signalled."""
        return self._lease_ttl_s / 5

    async def _hold(self, keeper: LeaseKeeper, address: str) -> None:
        self._keeper = keeper
        while not keeper.lost:
            heard = self._changes.count
            await self._make(next_move(self._observer.map, address=address, leadership=self._leadership), keeper, address)
            await self._changes.wait(heard, self._pause_s)

    async def _make(self, move: Move, keeper: LeaseKeeper, address: str) -> None:
        match move:
            case Run():
                await self._campaign(keeper, address)
            case Look():
                await self._look(keeper)
            case StepDown(reason=reason):
                self._end_leadership(reason)
            case StandBy(leader=leader):
                self._follow(leader)
            case Lead():
                pass
            case _:
                assert_never(move)

    async def _campaign(self, keeper: LeaseKeeper, address: str) -> None:
        leader = self._keys.leader
        put = Put(key=leader, value=encode_leader(address), lease_id=keeper.lease_id)
        try:
            answer = await self._store.commit(Transaction(compares=(Absent(key=leader),), then=(put,)), self._timeout_s)
        except (Unavailable, LeaseNotFound) as error:
            # It may have been applied. Then the map will name this address, and the next move reads the key and
            # compares its lease with ours. The keeper notices a lost lease.
            log.debug(event("not_elected", reason=error.message))
        else:
            if isinstance(answer, Committed):
                self._begin_leadership(answer.revision)

    async def _look(self, keeper: LeaseKeeper) -> None:
        try:
            found = await self._store.get(self._keys.leader, self._timeout_s)
        except Unavailable as error:
            log.debug(event("leader_not_read", reason=error.message))
            return
        if found is not None and found.lease == keeper.lease_id:
            self._begin_leadership(found.create_revision)

    def _follow(self, leader: str) -> None:
        if leader != self._followed:
            self._followed = leader
            log.info(event("stands_by", leader=leader))

    def _begin_leadership(self, created: Revision) -> None:
        self._leadership, self._followed = created, None
        log.info(event("leads", since_revision=created))
        self._changes.notify()

    def _end_leadership(self, reason: str) -> None:
        if self._leadership is None:
            return
        log.warning(event("leads_no_more", since_revision=self._leadership, reason=reason))
        self._leadership = None
        self._changes.notify()


async def _tick(keeper: LeaseKeeper, ticks_per_ttl: int) -> None:
    while True:
        keeper.tick()
        await asyncio.sleep(keeper.ttl_s / ticks_per_ttl)
