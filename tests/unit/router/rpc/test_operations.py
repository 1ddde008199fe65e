"""Test that the public service Operations hands requests of operators on to the leading coordinator."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from shoal.core import operations as asked
from shoal.core.cluster_map import LeaderEntry
from shoal.core.errors import InvalidArgument, PreconditionFailed, Unavailable
from shoal.core.ids import Revision
from shoal.core.rebalance import MOST_MOVES
from shoal.core.requests import Request
from shoal.router.rpc.operations_service import OperationsService
from shoal.wire.operations import CALLS
from tests.twins.balancing import LOST, PLAN
from tests.twins.cluster import TwinCluster

REQUESTS: tuple[Request, ...] = (
    asked.SetBalance(moves_at_once=8, asked_by="me@here"),
    asked.PlanRebalance(),
    asked.ApplyRebalance(plan_id="8c1f09", asked_by="me@here", request_id="r1"),
    asked.DescribeRebalance(plan_id="8c1f09"),
    asked.ControlRebalance(action=asked.PlanAction.PAUSE, asked_by="me@here"),
    asked.ListRebalances(limit=3),
    asked.ListWorkers(),
    asked.DrainWorker(worker="3f", primaries_only=True, asked_by="me@here"),
    asked.UndrainWorker(worker="3f", asked_by="me@here"),
    asked.ForgetWorker(worker=LOST, confirmed=True, asked_by="me@here"),
)


class Context:
    def time_remaining(self) -> float | None:
        return 10.0

    def peer(self) -> str:
        return "ipv4:10.0.0.7:5000"


class OperatorsDesk:
    """A router's service over a leader that is a twin. told: the requests that came to the leader."""

    def __init__(self) -> None:
        self.cluster = TwinCluster()
        self.service = OperationsService(operators=self.cluster.router.operations, default_timeout_s=5.0)

    def ask(self, request: Request) -> Any:
        call = CALLS[type(request)]
        handler = getattr(self.service, call.name)
        return call.from_message(asyncio.run(handler(call.to_message(request), Context())))

    @property
    def told(self) -> list[Any]:
        return [call[2] for call in self.cluster.leader.calls if call[0] == "operate"]


def test_each_request_goes_to_the_leader_with_where_it_came_from_and_its_answer_comes_back() -> None:
    desk, twin = OperatorsDesk(), TwinCluster().leader.balancing
    assert {type(each) for each in REQUESTS} == set(CALLS)
    for request in REQUESTS:
        named = dataclasses.replace(request, asked_by="me@here from ipv4:10.0.0.7:5000") if hasattr(request, "asked_by") else request  # type: ignore[type-var]
        assert desk.ask(request) == getattr(twin, type(request).__name__)(named)
        assert desk.told[-1] == named


def test_a_retry_on_the_way_is_the_same_call_also_when_the_caller_names_none() -> None:
    desk = OperatorsDesk()
    leader = desk.cluster.leader
    leader.answers = [Unavailable("not the leader"), lambda: desk.cluster.change(leader=LeaderEntry(address="lead:2", created=Revision(8)))]
    desk.ask(asked.ApplyRebalance(plan_id="8c1f09"))
    assert len(desk.told) == 2
    assert len({each.request_id for each in desk.told}) == 1
    assert desk.told[0].request_id
    assert desk.told[0].asked_by == "somebody from ipv4:10.0.0.7:5000"


def test_a_refusal_is_handed_on_at_once() -> None:
    desk = OperatorsDesk()
    desk.cluster.leader.balancing.changed = True
    with pytest.raises(PreconditionFailed, match="the cluster has changed since this plan"):
        desk.ask(asked.ApplyRebalance(plan_id="8c1f09"))
    assert len(desk.told) == 1


def test_without_a_leader_the_call_ends_at_its_deadline() -> None:
    desk = OperatorsDesk()
    desk.cluster.change(leader=None)
    with pytest.raises(Unavailable, match="no coordinator leads the cluster; nothing is created, altered, dropped or moved until one does"):
        desk.ask(asked.ListWorkers())
    assert desk.told == []


MANY_MOVES = dataclasses.replace(PLAN, moves=PLAN.moves[:1] * (MOST_MOVES + 1))


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (asked.PlanRebalance(undo="x" * 65), "undo"),
        (asked.ApplyRebalance(plan_id="x" * 65), "plan_id"),
        (asked.ApplyRebalance(plan_id="a", request_id="x" * 65), "request_id"),
        (asked.ApplyRebalance(plan_id="a", plan=MANY_MOVES), "plan.moves"),
        (asked.DescribeRebalance(plan_id="x" * 65), "plan_id"),
        (asked.ControlRebalance(action=asked.PlanAction.PAUSE, asked_by="x" * 65), "asked_by"),
        (asked.DrainWorker(worker="x" * 65), "worker"),
        (asked.ForgetWorker(worker="x" * 65, confirmed=True), "worker"),
    ],
)
def test_what_cannot_be_is_refused_before_the_leader_is_asked(request_: Request, field: str) -> None:
    desk = OperatorsDesk()
    with pytest.raises(InvalidArgument, match="at most") as caught:
        desk.ask(request_)
    assert caught.value.details.field == field
    assert desk.told == []
