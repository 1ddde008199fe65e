"""Counts and times every unary call, whatever its outcome.

Runs around the interceptor that turns errors into statuses. A method that the server does not have is not counted, so
that a caller cannot invent labels.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc

from shoal.runtime.interceptor import Context, Handler, UnaryInterceptor
from shoal.runtime.metrics import REQUEST_SECONDS, REQUESTS, Measure, Metrics

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
