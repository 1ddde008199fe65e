"""The one error tree of Shoal, grouped by what the caller should do next.

    ShoalError
    ├── InvalidArgument      change the request
    ├── NotFound             name something that exists
    ├── AlreadyExists        name something new
    ├── PreconditionFailed   change the state of the cluster first
    │   └── NotInstalled     install a package (raised on the caller's side only)
    ├── ResourceExhausted    send less; or the same later, where details.retry_after_s says so
    ├── Unavailable          try again (retryable)
    │   └── NotConnected     look whether a server runs there (raised on the caller's side only)
    ├── DeadlineExceeded     try again with more time; a write may have happened
    ├── Unauthenticated      say who you are
    ├── PermissionDenied     ask for a right
    ├── DataLoss             repair: stored data is damaged
    └── Internal             report a defect

Every error knows the gRPC status it travels as; NotInstalled and NotConnected arrive as what they are a kind of. This
module refuses to know gRPC itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar, Literal, TypeVar

Applied = Literal["no", "maybe", "yes"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ErrorDetails:
    """What a program can read from an error.

    field: the argument at fault; limit: the bound it broke; shard: the shard concerned, as "name/number"; index:
    position of the first bad point or query; applied: for a write that failed in part, per shard ("name/number")
    whether it was applied; retry_after_s: set where the same request may succeed a little later, after about so long.
    """

    field: str | None = None
    limit: str | None = None
    shard: str | None = None
    index: int | None = None
    applied: Mapping[str, Applied] = dataclasses.field(default_factory=dict)
    retry_after_s: float | None = None


class ShoalError(Exception):
    """Base of every error that Shoal raises. `status` is the gRPC status name it travels as."""

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
    """What the request names does not exist."""

    status = "NOT_FOUND"


class AlreadyExists(ShoalError):
    """What the request would create exists."""

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
    """Nobody can answer now; the same request may succeed later."""

    status = "UNAVAILABLE"
    retryable = True


class NotConnected(Unavailable):
    """There is no connection to the server that was called: none could be made, or it was lost."""


class DeadlineExceeded(ShoalError):
    """Time ran out. A write may or may not have happened; calling again with the same input is safe."""

    status = "DEADLINE_EXCEEDED"


class Unauthenticated(ShoalError):
    """The caller did not say who it is."""

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
    """Return the same error for one that is remembered: without the frames that it passed through, and what their
    variables hold.
    """
    return type(error)(error.message, error.details)


BUSY_RETRY_S = 0.25
"""What a server says of a queue that is full: about the time in which it takes a good part of it."""


def is_passing(error: ShoalError) -> bool:
    """Return whether the same request may succeed later, as far as the error tells."""
    return error.retryable or error.details.retry_after_s is not None


_OUTCOME_UNKNOWN = (Unavailable, DeadlineExceeded, DataLoss, Internal)


def leaves_open(error: ShoalError) -> bool:
    """Whether a write that ended so may have been applied all the same, as far as the kind of error tells."""
    return isinstance(error, _OUTCOME_UNKNOWN)
