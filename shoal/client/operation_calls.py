"""The verbs of both clients for balancing and for workers: `client.rebalance` and `client.workers`."""

from __future__ import annotations

import builtins
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, TypeVar

from shoal.client.documented import documented_as
from shoal.client.flow import Flow
from shoal.client.key_calls import AwaitedKeyCalls, KeyCalls
from shoal.client.operation_verbs import LAST_PLAN, LOOK_EVERY_S, pause_from_input
from shoal.client.verbs import Verbs
from shoal.core.operations import DEFAULT_LISTED_PLANS, PlanAction, PlanSummary, RebalanceProgress, WorkerForgotten, WorkerStanding
from shoal.core.rebalance import BalanceSettings, RebalancePlan

T = TypeVar("T")


class RebalanceCalls:
    """Plans that spread the data of a cluster over its workers, in proportion to what each may hold.

    A plan is a list of moves of replicas and of hand-overs of shards. Nothing is changed until it is applied. Then it
    goes on without the client, also when another coordinator takes over. One plan runs at a time.

    asked_by: the name of somebody for the audit, at most 64 characters. Every verb raises Unavailable while no
    coordinator leads.
    """

    def __init__(self, verbs: Verbs, run: Callable[[Flow[Any]], Any]) -> None:
        """run: runs a flow and returns its result."""
        self._verbs, self._run = verbs, run

    def plan(self, undo: str = "", *, timeout: float | None = None) -> RebalancePlan:
        """Return a plan that evens out the cluster, and change nothing; `plan.empty` says that there is nothing to do.

        `plan.moves` come in order, with the bytes of each and why; `plan.workers` says what each worker holds now and
        after it; `plan.pinned` and `plan.left` say what stays as it is, and why.

        undo: plan how to take back an applied plan, by its id or "last".
        """
        plan: RebalancePlan = self._run(self._verbs.plan_rebalance(undo, timeout))
        return plan

    def apply(self, plan: RebalancePlan | str, *, asked_by: str = "", timeout: float | None = None) -> RebalanceProgress:
        """Begin a plan, or one that was planned lately, by its id; return how far it is.

        Raises PreconditionFailed if the cluster has changed since it was made (a worker came or went, zones, budgets or
        homes of replicas are other ones, a replica has grown by much), or another plan runs; the message says
        which. Nothing is changed then.
        """
        progress: RebalanceProgress = self._run(self._verbs.apply_rebalance(plan, asked_by, timeout))
        return progress

    def undo(self, plan_id: str = LAST_PLAN, *, asked_by: str = "", timeout: float | None = None) -> RebalanceProgress:
        """Begin to take back an applied plan: the newest one, or that with this id. What has changed since then stays.

        Raises PreconditionFailed if nothing of it can be taken back. `plan(undo=...)` tells beforehand what can.
        """
        progress: RebalanceProgress = self._run(self._verbs.undo_rebalance(plan_id, asked_by, timeout))
        return progress

    def progress(self, plan_id: str = "", *, timeout: float | None = None) -> RebalanceProgress:
        """Return how far a plan is: the one with this id, or the one that runs, or ran last.

        `.over` says that it has ended, and `.items` what became of each move and hand-over. Raises NotFound if there is
        none.
        """
        progress: RebalanceProgress = self._run(self._verbs.rebalance_progress(plan_id, timeout))
        return progress

    def watch(self, plan_id: str = "", *, every: float = LOOK_EVERY_S, timeout: float | None = None) -> Iterator[RebalanceProgress]:
        """Iterate over the progress of a plan: what it is now, then each change, until the plan is over.

        plan_id: as in `progress`. every: seconds between two looks. timeout: of each look.
        """
        return self._watched(plan_id, pause_from_input(every), timeout)

    def _watched(self, plan_id: str, every_s: float, timeout: float | None) -> Iterator[RebalanceProgress]:
        progress: RebalanceProgress = self._run(self._verbs.rebalance_progress(plan_id, timeout))
        yield progress
        while not progress.over:
            progress = self._run(self._verbs.next_progress(progress, every_s, timeout))
            yield progress

    def pause(self, plan_id: str = "", *, asked_by: str = "", timeout: float | None = None) -> RebalanceProgress:
        """Begin no further item of the plan that runs; what is under way ends. Raises NotFound if none runs."""
        progress: RebalanceProgress = self._run(self._verbs.control_rebalance(PlanAction.PAUSE, plan_id, asked_by, timeout))
        return progress

    def resume(self, plan_id: str = "", *, asked_by: str = "", timeout: float | None = None) -> RebalanceProgress:
        """Go on with a plan that was paused."""
        progress: RebalanceProgress = self._run(self._verbs.control_rebalance(PlanAction.RESUME, plan_id, asked_by, timeout))
        return progress

    def cancel(self, plan_id: str = "", *, asked_by: str = "", timeout: float | None = None) -> RebalanceProgress:
        """End the plan that runs. What is under way is given up, or finished where this is less work."""
        progress: RebalanceProgress = self._run(self._verbs.control_rebalance(PlanAction.CANCEL, plan_id, asked_by, timeout))
        return progress

    def set(
        self,
        *,
        auto: bool | None = None,
        tolerance: float | None = None,
        moves_at_once: int | None = None,
        move_bytes_per_s: int | None = None,
        asked_by: str = "",
        timeout: float | None = None,
    ) -> BalanceSettings:
        """Change how plans run, and return all settings; None leaves a value as it is. They hold for the plan that runs
        as well.

        auto: plans are made and applied by themselves when the cluster is uneven for some time; tolerance: the share by
        which a worker may be off, above 0 and at most 1; moves_at_once: moves under way in the whole cluster;
        move_bytes_per_s: at each worker that data is read from.
        """
        flow = self._verbs.set_balance(
            auto=auto,
            tolerance=tolerance,
            moves_at_once=moves_at_once,
            move_bytes_per_s=move_bytes_per_s,
            asked_by=asked_by,
            timeout=timeout,
        )
        settings: BalanceSettings = self._run(flow)
        return settings

    def history(self, limit: int = DEFAULT_LISTED_PLANS, *, timeout: float | None = None) -> list[PlanSummary]:
        """Return the plans that were applied, newest first, at most `limit`."""
        plans: list[PlanSummary] = self._run(self._verbs.rebalance_history(limit, timeout))
        return plans


