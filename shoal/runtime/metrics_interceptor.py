"""Counts and times every unary call, whatever became of it.

Runs around the interceptor that turns errors into statuses.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from shoal.runtime.metrics import REQUEST_SECONDS, REQUESTS, Measure, Metrics

_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}

Handler = Callable[[Any, grpc.aio.ServicerContext[Any, Any]], Awaitable[Any]]


class MetricsInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Wraps unary handlers; streaming ones and unknown methods pass untouched, so that callers cannot invent labels."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
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
            self._measured(handler.unary_unary, method.removeprefix("/")),  # type: ignore[arg-type]
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )
        return self._wrapped[method]

    def _measured(self, handle: Handler, method: str) -> Handler:
        took = self._metrics.measure(REQUEST_SECONDS, method)
        counts: dict[str, Measure] = {}

        def count(code: str) -> None:
            measure = counts.get(code)
            if measure is None:
                measure = counts[code] = self._metrics.measure(REQUESTS, method, code)
            measure(1)

        async def measured(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
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


def _code_of(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    """Name of the status that the call was ended with; a handler that ended it with none has failed in a way nobody
    foresaw.
    """
    code: Any = context.code()
    name = code.name if isinstance(code, grpc.StatusCode) else _NAMES.get(code, "UNKNOWN")
    return "UNKNOWN" if name == "OK" else str(name)
