"""Test that the public service forwards recoveries of shards and questions about the audit to the leading
coordinator.
"""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from shoal.core.errors import InvalidArgument, PreconditionFailed, Unavailable
from shoal.core.ids import WorkerId
from shoal.core.recovery import RecoveryRequest
from shoal.core.requests import ListAudit, RecoverShard
from shoal.router.rpc.collections_service import CollectionsService
from shoal.v1 import collections_pb2
from shoal.wire.recovery import recover_to_message, recovery_from_message
from tests.twins.cluster import TwinCluster

ASKED = RecoveryRequest(name="a", number=1, worker=WorkerId("w1"), accept_data_loss=True, reason="why", asked_by="me@here", request_id="r1")


class Context:
    def time_remaining(self) -> float | None:
        return 10.0

    def peer(self) -> str:
        return "ipv4:10.0.0.7:5000"


class Desk:
    def __init__(self) -> None:
        self.cluster = TwinCluster()
        self.service = CollectionsService(
            administration=self.cluster.router.administration,
            default_timeout_s=5.0,
            optimize_timeout_s=5.0,
        )

    def recover(self, request: RecoveryRequest) -> Any:
        return asyncio.run(self.service.RecoverShard(recover_to_message(RecoverShard(asked=request)), Context()))

    @property
    def asked(self) -> list[RecoveryRequest]:
        return [call[2].asked for call in self.cluster.leader.calls if isinstance(call[2], RecoverShard)]


def test_a_recovery_goes_to_the_leader_with_where_it_came_from() -> None:
    desk = Desk()
    answer = desk.recover(ASKED)
    assert (answer.done, recovery_from_message(answer.recovery).chosen.worker) == (True, "w1")
    assert desk.asked == [dataclasses.replace(ASKED, asked_by="me@here from ipv4:10.0.0.7:5000")]
    assert not desk.recover(dataclasses.replace(ASKED, accept_data_loss=False)).done


def test_a_retry_on_the_way_is_the_same_call_also_when_the_caller_names_none() -> None:
    desk = Desk()
    desk.cluster.leader.answers = [Unavailable("not the leader"), Unavailable("connection lost")]
    desk.recover(dataclasses.replace(ASKED, request_id="", asked_by=""))
    assert len(desk.asked) == 3
    assert len({each.request_id for each in desk.asked}) == 1
    assert desk.asked[0].request_id
    assert desk.asked[0].asked_by == "somebody from ipv4:10.0.0.7:5000"


def test_a_refusal_is_handed_on() -> None:
    desk = Desk()
    desk.cluster.leader.answers = [PreconditionFailed("the one on worker w0 is there")]
    with pytest.raises(PreconditionFailed, match="w0 is there"):
        desk.recover(ASKED)


@pytest.mark.parametrize("changes", [{"name": "a b"}, {"request_id": "x" * 65}, {"asked_by": "x" * 65}, {"worker": "x" * 65}])
def test_what_cannot_be_is_refused_before_the_leader_is_asked(changes: dict[str, Any]) -> None:
    desk = Desk()
    with pytest.raises(InvalidArgument):
        desk.recover(dataclasses.replace(ASKED, **changes))
    assert desk.cluster.leader.calls == []


def test_the_audit_is_asked_page_by_page() -> None:
    desk = Desk()
    answer = asyncio.run(desk.service.ListAudit(collections_pb2.ListAuditRequest(limit=3, before="k"), Context()))
    assert (list(answer.entries), answer.next) == ([], "next")
    (call,) = desk.cluster.leader.calls
    assert (call[0], call[2]) == ("audit", ListAudit(limit=3, before="k"))
