from __future__ import annotations

from hypothesis import given

from shoal.core.recovery import AuditEntry, Recovery, RecoveryRequest
from shoal.v1 import collections_pb2
from shoal.wire.recovery import (
    audit_from_message,
    audit_to_message,
    recovery_from_message,
    recovery_to_message,
    request_from_message,
    request_to_message,
)
from tests.support.examples.recoveries import entries, recoveries, requests


@given(recoveries)
def test_a_recovery_comes_back(recovery: Recovery) -> None:
    sent = recovery_to_message(recovery).SerializeToString()
    assert recovery_from_message(collections_pb2.Recovery.FromString(sent)) == recovery


@given(entries)
def test_an_audit_entry_comes_back(entry: AuditEntry) -> None:
    assert audit_from_message(collections_pb2.AuditEntry.FromString(audit_to_message(entry).SerializeToString())) == entry


@given(requests)
def test_a_request_comes_back(request: RecoveryRequest) -> None:
    sent = request_to_message(request).SerializeToString()
    assert request_from_message(collections_pb2.RecoverShardRequest.FromString(sent)) == request
