from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.errors import InvalidArgument
from shoal.core.health import WorkerCondition
from shoal.core.operations import ListRebalances
from shoal.core.rebalance import ItemState, PlanKind, PlanState
from shoal.v1 import operations_pb2
from shoal.wire.operations import (
    CALLS,
    METHODS,
    apply_from_message,
    control_from_message,
    history_from_message,
    planned_from_message,
    progress_from_message,
    standing_from_message,
)
from shoal.wire.public_calls import decoded
from shoal.wire.services import COORDINATOR, OPERATIONS
from tests.support.examples.rebalances import answers, requests
from tests.unit.shoal.wire.strategies import over_the_wire

KINDS = sorted(CALLS, key=lambda kind: kind.__name__)


def test_each_request_and_its_answer_have_an_rpc_at_the_router_and_at_the_leader() -> None:
    assert set(requests) == set(answers) == set(CALLS) == set(METHODS)
    names = {call.name for call in CALLS.values()}
    assert names == {each.name for each in OPERATIONS.methods}
    assert names < {each.name for each in COORDINATOR.methods}


@given(st.data())
@pytest.mark.parametrize("kind", KINDS)
def test_a_request_comes_back(kind: Any, data: st.DataObject) -> None:
    asked, call = data.draw(requests[kind]), CALLS[kind]
    assert call.read(over_the_wire(call.to_message(asked))) == asked


@given(st.data())
@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_comes_back(kind: Any, data: st.DataObject) -> None:
    answer, method = data.draw(answers[kind]), METHODS[kind]
    sent = CALLS[kind].written(answer)
    assert type(sent) is method.answer
    assert decoded(method, sent.SerializeToString(), "router:1") == answer


def test_words_of_a_newer_server_become_unknown() -> None:
    plan = operations_pb2.RebalancePlan(id="ab", kind="nightly")
    items = [operations_pb2.ItemProgress(number=1, state="thawing"), operations_pb2.ItemProgress(number=2, state="copying")]
    progress = progress_from_message(operations_pb2.RebalanceProgress(plan=plan, state="rehearsed", items=items))
    assert (progress.entry.plan.kind, progress.entry.state) == (PlanKind.UNKNOWN, PlanState.UNKNOWN)
    assert [each.state for each in progress.items] == [ItemState.UNKNOWN, ItemState.COPYING]
    assert planned_from_message(operations_pb2.PlanRebalanceResponse(plan=plan)).kind is PlanKind.UNKNOWN
    listed = operations_pb2.ListRebalancesResponse(plans=[operations_pb2.PlanSummary(kind="nightly", state="rehearsed")])
    (summary,) = history_from_message(listed).plans
    assert (summary.kind, summary.state) == (PlanKind.UNKNOWN, PlanState.UNKNOWN)
    assert standing_from_message(operations_pb2.WorkerStanding(state="asleep")).state is WorkerCondition.UNKNOWN


def test_a_plan_whose_words_are_unknown_ends_when_it_has_an_end() -> None:
    item = operations_pb2.ItemProgress(number=1, state="thawing")
    message = operations_pb2.RebalanceProgress(state="rehearsed", items=[item])
    assert not progress_from_message(message).over
    message.ended_ms = 5
    assert progress_from_message(message).over


@pytest.mark.parametrize("state", ["done", "cancelled"])
def test_a_plan_is_over_when_nothing_of_it_is_under_way(state: str) -> None:
    item = operations_pb2.ItemProgress(number=1, state="leaving")
    message = operations_pb2.RebalanceProgress(state=state, items=[item])
    assert not progress_from_message(message).over
    item.state = "done"
    assert progress_from_message(operations_pb2.RebalanceProgress(state=state, items=[item])).over
    assert not progress_from_message(operations_pb2.RebalanceProgress(state="paused", items=[item])).over


@pytest.mark.parametrize("word", ["", "nightly", "unknown", "Balance"])
def test_a_plan_of_an_unknown_kind_is_not_applied(word: str) -> None:
    asked = operations_pb2.ApplyRebalanceRequest(plan=operations_pb2.RebalancePlan(kind=word))
    with pytest.raises(InvalidArgument, match=rf"^plan.kind is '{word}', it must be one of balance, auto, drain, undo$") as caught:
        apply_from_message(asked)
    assert caught.value.details.field == "plan.kind"


def test_an_unknown_action_is_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"^action is 'stop', it must be one of pause, resume, cancel$"):
        control_from_message(operations_pb2.ControlRebalanceRequest(action="stop"))


def test_a_history_without_a_limit_has_the_usual_length() -> None:
    assert CALLS[ListRebalances].read(operations_pb2.ListRebalancesRequest()) == ListRebalances()
