"""One request of a user: tries to change the store until a change is surely committed or the time is over.

An attempt reads first, then commits one transaction. If the transaction was rejected or its outcome is unknown, the
next attempt reads again. So the request is carried out once or not at all, and the caller learns which.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from shoal.coordinator.election import proof_of_leadership
from shoal.core.cluster_map import ClusterMap
from shoal.core.deadline import Clock, Deadline
from shoal.core.errors import DeadlineExceeded, Unavailable
from shoal.core.ids import Revision
from shoal.runtime.change_signal import ChangeSignal
from shoal.store.interface import Committed, Created, Listing, OutcomeUnknown, Store, Transaction, Versioned
from shoal.store.keys import Keys
from shoal.store.observe import MapObserver

T = TypeVar("T")

ATTEMPTS = 8
"""Most attempts of a request. It is tried again if the store's answer was lost or another change came first."""

_PAUSE_S = 0.1


@dataclass(frozen=True, kw_only=True)
class UserRequests:
    """The parts that the requests of all users share.

    changes: notified of every new map of the observer. leadership: see Election. call_s: most seconds of one store
    call.
    """

    store: Store
    keys: Keys
    observer: MapObserver
    changes: ChangeSignal
    leadership: Callable[[], Revision | None]
    clock: Clock
    call_s: float

    def begin(self, timeout_s: float, late: str) -> UserRequest:
        """Begin a request that may take timeout_s seconds. late: the message of its DeadlineExceeded."""
        return UserRequest(self, Deadline.after(timeout_s, self.clock), late)


class UserRequest:
    """One request. Each of its calls of the store raises DeadlineExceeded when no time is left."""

    def __init__(self, shared: UserRequests, deadline: Deadline, late: str) -> None:
        self._shared, self._deadline, self._late = shared, deadline, late

    @property
    def cluster(self) -> ClusterMap:
        """The newest map."""
        return self._shared.observer.map

    def leads(self) -> Created:
        """Return the compare that holds while this coordinator leads. Raises Unavailable if it does not lead."""
        leadership = proof_of_leadership(self._shared.leadership(), self.cluster)
        return Created(key=self._shared.keys.leader, create_revision=leadership)

    async def attempts(self, attempt: Callable[[], Awaitable[T | None]], failed: Unavailable) -> T:
        """Try until an attempt returns a value, and return this value. Waits for a change after each attempt.

        Raises what an attempt raises, and `failed` after the last attempt.
        """
        for _ in range(ATTEMPTS):
            done = await attempt()
            if done is not None:
                return done
            await self._shared.changes.wait(self._shared.changes.count, min(_PAUSE_S, self._left_s()))
        raise failed

    async def until(self, met: Callable[[], bool]) -> bool:
        """Wait until `met()` is true. It is called at each change. Returns whether it became true in time."""
        return await self._shared.changes.until(met, self._deadline.left_s)

    async def shows(self, revision: Revision) -> None:
        """Wait until the map is as new as a revision of the store."""
        if not await self.until(lambda: self.cluster.revision >= revision):
            raise DeadlineExceeded(self._late)

    async def get(self, key: str) -> Versioned | None:
        """See Store."""
        return await self._shared.store.get(key, self._call_s())

    async def list(self, prefix: str) -> Listing:
        """See Store."""
        return await self._shared.store.list(prefix, self._call_s())

    async def committed(self, transaction: Transaction) -> Revision | None:
        """Commit a transaction. Returns its revision, None if it was rejected or its outcome is unknown."""
        try:
            answer = await self._shared.store.commit(transaction, self._call_s())
        except OutcomeUnknown:
            return None
        return answer.revision if isinstance(answer, Committed) else None

    def _call_s(self) -> float:
        return min(self._shared.call_s, self._left_s())

    def _left_s(self) -> float:
        return self._deadline.left_or_raise(self._late)
