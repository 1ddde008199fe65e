"""Makes plans, begins them at an operator's request, and tells how far they are. The rounds of the loop carry them out.

Making one is pure and may take seconds in a large cluster, so it is done on a thread.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import deque
from collections.abc import Callable
from typing import Protocol

from shoal.coordinator.audit_log import APPLY_PLAN, CANCEL_PLAN, PAUSE_PLAN, RESUME_PLAN, AuditLog
from shoal.coordinator.logic.applied_plans import States, progress_of, summary_of
from shoal.coordinator.logic.plan_check import check_form, check_items
from shoal.coordinator.logic.reported_sizes import Statuses
from shoal.coordinator.logic.undo import undone
from shoal.coordinator.plan_store import PlanStore, about_plan
from shoal.coordinator.user_request import UserRequest, UserRequests
from shoal.coordinator.worker_reports import WorkerReports
from shoal.core.cluster_map import ClusterMap
from shoal.core.errors import ErrorDetails, InvalidArgument, NotFound, PreconditionFailed, Unavailable
from shoal.core.operations import (
    PLAN_IS_STALE,
    ApplyRebalance,
    ControlRebalance,
    DescribeRebalance,
    ListRebalances,
    PlanAction,
    PlanRebalance,
    RebalanceHistory,
    RebalanceProgress,
)
from shoal.core.rebalance import BalanceSettings, PlanKind, PlanState, RebalanceEntry, RebalancePlan
from shoal.core.shown import shown

LAST = "last"
"""Names the newest plan in a request to undo one."""

MOST_MADE_PLANS = 20
"""Most plans that a coordinator remembers so that they can be applied by their id."""

_ACTIONS = {
    PlanAction.PAUSE: (PlanState.PAUSED, PAUSE_PLAN),
    PlanAction.RESUME: (PlanState.RUNS, RESUME_PLAN),
    PlanAction.CANCEL: (PlanState.CANCELLED, CANCEL_PLAN),
}


class PlanOf(Protocol):
    """Makes a plan. kind BALANCE or AUTO: for the whole cluster; DRAIN: for what drained workers hold. Pure."""

    def __call__(self, cluster: ClusterMap, reports: Statuses, settings: BalanceSettings, *, kind: PlanKind, subject: str) -> RebalancePlan:
        """Return the plan for this cluster."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PlanLogic:
    """The decisions about plans.

    plan_of: makes one; has_changed: returns in words what has changed in the cluster since a plan was made, nothing if
    it still fits; item_states: returns how far each item of an applied plan is, and why, by number.
    """

    plan_of: PlanOf
    has_changed: Callable[[RebalancePlan, ClusterMap, Statuses], list[str]]
    item_states: Callable[[ClusterMap, RebalanceEntry, Statuses], States]


