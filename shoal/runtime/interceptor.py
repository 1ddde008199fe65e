"""An interceptor of a gRPC server, made of one function that wraps a handler.

Only unary handlers are wrapped. Streaming handlers (the health watch) and unknown methods pass untouched.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc

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
