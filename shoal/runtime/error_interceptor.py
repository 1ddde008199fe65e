"""Turns what a handler raises into a gRPC status with details.

A defect becomes INTERNAL and is logged with its trace.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from shoal.core.errors import Internal, InvalidArgument, ShoalError
from shoal.runtime.logs import event
from shoal.wire.status import code_of, details_to_metadata, message_of

log = logging.getLogger("shoal.server")


@dataclass(frozen=True, slots=True)
class _Unreadable:
    """Stands for a request that is no message: the handler cannot be asked, and the caller is told why."""

    reason: str


Handler = Callable[[Any, grpc.aio.ServicerContext[Any, Any]], Awaitable[Any]]


class ErrorInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Wraps unary handlers; streaming ones (health watch) pass untouched."""

    def __init__(self) -> None:
        self._wrapped: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Wrap the handler that would serve the call; made once for each method."""
        method = handler_call_details.method
        known = self._wrapped.get(method)
        if known is not None:
            return known
        handler = await continuation(handler_call_details)
        if handler is None or handler.request_streaming or handler.response_streaming:
            return handler
        self._wrapped[method] = grpc.unary_unary_rpc_method_handler(
            _guarded(handler.unary_unary, method),  # type: ignore[arg-type]
            request_deserializer=_reading(handler.request_deserializer),
            response_serializer=handler.response_serializer,
        )
        return self._wrapped[method]


def _guarded(handle: Handler, method: str) -> Handler:
    async def guarded(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        try:
            if isinstance(request, _Unreadable):
                raise InvalidArgument(f"{method} cannot read its request: {request.reason}")
            return await handle(request, context)
        except ShoalError as error:
            await _abort(context, error)
        except (asyncio.CancelledError, grpc.aio.AbortError):
            raise
        except Exception as error:
            log.exception(event("handler_failed", method=method))
            await _abort(context, Internal(f"{method} failed: {type(error).__name__}: {error}"))

    return guarded


def _reading(deserialize: Any) -> Callable[[bytes], Any]:
    """gRPC answers UNKNOWN to what protobuf cannot read: other bytes, a text that is no UTF-8, more than 100 messages
    in each other.
    """

    def read(data: bytes) -> Any:
        try:
            return deserialize(data)
        except DecodeError as error:
            return _Unreadable(f"{error}; a text may be no UTF-8, or a filter nest too deeply")

    return read


async def _abort(context: grpc.aio.ServicerContext[Any, Any], error: ShoalError) -> None:
    await context.abort(code_of(error), message_of(error), details_to_metadata(error))
