"""The service side of a coordinator beside a bare one: plans, drains and automatic plans, over scripted deciders."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping

from shoal.coordinator.audit_log import AuditLog
from shoal.coordinator.balancing import Balancing
from shoal.coordinator.draining import Draining
from shoal.coordinator.logic import balance_input as planner
from shoal.coordinator.logic.applied_plans import States
from shoal.coordinator.logic.balance_changes import has_changed
from shoal.coordinator.logic.plan_run import item_states
from shoal.coordinator.logic.reported_sizes import Statuses
from shoal.coordinator.operate import Operator
from shoal.coordinator.plan_store import PlanStore
from shoal.coordinator.plans import PlanLogic, Plans
from shoal.coordinator.worker_reports import WorkerReports
from shoal.core.cluster_map import ClusterMap, WorkerEntry
from shoal.core.health import ReplicaRole
from shoal.core.ids import ClusterId, ReplicaId, Revision, Seq, ShardId, WorkerId
from shoal.core.rebalance import (
    BalanceSettings,
    ItemState,
    PlanKind,
    PlannedHandOver,
    PlannedMove,
    RebalanceEntry,
    RebalancePlan,
    WorkerBalance,
)
from shoal.core.shard_calls import ReplicaStatus, WorkerStatus
from shoal.core.shard_config import replica_on
from tests.twins.coordinator.bare_coordinator import BareCoordinator, ManualClock
from tests.twins.coordinator.world import KEYS, REPLACE_AFTER_S

MIB = 1024 * 1024
FIRST_MS = 1_700_000_000_000


def move_of(
    shard: ShardId,
    source: str,
    target: str,
    *,
    collection: str = "books",
    number: int = 1,
    memory_bytes: int = MIB,
    disk_bytes: int = 2 * MIB,
    why: str = "",
) -> PlannedMove:
    """Return a move of a shard."""
    return PlannedMove(
        number=number,
        collection=collection,
        shard=shard,
        source=WorkerId(source),
        target=WorkerId(target),
        memory_bytes=memory_bytes,
        disk_bytes=disk_bytes,
        why=why,
    )


def hand_over_of(shard: ShardId, source: str, target: str, *, collection: str = "books", number: int = 1) -> PlannedHandOver:
    """Return a hand-over of a shard."""
    return PlannedHandOver(number=number, collection=collection, shard=shard, source=WorkerId(source), target=WorkerId(target))


def balance_of(worker: str, *, size: int = 0, target: int = 0, primaries: int = 0) -> WorkerBalance:
    """Return a worker in a plan that changes nothing."""
    return WorkerBalance(
        worker=WorkerId(worker),
        zone="z",
        capacity_bytes=100 * MIB,
        bytes=size,
        target_bytes=target,
        after_bytes=size,
        primaries=primaries,
        primaries_after=primaries,
        in_bytes=0,
        out_bytes=0,
    )


def plan_of(
    moves: Iterable[PlannedMove] = (),
    hand_overs: Iterable[PlannedHandOver] = (),
    *,
    id: str = "",
    kind: PlanKind = PlanKind.BALANCE,
    subject: str = "",
    cluster: str = "c",
    revision: int = 100,
    tolerance: float = 0.05,
    workers: Iterable[WorkerBalance] = (),
    left: tuple[str, ...] = (),
) -> RebalancePlan:
    """Return a plan with these items."""
    moved, handed = tuple(moves), tuple(hand_overs)
    told = hashlib.blake2b(repr((kind, subject, moved, handed)).encode(), digest_size=3).hexdigest()
    return RebalancePlan(
        id=id or told,
        kind=kind,
        subject=subject,
        cluster=ClusterId(cluster),
        revision=Revision(revision),
        fingerprint="f",
        tolerance=tolerance,
        replicas=6,
        workers=tuple(workers),
        moves=moved,
        hand_overs=handed,
        bytes=sum(move.disk_bytes for move in moved),
        least_bytes=0,
        seconds=1.0,
        left=left,
    )


class ScriptedLogic:
    """Deciders whose answers a test gives.

    moves, hand_overs, workers, left: of the next plans, wide_* for a plan of the widest tolerance; changes: what has
    changed since any plan; states: of items that have not ended, where they are not as the map says; asked: kind,
    subject and tolerance of each plan that was made.
    """

    def __init__(self) -> None:
        self.moves: tuple[PlannedMove, ...] = ()
        self.hand_overs: tuple[PlannedHandOver, ...] = ()
        self.wide_hand_overs: tuple[PlannedHandOver, ...] = ()
        self.workers: tuple[WorkerBalance, ...] = ()
        self.left: tuple[str, ...] = ()
        self.changes: list[str] = []
        self.states: dict[int, ItemState] = {}
        self.asked: list[tuple[PlanKind, str, float]] = []

    def plan_of(self, cluster: ClusterMap, reports: Statuses, settings: BalanceSettings, *, kind: PlanKind, subject: str) -> RebalancePlan:
        """See PlanOf."""
        self.asked.append((kind, subject, settings.tolerance))
        wide = settings.tolerance >= 0.5
        assert cluster.cluster is not None
        return plan_of(
            () if wide else self.moves,
            self.wide_hand_overs if wide else self.hand_overs,
            kind=kind,
            subject=subject,
            cluster=cluster.cluster,
            revision=cluster.revision,
            tolerance=settings.tolerance,
            workers=self.workers,
            left=self.left,
        )

    def has_changed(self, plan: RebalancePlan, cluster: ClusterMap, reports: Statuses) -> list[str]:
        """See PlanLogic."""
        return self.changes

    def item_states(self, cluster: ClusterMap, entry: RebalanceEntry, reports: Statuses) -> States:
        """See PlanLogic."""
        states = dict(item_states(cluster, entry, reports))
        return states | ({} if entry.ended else {number: (state, "") for number, state in self.states.items()})


class ScriptedStatuses:
    """The answers of workers to `Status`. asked: how often all were asked; silent: workers that do not answer."""

    def __init__(self) -> None:
        self.told: dict[WorkerId, WorkerStatus] = {}
        self.silent: set[WorkerId] = set()
        self.asked = 0

    async def statuses(self, workers: Iterable[WorkerEntry], timeout_s: float) -> Mapping[WorkerId, WorkerStatus]:
        """See StatusCalls."""
        self.asked += 1
        empty = WorkerStatus(memory_bytes=0, failed={})
        return {each.id: self.told.get(each.id, empty) for each in workers if each.id not in self.silent}


def status_of(sizes: Mapping[ShardId, tuple[int, int]], **changes: object) -> WorkerStatus:
    """Return the status of a worker whose replicas have these sizes in memory and on disk."""
    replicas = {
        str(shard): ReplicaStatus(
            replica=ReplicaId("r"), role=ReplicaRole.BACKUP, applied_seq=Seq(1), memory_bytes=memory_bytes, disk_bytes=disk_bytes
        )
        for shard, (memory_bytes, disk_bytes) in sizes.items()
    }
    held = {str(shard): memory_bytes for shard, (memory_bytes, _) in sizes.items()}
    return WorkerStatus(memory_bytes=0, failed={}, replicas=replicas, replica_bytes=held, **changes)  # type: ignore[arg-type]


def sized_statuses(cluster: ClusterMap, memory_bytes: int = MIB) -> dict[WorkerId, WorkerStatus]:
    """Return the statuses of live workers whose replicas are all open, of equal size, and build nothing."""
    found: dict[WorkerId, WorkerStatus] = {}
    for worker in cluster.workers:
        replicas: dict[str, ReplicaStatus] = {}
        for shard, entry in cluster.shards.of_worker(worker).items():
            replica = replica_on(entry.config, worker)
            if replica is not None:
                role = ReplicaRole.BACKUP if replica in entry.config.isr else ReplicaRole.LEARNER
                replicas[str(shard)] = ReplicaStatus(
                    replica=replica, role=role, applied_seq=Seq(1), memory_bytes=memory_bytes, disk_bytes=2 * memory_bytes
                )
        found[worker] = WorkerStatus(memory_bytes=0, failed={}, replicas=replicas)
    return found


class MapStatuses:
    """The answers of workers that hold what the map says, see sized_statuses."""

    def __init__(self, one: BareCoordinator) -> None:
        self._one = one

    async def statuses(self, workers: Iterable[WorkerEntry], timeout_s: float) -> Mapping[WorkerId, WorkerStatus]:
        """See StatusCalls."""
        told = sized_statuses(self._one.observer.map)
        return {each.id: told[each.id] for each in workers if each.id in told}


REAL_LOGIC = PlanLogic(plan_of=planner.plan_of, has_changed=has_changed, item_states=item_states)


class BareOperator:
    """Operator and Balancing of a coordinator. clock: of reports and turns, in seconds. The time of day follows it.

    real: the product's deciders, over workers that hold what the map says; else `logic` and `calls` are scripts.
    """

    def __init__(self, one: BareCoordinator, *, real: bool = False) -> None:
        self.logic, self.calls, self.clock, ids = ScriptedLogic(), ScriptedStatuses(), ManualClock(), itertools.count(1)

        def new_id() -> str:
            return f"{one.address} op {next(ids):06}"

        calls = MapStatuses(one) if real else self.calls
        self.reports = WorkerReports(calls=calls, cluster=lambda: one.observer.map, leads=lambda: one.leads, clock=self.clock)
        audit = AuditLog(keys=KEYS, wall_ms=self.now_ms, new_id=new_id)
        self.store = PlanStore(keys=KEYS, wall_ms=self.now_ms)
        scripted = PlanLogic(plan_of=self.logic.plan_of, has_changed=self.logic.has_changed, item_states=self.logic.item_states)
        logic = REAL_LOGIC if real else scripted
        self.plans = Plans(requests=one.requests, store=self.store, reports=self.reports, logic=logic, audit=audit, new_id=new_id)
        draining = Draining(
            requests=one.requests,
            keys=KEYS,
            reports=self.reports,
            audit=audit,
            absent_s=one.loop.absent_s,
            replace_after_s=REPLACE_AFTER_S,
            wall_ms=self.now_ms,
        )
        self.operator = Operator(requests=one.requests, keys=KEYS, plans=self.plans, draining=draining, audit=audit)
        self.balancing = Balancing(
            requests=one.requests,
            keys=KEYS,
            observer=one.observer,
            changes=one.changes,
            reports=self.reports,
            plans=self.plans,
            store=self.store,
            leads=lambda: one.leads,
            clock=self.clock,
            wall_ms=self.now_ms,
        )

    def now_ms(self) -> int:
        """Return the time in ms since 1970."""
        return FIRST_MS + round(self.clock() * 1_000)
