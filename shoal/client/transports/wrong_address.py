"""Recognise a server that is not a router of Shoal at a client's address: another role, etcd, a web server.

A router adds our details to each of its errors, over gRPC and over HTTP. An error without them comes from gRPC itself,
from the HTTP server before the router's calls, or from another server.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import grpc

from shoal.core.errors import ErrorDetails, PreconditionFailed, ShoalError, Unavailable
from shoal.wire.connect import PROTO, error_from_answer, has_details, status_in
from shoal.wire.grpc_words import too_large
from shoal.wire.http.answer import OK, AnswerFault, AnswerReader
from shoal.wire.http.failure import NoAnswer, NoAnswerCause
from shoal.wire.status import DETAILS_KEY, error_from_exception

log = logging.getLogger("shoal.client")

ADDRESS = "address"
"""`details.field` of the errors that this module creates."""

_OF_THE_WIRE = frozenset({"CANCELLED", "DEADLINE_EXCEEDED", "INTERNAL", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "UNKNOWN"})
"""Status names that gRPC itself, or a router's HTTP server, may set for a call to a router."""

_PASSING = frozenset({408, 421, 429, 502, 503, 504})
"""HTTP statuses of other servers and proxies that may change. 421: a router that is not the one that is meant."""

_OTHER_PROTOCOL, _WEB, _OTHER = "the server there does not speak {}", "a web server answers there", "another server answers there"

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
        return Unavailable(_no_router(address, _OTHER_PROTOCOL.format("gRPC")), ErrorDetails(field=ADDRESS))
    if code.name in _OF_THE_WIRE and _WEB_SERVER not in said:
        return error_from_exception(error, address)
    log.debug("stranger_said code=%s text=%r", code.name, said)
    if speaks_no_grpc:
        return PreconditionFailed(_no_router(address, _WEB), ErrorDetails(field=ADDRESS))
    return PreconditionFailed(_no_router(address, _OTHER, _older(code.name, path)), ErrorDetails(field=ADDRESS))


def message_of_answer(answer: AnswerReader, address: str, path: str, most_bytes: int) -> bytes:
    """Return the message in an answer over HTTP, which is complete or has a fault.

    address: the server called, as the caller knows it; path: of the method; most_bytes: largest body that is read.
    Raises the ShoalError that a router answered, and NoAnswer (STRANGER) if another server answers there. Its error is
    as that of `error_of_call`.
    """
    if answer.fault is AnswerFault.BODY:
        error = too_large(answer.size, most_bytes)
        raise type(error)(f"{address}: {error.message}", error.details)
    if answer.fault is not None:
        log.debug("stranger_said fault=%s", answer.fault.name)
        raise _stranger(Unavailable, _no_router(address, _OTHER_PROTOCOL.format("Connect")))
    if answer.status == OK and answer.content_type == PROTO.encode():
        return answer.body
    raise _failure_of(answer, address, path)


def _failure_of(answer: AnswerReader, address: str, path: str) -> ShoalError | NoAnswer:
    body, http_status = answer.body, answer.status
    if has_details(body):
        return error_from_answer(http_status, body)
    status = None if http_status == OK else status_in(body)
    if status in _OF_THE_WIRE and http_status not in (OK, 421):
        found = error_from_answer(http_status, body)
        return type(found)(f"{address}: {found.message}", found.details)
    log.debug("stranger_said status=%d text=%r", http_status, body[:1_000])
    if http_status in _PASSING:
        return _stranger(Unavailable, _no_router(address, _OTHER_PROTOCOL.format("Connect")))
    if status is None:
        return _stranger(PreconditionFailed, _no_router(address, _WEB))
    return _stranger(PreconditionFailed, _no_router(address, _OTHER, _older(status, path)))


def _stranger(kind: type[ShoalError], message: str) -> NoAnswer:
    return NoAnswer(NoAnswerCause.STRANGER, kind(message, ErrorDetails(field=ADDRESS)))


def _older(status: str, path: str) -> str:
    return f", or one too old to know {path.removeprefix('/')}" if status == "UNIMPLEMENTED" else ""


def _from_shoal(trailing: Iterable[tuple[str, Any]]) -> bool:
    return any(key == DETAILS_KEY for key, _ in trailing)


def _no_router(address: str, other: str, older: str = "") -> str:
    return (
        f"no router of Shoal answers at {address}{older} ({other}); 'shoal up' prints its router's address after 'ready', "
        "and a router's log says 'serving'; the port is 7600 unless another one was chosen; an HTTP port is given as http://host:port"
    )
