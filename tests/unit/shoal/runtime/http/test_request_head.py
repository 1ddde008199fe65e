from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.errors import InvalidArgument
from shoal.runtime.http.limits import HttpLimits
from shoal.runtime.http.request_head import CallHead, Fields, Head, HealthHead, RefusedHead, metadata_of, read_head, served_calls
from shoal.wire.connect import error_from_answer
from tests.support.http_requests import COUNT_PATH, SEARCH_PATH, echo_table

CALLS = served_calls(echo_table())
LIMITS = HttpLimits(message_bytes=1_000)
HOST, PROTO, JSON = (b"Host", b"h"), (b"Content-Type", b"application/proto"), (b"content-type", b"application/json")


def read(*fields: tuple[bytes, bytes], method: bytes = b"POST", path: bytes = SEARCH_PATH, version: str = "1.1") -> Head:
    return read_head(method=method, path=path, version=version, fields=fields, calls=CALLS, limits=LIMITS)


def call(*fields: tuple[bytes, bytes]) -> CallHead:
    head = read(HOST, *fields)
    assert isinstance(head, CallHead), head
    return head


def refused(head: Head) -> tuple[int, str, bytes]:
    assert isinstance(head, RefusedHead), head
    body = json.loads(head.failure.body)
    return head.failure.http_status, body["code"], head.failure.headers


def test_the_path_names_the_call_and_the_type_its_form() -> None:
    assert call(PROTO).served is CALLS[SEARCH_PATH]
    head = read(HOST, JSON, path=COUNT_PATH)
    assert isinstance(head, CallHead)
    assert (head.served, head.json, call(PROTO).json) == (CALLS[COUNT_PATH], True, False)


@pytest.mark.parametrize(
    ("kind", "json"), [(b"application/json; charset=utf-8", True), (b"Application/JSON", True), (b" application/proto ;x", False)]
)
def test_a_type_may_have_parameters(kind: bytes, json: bool) -> None:
    assert call((b"content-type", kind)).json is json


def test_what_the_headers_of_the_protocol_say() -> None:
    plain = call(PROTO)
    assert (plain.timeout_s, plain.client, plain.goes_on) == (None, "", False)
    given_head = call(
        PROTO,
        (b"Connect-Protocol-Version", b"1"),
        (b"connect-timeout-ms", b"1500"),
        (b"shoal-client", b"a-B_9."),
        (b"Expect", b"100-Continue"),
        (b"content-encoding", b"Identity"),
    )
    assert (given_head.timeout_s, given_head.client, given_head.goes_on) == (1.5, "a-B_9.", True)
    assert call(PROTO, (b"connect-timeout-ms", b"9999999999")).timeout_s == 9_999_999.999


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ([(b"connect-timeout-ms", b"")], "connect-timeout-ms"),
        ([(b"connect-timeout-ms", b"-5")], "connect-timeout-ms"),
        ([(b"connect-timeout-ms", b"1.5")], "connect-timeout-ms"),
        ([(b"connect-timeout-ms", b"5s")], "connect-timeout-ms"),
        ([(b"connect-timeout-ms", b"10000000000")], "connect-timeout-ms"),
        ([(b"connect-timeout-ms", "٣".encode())], "connect-timeout-ms"),
        ([(b"connect-protocol-version", b"2")], "connect-protocol-version"),
        ([(b"shoal-client", b"")], "shoal-client"),
        ([(b"shoal-client", b"a b")], "shoal-client"),
        ([(b"shoal-client", b"x" * 65)], "shoal-client"),
    ],
)
def test_a_header_that_cannot_be_used_is_named(fields: Fields, field: str) -> None:
    head = read(HOST, PROTO, *fields)
    assert isinstance(head, RefusedHead)
    error = error_from_answer(head.failure.http_status, head.failure.body)
    assert (type(error), error.details.field) == (InvalidArgument, field)
    assert not head.at_once


def test_the_refusals_of_the_protocol() -> None:
    assert refused(read(HOST, PROTO, path=b"/shoal.v1.Search/Find")) == (404, "unimplemented", b"")
    assert refused(read(HOST, PROTO, method=b"GET")) == (405, "unimplemented", b"allow: POST\r\n")
    assert refused(read(HOST, method=b"POST", path=b"/health")) == (405, "unimplemented", b"allow: GET\r\n")
    accepted = b"accept-post: application/proto, application/json\r\n"
    for kind in (b"application/connect+proto", b"application/grpc", b"text/plain", b""):
        assert refused(read(HOST, (b"content-type", kind))) == (415, "unimplemented", accepted)
    assert refused(read(HOST)) == (415, "unimplemented", accepted)
    for coding in (b"gzip", b"br", b"gzip, identity"):
        status, code, headers = refused(read(HOST, PROTO, (b"content-encoding", coding)))
        assert (status, code, headers) == (501, "unimplemented", b"accept-encoding: identity\r\n")


