from __future__ import annotations

import asyncio
import threading

import pytest

from shoal.core.errors import Internal
from shoal.store.interface import Lease, LeaseId, Put, StoreUnavailable, Transaction
from shoal.store.leases import Event, LeaseKeeper, OsThreads, hold_lease
from tests.twins.store.client import MemoryStore
from tests.twins.store.cluster import MemoryCluster

TTL_S = 6
KEY = "key"


class HandMovedClock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


class Bench:
    """A lease keeper whose steps the test calls. Its store is in memory and has the same clock."""

    def __init__(self) -> None:
        self.clock = HandMovedClock()
        self.cluster = MemoryCluster(self.clock)
        self.store = MemoryStore(self.cluster)
        self.told = 0
        granted_at = self.clock()
        self.lease = asyncio.run(self.store.grant_lease(TTL_S, 1.0))
        with self.cluster.touch() as (state, _):
            state.commit(Transaction(then=(Put(key=KEY, value=b"", lease_id=self.lease.id),)))
        self.keeper = LeaseKeeper(
            lease=self.lease,
            granted_at=granted_at,
            connection=self.store.lease_connection(),
            clock=self.clock,
            on_lost=self._tell,
        )

    def _tell(self) -> None:
        self.told += 1

    def run(self, seconds: float, *, ticking: bool = True) -> None:
        """Let the keeper do its steps for this number of seconds."""
        end = self.clock.now_s + seconds
        while self.clock.now_s < end and not self.keeper.lost:
            if ticking:
                self.keeper.tick()
            self.clock.now_s += max(self.keeper.step(), 0.01)

    @property
    def held(self) -> bool:
        return self.keeper.is_held(self.clock())

    @property
    def alive_in_store(self) -> bool:
        """Return whether the key under the lease is still in the store."""
        with self.cluster.touch() as (state, _):
            return state.get(KEY) is not None


def test_a_kept_lease_is_held_far_beyond_its_ttl() -> None:
    bench = Bench()
    bench.run(10 * TTL_S)
    assert bench.held
    assert bench.alive_in_store
    assert bench.clock() < bench.keeper.deadline <= bench.clock() + 0.95 * TTL_S


def test_without_a_tick_the_lease_is_lost_after_it_is_no_longer_held() -> None:
    bench = Bench()
    for _ in range(20):
        bench.run(TTL_S / 10, ticking=False)
        assert bench.alive_in_store or not bench.held
    assert not bench.alive_in_store
    assert not bench.keeper.lost
    bench.run(TTL_S)
    assert bench.keeper.lost
    assert bench.told == 1


def test_while_cut_off_the_lease_is_held_until_its_deadline_and_not_lost() -> None:
    bench = Bench()
    bench.run(TTL_S)
    deadline = bench.keeper.deadline
    bench.store.cut()
    for _ in range(20):
        bench.run(TTL_S / 10)
        assert bench.held is (bench.clock() < deadline)
        assert bench.alive_in_store or not bench.held
    assert not bench.keeper.lost
    bench.store.restore()
    bench.run(TTL_S)
    assert bench.keeper.lost
    assert bench.told == 1


def test_a_short_cut_costs_nothing() -> None:
    bench = Bench()
    bench.store.cut()
    bench.run(TTL_S / 2)
    bench.store.restore()
    bench.run(TTL_S)
    assert bench.held


def test_a_lease_that_was_revoked_by_others_is_lost_at_the_next_renewal() -> None:
    bench = Bench()
    asyncio.run(bench.store.revoke_lease(bench.lease.id, 1.0))
    bench.run(TTL_S)
    assert bench.keeper.lost
    assert not bench.held


def test_the_deadline_counts_from_before_the_answer() -> None:
    """The lease counts from when the keeper asked. A slow answer must not make it look longer."""
    clock = HandMovedClock()

    class SlowConnection:
        def keep_alive(self, lease_id: LeaseId, timeout_s: float) -> int:
            clock.now_s += 1.5
            return TTL_S

        def revoke(self, lease_id: LeaseId, timeout_s: float) -> None: ...

        def close(self) -> None: ...

    lease = Lease(id=LeaseId(1), ttl_s=TTL_S)
    keeper = LeaseKeeper(lease=lease, granted_at=clock(), connection=SlowConnection(), clock=clock)
    clock.now_s += TTL_S / 3
    sent_at = clock.now_s
    keeper.tick()
    keeper.step()
    assert keeper.deadline == pytest.approx(sent_at + 0.95 * TTL_S)


