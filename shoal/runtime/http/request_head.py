"""Decides what the head of an HTTP request asks for: a call, the health of the server, or something to refuse. Pure.

Source: RFC 9110, RFC 9112, and https://connectrpc.com/docs/protocol.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.runtime.calls import CallTable, UnaryCall
from shoal.runtime.http.answers import FailedAnswer, failure_of, refusal, too_large
from shoal.runtime.http.limits import HttpLimits
from shoal.runtime.interceptors import reader_of
from shoal.wire.connect import CLIENT_HEADER, JSON, MOST_TIMEOUT_DIGITS, PROTO, TIMEOUT_HEADER, VERSION, VERSION_HEADER
from shoal.wire.http.request import SERVER_HEADER

Fields = Sequence[tuple[bytes, bytes]]
"""Header lines: name and value, as they came."""

HEALTH_PATH = b"/health"

_HOST, _TYPE, _LENGTH, _CODING, _TRANSFER = b"host", b"content-type", b"content-length", b"content-encoding", b"transfer-encoding"
_EXPECT, _TIMEOUT, _VERSION, _CLIENT = b"expect", TIMEOUT_HEADER.encode(), VERSION_HEADER.encode(), CLIENT_HEADER.encode()
_SERVER, _AUTHORIZATION = SERVER_HEADER.encode(), b"authorization"
_KNOWN = frozenset({_SERVER, _AUTHORIZATION, _HOST, _TYPE, _LENGTH, _CODING, _TRANSFER, _EXPECT, _TIMEOUT, _VERSION, _CLIENT})
_PROTO, _JSON = PROTO.encode(), JSON.encode()

_VERSIONS = ("1.1", "1.0")
_MOST_LENGTH_DIGITS = 20
_CLIENT_SIGNS = re.compile(rb"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ServedCall:
    """A call with the function that reads the bytes of its request."""

    call: UnaryCall
    read: Callable[[bytes], Any]


def served_calls(table: CallTable) -> Mapping[bytes, ServedCall]:
    """Return the calls of a table by the path of their requests."""
    return {path.encode("ascii"): ServedCall(call=call, read=reader_of(call)) for path, call in table.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class CallHead:
    """A request for a call.

    json: whether its messages are JSON. timeout_s: None without a deadline. client: the name that the client gave
    itself, "" for none. goes_on: whether the client waits for "100 Continue" before it sends the body. authorization:
    the header of this name, "" for none.
    """

    served: ServedCall
    json: bool
    timeout_s: float | None
    client: str
    goes_on: bool
    fields: Fields = field(repr=False)
    authorization: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class HealthHead:
    """A request for the health of this server."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RefusedHead:
    """A request that is not served. at_once: the connection ends with the answer, and the body is not read."""

    failure: FailedAnswer
    at_once: bool = False


Head = CallHead | HealthHead | RefusedHead


def read_head(
    *,
    method: bytes,
    path: bytes,
    version: str,
    fields: Fields,
    calls: Mapping[bytes, ServedCall],
    limits: HttpLimits,
    server_id: bytes = b"",
) -> Head:
    """Return what a request asks for. path: without its query. server_id: a request for another server is refused."""
    known = {name.lower(): value for name, value in fields}
    if len(known) < len(fields):
        twice = _given_twice(fields)
        if twice:
            return _malformed(f"the header {twice} is given twice")
    wrong = _wrong_framing(version, known, limits)
    if wrong is not None:
        return wrong
    served = calls.get(path)
    if served is None:
        return _other(method, path, known)
    if method != b"POST":
        return _refused(refusal(405, "UNIMPLEMENTED", f"{_shown(method)} is not served here, POST is", b"allow: POST\r\n"), known)
    if known.get(_SERVER, server_id) != server_id:
        return _refused(refusal(421, "UNAVAILABLE", "the request is for another server"), known)
    return _call_head(served, known, fields)


def _given_twice(fields: Fields) -> str:
    """Return the name of a header that may be given once and is given more often; "" if there is none."""
    names = [name.lower() for name, _ in fields]
    return next((name.decode() for name in _KNOWN if names.count(name) > 1), "")


