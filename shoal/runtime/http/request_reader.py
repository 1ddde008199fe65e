"""Cuts the bytes of one connection into requests, within bounds. Does no I/O.

The bytes are parsed by llhttp, through httptools. It is strict: a request whose end two readers could see at different
places is refused, and nothing behind it is read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import httptools

from shoal.core.deadline import Clock
from shoal.core.errors import ShoalError
from shoal.runtime.calls import UnaryCall
from shoal.runtime.http.answers import BUSY, FailedAnswer, failure_of, refusal, too_large
from shoal.runtime.http.limits import HttpLimits
from shoal.runtime.http.request_head import CallHead, Head, HealthHead, RefusedHead, ServedCall, read_head


class HeldBytes:
    """Counts the bytes of bodies that the connections of a server hold, up to a bound."""

    def __init__(self, most: int) -> None:
        self.most, self.now = most, 0


class SeenHeads:
    """The heads of calls that the parser has read before, by their bytes, with the length of the body.

    A client begins most of its requests with the same bytes. What they mean depends on nothing else, so such a request
    is not parsed again if its body arrives with it.
    """

    def __init__(self, most: int = 1_024) -> None:
        self._most = most
        self._heads: dict[bytes, tuple[CallHead, int]] = {}

    def body_of(self, data: bytes) -> tuple[CallHead, bytes] | None:
        """Return head and body if the bytes are one whole request with a head that was seen; None for others."""
        end = data.find(b"\r\n\r\n") + 4
        seen = self._heads.get(data[:end])
        if seen is None or len(data) != end + seen[1]:
            return None
        return seen[0], data[end:]

    def add(self, data: bytes | memoryview, head: CallHead, body: int) -> None:
        """Note a head that was just parsed. data: one whole request; body: length of its body."""
        whole = bytes(data)
        end = whole.find(b"\r\n\r\n") + 4
        if head.goes_on or end + body != len(whole):
            return
        if len(self._heads) >= self._most:
            self._heads.clear()
        self._heads[whole[:end]] = head, body


class ReadPhase(Enum):
    """Where a connection is: between two requests, in one, or behind the last one that is read."""

    BETWEEN = "between"
    HEAD = "head"
    BODY = "body"
    ENDED = "ended"


_BETWEEN, _HEAD, _BODY, _ENDED = ReadPhase


class CallRequest(NamedTuple):
    """A request for a call, complete. arrived_s: when its head was complete. last: its answer ends the connection.

    call: as its caller may make it.
    """

    head: CallHead
    body: bytes
    arrived_s: float
    last: bool
    call: UnaryCall


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthRequest:
    """A request for the health of the server, complete. last: its answer ends the connection."""

    last: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class RefusedRequest:
    """A request that is refused. last: its answer ends the connection. bodiless: the answer must have no body."""

    failure: FailedAnswer
    last: bool
    bodiless: bool = False


Request = CallRequest | HealthRequest | RefusedRequest


class _Stop(Exception):
    """Ends the parser in the middle of its input. The last request is already in `ready`."""


class RequestReader:
    """Reads requests. `ready`: complete requests in order; whoever answers them takes them out.

    `begun`: number of requests of which a byte has come. `waits_to_go_on`: the peer waits for "100 Continue". `peer`:
    the other end, for those that admit callers; set it before the first byte is read.

    A caller is admitted once the head is complete. The body of one that is not is read, so that the connection can go
    on, and is not kept.
    """

    def __init__(
        self,
        calls: Mapping[bytes, ServedCall],
        limits: HttpLimits,
        held: HeldBytes,
        clock: Clock,
        server_id: bytes = b"",
        seen: SeenHeads | None = None,
    ) -> None:
        """held, seen: of the server, shared by its connections."""
        self._clock, self._server_id = clock, server_id
        self._seen = SeenHeads() if seen is None else seen
        self._calls, self._limits, self._held = calls, limits, held
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self.ready: deque[Request] = deque()
        self.phase = _BETWEEN
        self.begun = 0
        self.waits_to_go_on = False
        self.peer = ""
        self._unheard_bytes = 0
        self._target = b""
        self._head: Head = HealthHead()
        self._call: UnaryCall | None = None
        self._fields: list[tuple[bytes, bytes]] = []
        self._pieces: list[bytes] = []
        self._clear()

    def feed(self, data: bytes | memoryview) -> None:
        """Read more bytes. Bytes behind the last request are ignored."""
        parser, between = self._parser, self.phase is _BETWEEN
        if parser is None:
            return
        if between and not self._unheard_bytes and type(data) is bytes and self._took_seen(data):
            return
        before = self.begun
        self._unheard_bytes += len(data)
        try:
            parser.feed_data(data)
        except _ERRORS as error:
            if self.phase is not _ENDED:
                self._end_with(refusal(400, "INVALID_ARGUMENT", f"this is not HTTP/1.1: {error}"))
        if self.phase is _ENDED:
            self.close()
        elif between and self.phase is _BETWEEN and self.begun == before + 1 and self.ready:
            self._note_seen(data, self.ready[-1])
        elif self._unheard_bytes > self._limits.head_bytes or len(self._fields) > self._limits.headers:
            self.refuse(_head_too_large(self._limits))

    def _took_seen(self, data: bytes) -> bool:
        """Take the bytes as a whole request whose head was seen before. Return whether they are one."""
        found = self._seen.body_of(data)
        if found is None:
            return False
        head, body = found
        held = self._held
        if held.now + len(body) > held.most:
            return False
        call = self._admitted(head)
        if isinstance(call, FailedAnswer):
            self.begun += 1
            self.ready.append(RefusedRequest(failure=call, last=False))
            return True
        held.now += len(body)
        self.begun += 1
        self.ready.append(CallRequest(head=head, body=body, arrived_s=self._clock(), last=False, call=call))
        return True

    def _note_seen(self, data: bytes | memoryview, request: Request) -> None:
        """Note the head of a request that was the whole of the bytes."""
        if type(request) is CallRequest:
            self._seen.add(data, request.head, len(request.body))

    def refuse(self, failure: FailedAnswer) -> None:
        """Refuse the request that is being read, and read nothing more."""
        if self.phase is not _ENDED:
            self._end_with(failure)
            self.close()

    def close(self) -> None:
        """Read nothing more. Gives back what the parser and an unfinished body hold."""
        self.phase, self._parser = _ENDED, None
        self._drop_body()

    def give_back(self, request: CallRequest) -> None:
        """Give back the bytes of a request that is answered, or dropped."""
        self._held.now -= len(request.body)

    # The parser calls these. It tells the lines of a head only when they are complete, and a body in pieces.

    def on_message_begin(self) -> None:
        """Begin a request. Nothing is read behind the last one."""
        if self.phase is _ENDED:
            raise _Stop
        self.phase = _HEAD
        self.begun += 1

    def on_url(self, url: bytes) -> None:
        """Take a part of the target of the request."""
        self._target = self._target + url if self._target else url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a line of the head, or of the trailers."""
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """Decide what the request asks for."""
        parser, fields = self._parser, self._fields
        assert parser is not None
        if self._is_head_too_large():
            self._stop(_head_too_large(self._limits))
        self._unheard_bytes, self._fields = 0, []
        self._arrived_s = self._clock()
        self.phase = _BODY
        method, version = parser.get_method(), parser.get_http_version()
        self._bodiless = method == b"HEAD"
        if parser.should_upgrade():
            self._stop(refusal(501, "UNIMPLEMENTED", "this server speaks HTTP/1.1 and does not change the protocol"))
        head = read_head(
            method=method,
            path=_path_of(self._target),
            version=version,
            fields=fields,
            calls=self._calls,
            limits=self._limits,
            server_id=self._server_id,
        )
        if type(head) is CallHead:
            call = self._admitted(head)
            if isinstance(call, FailedAnswer):
                head = RefusedHead(failure=call, at_once=head.goes_on)
            else:
                self._call = call
        if type(head) is RefusedHead and head.at_once:
            self._stop(head.failure)
        self._head = head
        self._last = version == "1.0" or not parser.should_keep_alive()
        self.waits_to_go_on = type(head) is CallHead and head.goes_on and version == "1.1"

    def on_chunk_header(self) -> None:
        """Note that a chunk begins."""
        self._unheard_bytes = 0

    def on_body(self, piece: bytes) -> None:
        """Take a part of the body."""
        self._unheard_bytes = 0
        self._body_bytes += len(piece)
        if self._body_bytes > self._limits.body_bytes:
            self._stop(too_large(None, self._limits.message_bytes))
        if type(self._head) is CallHead:
            held = self._held
            held.now += len(piece)
            self._pieces.append(piece)
            if held.now > held.most:
                self._stop(BUSY)

    def on_message_complete(self) -> None:
        """Put the request among those that are ready."""
        self._unheard_bytes = 0
        last, head = self._last, self._head
        self.waits_to_go_on = False
        if type(head) is CallHead:
            pieces = self._pieces
            body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            assert self._call is not None
            self.ready.append(CallRequest(head=head, body=body, arrived_s=self._arrived_s, last=last, call=self._call))
        elif type(head) is RefusedHead:
            self.ready.append(RefusedRequest(failure=head.failure, last=last, bodiless=self._bodiless))
        else:
            self.ready.append(HealthRequest(last=last))
        self.phase = _ENDED if last else _BETWEEN
        self._clear()

    def _clear(self) -> None:
        self._target = b""
        self._fields = []
        self._body_bytes = 0
        self._head = HealthHead()
        self._pieces = []
        self._last = self._bodiless = False
        self._arrived_s = 0.0

    def _admitted(self, head: CallHead) -> UnaryCall | FailedAnswer:
        """Return the call as its caller may make it, or why it may not."""
        call = head.served.call
        if call.admit is None:
            return call
        try:
            return call.admit(head.authorization, self.peer)
        except ShoalError as error:
            return failure_of(error)

    def _is_head_too_large(self) -> bool:
        if self._unheard_bytes <= self._limits.head_bytes:
            return len(self._fields) > self._limits.headers
        # More bytes have come, but some of them may be behind the head.
        size = len(self._target) + sum(len(name) + len(value) for name, value in self._fields)
        return size > self._limits.head_bytes or len(self._fields) > self._limits.headers

    def _stop(self, failure: FailedAnswer) -> None:
        self._end_with(failure)
        raise _Stop

    def _end_with(self, failure: FailedAnswer) -> None:
        self.ready.append(RefusedRequest(failure=failure, last=True, bodiless=self._bodiless))
        self.phase = _ENDED
        self.waits_to_go_on = False

    def _drop_body(self) -> None:
        self._held.now -= sum(map(len, self._pieces))
        self._pieces = []


_ERRORS = (httptools.HttpParserError, httptools.HttpParserUpgrade)


def _path_of(target: bytes) -> bytes:
    """Return the path of a target: without the query, and without scheme and host if it has them."""
    path = target.split(b"?", 1)[0]
    if path.startswith((b"http://", b"https://")):
        parts = path.split(b"/", 3)
        return b"/" + parts[3] if len(parts) == 4 else b"/"
    return path


def _head_too_large(limits: HttpLimits) -> FailedAnswer:
    message = f"the head of the request is too large: at most {limits.headers} headers with {limits.head_bytes:,} bytes are read"
    return refusal(431, "INVALID_ARGUMENT", message)
