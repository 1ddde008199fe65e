"""The bytes of HTTP answers. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from shoal.core.errors import BUSY_RETRY_S, ErrorDetails, Internal, ResourceExhausted, ShoalError, Unauthenticated, Unavailable
from shoal.wire.connect import HTTP_STATUS, JSON, PROTO, error_to_json, refusal_to_json

_REASONS = {each.value: each.phrase for each in HTTPStatus} | {499: "Client Closed Request"}

_CHALLENGE = b"www-authenticate: Bearer\r\n"
"""Tells with which kind of credential the same request may be answered (RFC 6750)."""

GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"
"""Answer to `Expect: 100-continue`, before the body is sent."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FailedAnswer:
    """An answer that is not 200. body: JSON. headers: more lines of the head, each with its line end."""

    http_status: int
    body: bytes
    headers: bytes = b""


def failure_of(error: ShoalError, http_status: int | None = None) -> FailedAnswer:
    """Return the answer to a call that ended with an error. http_status: instead of that of the protocol."""
    headers = _CHALLENGE if isinstance(error, Unauthenticated) else b""
    return FailedAnswer(http_status=http_status or HTTP_STATUS[error.status], body=error_to_json(error), headers=headers)


def refusal(http_status: int, status: str, message: str, headers: bytes = b"") -> FailedAnswer:
    """Return the answer to a request that is no call of this server. status: name of a gRPC status."""
    return FailedAnswer(http_status=http_status, body=refusal_to_json(status, message), headers=headers)


BUSY = failure_of(Unavailable("the server takes no more calls for the moment", ErrorDetails(retry_after_s=BUSY_RETRY_S)))
"""Answer to a call while as many run as may; the same error as over gRPC."""

ENDING = failure_of(Unavailable("the server is ending", ErrorDetails(retry_after_s=BUSY_RETRY_S)))
"""Answer to a call that did not end before its server."""

CANCELLED = refusal(HTTP_STATUS["CANCELLED"], "CANCELLED", "the server cancelled the call")

TOO_LATE = refusal(HTTP_STATUS["DEADLINE_EXCEEDED"], "DEADLINE_EXCEEDED", "the deadline of the call has passed")


def too_large(size: int | None, most: int) -> FailedAnswer:
    """Return the answer to a body that is too large. size: in bytes, None if it is not known."""
    said = "a message is" if size is None else f"a message of {size:,} bytes is"
    message = f"{said} too large for the receiver, which takes {most:,}; send fewer points or ask for fewer hits at once"
    return failure_of(ResourceExhausted(message, ErrorDetails(limit="message_bytes")), 413)


def defect(method: str, error: BaseException) -> FailedAnswer:
    """Return the answer to a call that failed with an error that is not one of ours."""
    return failure_of(Internal(f"{method} failed: {type(error).__name__}: {error}"))


class AnswerHeads:
    """The heads of answers of a server. `date`: value of the date header, which somebody keeps up to date."""

    def __init__(self) -> None:
        self.set_date(b"Thu, 01 Jan 1970 00:00:00 GMT")

    def set_date(self, date: bytes) -> None:
        """Take the date of the following answers."""
        self._date = date
        self._proto, self._json = (
            b"HTTP/1.1 200 OK\r\ndate: %b\r\ncontent-type: %b\r\ncontent-length: " % (date, kind.encode()) for kind in (PROTO, JSON)
        )

    def ok(self, length: int, *, json: bool, close: bool) -> bytes:
        """Return the head of an answer with a message of `length` bytes. close: whether the connection ends."""
        return b"%b%d\r\n%b\r\n" % (self._json if json else self._proto, length, _CLOSE if close else b"")

    def failed(self, failure: FailedAnswer, *, close: bool) -> bytes:
        """Return the head of another answer. close: whether the connection ends."""
        return b"HTTP/1.1 %d %b\r\ndate: %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%b%b\r\n" % (
            failure.http_status,
            _REASONS[failure.http_status].encode(),
            self._date,
            len(failure.body),
            failure.headers,
            _CLOSE if close else b"",
        )


_CLOSE = b"connection: close\r\n"
