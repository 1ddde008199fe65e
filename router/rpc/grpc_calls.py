"""One remote call: its deadline, and what a stub raises as errors of our tree."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from shoal.core.errors import ShoalError, Unavailable
from shoal.wire.status import error_from_exception


async def call_remote(method: Any, request: Any, timeout_s: float, peer: str) -> Any:
    """Answer of a unary call of a grpc.aio stub. peer: who is called, for messages. Raises ShoalErrors only."""
    try:
        return await method(request, timeout=timeout_s)
    except grpc.aio.AioRpcError as error:
        raise _naming(error_from_exception(error), peer) from None
    except grpc.aio.UsageError:
        raise Unavailable(f"{peer}: its connection was closed") from None
    except asyncio.CancelledError:
        # A channel that is closed cancels its calls. Only when nobody cancelled this task was it that.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise Unavailable(f"{peer}: its connection was closed while it was asked") from None


def _naming(error: ShoalError, peer: str) -> ShoalError:
    return type(error)(f"{peer}: {error.message}", error.details) if error.retryable else error
