"""Carries out what operators ask of a cluster: plans that move replicas, workers drained or forgotten, settings of
balancing. Each request becomes one compare-and-swap with its entry in the audit; the rounds of the loop do the rest.

It answers only while this coordinator leads.
"""

from __future__ import annotations

import dataclasses

from shoal.coordinator.audit_log import SET_BALANCE, AuditLog
from shoal.coordinator.draining import Draining
from shoal.coordinator.logic.balance_settings import altered_balance, balance_changes
from shoal.coordinator.plans import Plans
from shoal.coordinator.user_request import UserRequest, UserRequests
from shoal.core.errors import Unavailable
from shoal.core.operations import (
    ApplyRebalance,
    ControlRebalance,
    DescribeRebalance,
    DrainWorker,
    ForgetWorker,
    ListRebalances,
    ListWorkers,
    PlanRebalance,
    RebalanceHistory,
    RebalanceProgress,
    SetBalance,
    UndrainWorker,
    WorkerForgotten,
    WorkerStanding,
    WorkerStandings,
)
from shoal.core.rebalance import BalanceSettings, RebalancePlan
from shoal.store.interface import Absent, Put, Transaction, Unchanged
from shoal.store.keys import Keys
from shoal.store.rebalance_codecs import decode_balance, encode_balance


class Operator:
    """All requests of operators but recoveries. timeout_s: for the whole of a request, in seconds."""

    def __init__(self, *, requests: UserRequests, keys: Keys, plans: Plans, draining: Draining, audit: AuditLog) -> None:
        self._requests, self._keys, self._plans, self._draining, self._audit = requests, keys, plans, draining, audit

    async def plan(self, request: PlanRebalance, timeout_s: float) -> RebalancePlan:
        """See Plans."""
        return await self._plans.plan(request, timeout_s)

    async def apply(self, request: ApplyRebalance, timeout_s: float) -> RebalanceProgress:
        """See Plans."""
        return await self._plans.apply(request, timeout_s)

    async def describe(self, request: DescribeRebalance, timeout_s: float) -> RebalanceProgress:
        """See Plans."""
        return await self._plans.describe(request, timeout_s)

    async def control(self, request: ControlRebalance, timeout_s: float) -> RebalanceProgress:
        """See Plans."""
        return await self._plans.control(request, timeout_s)

    async def history(self, request: ListRebalances, timeout_s: float) -> RebalanceHistory:
        """See Plans."""
        return await self._plans.history(request, timeout_s)

    async def set_balance(self, request: SetBalance, timeout_s: float) -> BalanceSettings:
        """Change settings of balancing, or only return them. Returns when this is committed.

        Raises InvalidArgument naming the value, Unavailable (not the leader, no store) or DeadlineExceeded.
        """
        asked = self._requests.begin(timeout_s, "no time was left for the settings of balancing; they may have been changed")

        async def attempt() -> BalanceSettings | None:
            asked.leads()
            before = await self._balance(asked)
            after = altered_balance(before, request)
            if after == before:
                return before
            key, reason = self._keys.balance, balance_changes(before, after)
            as_read = Unchanged(key=key, mod_revision=before.revision) if before.revision else Absent(key=key)
            entry = self._audit.entry(SET_BALANCE, subject="", reason=reason, asked_by=request.asked_by)
            put = Put(key=key, value=encode_balance(after))
            revision = await asked.committed(Transaction(compares=(asked.leads(), as_read), then=(put, entry)))
            if revision is None:
                return None
            await asked.shows(revision)
            return dataclasses.replace(after, revision=revision)

        return await asked.attempts(attempt, Unavailable("the settings of balancing could not be changed: the store's state kept changing"))

    async def workers(self, request: ListWorkers, timeout_s: float) -> WorkerStandings:
        """See Draining."""
        return await self._draining.workers(request, timeout_s)

    async def drain(self, request: DrainWorker, timeout_s: float) -> WorkerStanding:
        """See Draining."""
        return await self._draining.drain(request, timeout_s)

    async def undrain(self, request: UndrainWorker, timeout_s: float) -> WorkerStanding:
        """See Draining."""
        return await self._draining.undrain(request, timeout_s)

    async def forget(self, request: ForgetWorker, timeout_s: float) -> WorkerForgotten:
        """See Draining."""
        return await self._draining.forget(request, timeout_s)

    async def _balance(self, asked: UserRequest) -> BalanceSettings:
        found = await asked.get(self._keys.balance)
        return BalanceSettings() if found is None else decode_balance(found.key, found.value, found.mod_revision)
