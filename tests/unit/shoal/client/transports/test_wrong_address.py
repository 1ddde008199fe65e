from __future__ import annotations

import grpc
import pytest

from shoal.cli.advice import next_step
from shoal.client.transports.wrong_address import error_of_call
from shoal.core.errors import BY_STATUS, ErrorDetails, Internal, PreconditionFailed, ShoalError, Unavailable
from shoal.wire.status import code_of, details_to_metadata, error_from_rpc

ADDRESS, PATH = "10.0.0.7:34567", "/shoal.v1.Points/Count"
CODES = [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]


class Failure:
    """Has what is read of an error that a gRPC stub raises."""

    def __init__(self, code: grpc.StatusCode, details: str | None, trailing: tuple[tuple[str, bytes], ...] | None = ()) -> None:
        self._code, self._details, self._trailing = code, details, trailing

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str | None:
        return self._details

    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...] | None:
        return self._trailing


def error_of(code: grpc.StatusCode, details: str | None) -> ShoalError:
    return error_of_call(Failure(code, details), ADDRESS, PATH)


@pytest.mark.parametrize("kind", sorted(BY_STATUS.values(), key=lambda each: each.status))
@pytest.mark.parametrize("message", ["x", "Received http2 header with status: 404", "Failed parsing HTTP/2"])
def test_what_a_router_says_arrives_as_it_is(kind: type[ShoalError], message: str) -> None:
    sent = kind(message, ErrorDetails(shard="c/0"))
    got = error_of_call(Failure(code_of(sent), message, details_to_metadata(sent)), ADDRESS, PATH)
    assert (type(got), got.message, got.details) == (kind, message, sent.details)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (grpc.StatusCode.UNIMPLEMENTED, "Method not found!"),
        (grpc.StatusCode.UNIMPLEMENTED, "unknown service shoal.v1.Points"),
        (grpc.StatusCode.UNIMPLEMENTED, "Received http2 header with status: 404"),
        (grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken: Authentication token is missing or incorrect"),
        (grpc.StatusCode.PERMISSION_DENIED, "Received http2 header with status: 403"),
        (grpc.StatusCode.UNKNOWN, "Received http2 header with status: 405"),
        (grpc.StatusCode.INTERNAL, "Received http2 header with status: 400"),
    ],
)
def test_somebody_else_is_named_at_once(code: grpc.StatusCode, said: str) -> None:
    error = error_of(code, said)
    assert type(error) is PreconditionFailed
    assert error.message.startswith(f"no router of Shoal answers at {ADDRESS}")
    assert said not in error.message, "gRPC's words are for the log"
    assert "'shoal up' prints" in error.message
    assert error.details.field == "address"
    assert "--address" in next_step(error)


@pytest.mark.parametrize(
    "said",
    [
        "failed to connect to all addresses; last error: UNAVAILABLE: ipv4:127.0.0.1:1: Failed parsing HTTP/2 (Expected SETTINGS frame as "
        "the first frame, got frame type 79)",
        "connection attempt timed out before receiving SETTINGS frame",
        "Trying to connect an http1.x server (HTTP status 400)",
        "Received http2 header with status: 503",
    ],
)
def test_what_may_change_is_asked_again(said: str) -> None:
    error = error_of(grpc.StatusCode.UNAVAILABLE, said)
    assert type(error) is Unavailable
    assert error.message.startswith(f"no router of Shoal answers at {ADDRESS} (the server there does not speak gRPC)")
    assert said not in error.message
    assert "--address" in next_step(error)


@pytest.mark.parametrize("code", CODES)
def test_an_unknown_status_is_not_reported_as_internal(code: grpc.StatusCode) -> None:
    """Only INTERNAL and UNKNOWN are reported as a defect (Internal), because gRPC itself may end a call to a router
    with them.
    """
    assert isinstance(error_of(code, "something"), Internal) == (code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN))


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED]
)
@pytest.mark.parametrize("said", ["Socket closed", "", None])
def test_what_grpc_says_of_a_call_to_a_router_is_as_before(code: grpc.StatusCode, said: str | None) -> None:
    failure, before = error_of(code, said), error_from_rpc(code, said or "", ())
    assert (type(failure), failure.message, failure.details) == (type(before), f"{ADDRESS}: {before.message}", before.details)
    assert type(error_of_call(Failure(code, said, None), ADDRESS, PATH)) is type(before)


def test_an_older_router_is_thought_of() -> None:
    assert "too old to know shoal.v1.Points/Count" in error_of(grpc.StatusCode.UNIMPLEMENTED, "Method not found!").message
