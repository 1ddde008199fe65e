"""Test the texts of gRPC: users read our words instead, and never a text of gRPC itself."""

from __future__ import annotations

import logging

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.errors import (
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
from shoal.wire.grpc_words import foreign_error
from shoal.wire.status import code_of, details_to_metadata, error_from_exception, error_from_rpc, message_of
from shoal.wire.tls_words import PLAIN_PORT
from tests.support.examples.grpc_says import GRPC_SAYS

FAILED = "failed to connect to all addresses; last error: "
BUSY = "the server takes no more calls for the moment"
LOST = (NotConnected, "the connection was lost")

NO_TLS = f"no connection: {PLAIN_PORT}"
SAID = [
    ("UNKNOWN", "Stream removed", *LOST),
    ("UNAVAILABLE", "Socket closed", *LOST),
    ("UNAVAILABLE", "recvmsg:Connection reset by peer", *LOST),
    ("UNAVAILABLE", "sendmsg: Broken pipe (32)", *LOST),
    ("UNAVAILABLE", "Connection reset by peer", *LOST),
    ("UNAVAILABLE", "GOAWAY received; Error code: 0; Debug Text: graceful_stop", *LOST),
    ("UNAVAILABLE", "ping timeout", *LOST),
    ("UNAVAILABLE", "keepalive watchdog timeout", *LOST),
    ("UNAVAILABLE", "endpoint closing", *LOST),
    ("UNAVAILABLE", "Transport closed", *LOST),
    ("UNAVAILABLE", "End of TCP stream", *LOST),
    ("INTERNAL", "Received RST_STREAM with error code 2", *LOST),
    ("UNAVAILABLE", "Received http2 header with status: 503 RST_STREAM", *LOST),
    ("CANCELLED", "Received RST_STREAM with error code 8", *LOST),
    ("CANCELLED", "Cancelling all calls", *LOST),
    (
        "UNAVAILABLE",
        f"{FAILED}UNKNOWN: ipv4:127.0.0.1:1: connect: Connection refused (111)",
        None,
        "refused",
    ),
    ("UNAVAILABLE", f"{FAILED}UNAVAILABLE: ipv4:10.0.0.1:1: connection attempt timed out before receiving SETTINGS frame", None, "in time"),
    ("UNAVAILABLE", f"{FAILED}UNKNOWN: ipv4:10.0.0.1:1: Failed to connect to remote host: FD shutdown", None, "in time"),
    ("UNAVAILABLE", f"{FAILED}UNKNOWN: ipv6:%5B::1%5D:1: connect: Network is unreachable (101)", None, "no route"),
    ("UNAVAILABLE", f"{FAILED}UNKNOWN: ipv4:10.0.0.1:1: connect: No route to host (113)", None, "no route"),
    (
        "UNAVAILABLE",
        f"{FAILED}INTERNAL: Trying to connect an http1.x server (HTTP status 400)",
        None,
        "not one of Shoal",
    ),
    (
        "UNAVAILABLE",
        f"{FAILED}UNKNOWN: ipv4:127.0.0.1:1: Ssl handshake failed: WRONG_VERSION_NUMBER",
        TlsMismatch,
        NO_TLS,
    ),
    ("UNAVAILABLE", f"{FAILED}UNAVAILABLE: ipv4:127.0.0.1:1: Socket closed", None, "closed at once"),
    ("UNAVAILABLE", "failed to connect to all addresses", None, "it cannot be reached"),
    ("UNAVAILABLE", "DNS resolution failed for h:1: C-ares status is not ARES_SUCCESS qtype=A name=h", None, "name is not known"),
    ("UNAVAILABLE", "Name or service not known", None, "name is not known"),
    ("UNAVAILABLE", "errors resolving h:1: [field:hostname lookup error:address lookup failed for h:1]", None, "name is not known"),
    ("UNAVAILABLE", f"{FAILED}UNKNOWN: ipv4:127.0.0.1:1: Failed to connect to remote host: Connection refused", None, "refused"),
    ("UNIMPLEMENTED", "Received http2 header with status: 404", Internal, None),
    ("UNAVAILABLE", "", NotConnected, "no connection to it at the moment"),
    ("CANCELLED", "", Unavailable, "the server cancelled the call"),
    ("DEADLINE_EXCEEDED", "Deadline Exceeded", DeadlineExceeded, "no answer came in time"),
    (
        "RESOURCE_EXHAUSTED",
        "CLIENT: Received message larger than max (40000000 vs. 33619968)",
        ResourceExhausted,
        "a message of 40,000,000 bytes is too large for the receiver, which takes 33,619,968; "
        "send fewer points or ask for fewer hits at once",
    ),
    ("UNAVAILABLE", "Too many pings", Unavailable, BUSY),
    (
        "RESOURCE_EXHAUSTED",
        "Bandwidth exhausted or memory limit exceeded",
        Unavailable,
        BUSY,
    ),
    ("INTERNAL", "Exception deserializing request!", Internal, None),
    ("INTERNAL", "Failed to parse response", Internal, None),
    ("UNKNOWN", "Exception calling application: list index out of range", Internal, "the call ended with unknown, without a reason"),
    ("UNIMPLEMENTED", "Method not found!", Internal, None),
    ("DATA_LOSS", "unrequited", None, None),
]


@pytest.mark.parametrize(("code", "text", "kind", "words"), SAID, ids=[text[-40:] for _, text, _, _ in SAID])
def test_what_grpc_says_is_told_in_our_words(code: str, text: str, kind: type[ShoalError] | None, words: str | None) -> None:
    error = foreign_error(code, text)
    if kind is not None:
        assert type(error) is kind
        assert words is None or error.message == words
    elif words is not None:
        assert type(error) is (NotReached if words in ("refused", "no route", "name is not known") else NotConnected)
        assert error.message.startswith("no connection: ")
        assert words in error.message
    assert [sign for sign in GRPC_SAYS if sign in error.message.lower()] == []


@given(st.sampled_from(list(grpc.StatusCode)), st.text(min_size=4, max_size=40))
def test_no_text_that_no_server_of_shoal_wrote_is_shown(code: grpc.StatusCode, text: str) -> None:
    error = error_from_rpc(code, f"<{text}>", None)
    assert f"<{text}>" not in error.message
    assert error.message


def test_what_a_server_of_shoal_says_is_kept_whatever_it_sounds_like() -> None:
    given_error = Unavailable("worker w1: Socket closed is what it said", ErrorDetails())
    got = error_from_rpc(code_of(given_error), message_of(given_error), details_to_metadata(given_error))
    assert (type(got), got.message) == (Unavailable, given_error.message)


def test_the_peer_is_named_and_the_technical_text_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    raw = grpc.aio.AioRpcError(grpc.StatusCode.UNKNOWN, grpc.aio.Metadata(), grpc.aio.Metadata(), details="Stream removed")
    with caplog.at_level(logging.DEBUG, logger="shoal.wire"):
        error = error_from_exception(raw, "h:1")
    assert (type(error), error.message) == (NotConnected, "h:1: the connection was lost")
    assert "code=UNKNOWN text='Stream removed'" in caplog.text
    ours = Unavailable("shard c/0 has no primary")
    told = grpc.aio.AioRpcError(
        grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(*details_to_metadata(ours)), details=ours.message
    )
    assert error_from_exception(told, "h:1").message == ours.message