def test_a_held_lease_is_revoked_when_its_keeper_is_closed() -> None:
    async def scenario() -> None:
        clock = HandMovedClock()
        store = MemoryStore(MemoryCluster(clock))
        keeper = await hold_lease(store, ttl_s=TTL_S, timeout_s=1.0, clock=clock)
        await store.commit(Transaction(then=(Put(key="k", value=b"", lease_id=keeper.lease_id),)), 1.0)
        assert keeper.is_held(clock())
        await keeper.aclose()
        assert await store.get("k", 1.0) is None
        assert not keeper.is_held(clock())
        assert not keeper.lost

    asyncio.run(scenario())


def test_a_keeper_that_fails_counts_its_lease_as_lost() -> None:
    class BrokenConnection:
        def keep_alive(self, lease_id: LeaseId, timeout_s: float) -> int:
            raise Internal("broken")

        def revoke(self, lease_id: LeaseId, timeout_s: float) -> None: ...

        def close(self) -> None: ...

    clock = HandMovedClock()
    keeper = LeaseKeeper(lease=Lease(id=LeaseId(1), ttl_s=TTL_S), granted_at=clock() - 3.0, connection=BrokenConnection(), clock=clock)
    keeper.start()
    keeper.join(10.0)
    assert keeper.lost
    assert not keeper.is_held(clock())


class RestartingConnection:
    """A store that is away until `back_at` on the clock: each attempt to revoke takes 0.4 seconds."""

    def __init__(self, clock: HandMovedClock, *, back_at: float) -> None:
        self.clock, self.back_at = clock, back_at
        self.revoked = self.closed = False

    def keep_alive(self, lease_id: LeaseId, timeout_s: float) -> int:
        return TTL_S

    def revoke(self, lease_id: LeaseId, timeout_s: float) -> None:
        self.clock.now_s += 0.4
        if self.clock.now_s < self.back_at:
            raise StoreUnavailable("away")
        self.revoked = True

    def close(self) -> None:
        self.closed = True


class HandMovedThreads(OsThreads):
    """Threads whose pauses move the clock."""

    def __init__(self, clock: HandMovedClock) -> None:
        self.clock = clock

    def event(self) -> Event:
        return HandMovedEvent(self.clock)


class HandMovedEvent(threading.Event):
    def __init__(self, clock: HandMovedClock) -> None:
        super().__init__()
        self.clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        self.clock.now_s += timeout or 0.0
        return self.is_set()


def stopped(clock: HandMovedClock, connection: RestartingConnection) -> LeaseKeeper:
    lease = Lease(id=LeaseId(1), ttl_s=TTL_S)
    keeper = LeaseKeeper(lease=lease, granted_at=clock(), connection=connection, clock=clock, threads=HandMovedThreads(clock))
    keeper.stop()
    # Its thread finds that it was stopped before any renewal.
    keeper.start()
    keeper.join(10.0)
    return keeper


def test_a_store_that_ended_with_us_and_comes_back_is_told_that_the_lease_is_given_back() -> None:
    clock = HandMovedClock()
    connection = RestartingConnection(clock, back_at=clock() + 0.9 * TTL_S)
    keeper = stopped(clock, connection)
    assert connection.revoked
    assert connection.closed
    assert not keeper.is_held(clock())


def test_a_revocation_that_is_not_answered_does_not_keep_the_keeper_longer_than_the_lease_lives() -> None:
    clock = HandMovedClock()
    ends_at = clock() + TTL_S
    connection = RestartingConnection(clock, back_at=float("inf"))
    keeper = stopped(clock, connection)
    assert not connection.revoked
    assert connection.closed
    assert not keeper.is_held(clock())
    assert ends_at <= clock() <= ends_at + 1.0
