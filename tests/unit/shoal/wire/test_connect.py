from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.errors import BY_STATUS, ErrorDetails, Internal, InvalidArgument, NotConnected, ShoalError, Unavailable
from shoal.wire.connect import DETAILS_TYPE, HTTP_STATUS, error_from_answer, error_to_json, has_details, refusal_to_json
from shoal.wire.status import code_of, details_to_metadata, error_from_rpc, message_of
from tests.unit.shoal.wire.strategies import error_details


@settings(deadline=None, max_examples=50)
@given(kind=st.sampled_from(list(BY_STATUS.values())), text=st.text(min_size=1, max_size=50), given_details=error_details)
def test_an_error_comes_back_as_over_grpc(kind: type[ShoalError], text: str, given_details: ErrorDetails) -> None:
    error = kind(text, given_details)
    got = error_from_answer(HTTP_STATUS[error.status], error_to_json(error))
    by_grpc = error_from_rpc(code_of(error), message_of(error), details_to_metadata(error))
    assert (type(got), got.message, got.details) == (type(by_grpc), by_grpc.message, by_grpc.details) == (kind, text, given_details)


def test_an_error_has_the_form_of_the_protocol() -> None:
    error = InvalidArgument("k is 0", ErrorDetails(field="k"))
    body = json.loads(error_to_json(error))
    assert (body["code"], body["message"]) == ("invalid_argument", "k is 0")
    ((detail,), bytes_of_grpc) = body["details"], details_to_metadata(error)[0][1]
    assert detail["type"] == DETAILS_TYPE
    assert "=" not in detail["value"]
    assert base64.b64decode(detail["value"] + "==") == bytes_of_grpc


@pytest.mark.parametrize(
    ("status", "http"), [("CANCELLED", 499), ("NOT_FOUND", 404), ("ABORTED", 409), ("UNIMPLEMENTED", 501), ("UNAVAILABLE", 503)]
)
def test_http_statuses_are_those_of_the_protocol(status: str, http: int) -> None:
    assert HTTP_STATUS[status] == http
    assert set(BY_STATUS) <= set(HTTP_STATUS)


def test_a_cancelled_call_has_the_spelling_of_the_protocol() -> None:
    assert json.loads(refusal_to_json("CANCELLED", "gone"))["code"] == "canceled"
    assert isinstance(error_from_answer(499, refusal_to_json("CANCELLED", "gone")), Unavailable)


def test_a_long_message_is_cut_as_over_grpc() -> None:
    error = Unavailable("x" * 10_000)
    assert error_from_answer(503, error_to_json(error)).message == message_of(error)


@pytest.mark.parametrize(
    ("http", "body", "kind"),
    [
        (404, refusal_to_json("UNIMPLEMENTED", "no such call"), Internal),
        (503, b"<html>busy</html>", NotConnected),
        (502, b"", NotConnected),
        (404, b"[]", Internal),
        (400, b"null", Internal),
        (500, b'{"code": null}', Internal),
        (500, b'{"code": ["unavailable"], "message": {}}', Internal),
        (500, b"[" * 100_000, Internal),
        (503, b'{"code":"unavailable","details":[{"type":"shoal.v1.ErrorInfo","value":"*"}]}', NotConnected),
        (503, b'{"code":"unavailable","details":[{"type":"shoal.v1.ErrorInfo","value":"//8"}]}', NotConnected),
        (503, b'{"code":"unavailable","details":[{"type":"other","value":""}, 5, {"type":"shoal.v1.ErrorInfo"}]}', NotConnected),
    ],
)
def test_an_answer_of_another_server_gets_words_of_ours(http: int, body: bytes, kind: type[ShoalError]) -> None:
    assert type(error_from_answer(http, body)) is kind
    assert not has_details(body)


def test_an_error_of_ours_is_known_by_its_details() -> None:
    assert has_details(error_to_json(Unavailable("later")))
    assert not has_details(refusal_to_json("UNAVAILABLE", "later"))


@settings(deadline=None, max_examples=100)
@given(http=st.integers(100, 999), body=st.binary(max_size=60))
def test_any_answer_is_some_error_of_ours(http: int, body: bytes) -> None:
    assert isinstance(error_from_answer(http, body), ShoalError)
