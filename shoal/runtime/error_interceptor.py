"""Turns what a handler raises into a gRPC status with details.

A defect becomes INTERNAL and is logged with its trace.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError
from grpc.aio import AbortError

from shoal.core.errors import Internal, InvalidArgument, ShoalError
from shoal.runtime.interceptor import Context, Deserializer, Handler, UnaryInterceptor
from shoal.runtime.logs import event
from shoal.wire.status import code_of, details_to_metadata, message_of

log = logging.getLogger("shoal.server")


@dataclass(frozen=True, slots=True)
class _Unreadable:
    """Takes the place of a request that cannot be parsed, until the handler's turn comes to answer with an error."""

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

    gRPC itself would answer UNKNOWN to what protobuf cannot parse: foreign bytes, a text that is not UTF-8, or more
    than 100 nested messages.
    """

    def read(data: bytes) -> Any:
        try:
            return deserialize(data)
        except DecodeError as error:
            return _Unreadable(f"{error}; a text may be no UTF-8, or a filter nest too deeply")

    return read


async def _abort(context: Context, error: ShoalError) -> None:
    await context.abort(code_of(error), message_of(error), details_to_metadata(error))