def test_a_request_for_another_server_is_refused() -> None:
    fields = (HOST, PROTO, (b"shoal-server", b"me"))
    for server_id, served in ((b"me", True), (b"you", False)):
        head = read_head(method=b"POST", path=SEARCH_PATH, version="1.1", fields=fields, calls=CALLS, limits=LIMITS, server_id=server_id)
        assert isinstance(head, CallHead) is served
        if not served:
            assert refused(head) == (421, "unavailable", b"")
    assert isinstance(call(PROTO), CallHead)


def test_health_is_asked_without_a_type() -> None:
    assert read(HOST, method=b"GET", path=b"/health") == HealthHead()


@pytest.mark.parametrize("name", [b"host", b"CONTENT-TYPE", b"connect-timeout-ms", b"Content-Length", b"expect", b"shoal-client"])
def test_a_header_that_may_be_given_once_is_refused_when_it_is_given_twice(name: bytes) -> None:
    fields = [each for each in (HOST, PROTO) if each[0].lower() != name.lower()]
    head = read(*fields, (name, b"1"), (name.upper(), b"1"))
    assert isinstance(head, RefusedHead)
    assert (head.failure.http_status, head.at_once) == (400, True)
    assert f"the header {name.decode().lower()} is given twice" in head.failure.body.decode()


def test_other_headers_may_be_given_twice() -> None:
    fields = (PROTO, (b"x-trace", b"1"), (b"x-trace", b"2"))
    assert call(*fields).fields == (HOST, *fields)


@pytest.mark.parametrize(
    ("fields", "version", "status"),
    [
        ([HOST], "2.0", 505),
        ([], "1.1", 400),
        ([HOST, (b"transfer-encoding", b"chunked")], "1.0", 400),
        ([HOST, (b"transfer-encoding", b"chunked"), (b"content-length", b"1")], "1.1", 400),
        ([HOST, (b"transfer-encoding", b"gzip")], "1.1", 501),
        ([HOST, (b"content-length", b"1,1")], "1.1", 400),
        ([HOST, (b"content-length", b"1" * 30)], "1.1", 400),
        ([HOST, (b"content-length", b"66537")], "1.1", 413),
    ],
)
def test_a_body_that_cannot_be_delimited_or_is_too_large_ends_the_connection(fields: Fields, version: str, status: int) -> None:
    head = read(*fields, PROTO, version=version)
    assert isinstance(head, RefusedHead)
    assert (head.failure.http_status, head.at_once) == (status, True)


def test_a_body_as_large_as_a_message_may_be_is_taken() -> None:
    assert call(PROTO, (b"content-length", b"%d" % LIMITS.body_bytes))


def test_a_refused_peer_that_waits_is_answered_before_it_sends_its_body() -> None:
    head = read(HOST, path=b"/nothing")
    assert isinstance(head, RefusedHead)
    assert not head.at_once
    head = read(HOST, (b"expect", b"100-continue"), path=b"/nothing")
    assert isinstance(head, RefusedHead)
    assert head.at_once


def test_headers_are_metadata() -> None:
    fields = [(b"X-Trace", b"caf\xe9"), (b"token-bin", b"AAE"), (b"other-bin", b"AAE="), (b"bad-bin", b"*")]
    assert metadata_of(fields) == [("x-trace", "café"), ("token-bin", b"\x00\x01"), ("other-bin", b"\x00\x01")]


NAMES = st.sampled_from(
    [b"host", b"content-type", b"content-length", b"transfer-encoding", b"content-encoding", b"expect", b"connect-timeout-ms", b"x-bin"]
)
VALUES = st.one_of(st.binary(max_size=8), st.sampled_from([b"application/proto", b"chunked", b"100-continue", b"5", b"gzip"]))


@settings(deadline=None, max_examples=200)
@given(
    fields=st.lists(st.tuples(NAMES, VALUES), max_size=6),
    method=st.sampled_from([b"POST", b"GET", b"HEAD", b"M-SEARCH"]),
    path=st.one_of(st.sampled_from([SEARCH_PATH, b"/health", b"*"]), st.binary(max_size=5)),
    version=st.sampled_from(["1.1", "1.0", "0.9", "9.9"]),
)
def test_any_head_is_a_call_health_or_a_refusal_with_an_error_in_json(fields: Fields, method: bytes, path: bytes, version: str) -> None:
    head = read_head(method=method, path=path, version=version, fields=fields, calls=CALLS, limits=LIMITS)
    metadata_of(fields)
    if isinstance(head, RefusedHead):
        assert 400 <= head.failure.http_status < 600
        assert set(json.loads(head.failure.body)) <= {"code", "message", "details"}
    elif isinstance(head, CallHead):
        assert (method, path) == (b"POST", SEARCH_PATH)
    else:
        assert (method, path) == (b"GET", b"/health")
