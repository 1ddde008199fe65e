"""The store as the rest of Shoal sees it: versioned keys, transactions, watches, leases, and what can go wrong.

This room owns all knowledge of etcd and hands out only what is defined here. It refuses to know what the values mean,
and to send again by itself a transaction that may have been applied.

Errors are those of the tree, and two kinds of Unavailable: StoreUnavailable (surely not applied) and OutcomeUnknown
(may have been applied, now or a little later: read, or compare, before doing it again). Reads have no outcome to be
unknown, so they raise StoreUnavailable for both. What the store refuses outright (InvalidArgument, NotFound,
Unauthenticated, PermissionDenied) was not applied. Every call on a closed store raises PreconditionFailed.

Revisions are etcd's: one counter for the whole store, raised by one for each transaction that changes something.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import NewType, Protocol, Self

from shoal.core.errors import NotFound, Unavailable
from shoal.core.ids import Revision

LeaseId = NewType("LeaseId", int)


class StoreUnavailable(Unavailable):
    """The store did not answer; what was asked for was surely not applied."""


class OutcomeUnknown(Unavailable):
    """The store did not answer after it was asked; the change may have been applied."""


class LeaseNotFound(NotFound):
    """The lease named by a put has expired or was revoked; the transaction was not applied."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Versioned:
    """One key as the store holds it. lease: under which the key lives, None for good."""

    key: str
    value: bytes
    create_revision: Revision
    mod_revision: Revision
    lease: LeaseId | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """All keys below a prefix, ascending, as they were at one revision."""

    revision: Revision
    entries: tuple[Versioned, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Absent:
    """Holds when the key does not exist."""

    key: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Created:
    """Holds when the key exists and was created at that revision (and so was never deleted since)."""

    key: str
    create_revision: Revision


@dataclass(frozen=True, kw_only=True, slots=True)
class Unchanged:
    """Holds when the key was last written at that revision."""

    key: str
    mod_revision: Revision


@dataclass(frozen=True, kw_only=True, slots=True)
class Changed:
    """Holds when the key was last written at another revision, or does not exist."""

    key: str
    mod_revision: Revision


Compare = Absent | Created | Unchanged | Changed


@dataclass(frozen=True, kw_only=True, slots=True)
class Put:
    """Write a key; under a lease, or, with None, for good (also when it was under a lease before)."""

    key: str
    value: bytes
    lease_id: LeaseId | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class DeleteKey:
    """Remove a key; nothing when it does not exist."""

    key: str


Operation = Put | DeleteKey


@dataclass(frozen=True, kw_only=True, slots=True)
class Transaction:
    """If all compares hold, all operations are applied at one revision; else nothing is.

    A key may be operated on once.
    """

    compares: tuple[Compare, ...] = ()
    then: tuple[Operation, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Committed:
    """The compares held and the operations are applied. revision: of the store right after, so the mod_revision of
    every put.
    """

    revision: Revision


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejected:
    """A compare did not hold at that revision of the store; nothing was applied."""

    revision: Revision


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """A lease as granted. ttl_s: what the store granted, which may be more than was asked for."""

    id: LeaseId
    ttl_s: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """Said by a watch first, and again whenever it lost the thread: all keys below the prefix.

    What is not in it is gone.
    """

    revision: Revision
    entries: tuple[Versioned, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Delta:
    """Said by a watch: everything below the prefix that one revision changed. No key is in both."""

    revision: Revision
    changed: tuple[Versioned, ...]
    deleted: tuple[str, ...]


class Watch(Protocol):
    """Iterates over Listed and Delta, without end. Read by one task; a cancelled read loses nothing.

    It starts with the first read, or with `async with`, and must be closed. While the store cannot be reached it is
    silent and keeps trying; `connected` tells. It raises only what trying again cannot answer.
    """

    @property
    def connected(self) -> bool:
        """Whether the store is answering this watch now; when it is not, what was read may be stale.

        A reader that lets much pile up unread is itself what makes it stale, and may be told so late.
        """

    @property
    def problem(self) -> str | None:
        """Why the watch is not connected; None while it is."""

    def __aiter__(self) -> AsyncIterator[Listed | Delta]: ...

    async def __anext__(self) -> Listed | Delta: ...

    async def aclose(self) -> None:
        """Stop. Later reads end the iteration."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


class LeaseConnection(Protocol):
    """A connection for the keeper of one lease, shared with nobody.

    It blocks and may be used from one thread at a time.
    """

    def keep_alive(self, lease_id: LeaseId, timeout_s: float) -> int:
        """Renew the lease.

        Returns the seconds it now has, 0 when it does not exist any more. Raises StoreUnavailable.
        """

    def revoke(self, lease_id: LeaseId, timeout_s: float) -> None:
        """End the lease and its keys; nothing when it does not exist. Raises StoreUnavailable or OutcomeUnknown."""

    def close(self) -> None:
        """Give the connection up."""


class Store(Protocol):
    """One client of the store. Used from one event loop. timeout_s bounds each call in full."""

    async def get(self, key: str, timeout_s: float) -> Versioned | None:
        """The key, None when it does not exist. Raises StoreUnavailable."""

    async def list(self, prefix: str, timeout_s: float) -> Listing:
        """All keys below a prefix at one revision, however many. Raises StoreUnavailable."""

    async def commit(self, transaction: Transaction, timeout_s: float) -> Committed | Rejected:
        """Apply a transaction.

        Raises InvalidArgument before anything is sent when it breaks a limit (see transaction_limits), LeaseNotFound,
        StoreUnavailable or OutcomeUnknown.
        """

    def watch(self, prefix: str) -> Watch:
        """Everything below a prefix, from now on."""

    async def grant_lease(self, ttl_s: int, timeout_s: float) -> Lease:
        """A new lease of at least ttl_s seconds.

        Raises InvalidArgument, StoreUnavailable or OutcomeUnknown (it then ends by itself).
        """

    async def keep_alive(self, lease_id: LeaseId, timeout_s: float) -> int:
        """Renew a lease. Returns the seconds it now has, 0 when it does not exist any more. Raises StoreUnavailable."""

    async def revoke_lease(self, lease_id: LeaseId, timeout_s: float) -> None:
        """End a lease and its keys; nothing when it does not exist. Raises StoreUnavailable or OutcomeUnknown."""

    def lease_connection(self) -> LeaseConnection:
        """A connection of its own for a LeaseKeeper."""

    async def close(self) -> None:
        """Give all connections up. Watches are closed by their readers before."""
