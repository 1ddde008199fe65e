"""Each verb of balancing and of workers as a flow: check the input, build the requests, convert the answers."""

from __future__ import annotations

import dataclasses
import uuid
from typing import Any

from shoal.client import inputs
from shoal.client.collection_verbs import READ_TIMEOUT_S, WRITE_TIMEOUT_S, CollectionVerbs
from shoal.client.flow import Flow, Sleep, answered
from shoal.core.errors import DeadlineExceeded, ErrorDetails, InvalidArgument, PreconditionFailed
from shoal.core.health import WorkerCondition
from shoal.core.notebook import Rows
from shoal.core.operations import (
    ApplyRebalance,
    ControlRebalance,
    DescribeRebalance,
    DrainWorker,
    ForgetWorker,
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
from shoal.core.rebalance import BalanceSettings, RebalancePlan
from shoal.core.shown import shown

LAST_PLAN = "last"
"""Names the newest plan, for one that takes it back."""

LOOK_EVERY_S = 0.5
"""Pause between two looks at a plan, or at a worker that is drained, in seconds."""

MOST_LISTED_PLANS = 100_000
MOST_MOVES_AT_ONCE = 1_024
_UINT64_MAX = 2**64 - 1


class OperationVerbs(CollectionVerbs):
    """The verbs of balancing and of workers. See CollectionVerbs."""

    def plan_rebalance(self, undo: str, timeout: float | None) -> Flow[RebalancePlan]:
        """Return a plan; nothing is changed."""
        return self._asked(PlanRebalance(undo=inputs.some_text("undo", undo)), timeout, WRITE_TIMEOUT_S)

    def apply_rebalance(self, plan: RebalancePlan | str, asked_by: str, timeout: float | None) -> Flow[RebalanceProgress]:
        """Begin a plan, only once even if retried."""
        if not isinstance(plan, (RebalancePlan, str)):
            raise InvalidArgument(f"plan is {shown(plan)}, it must be a plan, or the id of one", ErrorDetails(field="plan"))
        whole = plan if isinstance(plan, RebalancePlan) else None
        request = ApplyRebalance(
            plan_id=inputs.some_text("plan", plan if isinstance(plan, str) else plan.id),
            plan=whole,
            asked_by=inputs.some_text("asked_by", asked_by),
            request_id=uuid.uuid4().hex,
        )
        return self._asked(request, timeout, WRITE_TIMEOUT_S)

    def undo_rebalance(self, plan_id: str, asked_by: str, timeout: float | None) -> Flow[RebalanceProgress]:
        """Plan how to take a plan back, and begin that."""
        plan = yield from self.plan_rebalance(plan_id, timeout)
        if plan.empty:
            why = "; ".join(plan.left) or "everything is as it was"
            raise PreconditionFailed(f"nothing of the plan {plan.subject or plan_id} can be undone: {why}", ErrorDetails(field="plan"))
        return (yield from self.apply_rebalance(plan, asked_by, timeout))

    def rebalance_progress(self, plan_id: str, timeout: float | None) -> Flow[RebalanceProgress]:
        """Return how far a plan is; "": the one that runs, or ran last."""
        return self._asked(DescribeRebalance(plan_id=inputs.some_text("plan_id", plan_id)), timeout, READ_TIMEOUT_S)

    def next_progress(self, before: RebalanceProgress, every_s: float, timeout: float | None) -> Flow[RebalanceProgress]:
        """Wait until a plan is further than it was, and return how far it is."""
        while True:
            yield Sleep(every_s)
            now = yield from self.rebalance_progress(before.entry.plan.id, timeout)
            if now != before:
                return now

    def control_rebalance(self, action: PlanAction, plan_id: str, asked_by: str, timeout: float | None) -> Flow[RebalanceProgress]:
        """Pause, resume or cancel a plan; "": the one that runs."""
        request = ControlRebalance(
            action=action, plan_id=inputs.some_text("plan_id", plan_id), asked_by=inputs.some_text("asked_by", asked_by)
        )
        return self._asked(request, timeout, WRITE_TIMEOUT_S)

    def set_balance(
        self,
        *,
        auto: bool | None,
        tolerance: float | None,
        moves_at_once: int | None,
        move_bytes_per_s: int | None,
        asked_by: str,
        timeout: float | None,
    ) -> Flow[BalanceSettings]:
        """Change the settings that are given, and return all of them."""
        if auto is not None and not isinstance(auto, bool):
            raise InvalidArgument(f"auto is {shown(auto)}, it must be True or False", ErrorDetails(field="auto"))
        allowed = "a share above 0 and at most 1, as in 0.05 for 5 %"
        request = SetBalance(
            auto=auto,
            tolerance=None if tolerance is None else _above_zero("tolerance", tolerance, allowed, most=1.0),
            moves_at_once=None if moves_at_once is None else inputs.whole_number("moves_at_once", moves_at_once, MOST_MOVES_AT_ONCE),
            move_bytes_per_s=None if move_bytes_per_s is None else _rate(move_bytes_per_s),
            asked_by=inputs.some_text("asked_by", asked_by),
        )
        return self._asked(request, timeout, WRITE_TIMEOUT_S)

    def rebalance_history(self, limit: int, timeout: float | None) -> Flow[list[PlanSummary]]:
        """Return the newest applied plans."""
        request = ListRebalances(limit=inputs.whole_number("limit", limit, MOST_LISTED_PLANS))
        history: RebalanceHistory = yield from self._asked(request, timeout, READ_TIMEOUT_S)
        return Rows(history.plans)

    def list_workers(self, timeout: float | None) -> Flow[list[WorkerStanding]]:
        """Return the workers, by id."""
        return Rows((yield from self._standings(timeout)).workers)

    def drain_worker(self, worker: str, primaries: bool, wait: bool | float, asked_by: str, timeout: float | None) -> Flow[WorkerStanding]:
        """Begin to drain a worker, and wait until it is drained unless `wait` is False."""
        most_s = _seconds_to_wait(wait)
        request = DrainWorker(worker=_worker(worker), primaries_only=bool(primaries), asked_by=inputs.some_text("asked_by", asked_by))
        standing: WorkerStanding = yield from self._asked(request, timeout, WRITE_TIMEOUT_S)
        return standing if wait is False else (yield from self._drained(standing, most_s, timeout))

    def _drained(self, before: WorkerStanding, most_s: float | None, timeout: float | None) -> Flow[WorkerStanding]:
        """Wait until a worker that is being drained leads nothing, and holds nothing unless it keeps its replicas.

        Raises DeadlineExceeded after most_s seconds, and PreconditionFailed if the worker is not drained any more.
        """
        standing, waited_s = before, 0.0
        while not is_drained(standing):
            if most_s is not None and waited_s >= most_s:
                left = f"{standing.left} replicas are to leave it and it leads {standing.primaries} shards"
                raise DeadlineExceeded(f"worker {standing.worker} is not drained after {most_s:g} s, {left}; it goes on to be drained")
            pause_s = LOOK_EVERY_S if most_s is None else min(LOOK_EVERY_S, most_s - waited_s)
            waited_s += pause_s
            yield Sleep(pause_s)
            listed = yield from self._standings(timeout)
            now = next((each for each in listed.workers if each.worker == standing.worker), _gone(standing))
            if now.drain is None:
                raise PreconditionFailed(f"worker {standing.worker} is not drained any more", ErrorDetails(field="worker"))
            standing = now
        return standing

    def undrain_worker(self, worker: str, asked_by: str, timeout: float | None) -> Flow[WorkerStanding]:
        """Let a worker hold replicas again."""
        request = UndrainWorker(worker=_worker(worker), asked_by=inputs.some_text("asked_by", asked_by))
        return self._asked(request, timeout, WRITE_TIMEOUT_S)

    def forget_worker(self, worker: str, confirm: bool, asked_by: str, timeout: float | None) -> Flow[WorkerForgotten]:
        """Replace the replicas of a worker that will not return; without `confirm` only tell what that means."""
        request = ForgetWorker(worker=_worker(worker), confirmed=bool(confirm), asked_by=inputs.some_text("asked_by", asked_by))
        return self._asked(request, timeout, WRITE_TIMEOUT_S)

    def _standings(self, timeout: float | None) -> Flow[WorkerStandings]:
        return self._asked(ListWorkers(), timeout, READ_TIMEOUT_S)

    def _asked(self, request: Any, timeout: float | None, default_s: float) -> Flow[Any]:
        return answered(request, timeout_s=self._seconds(timeout, default_s), routers=self.routers)


def _gone(standing: WorkerStanding) -> WorkerStanding:
    """Return a worker that is not listed: its process has ended, and it holds nothing."""
    return dataclasses.replace(standing, state=WorkerCondition.DOWN, replicas=0, primaries=0, left=0)


def is_drained(standing: WorkerStanding) -> bool:
    """Return whether nothing is left to do for a drain: the worker leads nothing, and holds nothing unless it keeps its
    replicas.
    """
    keeps = standing.drain is not None and standing.drain.primaries_only
    return not standing.primaries and (keeps or not standing.replicas)


def _seconds_to_wait(wait: Any) -> float | None:
    if isinstance(wait, bool):
        return None
    return _above_zero("wait", wait, "True, False or a positive number of seconds")


def pause_from_input(every: Any) -> float:
    """Return a pause in seconds. Raises InvalidArgument."""
    return _above_zero("every", every, "a positive number of seconds")


def _above_zero(field: str, value: Any, allowed: str, most: float = float("inf")) -> float:
    number = inputs.real_number(field, value, allowed, least=0.0, most=most)
    if not number:
        raise InvalidArgument(f"{field} is {shown(value)}, it must be {allowed}", ErrorDetails(field=field))
    return number


def _rate(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _UINT64_MAX:
        said = f"move_bytes_per_s is {shown(value)}, it must be a whole number of bytes, at least 1"
        raise InvalidArgument(said, ErrorDetails(field="move_bytes_per_s"))
    return value


def _worker(value: Any) -> str:
    worker = inputs.some_text("worker", value)
    if not worker:
        raise InvalidArgument("worker is empty, give its id or the beginning of it", ErrorDetails(field="worker"))
    return worker
