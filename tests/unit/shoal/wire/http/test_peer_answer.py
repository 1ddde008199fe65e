from __future__ import annotations

import pytest

from shoal.core.errors import DataLoss, DeadlineExceeded, ErrorDetails, NotFound, ResourceExhausted, ShoalError, Unavailable
from shoal.wire.connect import HTTP_STATUS, PROTO, error_to_json, refusal_to_json
from shoal.wire.http.answer import AnswerReader, SeenAnswers
from shoal.wire.http.failure import NoAnswer, NoAnswerCause
from shoal.wire.http.peer_answer import message_of_peer

MOST = 1_000


def answer(status: int, body: bytes, kind: str = "application/json") -> AnswerReader:
    reader = AnswerReader(MOST, SeenAnswers())
    assert reader.feed(b"HTTP/1.1 %d X\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b" % (status, kind.encode(), len(body), body))
    return reader


def test_a_message_is_its_bytes() -> None:
    assert message_of_peer(answer(200, b"abc", PROTO), "worker", MOST) == b"abc"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (NotFound("no shard 7", ErrorDetails(shard="a/7")), "no shard 7"),
        (DataLoss("row 7", ErrorDetails(applied={"a/0": "maybe"})), "row 7"),
        (Unavailable("later", ErrorDetails(retry_after_s=0.25)), "worker: later"),
    ],
)
def test_an_error_has_its_details_and_a_retryable_one_names_the_worker(given: ShoalError, text: str) -> None:
    with pytest.raises(type(given)) as caught:
        message_of_peer(answer(HTTP_STATUS[given.status], error_to_json(given)), "worker", MOST)
    assert (caught.value.message, caught.value.details) == (text, given.details)


@pytest.mark.parametrize(("status", "kind"), [("DEADLINE_EXCEEDED", DeadlineExceeded), ("CANCELLED", Unavailable)])
def test_what_the_server_itself_says_of_a_call_is_its_end(status: str, kind: type[ShoalError]) -> None:
    with pytest.raises(kind):
        message_of_peer(answer(HTTP_STATUS[status], refusal_to_json(status, "said")), "worker", MOST)


def test_an_answer_that_is_too_large_is_exhausted() -> None:
    with pytest.raises(ResourceExhausted, match="1,001 bytes"):
        message_of_peer(answer(200, b"z" * 1_001, PROTO), "worker", MOST)


@pytest.mark.parametrize(
    "given",
    [
        answer(421, refusal_to_json("UNAVAILABLE", "the request is for another server")),
        answer(404, refusal_to_json("UNIMPLEMENTED", "there is no call here")),
        answer(404, b"<html>"),
        answer(502, b"<html>"),
        answer(200, b"<html>", "text/html"),
    ],
)
def test_a_process_that_has_not_seen_the_call_is_a_stranger(given: AnswerReader) -> None:
    with pytest.raises(NoAnswer, match="another server") as caught:
        message_of_peer(given, "worker", MOST)
    assert caught.value.cause is NoAnswerCause.STRANGER


def test_bytes_that_are_not_http_are_those_of_a_stranger() -> None:
    reader = AnswerReader(MOST, SeenAnswers())
    assert reader.feed(b"SSH-2.0-x\r\n")
    with pytest.raises(NoAnswer, match="not HTTP"):
        message_of_peer(reader, "worker", MOST)
