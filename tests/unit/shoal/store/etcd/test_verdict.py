from __future__ import annotations

import pytest

from shoal.core.errors import InvalidArgument, PermissionDenied, ShoalError, Unauthenticated
from shoal.store.etcd.verdict import Compacted, StaleToken, Untrusted, failed_connection, failed_login, failed_read, failed_write
from shoal.store.interface import LeaseNotFound, OutcomeUnknown, StoreUnavailable

REFUSALS = [
    ("INVALID_ARGUMENT", "etcdserver: duplicate key given in txn request", InvalidArgument),
    ("UNAUTHENTICATED", "another reason", Unauthenticated),
    ("UNAUTHENTICATED", "etcdserver: invalid auth token", StaleToken),
    ("INVALID_ARGUMENT", "etcdserver: revision of auth store is old", StaleToken),
    ("INVALID_ARGUMENT", "etcdserver: user name is empty", StaleToken),
    ("PERMISSION_DENIED", "etcdserver: permission denied", PermissionDenied),
    ("NOT_FOUND", "etcdserver: requested lease not found", LeaseNotFound),
]


@pytest.mark.parametrize(("code", "details", "error"), REFUSALS)
def test_a_refusal_is_a_refusal_for_reads_and_writes(code: str, details: str, error: type[ShoalError]) -> None:
    assert type(failed_read("e:1", code, details)) is error
    assert type(failed_write("e:1", code, details)) is error


@pytest.mark.parametrize(
    ("code", "details"),
    [
        ("UNAVAILABLE", "etcdserver: request timed out"),
        ("UNAVAILABLE", "etcdserver: request timed out, possibly due to previous leader failure"),
        ("UNAVAILABLE", "etcdserver: leader changed"),
        ("UNAVAILABLE", "etcdserver: server stopped"),
        ("UNAVAILABLE", "Socket closed"),
        ("UNAVAILABLE", "failed to connect to all addresses"),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded"),
        ("CANCELLED", "the connection was closed during the call"),
        ("RESOURCE_EXHAUSTED", "etcdserver: mvcc: database space exceeded"),
        ("INTERNAL", "anything"),
        ("UNKNOWN", "anything"),
    ],
)
def test_what_happens_after_sending_leaves_a_write_unknown_and_a_read_unanswered(code: str, details: str) -> None:
    assert type(failed_write("e:1", code, details)) is OutcomeUnknown
    assert type(failed_read("e:1", code, details)) is StoreUnavailable


@pytest.mark.parametrize(
    ("code", "details"),
    [
        ("UNAVAILABLE", "etcdserver: no leader"),
        ("RESOURCE_EXHAUSTED", "etcdserver: too many requests"),
    ],
)
def test_what_etcd_says_at_its_door_was_surely_not_applied(code: str, details: str) -> None:
    error = failed_write("e:1", code, details)
    assert type(error) is StoreUnavailable
    assert "e:1" in error.message
    assert details in error.message


def test_what_is_no_etcd_has_surely_applied_nothing_and_is_told_in_our_words() -> None:
    error = failed_write("e:1", "UNIMPLEMENTED", "unknown service etcdserverpb.KV")
    assert (type(error), error.message) == (
        StoreUnavailable,
        "the server at e:1 is not etcd, or does not know the calls of etcd 3; correct the endpoints",
    )


@pytest.mark.parametrize("fails", [failed_read, failed_write])
@pytest.mark.parametrize(
    ("code", "details", "said"),
    [
        ("UNAVAILABLE", "Socket closed", "the connection was lost"),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", "no answer came in time"),
        ("UNKNOWN", "Stream removed", "the connection was lost"),
    ],
)
def test_what_grpc_says_of_etcd_is_told_in_our_words(fails, code: str, details: str, said: str) -> None:
    assert fails("e:1", code, details).message == f"etcd at e:1 did not answer: {said}"


def test_why_etcd_cannot_be_connected_is_told_in_our_words() -> None:
    raw = "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Failed to connect to remote host: Connection refused"
    assert failed_read("e:1", "UNAVAILABLE", raw).message == "etcd at e:1 cannot be connected (refused, nothing listens there)"


def test_a_read_of_compacted_history_says_so() -> None:
    assert type(failed_read("e:1", "OUT_OF_RANGE", "etcdserver: mvcc: required revision has been compacted")) is Compacted


def test_a_refused_login_names_the_settings_and_an_etcd_without_authentication_needs_none() -> None:
    refused = failed_login("e:1", "ann", "INVALID_ARGUMENT", "etcdserver: authentication failed, invalid user ID or password")
    assert type(refused) is Unauthenticated
    assert "refused user 'ann': wrong name or password" in refused.message
    assert failed_login("e:1", "ann", "FAILED_PRECONDITION", "etcdserver: authentication is not enabled") is None
    assert type(failed_login("e:1", "ann", "UNAVAILABLE", "Socket closed")) is StoreUnavailable


@pytest.mark.parametrize(
    ("details", "error"),
    [
        ("", StoreUnavailable),
        ("failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Connection refused", StoreUnavailable),
        ("failed to connect to all addresses; last error: UNKNOWN: Ssl handshake failed: CERTIFICATE_VERIFY_FAILED", Untrusted),
    ],
)
def test_a_connection_that_fails_for_want_of_trust_says_so(details: str, error: type[ShoalError]) -> None:
    assert type(failed_connection("e:1", details)) is error
