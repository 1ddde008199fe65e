"""Recognise a server that is not a router of Shoal at a client's address: another role, etcd, a web server.

A router adds our metadata to each of its errors. An error without it comes from gRPC itself or from another server.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import grpc

from shoal.core.errors import ErrorDetails, PreconditionFailed, ShoalError, Unavailable
from shoal.wire.status import DETAILS_KEY, error_from_exception

log = logging.getLogger("shoal.client")

ADDRESS = "address"
"""`details.field` of the errors that this module creates."""

_OF_GRPC = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNKNOWN,
    }
)
"""Status codes that gRPC itself may set for a call to a router."""

_WEB_SERVER = "Received http2 header with status"
_NO_GRPC = ("Failed parsing HTTP/2", "before receiving SETTINGS frame", "http1.x server", _WEB_SERVER)
"""Parts of gRPC's error text for a server that does not speak gRPC."""


def error_of_call(error: Any, address: str, path: str) -> ShoalError:
    """Return our error for a failed call.

    error: grpc.Call or AioRpcError, as the stub raised it; address: the server called; path: gRPC path of the method.
    Returns PreconditionFailed if another server answers there, because a retry cannot help; Unavailable if that may
    change.
    """
    code, said, trailing = error.code(), error.details() or "", tuple(error.trailing_metadata() or ())
    if _from_shoal(trailing):
        return error_from_exception(error, address)
    speaks_no_grpc = any(sign in said for sign in _NO_GRPC)
    if code is grpc.StatusCode.UNAVAILABLE and speaks_no_grpc:
        return Unavailable(_no_router(address, "the server there does not speak gRPC"), ErrorDetails(field=ADDRESS))
    if code in _OF_GRPC and _WEB_SERVER not in said:
        return error_from_exception(error, address)
    log.debug("stranger_said code=%s text=%r", code.name, said)
    if speaks_no_grpc:
        return PreconditionFailed(_no_router(address, "a web server answers there"), ErrorDetails(field=ADDRESS))
    older = f", or one too old to know {path.removeprefix('/')}" if code is grpc.StatusCode.UNIMPLEMENTED else ""
    return PreconditionFailed(_no_router(address, "another server answers there", older), ErrorDetails(field=ADDRESS))


def _from_shoal(trailing: Iterable[tuple[str, Any]]) -> bool:
    return any(key == DETAILS_KEY for key, _ in trailing)


def _no_router(address: str, other: str, older: str = "") -> str:
    return (
        f"no router of Shoal answers at {address}{older} ({other}); 'shoal up' prints its router's address after 'ready', "
        "and a router's log says 'serving'; the port is 7600 unless another one was chosen"
    )
