"""The store as one life of a process sees it: calls to the simulated etcd over the simulated network."""

from __future__ import annotations

from typing import Any, NoReturn

from shoal.core.errors import ShoalError
from shoal.store.interface import (
    Committed,
    Lease,
    LeaseId,
    Listing,
    OutcomeUnknown,
    Rejected,
    StoreUnavailable,
    Transaction,
    Versioned,
    Watch,
)
from tests.simulation.etcd import Etcd
from tests.simulation.network import NoAnswer, NobodyThere
from tests.simulation.scheduler import Process, Wait
from tests.simulation.virtual_loop import VirtualLoop, block


class SimStore:
    """A Store. Maps are observed by `Etcd.observe`, which folds each revision once for all processes."""

    def __init__(self, etcd: Etcd, process: Process, loop: VirtualLoop) -> None:
        self._etcd, self._process, self._loop = etcd, process, loop

    async def get(self, key: str, timeout_s: float) -> Versioned | None:
        """See Store."""
        found: Versioned | None = await self._asked(self._etcd.get(self._process, key, timeout_s), changes=False)
        return found

    async def commit(self, transaction: Transaction, timeout_s: float) -> Committed | Rejected:
        """See Store."""
        outcome: Committed | Rejected = await self._asked(self._etcd.commit(self._process, transaction, timeout_s), changes=True)
        return outcome

    async def grant_lease(self, ttl_s: int, timeout_s: float) -> Lease:
        """See Store."""
        lease: Lease = await self._asked(self._etcd.grant(self._process, ttl_s, timeout_s), changes=True)
        return lease

    def lease_connection(self) -> SimLeaseConnection:
        """See Store."""
        return SimLeaseConnection(self._etcd, self._process)

    async def list(self, prefix: str, timeout_s: float) -> Listing:
        """Not used by the simulated parts."""
        _refuse("list")

    def watch(self, prefix: str) -> Watch:
        """Not used by the simulated parts."""
        _refuse("watch")

    async def keep_alive(self, lease_id: LeaseId, timeout_s: float) -> int:
        """Not used by the simulated parts."""
        _refuse("keep_alive")

    async def revoke_lease(self, lease_id: LeaseId, timeout_s: float) -> None:
        """Not used by the simulated parts."""
        _refuse("revoke_lease")

    async def close(self) -> None:
        """See Store."""

    async def _asked(self, wait: Wait, *, changes: bool) -> Any:
        try:
            return await self._loop.wait(wait)
        except NobodyThere as error:
            raise StoreUnavailable(str(error)) from None
        except NoAnswer as error:
            raise (OutcomeUnknown if changes else StoreUnavailable)(str(error)) from None


class SimLeaseConnection:
    """A LeaseConnection, used in a virtual thread."""

    def __init__(self, etcd: Etcd, process: Process) -> None:
        self._etcd, self._process = etcd, process

    def keep_alive(self, lease_id: LeaseId, timeout_s: float) -> int:
        """See LeaseConnection."""
        left_s: int = self._asked(self._etcd.keep_alive(self._process, lease_id, timeout_s))
        return left_s

    def revoke(self, lease_id: LeaseId, timeout_s: float) -> None:
        """See LeaseConnection."""
        self._asked(self._etcd.revoke(self._process, lease_id, timeout_s))

    def close(self) -> None:
        """See LeaseConnection."""

    def _asked(self, wait: Wait) -> Any:
        try:
            return block(wait)
        except (NoAnswer, NobodyThere) as error:
            raise StoreUnavailable(str(error)) from None


def _refuse(call: str) -> NoReturn:
    raise ShoalError(f"the simulated store does not answer {call}")