class WorkerCalls:
    """The workers of a cluster, and what operators do with them.

    worker: the id of a worker, or the beginning of one, if it is that of no other. Raises NotFound for an unknown one,
    and InvalidArgument if several begin so. asked_by: the name of somebody for the audit, at most 64 characters.
    """

    def __init__(self, verbs: Verbs, run: Callable[[Flow[Any]], Any]) -> None:
        """run: runs a flow and returns its result."""
        self._verbs, self._run = verbs, run

    def list(self, *, timeout: float | None = None) -> builtins.list[WorkerStanding]:
        """Return the workers by id, with those that hold replicas and are gone; a forgotten one is not among them."""
        workers: builtins.list[WorkerStanding] = self._run(self._verbs.list_workers(timeout))
        return workers

    def drain(
        self, worker: str, primaries: bool = False, wait: bool | float = True, *, asked_by: str = "", timeout: float | None = None
    ) -> WorkerStanding:
        """Move everything away from a worker, so that it can be switched off. Nothing is placed on it any more.

        primaries: only the lead of its shards moves, its replicas stay: for a restart. wait: return when it leads
        nothing and holds nothing (with `primaries`: leads nothing); a number: wait for at most so many seconds; False:
        return at once. timeout: of each call that is made meanwhile.

        Raises PreconditionFailed, and changes nothing, if the other workers cannot hold what it has, and
        DeadlineExceeded when it takes longer than `wait` seconds: it goes on to be drained then.
        """
        standing: WorkerStanding = self._run(self._verbs.drain_worker(worker, primaries, wait, asked_by, timeout))
        return standing

    def undrain(self, worker: str, *, asked_by: str = "", timeout: float | None = None) -> WorkerStanding:
        """Let a worker hold replicas and lead shards again. What has left it comes back with a plan."""
        standing: WorkerStanding = self._run(self._verbs.undrain_worker(worker, asked_by, timeout))
        return standing

    def forget(self, worker: str, confirm: bool = False, *, asked_by: str = "", timeout: float | None = None) -> WorkerForgotten:
        """Replace the replicas of a worker that will not return, now, and refuse it if it comes back.

        Without `confirm` nothing is changed, and the answer says what would be. Raises PreconditionFailed for a worker
        that is live, and if it has the only replica of a shard that may lead.
        """
        forgotten: WorkerForgotten = self._run(self._verbs.forget_worker(worker, confirm, asked_by, timeout))
        return forgotten


