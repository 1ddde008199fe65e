"""The leading coordinator's answers to operators, in a dictionary: one plan, which goes on when it is looked at, four
workers and a lost one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from shoal.core import operations as calls
from shoal.core.errors import ErrorDetails, InvalidArgument, NotFound, PreconditionFailed
from shoal.core.health import WorkerCondition
from shoal.core.ids import ClusterId, CollectionId, Revision, ShardId, WorkerId
from shoal.core.operations import (
    ItemProgress,
    PlanAction,
    PlanSummary,
    RebalanceHistory,
    RebalanceProgress,
    WorkerForgotten,
    WorkerStanding,
    WorkerStandings,
)
from shoal.core.rebalance import (
    BalanceSettings,
    Drain,
    ItemState,
    PlanKind,
    PlannedHandOver,
    PlannedMove,
    PlanState,
    RebalanceEntry,
    RebalancePlan,
    WorkerBalance,
)

MIB = 1024**2
A, B, C, NEW, LOST = map(WorkerId, ("3fa2-0001", "77c1-0002", "9be0-0003", "e41d-0004", "d1ed-0005"))
CHANGED = "the cluster has changed since this plan: worker 9be0-0003 is down"
NOW_MS = 1_700_000_000_000


def shard(collection: str, number: int) -> ShardId:
    return ShardId(CollectionId(f"id-{collection}"), number)


def move(number: int, name: str, source: WorkerId, memory_mib: int, why: str) -> PlannedMove:
    collection, _, at = name.partition("/")
    return PlannedMove(
        number=number,
        collection=collection,
        shard=shard(collection, int(at)),
        source=source,
        target=NEW,
        memory_bytes=memory_mib * MIB,
        disk_bytes=(memory_mib + 41) * MIB,
        why=why,
    )


def hand_over(number: int, name: str, source: WorkerId) -> PlannedHandOver:
    collection, _, at = name.partition("/")
    return PlannedHandOver(number=number, collection=collection, shard=shard(collection, int(at)), source=source, target=NEW)


def balance(
    worker: WorkerId, zone: str, now_mib: int, after_mib: int, primaries: tuple[int, int], in_mib: int = 0, out_mib: int = 0
) -> WorkerBalance:
    return WorkerBalance(
        worker=worker,
        zone=zone,
        capacity_bytes=4096 * MIB,
        bytes=now_mib * MIB,
        target_bytes=1000 * MIB,
        after_bytes=after_mib * MIB,
        primaries=primaries[0],
        primaries_after=primaries[1],
        in_bytes=in_mib * MIB,
        out_bytes=out_mib * MIB,
    )


PLAN = RebalancePlan(
    id="8c1f09",
    kind=PlanKind.BALANCE,
    subject="",
    cluster=ClusterId("c"),
    revision=Revision(4711),
    fingerprint="f1",
    tolerance=0.05,
    replicas=20,
    workers=(
        balance(A, "a", 1330, 1000, (7, 5), out_mib=330),
        balance(B, "b", 1320, 995, (7, 5), out_mib=325),
        balance(C, "c", 1350, 1010, (6, 5), out_mib=340),
        balance(NEW, "a", 0, 995, (0, 5), in_mib=995),
    ),
    moves=(
        move(1, "fashion/2", C, 340, "9be0-0003 is 35 % over"),
        move(2, "things/0", A, 330, "3fa2-0001 is 33 % over"),
        move(3, "things/4", B, 325, "77c1-0002 is 32 % over"),
    ),
    hand_overs=(hand_over(4, "fashion/2", C), hand_over(5, "books/1", A)),
    bytes=1118 * MIB,
    least_bytes=950 * MIB,
    seconds=40.0,
)
EMPTY = dataclasses.replace(PLAN, id="000000", moves=(), hand_overs=(), bytes=0, least_bytes=0, seconds=0.0, workers=())
UNDO = dataclasses.replace(
    PLAN,
    id="77aa01",
    kind=PlanKind.UNDO,
    subject=PLAN.id,
    moves=tuple(dataclasses.replace(each, source=each.target, target=each.source, why="as it was") for each in PLAN.moves[:2]),
    hand_overs=(),
    bytes=752 * MIB,
    left=("things/4: worker 77c1-0002 is drained; it stays where it is",),
)

Step = Sequence[tuple[ItemState, float]]
"""State of each item, and the share of its bytes that is copied."""

_W, _C, _D = (ItemState.WAITING, 0.0), ItemState.COPYING, (ItemState.DONE, 1.0)
STEPS: tuple[Step, ...] = (
    ((_C, 0.0), _W, _W, _W, _W),
    ((_C, 0.5), _W, _W, _W, _W),
    (_D, (_C, 0.25), _W, _W, _W),
    (_D, _D, _D, (ItemState.HANDING_OVER, 0.0), _W),
    (_D, _D, _D, _D, _D),
)


def standing(worker: WorkerId, zone: str, replicas: int, primaries: int, memory_mib: int) -> WorkerStanding:
    return WorkerStanding(
        worker=worker,
        state=WorkerCondition.UP,
        zone=zone,
        drain=None,
        replicas=replicas,
        primaries=primaries,
        left=0,
        memory_bytes=memory_mib * MIB,
        disk_bytes=(memory_mib + 200) * MIB,
        memory_budget_bytes=4096 * MIB,
        started_ms=NOW_MS,
    )


class BalancingTwin:
    """Answers each request of `shoal.core.operations` by a method with the name of its class.

    plan: the next plan, EMPTY once it was applied; steps: the progress of an applied plan, one further at each look;
    outcome: reasons by number of items that end as failed, in the last step; changed: whether the cluster is another
    one than that of any plan; workers: by id; drain_steps: replicas and primaries that are left, at each look.
    """

    def __init__(self) -> None:
        self.plan, self.undoes = PLAN, UNDO
        self.steps, self.failing = STEPS, {}
        self.changed = False
        self.settings = BalanceSettings()
        standings = (standing(A, "a", 7, 7, 1330), standing(B, "b", 7, 7, 1320), standing(C, "c", 6, 6, 1350), standing(NEW, "a", 0, 0, 0))
        self.workers: dict[str, WorkerStanding] = {each.worker: each for each in (*standings, standing(LOST, "", 2, 0, 0))}
        self.lose(LOST)
        self.drain_steps: list[tuple[int, int]] = [(7, 0), (3, 0), (0, 0)]
        self._draining: str | None = None
        self.entries: list[RebalanceEntry] = []
        self._looks = 0

    failing: dict[int, str]

    def PlanRebalance(self, request: calls.PlanRebalance) -> RebalancePlan:
        if not request.undo:
            return self.plan
        if not self.entries:
            raise NotFound("no plan was applied yet, so there is none to undo", ErrorDetails(field="plan"))
        return self.undoes

    def ApplyRebalance(self, request: calls.ApplyRebalance) -> RebalanceProgress:
        known = {each.id: each for each in (self.plan, self.undoes)}
        plan = request.plan or known.get(request.plan_id)
        if plan is None:
            raise NotFound(f"plan {request.plan_id!r} is not known", ErrorDetails(field="plan"))
        if self.changed or plan.fingerprint != PLAN.fingerprint:
            raise PreconditionFailed(CHANGED, ErrorDetails(field=calls.PLAN_IS_STALE))
        if self.entries and self.entries[0].active:
            raise PreconditionFailed(f"plan {self.entries[0].plan.id} runs already", ErrorDetails(field="plan"))
        self._begin(plan, request.asked_by)
        self.plan = EMPTY
        return self._progress()

    def DescribeRebalance(self, request: calls.DescribeRebalance) -> RebalanceProgress:
        if not self.entries or request.plan_id not in ("", *(each.plan.id for each in self.entries)):
            what = f"plan {request.plan_id!r} was never applied" if request.plan_id else "no plan was applied yet"
            raise NotFound(what, ErrorDetails(field="plan"))
        if self.entries[0].state is PlanState.RUNS:
            self._looks = min(self._looks + 1, len(self.steps) - 1)
            if self._looks == len(self.steps) - 1:
                self._end(PlanState.DONE)
        return self._progress()

    def ControlRebalance(self, request: calls.ControlRebalance) -> RebalanceProgress:
        if not self.entries or not self.entries[0].active:
            raise PreconditionFailed("no plan runs", ErrorDetails(field="plan"))
        match request.action:
            case PlanAction.PAUSE:
                self.entries[0] = dataclasses.replace(self.entries[0], state=PlanState.PAUSED)
            case PlanAction.RESUME:
                self.entries[0] = dataclasses.replace(self.entries[0], state=PlanState.RUNS)
            case PlanAction.CANCEL:
                self._end(PlanState.CANCELLED)
        return self._progress()

    def SetBalance(self, request: calls.SetBalance) -> BalanceSettings:
        names = ("auto", "tolerance", "moves_at_once", "move_bytes_per_s")
        given = {name: value for name in names if (value := getattr(request, name)) is not None}
        self.settings = dataclasses.replace(self.settings, **given)
        return self.settings

    def ListRebalances(self, request: calls.ListRebalances) -> RebalanceHistory:
        return RebalanceHistory(plans=tuple(map(_summary, self.entries[: request.limit])))

    def ListWorkers(self, request: calls.ListWorkers) -> WorkerStandings:
        if self._draining is not None and self.drain_steps:
            replicas, primaries = self.drain_steps.pop(0)
            drained = self.workers[self._draining]
            self.workers[self._draining] = dataclasses.replace(drained, replicas=replicas, left=replicas, primaries=primaries)
        return WorkerStandings(workers=tuple(self.workers[each] for each in sorted(self.workers)), balance=self.settings)

    def DrainWorker(self, request: calls.DrainWorker) -> WorkerStanding:
        found = self._worker(request.worker)
        others = [each for each in self.workers.values() if each is not found and each.drain is None and each.state is WorkerCondition.UP]
        if not others:
            said = f"worker {found.worker} cannot be drained: it is the last worker that may hold replicas"
            raise PreconditionFailed(said, ErrorDetails(field="worker"))
        drain = Drain(primaries_only=request.primaries_only, asked_by=request.asked_by, since_ms=NOW_MS)
        left = 0 if request.primaries_only else found.replicas
        self.workers[found.worker] = dataclasses.replace(found, drain=drain, left=left)
        if request.primaries_only:
            self.workers[found.worker] = dataclasses.replace(self.workers[found.worker], primaries=0)
        else:
            self._draining = found.worker
        return self.workers[found.worker]

    def UndrainWorker(self, request: calls.UndrainWorker) -> WorkerStanding:
        found = self._worker(request.worker)
        self._draining = None if self._draining == found.worker else self._draining
        self.workers[found.worker] = dataclasses.replace(found, drain=None, left=0)
        return self.workers[found.worker]

    def ForgetWorker(self, request: calls.ForgetWorker) -> WorkerForgotten:
        found = self._worker(request.worker)
        if found.state is WorkerCondition.UP:
            said = f"worker {found.worker} is up: only a worker that is down can be forgotten; drain it instead"
            raise PreconditionFailed(said, ErrorDetails(field="worker"))
        if request.confirmed:
            del self.workers[found.worker]
        return WorkerForgotten(done=request.confirmed, worker=found.worker, down_s=found.down_s, copies=found.replicas)

    def lose(self, worker: WorkerId) -> None:
        """End the process of a worker, four minutes ago."""
        gone = dataclasses.replace(self.workers[worker], state=WorkerCondition.DOWN, down_s=240.0, replaced_in_s=360.0, started_ms=0)
        self.workers[worker] = dataclasses.replace(gone, memory_bytes=0, disk_bytes=0, memory_budget_bytes=0)

    def _begin(self, plan: RebalancePlan, asked_by: str) -> None:
        self.entries.insert(0, RebalanceEntry(plan=plan, state=PlanState.RUNS, asked_by=asked_by, started_ms=NOW_MS))
        self._looks = 0

    def _end(self, state: PlanState) -> None:
        self.entries[0] = dataclasses.replace(self.entries[0], state=state, ended_ms=NOW_MS + 38_000)

    def _progress(self) -> RebalanceProgress:
        entry = self.entries[0]
        numbers = [*(each.number for each in entry.plan.moves), *(each.number for each in entry.plan.hand_overs)]
        sizes = {each.number: each.disk_bytes for each in entry.plan.moves}
        items = (self._item(number, *step, sizes.get(number, 0)) for number, step in zip(numbers, self.steps[self._looks], strict=False))
        return RebalanceProgress(entry=entry, items=tuple(items))

    def _item(self, number: int, state: ItemState, share: float, total: int) -> ItemProgress:
        ended = self.entries[0].state in (PlanState.DONE, PlanState.CANCELLED)
        if self.entries[0].state is PlanState.CANCELLED and not state.ended:
            return ItemProgress(number=number, state=ItemState.CANCELLED, total_bytes=total, reason="the plan was cancelled")
        if ended and number in self.failing:
            return ItemProgress(number=number, state=ItemState.FAILED, total_bytes=total, reason=self.failing[number])
        pace = 47.0 * MIB if state is ItemState.COPYING else 0.0
        return ItemProgress(number=number, state=state, done_bytes=int(share * total), total_bytes=total, bytes_per_s=pace)

    def _worker(self, named: str) -> WorkerStanding:
        found = [each for worker, each in self.workers.items() if worker.startswith(named)]
        if not found:
            said = f"worker {named!r} does not exist (there are: {', '.join(sorted(self.workers))})"
            raise NotFound(said, ErrorDetails(field="worker"))
        if len(found) > 1:
            ids = ", ".join(sorted(each.worker for each in found))
            raise InvalidArgument(f"worker {named!r} is the beginning of several ids: {ids}; give more of it", ErrorDetails(field="worker"))
        return found[0]


def _summary(entry: RebalanceEntry) -> PlanSummary:
    plan, ended = entry.plan, entry.state is PlanState.DONE
    count = len(plan.moves) + len(plan.hand_overs)
    return PlanSummary(
        id=plan.id,
        kind=plan.kind,
        subject=plan.subject,
        state=entry.state,
        asked_by=entry.asked_by,
        started_ms=entry.started_ms,
        ended_ms=entry.ended_ms,
        items=count,
        done=count if ended else 0,
        failed=0,
        skipped=0,
        bytes=plan.bytes,
    )
