"""Makes plans without an operator: one that empties a drained worker, and, if it is switched on, one that balances.

It also keeps the history short. It acts only while this coordinator leads, and costs next to nothing while nothing is
drained and automatic balancing is off.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable

from shoal.coordinator.logic.balance_settings import MOST_TOLERANCE
from shoal.coordinator.logic.balance_turn import BalanceMemory, EmptyWorker, LookAtBalance, all_whole, is_worth_it, next_turn
from shoal.coordinator.plan_store import PlanStore
from shoal.coordinator.plans import Plans
from shoal.coordinator.user_request import UserRequest, UserRequests
from shoal.coordinator.worker_reports import WorkerReports
from shoal.core.deadline import Clock
from shoal.core.errors import DeadlineExceeded, InvalidArgument, Unavailable
from shoal.core.ids import WorkerId
from shoal.core.rebalance import PlanKind, RebalancePlan
from shoal.runtime.change_signal import ChangeSignal
from shoal.runtime.logs import event
from shoal.store.interface import Compare, Unchanged
from shoal.store.keys import Keys
from shoal.store.observe import ObservedMap

log = logging.getLogger("shoal.coordinator.balancing")

EVERY_S = 1.0
"""Longest pause between two turns, in seconds."""

TURN_S = 30.0
"""Longest time in seconds for the calls of one turn."""

MOST_LOGGED = 3
"""Most reasons of a plan in a line of the log."""

AUTOMATIC = "automatic"
"""asked_by of plans that no operator asked for."""


class Balancing:
    """The turns of this coordinator. wall_ms: returns the time in ms since 1970."""

    def __init__(
        self,
        *,
        requests: UserRequests,
        keys: Keys,
        observer: ObservedMap,
        changes: ChangeSignal,
        reports: WorkerReports,
        plans: Plans,
        store: PlanStore,
        leads: Callable[[], bool],
        clock: Clock,
        wall_ms: Callable[[], int],
    ) -> None:
        self._requests, self._keys, self._observer, self._changes = requests, keys, observer, changes
        self._reports, self._plans, self._store = reports, plans, store
        self._leads, self._clock, self._wall_ms = leads, clock, wall_ms
        self._forget()

    def _forget(self) -> None:
        self._memory, self._trimmed_for = BalanceMemory(), ""

    async def run(self) -> None:
        """Take turns without end."""
        while True:
            heard = self._changes.count
            if self._leads():
                await self._take_turn()
            else:
                self._forget()
            await self._changes.wait(heard, EVERY_S)

    async def _take_turn(self) -> None:
        try:
            await self.turn()
        except (Unavailable, DeadlineExceeded) as error:
            # What was to be done is still to be done at the next turn.
            log.info(event("no_plan_now", reason=error.message))
        except InvalidArgument as error:
            # Too large for the store. It is made again after a pause, when the cluster may be another one.
            log.warning(event("plan_refused", reason=error.message))

    async def turn(self) -> None:
        """Make and put the plan that is due, if one is.

        Raises InvalidArgument (the plan is too large), Unavailable (the store does not answer, not the leader) or
        DeadlineExceeded.
        """
        cluster, now_s = self._observer.map, self._clock()
        self._memory = self._memory.seen(cluster, now_s)
        asked = self._requests.begin(TURN_S, "the store did not answer in time")
        await self._trim(asked)
        match next_turn(cluster, self._reports.newest(), self._memory, now_s=now_s, now_ms=self._wall_ms()):
            case EmptyWorker(worker=worker):
                await self._empty(asked, worker)
            case LookAtBalance() if all_whole(cluster):
                await self._balance(asked)
            case LookAtBalance():
                self._memory = self._memory.later(now_s)

    async def _trim(self, asked: UserRequest) -> None:
        """Keep the history short: once for each plan that ended, and once after this coordinator began to lead."""
        last = asked.cluster.rebalance
        ended = f"{last.plan.id} {last.started_ms}" if last is not None and last.ended else ""
        if ended and ended != self._trimmed_for:
            await self._store.trim(asked)
            self._trimmed_for = ended

    async def _empty(self, asked: UserRequest, worker: WorkerId) -> None:
        statuses, cluster = await self._reports.fresh(), asked.cluster
        drain = cluster.drains.get(worker)
        if drain is None:
            return
        self._memory = self._memory.emptied(cluster, worker, self._clock())
        plan = await self._plans.made(asked, statuses, cluster.balance, PlanKind.DRAIN, worker)
        drained = Unchanged(key=self._keys.drain(worker), mod_revision=drain.revision)
        await self._put(asked, plan, drain.asked_by, drained)

    async def _balance(self, asked: UserRequest) -> None:
        statuses, cluster = await self._reports.fresh(), asked.cluster
        self._memory = self._memory.looked(cluster, statuses, self._clock())
        plan = await self._plans.made(asked, statuses, cluster.balance, PlanKind.AUTO)
        if not is_worth_it(plan):
            # With the widest tolerance there are no moves for bytes: what is left to do is to spread primaries and
            # replicas over zones.
            wide = dataclasses.replace(cluster.balance, tolerance=MOST_TOLERANCE)
            plan = await self._plans.made(asked, statuses, wide, PlanKind.AUTO)
        switched_on = Unchanged(key=self._keys.balance, mod_revision=cluster.balance.revision)
        if await self._put(asked, plan, AUTOMATIC, switched_on):
            self._memory = self._memory.begun(self._clock())

    async def _put(self, asked: UserRequest, plan: RebalancePlan, asked_by: str, condition: Compare) -> bool:
        """Put a plan unless it is empty, another one came first, or the condition does not hold any more.

        Returns whether it has begun.
        """
        if plan.empty:
            if plan.kind is PlanKind.DRAIN:
                log.warning(event("drain_finds_no_place", worker=plan.subject, left="; ".join(plan.left[:MOST_LOGGED])))
            return False
        newest = await self._store.newest(asked)
        if newest is not None and not newest.ended:
            return False
        begun = await self._store.begin(asked, plan, newest, asked_by, compares=(condition,))
        if begun is None:
            return False
        log.info(event("plan_begun", plan=plan.id, kind=plan.kind, subject=plan.subject, moves=len(plan.moves)))
        await asked.shows(begun.revision)
        return True
