"""Turns errors of gRPC itself into errors of our tree with our own texts. Pure.

A server of Shoal sends details with its errors. An error without details comes from gRPC, on either side, or from a
proxy between them. gRPC's texts change between versions and name sockets and frames. They are for logs; users do not
see them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from shoal.core.errors import (
    BUSY_RETRY_S,
    BY_STATUS,
    DeadlineExceeded,
    ErrorDetails,
    Internal,
    NotConnected,
    NotReached,
    ResourceExhausted,
    ShoalError,
    TlsMismatch,
    Unavailable,
)
from shoal.wire.tls_words import FAILED, IS_TLS, OF_TLS, tls_words


def _any(*signs: str) -> re.Pattern[str]:
    return re.compile("|".join(signs), re.IGNORECASE)


_CONNECTING = _any(
    "failed to connect",
    "last error",
    "resolution",
    "resolv(er|ing)",
    "lookup",
    "name or service",
    "no address",
    "connect failed",
    "connection refused",
)

_REFUSED, _UNKNOWN_HOST, _NO_ROUTE = "refused, nothing listens there", "its host name is not known", "the network has no route to it"

CLOSED, LOST = "it was closed at once", "the connection was lost"
"""End the texts of connections that were ended without a reason."""

_WHY_NOT_CONNECTED: Sequence[tuple[re.Pattern[str], str]] = (
    (_any("refused"), _REFUSED),
    (_any("resol", "lookup", "name or service", "nodename", "domain name", "no address", "dns"), _UNKNOWN_HOST),
    (_any("no route", "unreachable"), _NO_ROUTE),
    (IS_TLS, FAILED),
    (_any("time", "deadline", "shutdown"), "nothing answered in time"),
    (_any("http", "preface", "settings"), "the server there is not one of Shoal"),
    (_any("reset", "closed", "broken pipe", "eof"), CLOSED),
)

_LOST_SIGNS = _any(
    r"socket closed",
    r"stream removed",
    r"rst_stream",
    r"goaway",
    r"connection (was )?(reset|closed|aborted|dropped|lost)",
    r"broken pipe",
    r"(recv|send)msg",
    r"ping timeout",
    r"keepalive",
    r"transport (closed|destroyed|is closing)",
    r"endpoint (read|write|closing)",
    r"end of (tcp )?(file|stream)",
    r"\beof\b",
    r"shutdown",
    r"channel closed",
    r"cancell?ing all calls",
)

_TOO_LARGE = _any("message larger than max", "message too large")
_SIZES = re.compile(r"\((\d+) vs\. (\d+)\)")
_OVERLOADED = _any("too many pings", "too_many_pings", "enhance_your_calm", "bandwidth exhausted", "concurrent rpc limit", "max_concurrent")
_UNREADABLE = _any("deserializ", "failed to parse", "error parsing", "serializing", "decompress", "compression")

_BY_CODE: Mapping[str, tuple[type[ShoalError], str]] = {
    "CANCELLED": (Unavailable, "the server cancelled the call"),
    "UNAVAILABLE": (NotConnected, "no connection to it at the moment"),
    "DEADLINE_EXCEEDED": (DeadlineExceeded, "no answer came in time"),
    "RESOURCE_EXHAUSTED": (ResourceExhausted, "the server has no room for the call"),
    "UNIMPLEMENTED": (Internal, "it does not know this call: it is another version of Shoal, or not a server of Shoal"),
    "UNAUTHENTICATED": (BY_STATUS["UNAUTHENTICATED"], "a proxy before the server requires a login"),
    "PERMISSION_DENIED": (BY_STATUS["PERMISSION_DENIED"], "a proxy before the server forbids the call"),
}


def foreign_error(code: str, text: str) -> ShoalError:
    """Return the error of a call that ended with a status and text of gRPC or a proxy. code: name of a gRPC status."""
    if code in ("UNAVAILABLE", "UNKNOWN", "INTERNAL", "CANCELLED"):
        words = connection_words(text)
        if words:
            return kind_of_connection(words)(words)
    if _OVERLOADED.search(text):
        # Not ResourceExhausted, which means that nothing was applied: the call may have been running already.
        return Unavailable("the server takes no more calls for the moment", ErrorDetails(retry_after_s=BUSY_RETRY_S))
    if _TOO_LARGE.search(text):
        sizes = _SIZES.search(text)
        return too_large(int(sizes[1]), int(sizes[2])) if sizes else too_large()
    if _UNREADABLE.search(text):
        return Internal("a message could not be read by its receiver: is the other side of another version?")
    if code in _BY_CODE:
        kind, words = _BY_CODE[code]
        return kind(words)
    return BY_STATUS.get(code, Internal)(f"the call ended with {code.lower().replace('_', ' ')}, without a reason")


def connection_words(text: str) -> str:
    """Return our text for gRPC's text about a connection; "" if that is about something else."""
    if _CONNECTING.search(text):
        reason = text.rsplit("last error: ", 1)[-1]
        why = next((words for sign, words in _WHY_NOT_CONNECTED if sign.search(reason)), "it cannot be reached")
        return f"no connection: {tls_words(reason) if why == FAILED else why}"
    return LOST if _LOST_SIGNS.search(text) and not _OVERLOADED.search(text) else ""


def kind_of_connection(words: str) -> type[NotConnected]:
    """Return the class of the error with these words of connection_words.

    It is NotReached where the system has answered that there is no server. Silence is none: a server may be busy.
    """
    if words.removeprefix("no connection: ") in OF_TLS:
        return TlsMismatch
    return NotReached if words.endswith((_REFUSED, _UNKNOWN_HOST, _NO_ROUTE)) else NotConnected


def too_large(size: int | None = None, most: int | None = None) -> ResourceExhausted:
    """Return the error for a message that its receiver does not take.

    size: bytes of the message; most: bytes that are taken; None if unknown.
    """
    said = "a message is" if size is None else f"a message of {size:,} bytes is"
    taken = "" if most is None else f", which takes {most:,}"
    text = f"{said} too large for the receiver{taken}; send fewer points or ask for fewer hits at once"
    return ResourceExhausted(text, ErrorDetails(limit="message_bytes"))
