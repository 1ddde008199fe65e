"""The whole of a store as plain data in one process: revisions, keys, history, leases. It is the plain twin of etcd.

Performs nothing: every call receives the time, and changes are read from it. Callers serialise access.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shoal.core.ids import Revision
from shoal.store.interface import (
    Absent,
    Changed,
    Committed,
    Compare,
    Created,
    DeleteKey,
    Delta,
    Lease,
    LeaseId,
    LeaseNotFound,
    Listing,
    Operation,
    Put,
    Rejected,
    Transaction,
    Unchanged,
    Versioned,
)

MIN_TTL_S = 2
"""The shortest lease that etcd grants with its default election timeout."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Granted:
    ttl_s: int
    expires_at: float


class MemoryState:
    """Keys, history and leases. `now` is seconds on any clock that does not go back."""

    def __init__(self) -> None:
        self.revision = Revision(1)
        self.compacted = Revision(0)
        self._entries: dict[str, Versioned] = {}
        self._history: list[Delta] = []
        self._leases: dict[LeaseId, _Granted] = {}
        self._next_lease = 1

    def get(self, key: str) -> Versioned | None:
        """Return the entry of the key now."""
        return self._entries.get(key)

    def list(self, prefix: str) -> Listing:
        """Return all entries below the prefix now."""
        found = (self._entries[key] for key in sorted(self._entries) if key.startswith(prefix))
        return Listing(revision=self.revision, entries=tuple(found))

    def commit(self, transaction: Transaction) -> Committed | Rejected:
        """Apply a transaction. Raises LeaseNotFound."""
        if not all(self._holds(compare) for compare in transaction.compares):
            return Rejected(revision=self.revision)
        for operation in transaction.then:
            if isinstance(operation, Put) and operation.lease_id is not None and operation.lease_id not in self._leases:
                raise LeaseNotFound(f"lease {operation.lease_id:x} of key {operation.key!r} does not exist")
        self._apply(transaction.then)
        return Committed(revision=self.revision)

    def changes_after(self, revision: Revision, prefix: str) -> tuple[Delta, ...] | None:
        """Return the changes below the prefix after a revision, oldest first; None if the history does not reach back
        that far.
        """
        if revision < self.compacted:
            return None
        newer = (delta for delta in self._history if delta.revision > revision)
        narrowed = (_below(prefix, delta) for delta in newer)
        return tuple(delta for delta in narrowed if delta.changed or delta.deleted)

    def compact(self, revision: Revision) -> None:
        """Forget the history up to a revision."""
        self.compacted = max(self.compacted, min(revision, self.revision))
        self._history = [delta for delta in self._history if delta.revision > self.compacted]

    def grant(self, ttl_s: int, now: float) -> Lease:
        """Grant a new lease."""
        lease = Lease(id=LeaseId(self._next_lease), ttl_s=max(ttl_s, MIN_TTL_S))
        self._next_lease += 1
        self._leases[lease.id] = _Granted(ttl_s=lease.ttl_s, expires_at=now + lease.ttl_s)
        return lease

    def keep_alive(self, lease_id: LeaseId, now: float) -> int:
        """Renew a lease. Return its seconds, 0 if it does not exist."""
        granted = self._leases.get(lease_id)
        if granted is None:
            return 0
        self._leases[lease_id] = _Granted(ttl_s=granted.ttl_s, expires_at=now + granted.ttl_s)
        return granted.ttl_s

    def revoke(self, lease_id: LeaseId) -> None:
        """End a lease and its keys."""
        if self._leases.pop(lease_id, None) is not None:
            keys = sorted(key for key, entry in self._entries.items() if entry.lease == lease_id)
            self._apply([DeleteKey(key=key) for key in keys])

    def expire(self, now: float) -> bool:
        """End all leases whose time is over. Return whether there were any."""
        over = sorted((granted.expires_at, lease_id) for lease_id, granted in self._leases.items() if granted.expires_at <= now)
        for _, lease_id in over:
            self.revoke(lease_id)
        return bool(over)

    def _holds(self, compare: Compare) -> bool:
        entry = self._entries.get(compare.key)
        match compare:
            case Absent():
                return entry is None
            case Created(create_revision=revision):
                return (entry.create_revision if entry else 0) == revision
            case Unchanged(mod_revision=revision):
                return (entry.mod_revision if entry else 0) == revision
            case Changed(mod_revision=revision):
                return (entry.mod_revision if entry else 0) != revision

    def _apply(self, operations: Sequence[Operation]) -> None:
        revision = Revision(self.revision + 1)
        changed: list[Versioned] = []
        deleted: list[str] = []
        for operation in operations:
            match operation:
                case Put():
                    changed.append(self._put(operation, revision))
                case DeleteKey(key=key):
                    if self._entries.pop(key, None) is not None:
                        deleted.append(key)
        if changed or deleted:
            self.revision = revision
            self._history.append(Delta(revision=revision, changed=tuple(changed), deleted=tuple(deleted)))

    def _put(self, put: Put, revision: Revision) -> Versioned:
        before = self._entries.get(put.key)
        entry = Versioned(
            key=put.key,
            value=put.value,
            create_revision=before.create_revision if before else revision,
            mod_revision=revision,
            lease=put.lease_id,
        )
        self._entries[put.key] = entry
        return entry


def _below(prefix: str, delta: Delta) -> Delta:
    changed = tuple(entry for entry in delta.changed if entry.key.startswith(prefix))
    deleted = tuple(key for key in delta.deleted if key.startswith(prefix))
    return Delta(revision=delta.revision, changed=changed, deleted=deleted)
