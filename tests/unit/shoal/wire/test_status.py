from __future__ import annotations

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.errors import (
    BY_STATUS,
    ErrorDetails,
    Internal,
    InvalidArgument,
    NotConnected,
    NotFound,
    ResourceExhausted,
    ShoalError,
    Unavailable,
)
from shoal.v1 import common_pb2
from shoal.wire.status import DETAILS_KEY, code_of, details_to_metadata, error_from_exception, error_from_rpc, message_of
from tests.unit.shoal.wire.strategies import error_details


@settings(deadline=None)
@given(kind=st.sampled_from(list(BY_STATUS.values())), text=st.text(min_size=1, max_size=50), given_details=error_details)
def test_every_error_comes_back_with_its_details(kind: type[ShoalError], text: str, given_details: ErrorDetails) -> None:
    error = kind(text, given_details)
    got = error_from_rpc(code_of(error), message_of(error), details_to_metadata(error))
    assert (type(got), got.message, got.details) == (kind, text, given_details)


def test_what_does_not_fit_beside_other_metadata_is_cut() -> None:
    applied = {f"a/{number}": "no" for number in range(1_000)}
    error = Unavailable("x" * 10_000, ErrorDetails(applied=applied))
    assert message_of(error) == "x" * 3_069 + "..."
    assert sum(len(value) for _, value in details_to_metadata(error)) < 4_096


def percent_encoded(text: str) -> int:
    return sum(1 if 0x20 <= byte <= 0x7E and byte != 0x25 else 3 for byte in text.encode("utf-8"))


@pytest.mark.parametrize("sign", ["x", "%", "\n", "é", "語", "😀", "😀x", "\udc80"])
def test_a_message_is_cut_as_it_travels(sign: str) -> None:
    sent = message_of(Unavailable(sign * 4_000))
    assert sent.endswith("...")
    assert 3_072 - 12 <= percent_encoded(sent) <= 3_072
    fitting = message_of(Unavailable("😀" * 256))
    assert fitting == "😀" * 256


@pytest.mark.parametrize("sign", ["x", "語", "\udc80"])
def test_details_are_cut_too(sign: str) -> None:
    long = sign * 5_000
    given_details = ErrorDetails(field=long, limit=long, shard=long, applied={f"{number}{sign * 300}": "no" for number in range(64)})
    error = Unavailable("x", given_details)
    assert sum(len(value) for _, value in details_to_metadata(error)) <= 3_072
    got = error_from_rpc(code_of(error), message_of(error), details_to_metadata(error)).details
    assert all(text is not None and text.endswith("...") for text in (got.field, got.limit, got.shard))
    assert set(got.applied) <= {key.encode("utf-8", "replace").decode() for key in given_details.applied}
    assert got.applied


def test_details_that_cannot_be_read_are_no_details() -> None:
    got = error_from_rpc(grpc.StatusCode.NOT_FOUND, "nope", ((DETAILS_KEY, b"\xff"),))
    assert (type(got), got.details) == (NotFound, ErrorDetails())
    assert got.message != "nope", "it is not known to come from a server of Shoal"


def test_a_word_about_a_write_that_is_not_known_is_doubt() -> None:
    info = common_pb2.ErrorInfo(applied={"c/0": "perhaps", "c/1": "no"})
    got = error_from_rpc(grpc.StatusCode.UNAVAILABLE, "x", ((DETAILS_KEY, info.SerializeToString()),))
    assert got.details.applied == {"c/0": "maybe", "c/1": "no"}


def test_errors_that_are_not_ours() -> None:
    assert isinstance(error_from_rpc(grpc.StatusCode.CANCELLED, None, None), Unavailable)
    assert isinstance(error_from_rpc(grpc.StatusCode.UNIMPLEMENTED, "no such method", None), Internal)
    nameless = error_from_rpc(grpc.StatusCode.UNAVAILABLE, None, None)
    assert (type(nameless), nameless.message) == (NotConnected, "no connection to it at the moment")


def test_a_message_too_large_says_what_to_do() -> None:
    error = error_from_rpc(grpc.StatusCode.RESOURCE_EXHAUSTED, "Received message larger than max (9 vs. 4)", None)
    assert isinstance(error, ResourceExhausted)
    assert "send fewer points" in error.message


@pytest.mark.parametrize("other", [(), (("other", "x"),)])
def test_details_are_found_among_other_metadata(other: tuple[tuple[str, str], ...]) -> None:
    given_error = InvalidArgument("bad", ErrorDetails(index=0))
    trailing = grpc.aio.Metadata(*other, *details_to_metadata(given_error))
    got = error_from_exception(grpc.aio.AioRpcError(grpc.StatusCode.INVALID_ARGUMENT, grpc.aio.Metadata(), trailing, details="bad"))
    assert (type(got), got.details) == (InvalidArgument, given_error.details)
