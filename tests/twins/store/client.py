"""A client of the store in memory: the complete twin of the etcd client, with faults on request.

For tests and simulations, which then need no process. Its content ends with its process.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto

from shoal.store.interface import (
    Committed,
    Lease,
    LeaseConnection,
    LeaseId,
    Listing,
    OutcomeUnknown,
    Rejected,
    StoreUnavailable,
    Transaction,
    Versioned,
    Watch,
)
from shoal.store.transaction_limits import check_key, check_transaction, check_ttl
from tests.twins.store.cluster import MemoryCluster
from tests.twins.store.link import MemoryLink
from tests.twins.store.state import MemoryState
from tests.twins.store.watch import MemoryWatch


class CommitFault(Enum):
    """What happens to a commit.

    UNAVAILABLE: never sent; LOST_BEFORE: lost on the way there; LOST_AFTER: its answer is lost.
    """

    UNAVAILABLE = auto()
    LOST_BEFORE = auto()
    LOST_AFTER = auto()


class MemoryStore:
    """Store over a MemoryCluster. Used from one event loop; several clients may share the cluster."""

    def __init__(self, cluster: MemoryCluster) -> None:
        self._link = MemoryLink(cluster)
        self._faults: deque[CommitFault] = deque()
        self._watches: set[MemoryWatch] = set()

    def fail_next_commit(self, fault: CommitFault) -> None:
        """Let a later commit meet a fault. Faults are used in the order of the calls, one for each commit."""
        self._faults.append(fault)

    def cut(self) -> None:
        """Cut this client off: calls raise StoreUnavailable, watches are disconnected."""
        self._link.cut = True
        self._wake_watches()

    def restore(self) -> None:
        """End the cut: watches go on where they were."""
        self._link.cut = False
        self._wake_watches()

    async def get(self, key: str, timeout_s: float) -> Versioned | None:
        """See Store."""
        check_key(key)
        await self._take_turn(timeout_s)
        with self._link.touch() as (state, _):
            return state.get(key)

    async def list(self, prefix: str, timeout_s: float) -> Listing:
        """See Store."""
        check_key(prefix)
        await self._take_turn(timeout_s)
        with self._link.touch() as (state, _):
            return state.list(prefix)

    async def commit(self, transaction: Transaction, timeout_s: float) -> Committed | Rejected:
        """See Store."""
        check_transaction(transaction)
        await self._take_turn(timeout_s)
        fault = self._faults.popleft() if self._faults else None
        if fault is CommitFault.UNAVAILABLE:
            raise StoreUnavailable("the transaction was not sent, as ordered")
        if fault is CommitFault.LOST_BEFORE:
            raise OutcomeUnknown("the transaction was lost, as ordered")
        with self._link.touch() as (state, _):
            outcome = state.commit(transaction)
        if fault is CommitFault.LOST_AFTER:
            raise OutcomeUnknown("the answer to the transaction was lost, as ordered")
        return outcome

    def watch(self, prefix: str) -> Watch:
        """See Store."""
        check_key(prefix)
        watch = MemoryWatch(prefix=prefix, link=self._link, on_close=self._watches.discard)
        self._watches.add(watch)
        return watch

    async def grant_lease(self, ttl_s: int, timeout_s: float) -> Lease:
        """See Store."""
        check_ttl(ttl_s)
        await self._take_turn(timeout_s)
        with self._link.touch() as (state, now):
            return state.grant(ttl_s, now)

    async def keep_alive(self, lease_id: LeaseId, timeout_s: float) -> int:
        """See Store."""
        await self._take_turn(timeout_s)
        with self._link.touch() as (state, now):
            return state.keep_alive(lease_id, now)

    async def revoke_lease(self, lease_id: LeaseId, timeout_s: float) -> None:
        """See Store."""
        await self._take_turn(timeout_s)
        with self._link.touch() as (state, _):
            state.revoke(lease_id)

    def lease_connection(self) -> LeaseConnection:
        """See Store."""
        return MemoryLeaseConnection(self._link)

    async def close(self) -> None:
        """See Store."""
        self._link.closed = True
        self._wake_watches()

    async def _take_turn(self, timeout_s: float) -> None:
        """Let other tasks run, as a call over the network does."""
        if timeout_s <= 0:
            raise StoreUnavailable(f"no time was left for the call ({timeout_s} s)")
        await asyncio.sleep(0)

    def _wake_watches(self) -> None:
        for watch in tuple(self._watches):
            watch.wake()


class MemoryLeaseConnection:
    """A LeaseConnection over the link of a MemoryStore: cut with it, but alive until it is closed itself."""

    def __init__(self, link: MemoryLink) -> None:
        self._link = link

    def keep_alive(self, lease_id: LeaseId, timeout_s: float) -> int:
        """See LeaseConnection."""
        with self._touch(timeout_s) as (state, now):
            return state.keep_alive(lease_id, now)

    def revoke(self, lease_id: LeaseId, timeout_s: float) -> None:
        """See LeaseConnection."""
        with self._touch(timeout_s) as (state, _):
            state.revoke(lease_id)

    def close(self) -> None:
        """See LeaseConnection."""

    @contextmanager
    def _touch(self, timeout_s: float) -> Iterator[tuple[MemoryState, float]]:
        if self._link.cut or timeout_s <= 0:
            raise StoreUnavailable("the store in memory is cut off")
        with self._link.cluster.touch() as held:
            yield held
