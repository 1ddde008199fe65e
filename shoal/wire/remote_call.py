"""Carries out one remote call: gives it a deadline, and turns the errors of the stub into errors of our tree."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from shoal.core.errors import ShoalError, Unavailable
from shoal.wire.status import error_from_exception

Metadata = tuple[tuple[str, str], ...]
"""Metadata of a call: names in lower case, and values."""


async def call_remote(
    method: Any, request: Any, timeout_s: float, peer: str, *, always_named: bool = False, unknown: type[ShoalError] | None = None
) -> Any:
    """Return the answer of a unary call of a grpc.aio stub. Raises only ShoalErrors.

    peer: the process that is called. The text of a retryable error begins with it. Other errors are about the public
    caller's own request, so their text stays as it is, unless always_named is set. unknown: raised if the server does
    not know the method; else Internal is.
    """
    try:
        return await method(request, timeout=timeout_s)
    except grpc.aio.AioRpcError as error:
        if unknown is not None and error.code() is grpc.StatusCode.UNIMPLEMENTED:
            raise unknown(f"{peer}: {error_from_exception(error).message}") from None
        raise with_peer(error_from_exception(error), peer, always_named) from None
    except grpc.aio.UsageError:
        raise Unavailable(f"{peer}: its connection was closed") from None
    except asyncio.CancelledError:
        # grpc.aio also raises CancelledError when its channel is closed. If this task was not cancelled, report
        # Unavailable instead.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise Unavailable(f"{peer}: its connection was closed during the call") from None


def call_remote_blocking(method: Any, request: Any, timeout_s: float, peer: str, metadata: Metadata = ()) -> Any:
    """Return the answer of a unary call of a blocking stub. Raises only ShoalErrors; see call_remote."""
    try:
        return method(request, timeout=timeout_s, metadata=metadata) if metadata else method(request, timeout=timeout_s)
    except grpc.RpcError as error:
        raise with_peer(error_from_exception(error), peer, always_named=False) from None


def with_peer(error: ShoalError, peer: str, always_named: bool = False) -> ShoalError:
    """Return an error of a call with the name of the process that was called, where `call_remote` adds it."""
    return type(error)(f"{peer}: {error.message}", error.details) if always_named or error.retryable else error