class Plans:
    """Requests about plans. new_id: returns a text that is new with every call."""

    def __init__(
        self,
        *,
        requests: UserRequests,
        store: PlanStore,
        reports: WorkerReports,
        logic: PlanLogic,
        audit: AuditLog,
        new_id: Callable[[], str],
    ) -> None:
        self._requests, self._store, self._reports, self._logic = requests, store, reports, logic
        self._audit, self._new_id = audit, new_id
        self._planning = asyncio.Lock()
        self._made: dict[str, RebalancePlan] = {}
        self._told_of: deque[tuple[str, int]] = deque(maxlen=MOST_MADE_PLANS)

    async def plan(self, request: PlanRebalance, timeout_s: float) -> RebalancePlan:
        """Return a plan. Nothing is changed.

        Raises NotFound or PreconditionFailed (no plan to undo, or it has not ended), Unavailable (not the leader, no
        store) or DeadlineExceeded.
        """
        asked = self._begin(timeout_s)
        asked.leads()
        statuses = await self._reports.fresh()
        if request.undo:
            return await self._undoing(asked, request.undo, statuses)
        return await self.made(asked, statuses, asked.cluster.balance, PlanKind.BALANCE)

    async def made(
        self, asked: UserRequest, statuses: Statuses, settings: BalanceSettings, kind: PlanKind, subject: str = ""
    ) -> RebalancePlan:
        """Make a plan for the newest map, on a thread, and remember it."""
        if asked.cluster.cluster is None:
            raise Unavailable("the cluster has no id yet; try again in a moment")
        async with self._planning:
            plan = await asyncio.to_thread(self._logic.plan_of, asked.cluster, statuses, settings, kind=kind, subject=subject)
        return self._remembered(plan)

    async def apply(self, request: ApplyRebalance, timeout_s: float) -> RebalanceProgress:
        """Begin a plan, which goes on without the caller. Returns when this is committed.

        Raises InvalidArgument (a malformed plan), PreconditionFailed (the cluster has changed since it was made,
        another plan runs, there is nothing to do), Unavailable (not the leader, no store) or DeadlineExceeded.
        """
        asked = self._begin(timeout_s)
        asked.leads()
        if request.plan is not None and request.plan.id != request.plan_id:
            raise about_plan(InvalidArgument, f"the plan has the id {shown(request.plan.id)}, not {shown(request.plan_id)}")
        named, statuses = request.request_id or self._new_id(), await self._reports.fresh()

        async def attempt() -> RebalanceProgress | None:
            asked.leads()
            newest = await self._store.newest(asked)
            if await self._audit.carried_out(asked, APPLY_PLAN, request.plan_id, named):
                return await self._progress(asked, await self._store.found(asked, request.plan_id, newest))
            _check_free(newest)
            plan = await self._to_apply(asked, request, statuses)
            self._check(plan, asked.cluster, statuses)
            reason = f"{len(plan.moves)} moves, {len(plan.hand_overs)} hand-overs"
            entry = self._audit.entry(APPLY_PLAN, subject=plan.id, reason=reason, asked_by=request.asked_by, request_id=named)
            begun = await self._store.begin(asked, plan, newest, request.asked_by, audit=(entry,))
            return None if begun is None else await self._progress(asked, begun)

        return await asked.attempts(attempt, _unsettled(f"plan {shown(request.plan_id)} could not be applied"))

    async def describe(self, request: DescribeRebalance, timeout_s: float) -> RebalanceProgress:
        """Return how far a plan is. Raises NotFound, Unavailable (not the leader, no store) or DeadlineExceeded."""
        asked = self._begin(timeout_s)
        asked.leads()
        return await self._progress(asked, await self._store.found(asked, request.plan_id, await self._store.newest(asked)))

    async def control(self, request: ControlRebalance, timeout_s: float) -> RebalanceProgress:
        """Pause, resume or cancel the plan that runs. Does nothing if it is so already.

        Raises PreconditionFailed (no plan runs, or another one), Unavailable (not the leader, no store) or
        DeadlineExceeded.
        """
        asked = self._begin(timeout_s)
        wanted, action = _ACTIONS[request.action]

        async def attempt() -> RebalanceProgress | None:
            asked.leads()
            newest = _to_control(await self._store.newest(asked), request)
            if newest.state is wanted:
                return await self._progress(asked, newest)
            entry = self._audit.entry(action, subject=newest.plan.id, reason=f"its state was: {newest.state}", asked_by=request.asked_by)
            after = await self._store.set_state(asked, newest, wanted, audit=(entry,))
            return None if after is None else await self._progress(asked, after)

        return await asked.attempts(attempt, _unsettled(f"the plan could not be changed ({request.action})"))

    async def history(self, request: ListRebalances, timeout_s: float) -> RebalanceHistory:
        """Return applied plans, newest first: the one that runs, if one does, and those that ended.

        Raises InvalidArgument, Unavailable (not the leader, no store) or DeadlineExceeded.
        """
        if request.limit < 1:
            raise InvalidArgument(f"limit is {request.limit}, it must be at least 1", ErrorDetails(field="limit"))
        asked = self._begin(timeout_s)
        asked.leads()
        entries = await self._store.applied(asked, await self._store.newest(asked))
        summaries = [summary_of(entry, await self._states(asked, entry)) for entry in entries[: request.limit]]
        return RebalanceHistory(plans=tuple(summaries))

    def _begin(self, timeout_s: float) -> UserRequest:
        return self._requests.begin(timeout_s, "no time was left for the plan; it may have been changed, `shoal rebalance watch` tells")

    async def _undoing(self, asked: UserRequest, named: str, statuses: Statuses) -> RebalancePlan:
        newest = await self._store.newest(asked)
        entry = await self._store.found(asked, "" if named == LAST else named, newest)
        if not entry.ended:
            raise about_plan(PreconditionFailed, f"plan {entry.plan.id} has not ended: it can be undone when it has, or was cancelled")
        settings = asked.cluster.balance
        base = await self.made(asked, statuses, settings, PlanKind.BALANCE)
        return self._remembered(undone(entry, base, asked.cluster, statuses, settings))

    def _remembered(self, plan: RebalancePlan) -> RebalancePlan:
        self._made.pop(plan.id, None)
        self._made[plan.id] = plan
        for oldest in list(self._made)[:-MOST_MADE_PLANS]:
            del self._made[oldest]
        return plan

    async def _to_apply(self, asked: UserRequest, request: ApplyRebalance, statuses: Statuses) -> RebalancePlan:
        """Return the plan that is meant. If this coordinator does not remember it, it is made again."""
        found = request.plan or self._made.get(request.plan_id)
        if found is not None:
            return found
        for make in (self._balancing_again, self._undoing_again):
            plan = await make(asked, statuses)
            if plan is not None and plan.id == request.plan_id:
                return plan
        raise about_plan(
            PreconditionFailed,
            f"plan {shown(request.plan_id)} is not known here, and a plan made now is another one: the cluster has changed since",
            PLAN_IS_STALE,
        )

    async def _balancing_again(self, asked: UserRequest, statuses: Statuses) -> RebalancePlan | None:
        return await self.made(asked, statuses, asked.cluster.balance, PlanKind.BALANCE)

    async def _undoing_again(self, asked: UserRequest, statuses: Statuses) -> RebalancePlan | None:
        try:
            return await self._undoing(asked, LAST, statuses)
        except (NotFound, PreconditionFailed):
            # There is no plan to undo, so the plan that is asked for is none that undoes it.
            return None

    def _check(self, plan: RebalancePlan, cluster: ClusterMap, statuses: Statuses) -> None:
        check_form(plan)
        if plan.cluster != cluster.cluster:
            raise about_plan(PreconditionFailed, f"plan {plan.id} is for cluster {shown(plan.cluster)}, this is {cluster.cluster}")
        if plan.empty:
            raise about_plan(PreconditionFailed, f"nothing to do: plan {plan.id} has no moves and no hand-overs")
        changes = self._logic.has_changed(plan, cluster, statuses)
        if changes:
            raise about_plan(PreconditionFailed, f"the cluster has changed since this plan: {', '.join(changes)}", PLAN_IS_STALE)
        check_items(plan, cluster)

    async def _progress(self, asked: UserRequest, entry: RebalanceEntry) -> RebalanceProgress:
        applied = (entry.plan.id, entry.started_ms)
        if entry.ended and applied not in self._told_of:
            # Workers were last asked while it ran, and may have handed over since.
            await self._reports.ask()
            self._told_of.append(applied)
        return progress_of(entry, await self._states(asked, entry), self._reports.newest())

    async def _states(self, asked: UserRequest, entry: RebalanceEntry) -> States:
        await asked.shows(entry.revision)
        return self._logic.item_states(asked.cluster, entry, self._reports.newest())


