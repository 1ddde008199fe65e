"""Reads the answer to one HTTP/1.1 request from the bytes of a connection. Performs no I/O.

The parser is httptools (llhttp). This module bounds what the parser is given, and says whether the connection can carry
another request.
"""

from __future__ import annotations

from enum import StrEnum

import httptools

HEAD_BYTES = 64 * 1024
"""Most bytes of the head of an answer, with the lines after a body that came in pieces."""

OK = 200

_MOST_HEADS = 64


class AnswerFault(StrEnum):
    """Why an answer cannot be used."""

    NOT_HTTP = "it is not HTTP/1.1"
    HEAD = "its head is too large"
    BODY = "its body is too large"
    LENGTH = "its length is not given"
    ENCODED = "its body is compressed"


class SeenAnswers:
    """Heads of good answers that the parser has read on a connection, by their bytes, with what they say.

    A server begins most of its answers with the same bytes. What they mean depends on nothing else, so such an answer
    is not parsed again if it arrives in one piece.
    """

    __slots__ = ("_heads",)

    def __init__(self) -> None:
        self._heads: dict[bytes, tuple[bytes, int]] = {}

    def find(self, data: bytes) -> tuple[bytes, bytes] | None:
        """Return content type and body if the bytes are one whole answer with a head that was seen; None for others."""
        end = data.find(b"\r\n\r\n") + 4
        seen = self._heads.get(data[:end])
        return (seen[0], data[end:]) if seen is not None and len(data) == end + seen[1] else None

    def add(self, data: bytes, answer: AnswerReader) -> None:
        """Note the head of an answer that was just parsed, if these bytes are all of it and it ends nothing."""
        size = len(answer.body)
        end = data.find(b"\r\n\r\n") + 4
        if answer.status == OK and answer.reusable and answer.complete and end + size == len(data):
            if len(self._heads) >= _MOST_HEADS:
                self._heads.clear()
            self._heads[data[:end]] = answer.content_type, size


class AnswerReader:
    """One answer, as far as it has arrived.

    Valid once `complete` is set: status (of HTTP); content_type, in lower case and without parameters; body; reusable:
    whether the connection may carry another request.

    fault: why the answer cannot be used; it is then never complete. arrived: bytes so far. size: bytes of the body as
    announced; of a body in pieces that is too large, the bytes until then.
    """

    __slots__ = (
        "_framed",
        "_head",
        "_most",
        "_parser",
        "_parts",
        "_seen",
        "_taken",
        "arrived",
        "complete",
        "content_type",
        "fault",
        "reusable",
        "size",
        "status",
    )

    def __init__(self, most_bytes: int, seen: SeenAnswers) -> None:
        """most_bytes: largest body. seen: of the connection."""
        self._parser: httptools.HttpResponseParser | None = None
        self._seen = seen
        self._parts: list[bytes] = []
        self._most = most_bytes
        self._head = self._taken = self.arrived = self.size = self.status = 0
        self._framed = self.complete = self.reusable = False
        self.content_type = b""
        self.fault: AnswerFault | None = None

    @property
    def body(self) -> bytes:
        """Return the body."""
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)

    def feed(self, data: bytes) -> bool:
        """Take the next bytes. Return whether no more are needed: the answer is complete, or it has a fault."""
        first = not self.arrived
        if first and self._took_seen(data):
            return True
        self.arrived += len(data)
        if first:
            self._parser = httptools.HttpResponseParser(self)
        parser = self._parser
        assert parser is not None, "the answer is complete, or has a fault"
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            # If the answer is complete, these bytes are beyond its end. They belong to no request.
            self.reusable = False
            if not self.complete and self.fault is None:
                self.fault = AnswerFault.NOT_HTTP
        if not self.complete and self.fault is None:
            self.fault = self._too_much()
        if not self.complete and self.fault is None:
            return False
        # The parser holds this object: without the cycle, a large body is freed when it is no longer used.
        self._parser = None
        if first:
            self._seen.add(data, self)
        return True

    def _took_seen(self, data: bytes) -> bool:
        """Take the bytes as a whole answer whose head was seen before. Return whether they are one."""
        found = self._seen.find(data)
        if found is None:
            return False
        kind, body = found
        if len(body) > self._most:
            return False
        self._parts.append(body)
        self.content_type = kind
        self.arrived, self.size, self.status = len(data), len(body), OK
        self.complete = self.reusable = True
        return True

    def _too_much(self) -> AnswerFault | None:
        """Bound what is not counted elsewhere: a head that does not end, and what stands between pieces of a body."""
        if not self.status and self.arrived > HEAD_BYTES:
            return AnswerFault.HEAD
        return AnswerFault.BODY if self.arrived > 2 * (HEAD_BYTES + self._most) else None

    # The parser calls these. It calls them for each answer in its bytes, so they ignore all but the first one.

    def on_message_begin(self) -> None:
        """Note an answer that no request has asked for."""
        if self.complete:
            self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a line of the head, or one after a body in pieces."""
        self._head += len(name) + len(value) + 4
        if self._head > HEAD_BYTES:
            self.fault = self.fault or AnswerFault.HEAD
        if self.status or self.complete:
            return
        name = name.lower()
        if name == b"content-length":
            self._framed, self.size = True, int(value)
        elif name == b"content-type":
            self.content_type = value.partition(b";")[0].strip().lower()
        elif name == b"transfer-encoding":
            self._framed = value.strip().lower() == b"chunked"
        elif name == b"content-encoding" and value.strip().lower() != b"identity":
            self.fault = self.fault or AnswerFault.ENCODED

    def on_headers_complete(self) -> None:
        """Look at the head: is there a length, and is it allowed?"""
        assert self._parser is not None
        status = self._parser.get_status_code()
        if self.complete or status < OK:
            return
        self.status = status
        if self.size > self._most:
            self.fault = self.fault or AnswerFault.BODY
        elif not self._framed:
            self._without_length()

    def _without_length(self) -> None:
        """Refuse a message that may end anywhere. The status of a failure says enough without its body."""
        if self.status == OK:
            self.fault = self.fault or AnswerFault.LENGTH
        else:
            self.complete = self.fault is None

    def on_body(self, data: bytes) -> None:
        """Take a part of the body."""
        if self.complete or self.fault is not None:
            return
        self._parts.append(data)
        self._taken += len(data)
        if self._taken > self._most:
            self._parts.clear()
            self.fault, self.size = AnswerFault.BODY, self._taken

    def on_message_complete(self) -> None:
        """Note the end of the answer. An interim answer (1xx) comes before it and is ignored."""
        if not self.status:
            self._framed, self.size, self.content_type = False, 0, b""
        elif not self.complete and self.fault is None and self._parser is not None:
            self.complete, self.reusable = True, bool(self._parser.should_keep_alive())
