"""Turns a failed call to etcd into an error: refused, surely not applied, or unknown. Pure.

"Surely not applied" are only the errors that etcd returns before it hands a request to its log. After any other error
of a request that was sent (a deadline, a lost connection, "request timed out", "database space exceeded"), the change
may have been applied: the outcome is unknown.
"""

from __future__ import annotations

from shoal.core.errors import InvalidArgument, PermissionDenied, ShoalError, Unauthenticated
from shoal.store.interface import LeaseNotFound, OutcomeUnknown, StoreUnavailable
from shoal.wire.grpc_words import connection_words, foreign_error

NOT_TAKEN_UP = frozenset({"etcdserver: no leader", "etcdserver: too many requests", "etcdserver: not capable"})
"""Errors that etcd returns before a request reaches its log."""

LEASE_NOT_FOUND = "etcdserver: requested lease not found"


_NO_USER = "etcdserver: user name is empty"
STALE_TOKEN = frozenset({"etcdserver: invalid auth token", "etcdserver: revision of auth store is old", _NO_USER})
"""Errors that etcd returns, before it does anything, for a token that has expired, is older than a change of rights,
or is missing.
"""

_WRONG_LOGIN = "etcdserver: authentication failed"
_NO_AUTHENTICATION = "etcdserver: authentication is not enabled"
_LAST_ERROR = "last error: "
"""In gRPC's details of a failed connection, the reason follows this text."""

_OF_ETCD = ("etcdserver:", "auth:", "mvcc:", "lease ")
"""Prefixes of the error texts of etcd itself."""

_TLS_SIGNS = ("ssl", "tls", "certificate", "handshake", "wrong_version_number")


class StaleToken(Unauthenticated):
    """etcd did not accept the token of the request; nothing was done."""


class Untrusted(StoreUnavailable):
    """TLS with etcd failed: one side does not trust the other, or one of them does not speak TLS."""


class Compacted(StoreUnavailable):
    """The requested revision is older than the history that etcd keeps."""


def failed_read(endpoint: str, code: str, details: str) -> ShoalError:
    """Return the error of a failed read, or of another request that may be repeated. code: name of a gRPC status."""
    refusal = _refusal(endpoint, code, details)
    if refusal is not None:
        return refusal
    if code == "OUT_OF_RANGE" and "compacted" in details:
        return Compacted(f"etcd at {endpoint}: {details}")
    if code == "UNAVAILABLE" and _LAST_ERROR in details:
        return failed_connection(endpoint, details)
    return StoreUnavailable(_message(endpoint, code, details))


def failed_write(endpoint: str, code: str, details: str) -> ShoalError:
    """Return the error of a failed request that changes something and was given to the connection."""
    refusal = _refusal(endpoint, code, details)
    if refusal is not None:
        return refusal
    if details in NOT_TAKEN_UP or code == "UNIMPLEMENTED":
        return StoreUnavailable(_message(endpoint, code, details))
    return OutcomeUnknown(_message(endpoint, code, details))


def failed_login(endpoint: str, user: str, code: str, details: str) -> ShoalError | None:
    """Return the error of a failed request for a token; None if etcd needs no token."""
    if details.startswith(_NO_AUTHENTICATION):
        return None
    if details.startswith(_WRONG_LOGIN):
        return Unauthenticated(
            f"etcd at {endpoint} refused user {user!r}: wrong name or password; correct etcd_user and etcd_password_file"
        )
    return failed_read(endpoint, code, details)


def failed_connection(endpoint: str, details: str) -> StoreUnavailable:
    """Return the error of an endpoint that cannot be connected. details: gRPC's details of its last attempt, or ""."""
    reason = details.rsplit(_LAST_ERROR, 1)[-1]
    if any(sign in reason.lower() for sign in _TLS_SIGNS):
        return Untrusted(f"TLS with etcd at {endpoint} failed; check etcd_ca, etcd_cert and etcd_key ({reason})")
    words = connection_words(details).removeprefix("no connection: ")
    return StoreUnavailable(f"etcd at {endpoint} cannot be connected" + (f" ({words})" if words else ""))


def _refusal(endpoint: str, code: str, details: str) -> ShoalError | None:
    message = f"etcd at {endpoint} refused: {details}"
    if details in STALE_TOKEN:
        return StaleToken(message if details != _NO_USER else f"{message}; it requires a login: set etcd_user and etcd_password_file")
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
    if code == "UNIMPLEMENTED":
        return f"the server at {endpoint} is not etcd, or does not know the calls of etcd 3; correct the endpoints"
    said = details if details.startswith(_OF_ETCD) else foreign_error(code, details).message
    return f"etcd at {endpoint} did not answer: {said}"
