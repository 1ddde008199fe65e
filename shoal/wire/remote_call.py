"""One remote call: its deadline, and the errors of a stub as errors of our tree."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from shoal.core.errors import ShoalError, Unavailable
from shoal.wire.status import error_from_exception


async def call_remote(method: Any, request: Any, timeout_s: float, peer: str, *, always_named: bool = False) -> Any:
    """Return the answer of a unary call of a grpc.aio stub. Raises ShoalErrors only.

    peer: the process that is called, for messages. An error that a retry may cure begins with it. The other errors tell
    the public caller about its own request, so they are passed on as they are, except when always_named is set.
    """
    try:
        return await method(request, timeout=timeout_s)
    except grpc.aio.AioRpcError as error:
        raise _named(error_from_exception(error), peer, always_named) from None
    except grpc.aio.UsageError:
        raise Unavailable(f"{peer}: its connection was closed") from None
    except asyncio.CancelledError:
        # grpc.aio also raises CancelledError when its channel is closed. This task was then not cancelled.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise Unavailable(f"{peer}: its connection was closed while it was asked") from None


def call_remote_blocking(method: Any, request: Any, timeout_s: float, peer: str) -> Any:
    """Return the answer of a unary call of a blocking stub. Raises ShoalErrors only; see call_remote."""
    try:
        return method(request, timeout=timeout_s)
    except grpc.RpcError as error:
        raise _named(error_from_exception(error), peer, always_named=False) from None


def _named(error: ShoalError, peer: str, always_named: bool) -> ShoalError:
    return type(error)(f"{peer}: {error.message}", error.details) if always_named or error.retryable else error
