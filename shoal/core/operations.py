"""The public calls by which operators balance a cluster and take workers out of it, and their answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from shoal.core.health import WorkerCondition
from shoal.core.rebalance import BalanceSettings, Drain, ItemState, PlanKind, PlanState, RebalanceEntry, RebalancePlan
from shoal.core.requests import Request

DEFAULT_LISTED_PLANS = 20
"""Plans of a page of the history, if the caller gives no limit."""

PLAN_IS_STALE = "fingerprint"
"""The field of the PreconditionFailed that refuses a plan because the cluster has changed since it was made."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanRebalance(Request):
    """Answered by RebalancePlan. Nothing is changed.

    undo: plan how to take back what the plan with this id did; "last" for the newest one; "" for a plan that balances.
    """

    undo: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ApplyRebalance(Request):
    """Answered by RebalanceProgress. Begins a plan, which goes on without the caller.

    plan_id: of the plan; plan: the whole plan, None if the coordinator made it lately and has it, or can make it again;
    request_id: the same for a retry of the same call.
    """

    writes: ClassVar[bool] = True
    plan_id: str
    plan: RebalancePlan | None = None
    asked_by: str = ""
    request_id: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class DescribeRebalance(Request):
    """Answered by RebalanceProgress. plan_id: "" for the plan that runs or ran last."""

    plan_id: str = ""


class PlanAction(StrEnum):
    """PAUSE: begin no further item; what is under way ends. CANCEL: what is under way is given up, or finished where
    this is less work.
    """

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"


@dataclass(frozen=True, kw_only=True, slots=True)
class ControlRebalance(Request):
    """Answered by RebalanceProgress. plan_id: "" for the plan that runs."""

    writes: ClassVar[bool] = True
    action: PlanAction
    plan_id: str = ""
    asked_by: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class SetBalance(Request):
    """Answered by BalanceSettings. None: as it is; all None: only show them."""

    writes: ClassVar[bool] = True
    auto: bool | None = None
    tolerance: float | None = None
    moves_at_once: int | None = None
    move_bytes_per_s: int | None = None
    asked_by: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ListRebalances(Request):
    """Answered by RebalanceHistory. limit: most plans."""

    limit: int = DEFAULT_LISTED_PLANS


@dataclass(frozen=True, kw_only=True, slots=True)
class ListWorkers(Request):
    """Answered by WorkerStandings."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DrainWorker(Request):
    """Answered by WorkerStanding. worker: its id, or the beginning of it.

    primaries_only: it leads nothing and keeps its copies.
    """

    writes: ClassVar[bool] = True
    worker: str
    primaries_only: bool = False
    asked_by: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class UndrainWorker(Request):
    """Answered by WorkerStanding. worker: its id, or the beginning of it."""

    writes: ClassVar[bool] = True
    worker: str
    asked_by: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ForgetWorker(Request):
    """Answered by WorkerForgotten. worker: its id, or the beginning of it. confirmed: without it nothing is changed."""

    writes: ClassVar[bool] = True
    worker: str
    confirmed: bool = False
    asked_by: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemProgress:
    """A move or hand-over of a plan. done_bytes of total_bytes are copied, at bytes_per_s; reason: in words, or ""."""

    number: int
    state: ItemState
    done_bytes: int = 0
    total_bytes: int = 0
    bytes_per_s: float = 0.0
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class RebalanceProgress:
    """An applied plan and how far its items are, by number.

    longest_wait_s: for which writes waited at one of its hand-overs so far, 0 if unknown.
    """

    entry: RebalanceEntry
    items: tuple[ItemProgress, ...]
    longest_wait_s: float = 0.0

    @property
    def over(self) -> bool:
        """Whether nothing more happens: the plan has ended, and no item of it is under way."""
        closed = self.entry.ended_ms > 0 or self.entry.state in (PlanState.DONE, PlanState.CANCELLED)
        return closed and not any(each.state.under_way for each in self.items)


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanSummary:
    """An applied plan, in short. Times in ms since 1970, 0 for not yet."""

    id: str
    kind: PlanKind
    subject: str
    state: PlanState
    asked_by: str
    started_ms: int
    ended_ms: int
    items: int
    done: int
    failed: int
    skipped: int
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RebalanceHistory:
    """Applied plans, newest first."""

    plans: tuple[PlanSummary, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerStanding:
    """A worker, live or not.

    state: up, or down; drain: None if it is not drained; replicas, primaries: by configuration; left: replicas that
    are to leave it, in a drain; memory_bytes, disk_bytes: of its replicas, 0 if unknown; memory_budget_bytes: 0 if
    unknown; started_ms: when its process began, in ms since 1970, 0 if unknown or down; down_s: for how long it has
    been gone; replaced_in_s: until its copies are replaced, None if it is up or that is under way.
    """

    worker: str
    state: WorkerCondition
    zone: str
    drain: Drain | None
    replicas: int
    primaries: int
    left: int
    memory_bytes: int
    disk_bytes: int
    memory_budget_bytes: int
    started_ms: int
    down_s: float = 0.0
    replaced_in_s: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerStandings:
    """The workers of a cluster, by id, and the settings of balancing."""

    workers: tuple[WorkerStanding, ...]
    balance: BalanceSettings = field(default_factory=BalanceSettings)


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerForgotten:
    """done: whether it is forgotten; else it only would be. down_s: for how long it has been gone, in seconds.

    copies: its replicas, which are replaced now.
    """

    done: bool
    worker: str
    down_s: float
    copies: int
