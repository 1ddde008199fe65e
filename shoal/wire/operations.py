"""Converts plans that balance a cluster, what operators ask about them and about workers, and the answers.

A word that this version does not know, for the kind or the state of something, becomes UNKNOWN in an answer of a newer
server. In a request it is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from google.protobuf.message import Message

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.health import WorkerCondition
from shoal.core.ids import WorkerId
from shoal.core.operations import (
    DEFAULT_LISTED_PLANS,
    ApplyRebalance,
    ControlRebalance,
    DescribeRebalance,
    DrainWorker,
    ForgetWorker,
    ItemProgress,
    ListRebalances,
    ListWorkers,
    PlanAction,
    PlanRebalance,
    PlanSummary,
    RebalanceHistory,
    RebalanceProgress,
    SetBalance,
    UndrainWorker,
    WorkerForgotten,
    WorkerStanding,
    WorkerStandings,
)
from shoal.core.rebalance import BalanceSettings, Drain, ItemState, PlanKind, PlanState, RebalanceEntry, RebalancePlan
from shoal.core.requests import Request
from shoal.core.shown import shown
from shoal.v1 import operations_pb2
from shoal.wire.method import Method, Methods, serialized
from shoal.wire.rebalance_plans import plan_from_message, plan_to_message

Word = TypeVar("Word", bound=StrEnum)


def plan_request_to_message(request: PlanRebalance) -> operations_pb2.PlanRebalanceRequest:
    """Return the request for a plan as a message."""
    return operations_pb2.PlanRebalanceRequest(undo=request.undo)


def plan_request_from_message(message: operations_pb2.PlanRebalanceRequest) -> PlanRebalance:
    """Return the request for a plan."""
    return PlanRebalance(undo=message.undo)


def planned_to_message(plan: RebalancePlan) -> operations_pb2.PlanRebalanceResponse:
    """Return the answer with a plan as a message."""
    return operations_pb2.PlanRebalanceResponse(plan=plan_to_message(plan))


def planned_from_message(message: operations_pb2.PlanRebalanceResponse) -> RebalancePlan:
    """Return the plan of an answer."""
    return plan_from_message(message.plan, _known(PlanKind, message.plan.kind))


def apply_to_message(request: ApplyRebalance) -> operations_pb2.ApplyRebalanceRequest:
    """Return the request to apply a plan as a message."""
    return operations_pb2.ApplyRebalanceRequest(
        plan_id=request.plan_id,
        plan=None if request.plan is None else plan_to_message(request.plan),
        asked_by=request.asked_by,
        request_id=request.request_id,
    )


def apply_from_message(message: operations_pb2.ApplyRebalanceRequest) -> ApplyRebalance:
    """Return the request to apply a plan. Raises InvalidArgument for a kind of plan that this version does not know."""
    return ApplyRebalance(
        plan_id=message.plan_id,
        plan=plan_from_message(message.plan, asked_kind(message.plan.kind)) if message.HasField("plan") else None,
        asked_by=message.asked_by,
        request_id=message.request_id,
    )


def describe_to_message(request: DescribeRebalance) -> operations_pb2.DescribeRebalanceRequest:
    """Return the question how far a plan is as a message."""
    return operations_pb2.DescribeRebalanceRequest(plan_id=request.plan_id)


def describe_from_message(message: operations_pb2.DescribeRebalanceRequest) -> DescribeRebalance:
    """Return the question how far a plan is."""
    return DescribeRebalance(plan_id=message.plan_id)


def control_to_message(request: ControlRebalance) -> operations_pb2.ControlRebalanceRequest:
    """Return the request to pause, resume or cancel a plan as a message."""
    return operations_pb2.ControlRebalanceRequest(action=request.action, plan_id=request.plan_id, asked_by=request.asked_by)


def control_from_message(message: operations_pb2.ControlRebalanceRequest) -> ControlRebalance:
    """Return the request to pause, resume or cancel a plan. Raises InvalidArgument for another action."""
    action = _asked(PlanAction, "action", message.action)
    return ControlRebalance(action=action, plan_id=message.plan_id, asked_by=message.asked_by)


def progress_to_message(progress: RebalanceProgress) -> operations_pb2.RebalanceProgress:
    """Return an applied plan and its items as a message. What the store notes beside the plan is told by the items."""
    entry = progress.entry
    return operations_pb2.RebalanceProgress(
        plan=plan_to_message(entry.plan),
        state=entry.state,
        asked_by=entry.asked_by,
        started_ms=entry.started_ms,
        ended_ms=entry.ended_ms,
        items=map(_item_to_message, progress.items),
        longest_wait_s=progress.longest_wait_s,
    )


def progress_from_message(message: operations_pb2.RebalanceProgress) -> RebalanceProgress:
    """Return an applied plan and its items. given_up, outcomes and revision of its entry stay empty: see the items."""
    entry = RebalanceEntry(
        plan=plan_from_message(message.plan, _known(PlanKind, message.plan.kind)),
        state=_known(PlanState, message.state),
        asked_by=message.asked_by,
        started_ms=message.started_ms,
        ended_ms=message.ended_ms,
    )
    items = tuple(map(_item_from_message, message.items))
    return RebalanceProgress(entry=entry, items=items, longest_wait_s=message.longest_wait_s)


def _item_to_message(item: ItemProgress) -> operations_pb2.ItemProgress:
    return operations_pb2.ItemProgress(
        number=item.number,
        state=item.state,
        done_bytes=item.done_bytes,
        total_bytes=item.total_bytes,
        bytes_per_s=item.bytes_per_s,
        reason=item.reason,
    )


def _item_from_message(message: operations_pb2.ItemProgress) -> ItemProgress:
    return ItemProgress(
        number=message.number,
        state=_known(ItemState, message.state),
        done_bytes=message.done_bytes,
        total_bytes=message.total_bytes,
        bytes_per_s=message.bytes_per_s,
        reason=message.reason,
    )


def set_to_message(request: SetBalance) -> operations_pb2.SetBalanceRequest:
    """Return new settings of balancing as a message."""
    message = operations_pb2.SetBalanceRequest(
        tolerance=request.tolerance,
        moves_at_once=request.moves_at_once,
        move_bytes_per_s=request.move_bytes_per_s,
        asked_by=request.asked_by,
    )
    if request.auto is not None:
        message.auto = request.auto
    return message


def set_from_message(message: operations_pb2.SetBalanceRequest) -> SetBalance:
    """Return new settings of balancing; None for what stays."""
    return SetBalance(
        auto=message.auto if message.HasField("auto") else None,
        tolerance=message.tolerance if message.HasField("tolerance") else None,
        moves_at_once=message.moves_at_once if message.HasField("moves_at_once") else None,
        move_bytes_per_s=message.move_bytes_per_s if message.HasField("move_bytes_per_s") else None,
        asked_by=message.asked_by,
    )


def balance_to_message(settings: BalanceSettings) -> operations_pb2.BalanceSettings:
    """Return the settings of balancing as a message, without their revision."""
    return operations_pb2.BalanceSettings(
        auto=settings.auto,
        tolerance=settings.tolerance,
        moves_at_once=settings.moves_at_once,
        move_bytes_per_s=settings.move_bytes_per_s,
    )


def balance_from_message(message: operations_pb2.BalanceSettings) -> BalanceSettings:
    """Return the settings of balancing."""
    return BalanceSettings(
        auto=message.auto,
        tolerance=message.tolerance,
        moves_at_once=message.moves_at_once,
        move_bytes_per_s=message.move_bytes_per_s,
    )


def history_request_to_message(request: ListRebalances) -> operations_pb2.ListRebalancesRequest:
    """Return the request for the applied plans as a message."""
    return operations_pb2.ListRebalancesRequest(limit=request.limit)


def history_request_from_message(message: operations_pb2.ListRebalancesRequest) -> ListRebalances:
    """Return the request for the applied plans. A missing limit gets its default."""
    return ListRebalances(limit=message.limit or DEFAULT_LISTED_PLANS)


def history_to_message(history: RebalanceHistory) -> operations_pb2.ListRebalancesResponse:
    """Return the applied plans as a message."""
    return operations_pb2.ListRebalancesResponse(plans=map(_summary_to_message, history.plans))


def history_from_message(message: operations_pb2.ListRebalancesResponse) -> RebalanceHistory:
    """Return the applied plans."""
    return RebalanceHistory(plans=tuple(map(_summary_from_message, message.plans)))


def _summary_to_message(plan: PlanSummary) -> operations_pb2.PlanSummary:
    return operations_pb2.PlanSummary(
        id=plan.id,
        kind=plan.kind,
        subject=plan.subject,
        state=plan.state,
        asked_by=plan.asked_by,
        started_ms=plan.started_ms,
        ended_ms=plan.ended_ms,
        items=plan.items,
        done=plan.done,
        failed=plan.failed,
        skipped=plan.skipped,
        bytes=plan.bytes,
    )


def _summary_from_message(message: operations_pb2.PlanSummary) -> PlanSummary:
    return PlanSummary(
        id=message.id,
        kind=_known(PlanKind, message.kind),
        subject=message.subject,
        state=_known(PlanState, message.state),
        asked_by=message.asked_by,
        started_ms=message.started_ms,
        ended_ms=message.ended_ms,
        items=message.items,
        done=message.done,
        failed=message.failed,
        skipped=message.skipped,
        bytes=message.bytes,
    )


def workers_request_to_message(_: ListWorkers) -> operations_pb2.ListWorkersRequest:
    """Return the request for the workers as a message."""
    return operations_pb2.ListWorkersRequest()


def workers_request_from_message(_: operations_pb2.ListWorkersRequest) -> ListWorkers:
    """Return the request for the workers."""
    return ListWorkers()


def workers_to_message(standings: WorkerStandings) -> operations_pb2.ListWorkersResponse:
    """Return the workers and the settings of balancing as a message."""
    return operations_pb2.ListWorkersResponse(
        workers=map(standing_to_message, standings.workers), balance=balance_to_message(standings.balance)
    )


def workers_from_message(message: operations_pb2.ListWorkersResponse) -> WorkerStandings:
    """Return the workers and the settings of balancing."""
    return WorkerStandings(workers=tuple(map(standing_from_message, message.workers)), balance=balance_from_message(message.balance))


def standing_to_message(standing: WorkerStanding) -> operations_pb2.WorkerStanding:
    """Return a worker as a message."""
    return operations_pb2.WorkerStanding(
        worker=standing.worker,
        state=standing.state,
        zone=standing.zone,
        drain=None if standing.drain is None else _drain_to_message(standing.drain),
        replicas=standing.replicas,
        primaries=standing.primaries,
        left=standing.left,
        memory_bytes=standing.memory_bytes,
        disk_bytes=standing.disk_bytes,
        memory_budget_bytes=standing.memory_budget_bytes,
        started_ms=standing.started_ms,
        down_s=standing.down_s,
        replaced_in_s=standing.replaced_in_s,
    )


def standing_from_message(message: operations_pb2.WorkerStanding) -> WorkerStanding:
    """Return a worker. A state that this version does not know becomes UNKNOWN."""
    return WorkerStanding(
        worker=message.worker,
        state=WorkerCondition(message.state),
        zone=message.zone,
        drain=_drain_from_message(message.drain) if message.HasField("drain") else None,
        replicas=message.replicas,
        primaries=message.primaries,
        left=message.left,
        memory_bytes=message.memory_bytes,
        disk_bytes=message.disk_bytes,
        memory_budget_bytes=message.memory_budget_bytes,
        started_ms=message.started_ms,
        down_s=message.down_s,
        replaced_in_s=message.replaced_in_s if message.HasField("replaced_in_s") else None,
    )


def _drain_to_message(drain: Drain) -> operations_pb2.WorkerDrain:
    return operations_pb2.WorkerDrain(primaries_only=drain.primaries_only, asked_by=drain.asked_by, since_ms=drain.since_ms)


def _drain_from_message(message: operations_pb2.WorkerDrain) -> Drain:
    return Drain(primaries_only=message.primaries_only, asked_by=message.asked_by, since_ms=message.since_ms)


def drain_to_message(request: DrainWorker) -> operations_pb2.DrainWorkerRequest:
    """Return the request to drain a worker as a message."""
    return operations_pb2.DrainWorkerRequest(worker=request.worker, primaries_only=request.primaries_only, asked_by=request.asked_by)


def drain_from_message(message: operations_pb2.DrainWorkerRequest) -> DrainWorker:
    """Return the request to drain a worker."""
    return DrainWorker(worker=message.worker, primaries_only=message.primaries_only, asked_by=message.asked_by)


def undrain_to_message(request: UndrainWorker) -> operations_pb2.UndrainWorkerRequest:
    """Return the request to take a worker back as a message."""
    return operations_pb2.UndrainWorkerRequest(worker=request.worker, asked_by=request.asked_by)


def undrain_from_message(message: operations_pb2.UndrainWorkerRequest) -> UndrainWorker:
    """Return the request to take a worker back."""
    return UndrainWorker(worker=message.worker, asked_by=message.asked_by)


def forget_to_message(request: ForgetWorker) -> operations_pb2.ForgetWorkerRequest:
    """Return the request to forget a worker as a message."""
    return operations_pb2.ForgetWorkerRequest(worker=request.worker, confirmed=request.confirmed, asked_by=request.asked_by)


def forget_from_message(message: operations_pb2.ForgetWorkerRequest) -> ForgetWorker:
    """Return the request to forget a worker."""
    return ForgetWorker(worker=message.worker, confirmed=message.confirmed, asked_by=message.asked_by)


def forgotten_to_message(forgotten: WorkerForgotten) -> operations_pb2.ForgetWorkerResponse:
    """Return what became of a request to forget a worker as a message."""
    return operations_pb2.ForgetWorkerResponse(
        done=forgotten.done, worker=forgotten.worker, down_s=forgotten.down_s, copies=forgotten.copies
    )


def forgotten_from_message(message: operations_pb2.ForgetWorkerResponse) -> WorkerForgotten:
    """Return what became of a request to forget a worker."""
    return WorkerForgotten(done=message.done, worker=WorkerId(message.worker), down_s=message.down_s, copies=message.copies)


def asked_kind(word: str) -> PlanKind:
    """Return the kind of a plan that a caller gives. Raises InvalidArgument for an unknown one."""
    return _asked(PlanKind, "plan.kind", word, PlanKind.UNKNOWN)


def _known(words: type[Word], word: str) -> Word:
    """Return the member of an enum, its UNKNOWN for another word."""
    return next((each for each in words if each == word), words["UNKNOWN"])


def _asked(words: type[Word], field: str, word: str, *refused: Word) -> Word:
    """Return the member of an enum. Raises InvalidArgument for another word, and for one that is refused."""
    allowed = [each for each in words if each not in refused]
    found = next((each for each in allowed if each == word), None)
    if found is None:
        raise InvalidArgument(f"{field} is {shown(word)}, it must be one of {', '.join(allowed)}", ErrorDetails(field=field))
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class OperationCall:
    """The RPC of one request, at a router and at the leading coordinator. name: of the RPC.

    to_message, read: the request to its message and back; written, from_message: the answer to its message and back;
    answer: the class of that message.
    """

    name: str
    to_message: Callable[[Any], Message]
    read: Callable[[Any], Request]
    written: Callable[[Any], Message]
    from_message: Callable[[Any], Any]
    answer: Any


def _call(name: str, to_message: Any, read: Any, written: Any, from_message: Any, answer: Any) -> OperationCall:
    return OperationCall(name=name, to_message=to_message, read=read, written=written, from_message=from_message, answer=answer)


_PROGRESS = (progress_to_message, progress_from_message, operations_pb2.RebalanceProgress)
_STANDING = (standing_to_message, standing_from_message, operations_pb2.WorkerStanding)

CALLS: Mapping[type[Request], OperationCall] = {
    PlanRebalance: _call(
        "PlanRebalance",
        plan_request_to_message,
        plan_request_from_message,
        planned_to_message,
        planned_from_message,
        operations_pb2.PlanRebalanceResponse,
    ),
    ApplyRebalance: _call("ApplyRebalance", apply_to_message, apply_from_message, *_PROGRESS),
    DescribeRebalance: _call("DescribeRebalance", describe_to_message, describe_from_message, *_PROGRESS),
    ControlRebalance: _call("ControlRebalance", control_to_message, control_from_message, *_PROGRESS),
    SetBalance: _call(
        "SetBalance", set_to_message, set_from_message, balance_to_message, balance_from_message, operations_pb2.BalanceSettings
    ),
    ListRebalances: _call(
        "ListRebalances",
        history_request_to_message,
        history_request_from_message,
        history_to_message,
        history_from_message,
        operations_pb2.ListRebalancesResponse,
    ),
    ListWorkers: _call(
        "ListWorkers",
        workers_request_to_message,
        workers_request_from_message,
        workers_to_message,
        workers_from_message,
        operations_pb2.ListWorkersResponse,
    ),
    DrainWorker: _call("DrainWorker", drain_to_message, drain_from_message, *_STANDING),
    UndrainWorker: _call("UndrainWorker", undrain_to_message, undrain_from_message, *_STANDING),
    ForgetWorker: _call(
        "ForgetWorker",
        forget_to_message,
        forget_from_message,
        forgotten_to_message,
        forgotten_from_message,
        operations_pb2.ForgetWorkerResponse,
    ),
}
"""The RPC of each class of request."""

METHODS: Methods = {
    kind: Method(path=f"/shoal.v1.Operations/{call.name}", encode=serialized(call.to_message), answer=call.answer, decode=call.from_message)
    for kind, call in CALLS.items()
}
