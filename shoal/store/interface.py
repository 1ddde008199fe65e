"""The store as the rest of Shoal sees it: versioned keys, transactions, watches, leases and their errors.

This room owns all knowledge of etcd and returns only the values defined here. It does not know what the stored values
mean, and it never sends a transaction again that may have been applied.

Errors are those of shoal.core.errors, with two kinds of Unavailable. StoreUnavailable: surely not applied.
OutcomeUnknown: may have been applied, or may be applied a little later; read, or use a compare, before trying again.
Reads raise StoreUnavailable in both cases, because they change nothing. A refusal (InvalidArgument, NotFound,
Unauthenticated, PermissionDenied) means not applied. Every call on a closed store raises PreconditionFailed.

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
    """The store did not answer; the request was surely not applied."""


class OutcomeUnknown(Unavailable):
    """The request was sent and the store did not answer; the change may have been applied."""


class LeaseNotFound(NotFound):
    """The lease named by a put has expired or was revoked; the transaction was not applied."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Versioned:
    """One key as the store holds it. lease: ends the key with it; None for a key without a lease."""

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
    """Holds when the key exists and was created at that revision, so that it was not deleted since then."""

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
    """Write a key. lease_id: the lease that ends the key; None for no lease, also if the key had one before."""

    key: str
    value: bytes
    lease_id: LeaseId | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class DeleteKey:
    """Remove a key; does nothing if the key does not exist."""

    key: str


Operation = Put | DeleteKey


@dataclass(frozen=True, kw_only=True, slots=True)
class Transaction:
    """If all compares hold, all operations are applied at one revision; else none is.

    At most one operation may name the same key.
    """

    compares: tuple[Compare, ...] = ()
    then: tuple[Operation, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Committed:
    """The compares held and the operations were applied.

    revision: of the store right after the transaction; this is the mod_revision of every put.
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
    """All keys below the prefix. A watch gives this first, and again when it may have missed changes.

    A key that is not in it does not exist any more.
    """

    revision: Revision
    entries: tuple[Versioned, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Delta:
    """Everything below the prefix that one revision changed. No key is both in changed and in deleted."""

    revision: Revision
    changed: tuple[Versioned, ...]
    deleted: tuple[str, ...]


class Watch(Protocol):
    """Iterates over Listed and Delta, without end. Read by one task; a cancelled read loses nothing.

    It starts with the first read, or with `async with`, and must be closed. While the store cannot be reached, it gives
    nothing, keeps trying, and `connected` is False. It raises only errors that trying again cannot repair.
    """

    @property
    def connected(self) -> bool:
        """Whether the store answers this watch now. If not, the values that were read may be stale.

        A slow reader fills the watch's queue. Its values are then stale, and `connected` may show that late.
        """

    @property
    def problem(self) -> str | None:
        """Reason why the watch is not connected; None while it is."""

    def __aiter__(self) -> AsyncIterator[Listed | Delta]: ...

    async def __anext__(self) -> Listed | Delta: ...

    async def aclose(self) -> None:
        """Stop the watch. Later reads end the iteration."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


class LeaseConnection(Protocol):
    """A connection for the keeper of one lease, which nothing else uses.

    Its calls block. It may be used from one thread at a time.
    """

    def keep_alive(self, lease_id: LeaseId, timeout_s: float) -> int:
        """Renew the lease.

        Returns its new time to live in seconds, 0 if it does not exist any more. Raises StoreUnavailable.
        """

    def revoke(self, lease_id: LeaseId, timeout_s: float) -> None:
        """End the lease and delete its keys. Do nothing if it does not exist.

        Raises StoreUnavailable or OutcomeUnknown.
        """

    def close(self) -> None:
        """Close the connection."""


class Store(Protocol):
    """One client of the store. Used from one event loop. timeout_s bounds the whole of each call."""

    async def get(self, key: str, timeout_s: float) -> Versioned | None:
        """Return the key, None if it does not exist. Raises StoreUnavailable."""

    async def list(self, prefix: str, timeout_s: float) -> Listing:
        """Return all keys below a prefix, as they were at one revision. Raises StoreUnavailable."""

    async def commit(self, transaction: Transaction, timeout_s: float) -> Committed | Rejected:
        """Apply a transaction.

        Raises InvalidArgument, before anything is sent, if the transaction breaks a limit (see transaction_limits);
        LeaseNotFound, StoreUnavailable or OutcomeUnknown.
        """

    def watch(self, prefix: str) -> Watch:
        """Return a watch of everything below a prefix."""

    async def grant_lease(self, ttl_s: int, timeout_s: float) -> Lease:
        """Return a new lease of at least ttl_s seconds.

        Raises InvalidArgument, StoreUnavailable or OutcomeUnknown. In the last case a lease may exist; it then expires.
        """

    async def keep_alive(self, lease_id: LeaseId, timeout_s: float) -> int:
        """Renew a lease.

        Returns its new time to live in seconds, 0 if it does not exist any more. Raises StoreUnavailable.
        """

    async def revoke_lease(self, lease_id: LeaseId, timeout_s: float) -> None:
        """End a lease and delete its keys. Do nothing if it does not exist.

        Raises StoreUnavailable or OutcomeUnknown.
        """

    def lease_connection(self) -> LeaseConnection:
        """Return a new connection, for one LeaseKeeper."""

    async def close(self) -> None:
        """Close all connections. The readers of watches must close these before."""
