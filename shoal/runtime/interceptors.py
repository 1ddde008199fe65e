"""The interceptors of a gRPC server: they turn errors into statuses, and count and time calls.

Each is made of one function that wraps a handler. Only unary handlers are wrapped. Streaming handlers (the health
watch) and unknown methods are not changed, so a caller cannot create labels of metrics.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc.aio import AbortError

from shoal.core.errors import Internal, InvalidArgument, ShoalError
from shoal.runtime.logs import event
from shoal.runtime.metrics import REQUEST_SECONDS, REQUESTS, Measure, Metrics
from shoal.wire.status import code_of, details_to_metadata, message_of

Context = grpc.aio.ServicerContext[Any, Any]
Handler = Callable[[Any, Context], Awaitable[Any]]
Deserializer = Callable[[bytes], Any]


def _unchanged(deserialize: Deserializer) -> Deserializer:
    return deserialize


class UnaryInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Calls `around` once for each method, with the method's path ("/package.Service/Method") and its handler.

    around: returns the handler to use instead. reading: does the same for the function that parses a request.
    """

    def __init__(self, around: Callable[[str, Handler], Handler], reading: Callable[[Deserializer], Deserializer] = _unchanged) -> None:
        self._around, self._reading = around, reading
        self._wrapped: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Return the wrapped handler of the method that is called."""
        method = handler_call_details.method
        known = self._wrapped.get(method)
        if known is not None:
            return known
        handler: Any = await continuation(handler_call_details)
        if handler is None or handler.request_streaming or handler.response_streaming:
            return handler  # type: ignore[no-any-return]
        self._wrapped[method] = grpc.unary_unary_rpc_method_handler(
            self._around(method, handler.unary_unary),
            request_deserializer=self._reading(handler.request_deserializer),
            response_serializer=handler.response_serializer,
        )
        return self._wrapped[method]


log = logging.getLogger("shoal.server")


@dataclass(frozen=True, slots=True)
class _Unreadable:
    """Stands for a request that cannot be parsed, until the wrapped handler answers with an error."""

    reason: str


def error_interceptor() -> UnaryInterceptor:
    """Make the interceptor that ends a call with the status of the error that its handler raised."""
    return UnaryInterceptor(_guarded, _reading)


def _guarded(method: str, handle: Handler) -> Handler:
    async def guarded(request: Any, context: Context) -> Any:
        try:
            if isinstance(request, _Unreadable):
                raise InvalidArgument(f"{method} cannot read its request: {request.reason}")
            return await handle(request, context)
        except ShoalError as error:
            await _abort(context, error)
        except (asyncio.CancelledError, AbortError):
            raise
        except Exception as error:
            log.exception(event("handler_failed", method=method))
            await _abort(context, Internal(f"{method} failed: {type(error).__name__}: {error}"))

    return guarded


def _reading(deserialize: Deserializer) -> Deserializer:
    """Return a deserializer that never raises.

    gRPC itself would answer UNKNOWN to a request that protobuf cannot parse: foreign bytes, a text that is not UTF-8,
    or more than 100 nested messages.
    """

    def read(data: bytes) -> Any:
        try:
            return deserialize(data)
        except DecodeError as error:
            return _Unreadable(f"{error}; perhaps a text is not UTF-8, or a filter is nested too deeply")

    return read


async def _abort(context: Context, error: ShoalError) -> None:
    await context.abort(code_of(error), message_of(error), details_to_metadata(error))


_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}


def metrics_interceptor(metrics: Metrics) -> UnaryInterceptor:
    """Make the interceptor that measures calls with REQUESTS and REQUEST_SECONDS."""

    def measured(method: str, handle: Handler) -> Handler:
        return _measured(metrics, method.removeprefix("/"), handle)

    return UnaryInterceptor(measured)


def _measured(metrics: Metrics, method: str, handle: Handler) -> Handler:
    took = metrics.measure(REQUEST_SECONDS, method)
    counts: dict[str, Measure] = {}

    def count(code: str) -> None:
        measure = counts.get(code)
        if measure is None:
            measure = counts[code] = metrics.measure(REQUESTS, method, code)
        measure(1)

    async def measured(request: Any, context: Context) -> Any:
        began = time.perf_counter()
        code = "CANCELLED"
        try:
            answer = await handle(request, context)
            code = "OK"
        except asyncio.CancelledError:
            raise
        except BaseException:
            code = _code_of(context)
            raise
        finally:
            took(time.perf_counter() - began)
            count(code)
        return answer

    return measured


def _code_of(context: Context) -> str:
    """Return the name of the status that the failed call ended with, UNKNOWN if the handler has set none."""
    code: Any = context.code()
    name = code.name if isinstance(code, grpc.StatusCode) else _NAMES.get(code, "UNKNOWN")
    return "UNKNOWN" if name == "OK" else str(name)
