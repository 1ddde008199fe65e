"""The Connect protocol for unary calls over HTTP/1.1: its headers, and errors as HTTP statuses with JSON.

Source: https://connectrpc.com/docs/protocol. The messages themselves are protobuf, binary or in the JSON mapping of
protobuf (`connect_json`).
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
from collections.abc import Mapping
from typing import Any

from google.protobuf.message import DecodeError

from shoal.core.errors import BY_STATUS, ErrorDetails, NotConnected, ShoalError
from shoal.wire.grpc_words import foreign_error
from shoal.wire.status import details_from_bytes, details_to_bytes, message_of

log = logging.getLogger("shoal.wire")

PROTO = "application/proto"
JSON = "application/json"
VERSION_HEADER = "connect-protocol-version"
VERSION = "1"
TIMEOUT_HEADER = "connect-timeout-ms"
CLIENT_HEADER = "shoal-client"
"""Names the client. All connections of one client from one host with the same name share one turn.

1 to 64 characters of A-Z, a-z, 0-9, "-", "_" and ".".
"""

MOST_TIMEOUT_DIGITS = 10
DETAILS_TYPE = "shoal.v1.ErrorInfo"

HTTP_STATUS: Mapping[str, int] = {
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
    "UNAUTHENTICATED": 401,
}
"""HTTP status by the name of the gRPC status."""

_CODES = {name: "canceled" if name == "CANCELLED" else name.lower() for name in HTTP_STATUS}
_STATUSES = {code: name for name, code in _CODES.items()}

_INFERRED = {
    400: "INTERNAL",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "UNIMPLEMENTED",
    429: "UNAVAILABLE",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "UNAVAILABLE",
}
"""Name of the gRPC status by the HTTP status of an answer without an error of the Connect protocol."""


def error_to_json(error: ShoalError) -> bytes:
    """Return the body of an answer that failed with an error of ours: code, message and details."""
    detail = {"type": DETAILS_TYPE, "value": _unpadded(details_to_bytes(error.details))}
    return _written({"code": _CODES[error.status], "message": message_of(error), "details": [detail]})


def refusal_to_json(status: str, message: str) -> bytes:
    """Return the body of an answer to a request that no call of ours has seen. status: name of a gRPC status.

    It has no details: a client tells by that whether a router answered its call.
    """
    return _written({"code": _CODES[status], "message": message})


def error_from_answer(http_status: int, body: bytes) -> ShoalError:
    """Return our error for an answer that is not 200. body: of the answer.

    An answer without our details comes from another server or a proxy, or is about the HTTP request. It gets a text of
    ours; its own text is logged.
    """
    status, message, details = _parts_of(body)
    kind = BY_STATUS.get(status or "")
    if details is not None and kind is not None:
        return kind(message or str(status), details)
    log.debug("http_said status=%d text=%r", http_status, body[:1_000])
    found = foreign_error(status or _INFERRED.get(http_status, "UNKNOWN"), message)
    if status is None and isinstance(found, NotConnected):
        return NotConnected(f"a proxy or another server answers there with HTTP status {http_status}")
    return found


def has_details(body: bytes) -> bool:
    """Return whether the body of a failed answer was made by `error_to_json`."""
    return _parts_of(body)[2] is not None


def status_in(body: bytes) -> str | None:
    """Return the name of the gRPC status in the body of a failed answer; None if it is not an error of the protocol."""
    return _parts_of(body)[0]


def _parts_of(body: bytes) -> tuple[str | None, str, ErrorDetails | None]:
    """Return the name of the gRPC status, the message and our details of an error in JSON, as far as it has them."""
    try:
        given: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None, "", None
    if not isinstance(given, dict):
        return None, "", None
    code, message, details = given.get("code"), given.get("message"), given.get("details")
    status = _STATUSES.get(code) if isinstance(code, str) else None
    return status, message if isinstance(message, str) else "", _our_details(details)


def _our_details(details: Any) -> ErrorDetails | None:
    for each in details if isinstance(details, list) else ():
        if isinstance(each, dict) and each.get("type") == DETAILS_TYPE and isinstance(each.get("value"), str):
            try:
                return details_from_bytes(base64.b64decode(each["value"] + "=" * (-len(each["value"]) % 4), validate=True))
            except (DecodeError, binascii.Error, ValueError):
                return None
    return None


def _unpadded(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii").rstrip("=")


def _written(parts: Mapping[str, Any]) -> bytes:
    return json.dumps(parts, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
