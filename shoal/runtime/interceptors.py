"""Interceptors of calls, the same for every wire: they guard against unknown errors, and count and time calls.

An interceptor is a function that takes a call and returns the call that is served in its place. It stands before both
doors of the call, `handle` and `at_once`. It knows no wire: a handler below it raises ShoalErrors.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from google.protobuf.message import DecodeError

from shoal.core.errors import Internal, InvalidArgument, ShoalError
from shoal.runtime.calls import AtOnce, CallContext, CallTable, Handler, Later, Together, UnaryCall
from shoal.runtime.logs import event
from shoal.runtime.metrics import REQUEST_SECONDS, REQUESTS, Measure, Metrics, NoMetrics

log = logging.getLogger("shoal.server")

Interceptor = Callable[[UnaryCall], UnaryCall]


def call_table(calls: Iterable[UnaryCall], *, metrics: Metrics | None = None, interceptors: Sequence[Interceptor] = ()) -> CallTable:
    """Return the calls as every wire serves them.

    interceptors: the first one is outermost. All are inside the one that counts, and outside the one that turns unknown
    errors of handlers into Internal. metrics: count and time every call.
    """
    inside_out: list[Interceptor] = [guarded, *reversed(interceptors)]
    if interceptors:
        inside_out.append(guarded)
    if metrics is not None and not isinstance(metrics, NoMetrics):
        inside_out.append(metrics_interceptor(metrics))
    return CallTable(_behind(call, inside_out) for call in calls)


def _behind(call: UnaryCall, inside_out: Iterable[Interceptor]) -> UnaryCall:
    for interceptor in inside_out:
        call = interceptor(call)
    return call


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for a request that cannot be parsed, until the guarded handler refuses it. Interceptors may see it."""

    reason: str


def reader_of(call: UnaryCall) -> Callable[[bytes], Any]:
    """Return the function that parses the bytes of a request. It never raises: it returns Unreadable for other bytes.

    Protobuf cannot parse foreign bytes, a text that is not UTF-8, and more than 100 nested messages.
    """
    parse = call.request.FromString

    def read(data: bytes) -> Any:
        try:
            return parse(data)
        except DecodeError as error:
            return Unreadable(f"{error}; perhaps a text is not UTF-8, or a filter is nested too deeply")

    return read


def guarded(call: UnaryCall) -> UnaryCall:
    """Stand before a call so that it raises nothing but ShoalErrors (and CancelledError)."""
    return call.behind(
        _guarded(call.path, call.handle),
        None if call.at_once is None else _guarded_at_once(call.path, call.at_once),
        None if call.together is None else _guarded_together(call.path, call.together),
    )


def _guarded(method: str, inner: Handler) -> Handler:
    async def handle(request: Any, context: CallContext) -> Any:
        try:
            if type(request) is Unreadable:
                raise InvalidArgument(f"{method} cannot read its request: {request.reason}")
            return await inner(request, context)
        except (ShoalError, asyncio.CancelledError):
            raise
        except Exception as error:
            raise _unknown(method, error) from error

    return handle


def _guarded_at_once(method: str, inner: AtOnce) -> AtOnce:
    def at_once(request: bytes, context: CallContext) -> bytes | Later | None:
        try:
            answer = inner(request, context)
        except ShoalError:
            raise
        except Exception as error:
            raise _unknown(method, error) from error
        return answer if answer is None or isinstance(answer, bytes) else partial(later, answer)

    async def later(work: Later) -> bytes:
        try:
            return await work()
        except (ShoalError, asyncio.CancelledError):
            raise
        except Exception as error:
            raise _unknown(method, error) from error

    return at_once


def _guarded_together(method: str, inner: Together) -> Together:
    def together(asked: Sequence[tuple[bytes, CallContext]]) -> Sequence[bytes | None]:
        try:
            return inner(asked)
        except Exception as error:
            # Each of them is answered alone now, and gets its own error if there is one.
            log.error(event("handler_failed", method=method), exc_info=error)
            return [None] * len(asked)

    return together


def _unknown(method: str, error: Exception) -> Internal:
    log.error(event("handler_failed", method=method), exc_info=error)
    return Internal(f"{method} failed: {type(error).__name__}: {error}")


def metrics_interceptor(metrics: Metrics) -> Interceptor:
    """Return the interceptor that measures calls with REQUESTS and REQUEST_SECONDS.

    A call that `at_once` does not answer is measured in `handle` only, and one that `together` does not answer in one
    of these. Calls that are answered together take the time of all of them.
    """

    def measured(call: UnaryCall) -> UnaryCall:
        tally = _Tally(metrics, call.path.removeprefix("/"))
        return call.behind(
            _timed(call.handle, tally),
            None if call.at_once is None else _timed_at_once(call.at_once, tally),
            None if call.together is None else _timed_together(call.together, tally),
        )

    return measured


class _Tally:
    """Measures the calls of one method."""

    def __init__(self, metrics: Metrics, method: str) -> None:
        self._metrics, self._method = metrics, method
        self._took = metrics.measure(REQUEST_SECONDS, method)
        self._counts: dict[str, Measure] = {}

    def ended(self, began: float, code: str) -> None:
        """Count a call that began at `began` of time.perf_counter and ends now. code: name of its status."""
        self._took(time.perf_counter() - began)
        measure = self._counts.get(code)
        if measure is None:
            measure = self._counts[code] = self._metrics.measure(REQUESTS, self._method, code)
        measure(1)


def _timed(inner: Handler, tally: _Tally) -> Handler:
    async def handle(request: Any, context: CallContext) -> Any:
        began = time.perf_counter()
        try:
            answer = await inner(request, context)
        except BaseException as error:
            tally.ended(began, _code_of(error))
            raise
        tally.ended(began, "OK")
        return answer

    return handle


def _timed_at_once(inner: AtOnce, tally: _Tally) -> AtOnce:
    def at_once(request: bytes, context: CallContext) -> bytes | Later | None:
        began = time.perf_counter()
        try:
            answer = inner(request, context)
        except BaseException as error:
            tally.ended(began, _code_of(error))
            raise
        if answer is None:
            return None
        if not isinstance(answer, bytes):
            return partial(later, answer, began)
        tally.ended(began, "OK")
        return answer

    async def later(work: Later, began: float) -> bytes:
        try:
            answer = await work()
        except BaseException as error:
            tally.ended(began, _code_of(error))
            raise
        tally.ended(began, "OK")
        return answer

    return at_once


def _timed_together(inner: Together, tally: _Tally) -> Together:
    def together(asked: Sequence[tuple[bytes, CallContext]]) -> Sequence[bytes | None]:
        began = time.perf_counter()
        answers = inner(asked)
        for answer in answers:
            if answer is not None:
                tally.ended(began, "OK")
        return answers

    return together


def _code_of(error: BaseException) -> str:
    """Return the name of the status that a call ends with."""
    if isinstance(error, ShoalError):
        return error.status
    return "CANCELLED" if isinstance(error, asyncio.CancelledError) else "UNKNOWN"
