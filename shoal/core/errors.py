"""The one error tree of Shoal, grouped by what the caller should do next.

    ShoalError
    ├── InvalidArgument      change the request
    ├── NotFound             name something that exists
    ├── AlreadyExists        name something new
    ├── PreconditionFailed   change the state of the cluster first
    │   └── NotInstalled     install a package (raised on the caller's side only)
    ├── ResourceExhausted    send less; or the same later, where details.retry_after_s says so
    ├── Unavailable          try again (retryable)
    │   └── NotConnected     check whether a server runs there (raised on the caller's side only)
    │       └── NotReached   the same; nothing was sent
    │           └── TlsMismatch  correct certificates, or the port; nothing was sent
    ├── DeadlineExceeded     try again with more time; a write may have happened
    ├── Unauthenticated      say who you are
    ├── PermissionDenied     ask for a right
    ├── DataLoss             repair: stored data is damaged
    └── Internal             report a defect

Each error has the name of the gRPC status by which it is sent; NotInstalled, NotConnected, NotReached and TlsMismatch
are sent as their base class. This module does not import gRPC.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar, Literal, TypeVar

Applied = Literal["no", "maybe", "yes"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ErrorDetails:
    """The parts of an error that a program can read.

    field: the argument at fault; limit: the bound that was exceeded; shard: the shard concerned, as "name/number";
    index: position of the first bad point or query; applied: after a write that failed in part, whether each shard
    ("name/number") applied it; retry_after_s: if set, the same request may succeed after about this many seconds.
    """

    field: str | None = None
    limit: str | None = None
    shard: str | None = None
    index: int | None = None
    applied: Mapping[str, Applied] = dataclasses.field(default_factory=dict)
    retry_after_s: float | None = None


class ShoalError(Exception):
    """Base of all errors that Shoal raises. `status`: name of its gRPC status."""

    status: ClassVar[str] = "UNKNOWN"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, details: ErrorDetails | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = details or ErrorDetails()


class InvalidArgument(ShoalError):
    """The request can never succeed as it is."""

    status = "INVALID_ARGUMENT"


class NotFound(ShoalError):
    """An object that the request names does not exist."""

    status = "NOT_FOUND"


class AlreadyExists(ShoalError):
    """The object that the request would create exists."""

    status = "ALREADY_EXISTS"


class PreconditionFailed(ShoalError):
    """The cluster is not in the state that the request needs."""

    status = "FAILED_PRECONDITION"


class NotInstalled(PreconditionFailed):
    """A package that the call needs is not installed; the message says how to install it."""


class ResourceExhausted(ShoalError):
    """A bound was reached: message size, queue, disk, memory."""

    status = "RESOURCE_EXHAUSTED"


class Unavailable(ShoalError):
    """No server can answer now; the same request may succeed later."""

    status = "UNAVAILABLE"
    retryable = True


class NotConnected(Unavailable):
    """There is no connection to the server: it could not be opened, or it was lost."""


class NotReached(NotConnected):
    """There is no server: the system refused the connection, or knows neither the host nor a way to it."""


class TlsMismatch(NotReached):
    """The two sides do not agree about TLS: one does not speak it, or does not trust the other's certificate."""


class DeadlineExceeded(ShoalError):
    """Time ran out. A write may have been applied; it is safe to call again with the same input."""

    status = "DEADLINE_EXCEEDED"


class Unauthenticated(ShoalError):
    """The caller did not identify itself."""

    status = "UNAUTHENTICATED"


class PermissionDenied(ShoalError):
    """The caller may not do this."""

    status = "PERMISSION_DENIED"


class DataLoss(ShoalError):
    """Stored data is damaged."""

    status = "DATA_LOSS"


class Internal(ShoalError):
    """A defect in Shoal."""

    status = "INTERNAL"


BY_STATUS: Mapping[str, type[ShoalError]] = {
    kind.status: kind
    for kind in (
        InvalidArgument,
        NotFound,
        AlreadyExists,
        PreconditionFailed,
        ResourceExhausted,
        Unavailable,
        DeadlineExceeded,
        Unauthenticated,
        PermissionDenied,
        DataLoss,
        Internal,
    )
}
"""Error class by gRPC status name."""

AnyShoalError = TypeVar("AnyShoalError", bound=ShoalError)


def to_keep(error: AnyShoalError) -> AnyShoalError:
    """Return a copy of the error to store. It has no traceback, so it does not keep the variables of other frames
    alive.
    """
    return type(error)(error.message, error.details)


BUSY_RETRY_S = 0.25
"""retry_after_s for a full queue: about the time in which the server works off a good part of it."""


def is_passing(error: ShoalError) -> bool:
    """Return whether the same request may succeed later, as far as the error says."""
    return error.retryable or error.details.retry_after_s is not None


_OUTCOME_UNKNOWN = (Unavailable, DeadlineExceeded, DataLoss, Internal)


def leaves_open(error: ShoalError) -> bool:
    """Return whether a write that ended with this error may have been applied, as far as the error's class says."""
    return isinstance(error, _OUTCOME_UNKNOWN)