def _wrong_framing(version: str, known: Mapping[bytes, bytes], limits: HttpLimits) -> RefusedHead | None:
    """Return the refusal of a request whose body cannot be delimited or is too large."""
    if version not in _VERSIONS:
        return RefusedHead(failure=refusal(505, "UNIMPLEMENTED", f"HTTP/{version} is not served, HTTP/1.1 is"), at_once=True)
    if version == "1.1" and _HOST not in known:
        return _malformed("the header host is missing")
    length = known.get(_LENGTH)
    if _TRANSFER in known:
        if version == "1.0" or length is not None:
            return _malformed("transfer-encoding is given in HTTP/1.0, or beside content-length")
        if known[_TRANSFER].strip().lower() != b"chunked":
            message = f"transfer-encoding is {_shown(known[_TRANSFER])}, only chunked is served"
            return RefusedHead(failure=refusal(501, "UNIMPLEMENTED", message), at_once=True)
    if length is None:
        return None
    if not length.isdigit() or len(length) > _MOST_LENGTH_DIGITS:
        return _malformed(f"content-length is {_shown(length)}, it must be a number")
    size = int(length)
    return RefusedHead(failure=too_large(size, limits.message_bytes), at_once=True) if size > limits.body_bytes else None


def _other(method: bytes, path: bytes, known: Mapping[bytes, bytes]) -> Head:
    if path != HEALTH_PATH:
        return _refused(refusal(404, "UNIMPLEMENTED", f"there is no call {_shown(path)} here"), known)
    if method != b"GET":
        return _refused(refusal(405, "UNIMPLEMENTED", f"{_shown(method)} is not served here, GET is", b"allow: GET\r\n"), known)
    return HealthHead()


def _call_head(served: ServedCall, known: Mapping[bytes, bytes], fields: Fields) -> Head:
    kind = known.get(_TYPE, b"")
    if kind not in (_PROTO, _JSON):
        kind = kind.split(b";", 1)[0].strip().lower()
        if kind not in (_PROTO, _JSON):
            message = f"content-type is {_shown(known.get(_TYPE, b''))}, it must be {PROTO} or {JSON}"
            return _refused(refusal(415, "UNIMPLEMENTED", message, f"accept-post: {PROTO}, {JSON}\r\n".encode()), known)
    if _CODING in known and known[_CODING].strip().lower() != b"identity":
        message = f"content-encoding is {_shown(known[_CODING])}, supported is: identity"
        return _refused(refusal(501, "UNIMPLEMENTED", message, b"accept-encoding: identity\r\n"), known)
    try:
        timeout_s, client = _timeout_s(known.get(_TIMEOUT)), _client(known.get(_CLIENT))
        _check_version(known.get(_VERSION))
    except InvalidArgument as error:
        return _refused(failure_of(error), known)
    return CallHead(
        served=served,
        json=kind == _JSON,
        timeout_s=timeout_s,
        client=client,
        goes_on=_goes_on(known),
        fields=fields,
        authorization=known.get(_AUTHORIZATION, b"").decode("latin-1"),
    )


def _timeout_s(value: bytes | None) -> float | None:
    if value is None:
        return None
    if value.isdigit() and len(value) <= MOST_TIMEOUT_DIGITS:
        return int(value) / 1000
    raise _invalid(TIMEOUT_HEADER, value, f"a number of milliseconds, at most {MOST_TIMEOUT_DIGITS} digits")


def _client(value: bytes | None) -> str:
    if value is None:
        return ""
    if _CLIENT_SIGNS.fullmatch(value):
        return value.decode("ascii")
    raise _invalid(CLIENT_HEADER, value, "1 to 64 of A-Z, a-z, 0-9, '-', '_' and '.'")


def _check_version(value: bytes | None) -> None:
    if value is not None and value != VERSION.encode():
        raise _invalid(VERSION_HEADER, value, VERSION)


def _goes_on(known: Mapping[bytes, bytes]) -> bool:
    return _EXPECT in known and known[_EXPECT].strip().lower() == b"100-continue"


def _invalid(header: str, value: bytes, allowed: str) -> InvalidArgument:
    return InvalidArgument(f"the header {header} is {_shown(value)}, it must be {allowed}", ErrorDetails(field=header))


def _malformed(message: str) -> RefusedHead:
    return RefusedHead(failure=refusal(400, "INVALID_ARGUMENT", message), at_once=True)


def _refused(failure: FailedAnswer, known: Mapping[bytes, bytes]) -> RefusedHead:
    """Return a refusal. A client that waits before it sends its body is answered at once, so that it never sends it."""
    return RefusedHead(failure=failure, at_once=_goes_on(known))


def _shown(value: bytes) -> str:
    text = value.decode("utf-8", "replace")
    return repr(text if len(text) <= 80 else text[:80] + "...")


def metadata_of(fields: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str | bytes]]:
    """Return header lines as the metadata of a call. The value of a name that ends with "-bin" is decoded from base64;
    one that is not base64 is left out.
    """
    metadata: list[tuple[str, str | bytes]] = []
    for name, value in fields:
        key = name.decode("latin-1").lower()
        if not key.endswith("-bin"):
            metadata.append((key, value.decode("latin-1")))
            continue
        try:
            metadata.append((key, base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)))
        except binascii.Error:
            continue
    return metadata
