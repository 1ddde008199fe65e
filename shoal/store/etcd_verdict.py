"""What a failed call to etcd means for its caller: refused, surely not applied, or unknown. Pure.

Only what etcd is known to say before it hands a request to its log counts as "surely not applied". Everything else that happens
after a request left (a deadline, a lost connection, "request timed out", "database space exceeded") may hide a change that was
applied, and is unknown.
"""

from __future__ import annotations

from shoal.core.errors import InvalidArgument, PermissionDenied, ShoalError, Unauthenticated
from shoal.store.interface import LeaseNotFound, OutcomeUnknown, StoreUnavailable

NOT_TAKEN_UP = frozenset({"etcdserver: no leader", "etcdserver: too many requests", "etcdserver: not capable"})
"""Said by etcd at its door, before a request goes on to its log."""

LEASE_NOT_FOUND = "etcdserver: requested lease not found"


class Compacted(StoreUnavailable):
    """The revision that was asked for is older than what etcd remembers."""


def failed_read(endpoint: str, code: str, details: str) -> ShoalError:
    """The error of a read, or of a request that changes nothing when repeated. code: name of a gRPC status."""
    refusal = _refusal(endpoint, code, details)
    if refusal is not None:
        return refusal
    if code == "OUT_OF_RANGE" and "compacted" in details:
        return Compacted(f"etcd at {endpoint}: {details}")
    return StoreUnavailable(_message(endpoint, code, details))


def failed_write(endpoint: str, code: str, details: str) -> ShoalError:
    """The error of a request that changes something and that was given to the connection."""
    refusal = _refusal(endpoint, code, details)
    if refusal is not None:
        return refusal
    if details in NOT_TAKEN_UP or code == "UNIMPLEMENTED":
        return StoreUnavailable(_message(endpoint, code, details))
    return OutcomeUnknown(_message(endpoint, code, details))


def _refusal(endpoint: str, code: str, details: str) -> ShoalError | None:
    message = f"etcd at {endpoint} refused: {details}"
    match code:
        case "INVALID_ARGUMENT":
            return InvalidArgument(message)
        case "UNAUTHENTICATED":
            return Unauthenticated(message)
        case "PERMISSION_DENIED":
            return PermissionDenied(message)
        case "NOT_FOUND" if details == LEASE_NOT_FOUND:
            return LeaseNotFound(message)
        case _:
            return None


def _message(endpoint: str, code: str, details: str) -> str:
    return f"etcd at {endpoint} did not answer: {code.lower()}: {details}"
