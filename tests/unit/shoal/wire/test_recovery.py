from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shoal.core.recovery import AuditEntry, Recovery, RecoveryRequest
from shoal.core.replies import AuditPage, ShardRecovery
from shoal.core.requests import ListAudit, RecoverShard
from shoal.v1 import collections_pb2
from shoal.wire.recovery import (
    audit_from_message,
    audit_page_from_message,
    audit_page_to_message,
    audit_request_from_message,
    audit_request_to_message,
    audit_to_message,
    recover_from_message,
    recover_to_message,
    recovered_from_message,
    recovered_to_message,
    recovery_from_message,
    recovery_to_message,
)
from tests.support.examples.recoveries import entries, recoveries, requests
from tests.unit.shoal.wire.strategies import over_the_wire


@given(recoveries)
def test_a_recovery_comes_back(recovery: Recovery) -> None:
    sent = recovery_to_message(recovery).SerializeToString()
    assert recovery_from_message(collections_pb2.Recovery.FromString(sent)) == recovery


@given(entries)
def test_an_audit_entry_comes_back(entry: AuditEntry) -> None:
    assert audit_from_message(collections_pb2.AuditEntry.FromString(audit_to_message(entry).SerializeToString())) == entry


@given(requests)
def test_a_request_comes_back(request: RecoveryRequest) -> None:
    asked = RecoverShard(asked=request)
    assert recover_from_message(over_the_wire(recover_to_message(asked))) == asked


@given(recoveries, st.booleans())
def test_what_was_recovered_comes_back(recovery: Recovery, done: bool) -> None:
    recovered = ShardRecovery(done=done, recovery=recovery)
    assert recovered_from_message(over_the_wire(recovered_to_message(recovered))) == recovered


@given(st.integers(1, 2**32 - 1), st.text(max_size=5), st.lists(entries, max_size=2).map(tuple))
def test_a_page_of_the_audit_and_its_question_come_back(limit: int, key: str, listed: tuple[AuditEntry, ...]) -> None:
    asked, page = ListAudit(limit=limit, before=key), AuditPage(entries=listed, following=key)
    assert audit_request_from_message(over_the_wire(audit_request_to_message(asked))) == asked
    assert audit_page_from_message(over_the_wire(audit_page_to_message(page))) == page
