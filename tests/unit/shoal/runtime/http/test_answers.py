from __future__ import annotations

import httptools
import pytest

from shoal.core.errors import NotFound, ResourceExhausted, Unavailable
from shoal.runtime.http.answers import BUSY, CANCELLED, ENDING, TOO_LATE, AnswerHeads, FailedAnswer, defect, failure_of, refusal, too_large
from shoal.wire.connect import error_from_answer
from shoal.wire.grpc_words import foreign_error


class Parsed:
    """An answer as a client reads it."""

    def __init__(self, data: bytes) -> None:
        self.headers: dict[str, str] = {}
        self.body = b""
        self.complete = self.keeps = False
        self._parser = httptools.HttpResponseParser(self)
        self._parser.feed_data(data)
        self.status = self._parser.get_status_code()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete, self.keeps = True, self._parser.should_keep_alive()


@pytest.mark.parametrize(("json", "kind"), [(True, "application/json"), (False, "application/proto")])
@pytest.mark.parametrize("close", [True, False])
def test_the_head_of_a_good_answer(json: bool, kind: str, close: bool) -> None:
    heads = AnswerHeads()
    heads.set_date(b"Mon, 30 Nov 2026 09:22:18 GMT")
    got = Parsed(heads.ok(5, json=json, close=close) + b"12345")
    assert (got.status, got.headers["content-type"], got.headers["date"], got.body, got.complete) == (
        200, kind, "Mon, 30 Nov 2026 09:22:18 GMT", b"12345", True,
    )  # fmt: skip
    assert got.keeps is not close


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 408, 409, 413, 414, 415, 429, 431, 499, 500, 501, 503, 504, 505])
def test_the_head_of_another_answer(status: int) -> None:
    failure = FailedAnswer(http_status=status, body=b"{}", headers=b"allow: POST\r\n")
    got = Parsed(AnswerHeads().failed(failure, close=True) + failure.body)
    assert (got.status, got.headers["allow"], got.headers["content-type"], got.body) == (status, "POST", "application/json", b"{}")
    assert not got.keeps


def test_what_a_client_reads_from_failures() -> None:
    for failure, kind, status in (
        (failure_of(NotFound("no")), NotFound, 404),
        (BUSY, Unavailable, 503),
        (ENDING, Unavailable, 503),
        (too_large(50, 10), ResourceExhausted, 413),
        (too_large(None, 10), ResourceExhausted, 413),
    ):
        error = error_from_answer(failure.http_status, failure.body)
        assert (type(error), failure.http_status) == (kind, status)
    assert "a message of 50 bytes" in too_large(50, 10).body.decode()


def test_the_same_words_as_over_grpc() -> None:
    busy, by_grpc = error_from_answer(503, BUSY.body), foreign_error("RESOURCE_EXHAUSTED", "Concurrent RPC limit exceeded!")
    assert (type(busy), busy.message, busy.details) == (type(by_grpc), by_grpc.message, by_grpc.details)
    for failure, code in ((CANCELLED, "CANCELLED"), (TOO_LATE, "DEADLINE_EXCEEDED")):
        got, by_grpc = error_from_answer(failure.http_status, failure.body), foreign_error(code, "")
        assert (type(got), got.message) == (type(by_grpc), by_grpc.message)
    got = error_from_answer(413, too_large(9_000, 4_000).body)
    by_grpc = foreign_error("RESOURCE_EXHAUSTED", "Received message larger than max (9000 vs. 4000)")
    assert (type(got), got.message, got.details) == (type(by_grpc), by_grpc.message, by_grpc.details)


def test_a_defect_and_a_refusal() -> None:
    assert b"/s/M failed: KeyError: 'x'" in defect("/s/M", KeyError("x")).body
    assert refusal(404, "UNIMPLEMENTED", "no such call").body == b'{"code":"unimplemented","message":"no such call"}'