@documented_as(RebalanceCalls)
class AwaitedRebalanceCalls:
    """The verbs of RebalanceCalls, awaited; `watch` is an async iterator."""

    def __init__(self, verbs: Verbs, run: Callable[[Flow[Any]], Awaitable[Any]]) -> None:
        """run: runs a flow and returns its result."""
        self._verbs, self._run = verbs, run

    async def plan(self, undo: str = "", *, timeout: float | None = None) -> RebalancePlan:
        """See Client."""
        plan: RebalancePlan = await self._run(self._verbs.plan_rebalance(undo, timeout))
        return plan

    async def apply(self, plan: RebalancePlan | str, *, asked_by: str = "", timeout: float | None = None) -> RebalanceProgress:
        """See Client."""
        progress: RebalanceProgress = await self._run(self._verbs.apply_rebalance(plan, asked_by, timeout))
        return progress

    async def undo(self, plan_id: str = LAST_PLAN, *, asked_by: str = "", timeout: float | None = None) -> RebalanceProgress:
        """See Client."""
        progress: RebalanceProgress = await self._run(self._verbs.undo_rebalance(plan_id, asked_by, timeout))
        return progress

    async def progress(self, plan_id: str = "", *, timeout: float | None = None) -> RebalanceProgress:
        """See Client."""
        progress: RebalanceProgress = await self._run(self._verbs.rebalance_progress(plan_id, timeout))
        return progress

    def watch(self, plan_id: str = "", *, every: float = LOOK_EVERY_S, timeout: float | None = None) -> AsyncIterator[RebalanceProgress]:
        """See Client."""
        return self._watched(plan_id, pause_from_input(every), timeout)

    async def _watched(self, plan_id: str, every_s: float, timeout: float | None) -> AsyncIterator[RebalanceProgress]:
        progress: RebalanceProgress = await self._run(self._verbs.rebalance_progress(plan_id, timeout))
        yield progress
        while not progress.over:
            progress = await self._run(self._verbs.next_progress(progress, every_s, timeout))
            yield progress

    async def pause(self, plan_id: str = "", *, asked_by: str = "", timeout: float | None = None) -> RebalanceProgress:
        """See Client."""
        progress: RebalanceProgress = await self._run(self._verbs.control_rebalance(PlanAction.PAUSE, plan_id, asked_by, timeout))
        return progress

    async def resume(self, plan_id: str = "", *, asked_by: str = "", timeout: float | None = None) -> RebalanceProgress:
        """See Client."""
        progress: RebalanceProgress = await self._run(self._verbs.control_rebalance(PlanAction.RESUME, plan_id, asked_by, timeout))
        return progress

    async def cancel(self, plan_id: str = "", *, asked_by: str = "", timeout: float | None = None) -> RebalanceProgress:
        """See Client."""
        progress: RebalanceProgress = await self._run(self._verbs.control_rebalance(PlanAction.CANCEL, plan_id, asked_by, timeout))
        return progress

    async def set(
        self,
        *,
        auto: bool | None = None,
        tolerance: float | None = None,
        moves_at_once: int | None = None,
        move_bytes_per_s: int | None = None,
        asked_by: str = "",
        timeout: float | None = None,
    ) -> BalanceSettings:
        """See Client."""
        flow = self._verbs.set_balance(
            auto=auto,
            tolerance=tolerance,
            moves_at_once=moves_at_once,
            move_bytes_per_s=move_bytes_per_s,
            asked_by=asked_by,
            timeout=timeout,
        )
        settings: BalanceSettings = await self._run(flow)
        return settings

    async def history(self, limit: int = DEFAULT_LISTED_PLANS, *, timeout: float | None = None) -> list[PlanSummary]:
        """See Client."""
        plans: list[PlanSummary] = await self._run(self._verbs.rebalance_history(limit, timeout))
        return plans


