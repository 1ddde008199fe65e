"""Errors between our tree and gRPC: a status code, a message, and details in the trailing metadata `shoal-error-bin`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import grpc

from shoal.core.errors import BY_STATUS, Applied, ErrorDetails, ShoalError, Unavailable
from shoal.v1 import common_pb2

DETAILS_KEY = "shoal-error-bin"
_MESSAGE_CHARACTERS = 2_000

_TOO_LARGE = "message larger than max"


def code_of(error: ShoalError) -> grpc.StatusCode:
    """gRPC status code of an error."""
    return grpc.StatusCode[error.status]


def message_of(error: ShoalError) -> str:
    """Message of an error, cut to what fits beside other metadata."""
    return error.message[:_MESSAGE_CHARACTERS]


def details_to_metadata(error: ShoalError) -> tuple[tuple[str, bytes], ...]:
    """Trailing metadata that carries the details of an error."""
    details = error.details
    info = common_pb2.ErrorInfo(
        field=details.field or "",
        limit=details.limit or "",
        shard=details.shard or "",
        index=details.index,
        applied=dict(list(details.applied.items())[:64]),
    )
    return ((DETAILS_KEY, info.SerializeToString()),)


def error_from_rpc(code: grpc.StatusCode, message: str | None, trailing: Iterable[tuple[str, Any]] | None) -> ShoalError:
    """Our error for a failed call. An unknown code becomes Internal; a connection that broke becomes Unavailable."""
    if code is grpc.StatusCode.CANCELLED:
        return Unavailable(f"the call was cancelled by the server: {message or 'no reason given'}")
    kind = BY_STATUS.get(code.name, BY_STATUS["INTERNAL"])
    if message and _TOO_LARGE in message:
        message = f"a message is too large for the receiver ({message}); send fewer points or ask for fewer hits at once"
    return kind(message or code.name, _details(trailing))


def error_from_exception(error: grpc.RpcError) -> ShoalError:
    """Our error for what a client stub raised, sync (grpc.Call) or aio (AioRpcError)."""
    call = cast(Any, error)
    return error_from_rpc(call.code(), call.details(), call.trailing_metadata())


def _details(trailing: Iterable[tuple[str, Any]] | None) -> ErrorDetails:
    for key, value in trailing or ():
        if key == DETAILS_KEY:
            info = common_pb2.ErrorInfo.FromString(value)
            return ErrorDetails(
                field=info.field or None,
                limit=info.limit or None,
                shard=info.shard or None,
                index=info.index if info.HasField("index") else None,
                applied={shard: cast(Applied, applied) for shard, applied in info.applied.items()},
            )
    return ErrorDetails()