def _check_free(newest: RebalanceEntry | None) -> None:
    """Raise PreconditionFailed, naming the plan, while one has not ended."""
    if newest is None or newest.ended:
        return
    plan = newest.plan.id
    if newest.active:
        how = "is paused" if newest.state is PlanState.PAUSED else "runs"
        raise about_plan(PreconditionFailed, f"plan {plan} {how}: wait until it ends, or end it with `shoal rebalance cancel`")
    raise about_plan(PreconditionFailed, f"plan {plan} was cancelled, and its last items are ending; try again in a moment")


def _to_control(newest: RebalanceEntry | None, request: ControlRebalance) -> RebalanceEntry:
    if newest is None:
        raise about_plan(PreconditionFailed, "no plan runs")
    plan, again = newest.plan.id, request.action is PlanAction.CANCEL and newest.state is PlanState.CANCELLED
    if request.plan_id and request.plan_id != plan:
        raise about_plan(PreconditionFailed, f"plan {shown(request.plan_id)} does not run, the newest one is {plan} ({newest.state})")
    if not newest.active and not again:
        raise about_plan(PreconditionFailed, f"no plan runs: {plan} is {newest.state}")
    return newest


def _unsettled(what: str) -> Unavailable:
    return Unavailable(f"{what}: the store's state kept changing", ErrorDetails(field="plan"))