@documented_as(WorkerCalls)
class AwaitedWorkerCalls:
    """The verbs of WorkerCalls, awaited."""

    def __init__(self, verbs: Verbs, run: Callable[[Flow[Any]], Awaitable[Any]]) -> None:
        """run: runs a flow and returns its result."""
        self._verbs, self._run = verbs, run

    async def list(self, *, timeout: float | None = None) -> builtins.list[WorkerStanding]:
        """See Client."""
        workers: builtins.list[WorkerStanding] = await self._run(self._verbs.list_workers(timeout))
        return workers

    async def drain(
        self, worker: str, primaries: bool = False, wait: bool | float = True, *, asked_by: str = "", timeout: float | None = None
    ) -> WorkerStanding:
        """See Client."""
        standing: WorkerStanding = await self._run(self._verbs.drain_worker(worker, primaries, wait, asked_by, timeout))
        return standing

    async def undrain(self, worker: str, *, asked_by: str = "", timeout: float | None = None) -> WorkerStanding:
        """See Client."""
        standing: WorkerStanding = await self._run(self._verbs.undrain_worker(worker, asked_by, timeout))
        return standing

    async def forget(self, worker: str, confirm: bool = False, *, asked_by: str = "", timeout: float | None = None) -> WorkerForgotten:
        """See Client."""
        forgotten: WorkerForgotten = await self._run(self._verbs.forget_worker(worker, confirm, asked_by, timeout))
        return forgotten


class OperationCalls(ABC):
    """The verbs of the blocking client for operators, by what they are about."""

    _verbs: Verbs

    @property
    def rebalance(self) -> RebalanceCalls:
        """The verbs that spread the data over the workers: `plan`, `apply`, `watch` and more."""
        return RebalanceCalls(self._verbs, self._run)

    @property
    def workers(self) -> WorkerCalls:
        """The verbs for workers: `list`, `drain`, `undrain`, `forget`."""
        return WorkerCalls(self._verbs, self._run)

    @property
    def keys(self) -> KeyCalls:
        """The verbs for API keys: `create`, `list`, `revoke`."""
        return KeyCalls(self._verbs, self._run)

    @abstractmethod
    def _run(self, flow: Flow[T]) -> T:
        """Run a flow; return its result."""


class AwaitedOperationCalls(ABC):
    """The verbs of the asyncio client for operators, by what they are about."""

    _verbs: Verbs

    @property
    def rebalance(self) -> AwaitedRebalanceCalls:
        """The verbs that spread the data over the workers: `plan`, `apply`, `watch` and more."""
        return AwaitedRebalanceCalls(self._verbs, self._run)

    @property
    def workers(self) -> AwaitedWorkerCalls:
        """The verbs for workers: `list`, `drain`, `undrain`, `forget`."""
        return AwaitedWorkerCalls(self._verbs, self._run)

    @property
    def keys(self) -> AwaitedKeyCalls:
        """The verbs for API keys: `create`, `list`, `revoke`."""
        return AwaitedKeyCalls(self._verbs, self._run)

    @abstractmethod
    async def _run(self, flow: Flow[T]) -> T:
        """Run a flow; return its result."""
