"""Decides the next step of a shard in which a replica moves, or whose primary is asked to hand over.

A move lives in the configuration of its shard, so a new coordinator goes on from there: the target copies and joins the
isr, builds its indexes, becomes primary if the source leads, and then the source gets its tombstone. The replica count
is never below what is wanted. What a plan wants to be begun, plan_run.py decides.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from shoal.coordinator.logic.failover import has_primary
from shoal.coordinator.logic.snapshot import Snapshot
from shoal.coordinator.logic.steps import AskSuccessor, CancelMove, RetireReplica, WithdrawMove
from shoal.coordinator.logic.tombstones import absent_s, keeping, may_go, may_leave_isr, retired, staying
from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import Collection
from shoal.core.health import ReplicaRole
from shoal.core.ids import ReplicaId, WorkerId
from shoal.core.rebalance import PlanState, RebalanceEntry
from shoal.core.shard_calls import ReplicaStatus, WorkerStatus
from shoal.core.shard_config import Move, ShardConfig, ShardEntry, ShardState, may_take_over

WARM_S = 600.0
"""Longest time in seconds that a move waits for the indexes of a target in sync, or for word of them."""

TARGET_GONE_S = 60.0
"""Absence of the target's worker, in seconds, after which a move is given up."""

NO_PROGRESS_S = 600.0
"""Time in seconds without progress of the target after which a move is given up."""

SUCCESSOR_S = 60.0
"""Time in seconds after which a hand-over of a plan, that was asked for and does not happen, is given up."""


NOWHERE = WorkerId("")
"""Stands for the worker of a replica that a configuration does not name."""


class PrimaryLoads:
    """How many shards each worker leads or is asked to lead, in one round. Counted when a worker is first needed."""

    def __init__(self, cluster: ClusterMap) -> None:
        self._cluster = cluster
        self._counts: dict[WorkerId, int] = {}

    def least(self, workers: Iterable[WorkerId]) -> WorkerId:
        """Return the worker that leads the fewest shards, of equal ones the first by id. workers: at least one."""
        return min(workers, key=lambda worker: (self._count(worker), worker))

    def add(self, worker: WorkerId) -> None:
        """Count one shard more for a worker: it is asked to lead it in this round."""
        self._counts[worker] = self._count(worker) + 1

    def _count(self, worker: WorkerId) -> int:
        if worker not in self._counts:
            configs = (entry.config for entry in self._cluster.shards.of_worker(worker).values())
            self._counts[worker] = sum(config.worker_of.get(config.successor or config.primary) == worker for config in configs)
        return self._counts[worker]


def moving_step(
    entry: ShardEntry, collection: Collection, snapshot: Snapshot, *, lacks: bool
) -> AskSuccessor | WithdrawMove | CancelMove | RetireReplica | None:
    """Return the next step of what is under way in an active shard that has a primary; None while it waits.

    lacks: the shard lacks replicas, not counting one of the move's. Then the move ends, and both of its replicas count:
    the target takes the place of the lost one, and nothing more has to be copied.
    """
    config = entry.config
    if config.successor is not None and not _may_stay_asked(config, config.successor, snapshot.map):
        return WithdrawMove(before=entry, config=dataclasses.replace(config, successor=None))
    move = config.move
    if move is None:
        return None
    if lacks or not {move.source, move.target} <= {*staying(config)}:
        return WithdrawMove(before=entry, config=dataclasses.replace(config, move=None))
    if move.target != config.primary and _is_to_be_cancelled(config, move, snapshot):
        return _cancellation(entry, collection, snapshot, move)
    if move.target not in config.isr or not _is_warm(config, move, snapshot):
        return None
    if move.source == config.primary:
        return _request(entry, snapshot, move)
    return _departure(entry, collection, snapshot, move)


def drained_step(entry: ShardEntry, snapshot: Snapshot, loads: PrimaryLoads) -> AskSuccessor | None:
    """Return the step that takes the lead from a worker that is drained; None if it need not, or nobody else can.

    The successor is the replica in sync whose live worker, not drained, leads the fewest shards. The target of a move
    is asked only when it is warm.
    """
    config, drains = entry.config, snapshot.map.drains
    drained = config.primary_worker in drains and config.state is ShardState.ACTIVE and config.successor is None
    if not drained or not has_primary(config, snapshot.map.workers):
        return None
    may = {config.worker_of[each]: each for each in _ready(config, snapshot) if may_be_asked(config, each, snapshot.map)}
    homes = [home for home in may if home not in drains]
    if not homes:
        return None
    home = loads.least(homes)
    loads.add(home)
    return asked(entry, snapshot, may[home])


def asked(entry: ShardEntry, snapshot: Snapshot, successor: ReplicaId, plan: RebalanceEntry | None = None) -> AskSuccessor:
    """Return the step that asks the primary to hand over to a replica on a live worker. plan: that wants it."""
    home = entry.config.worker_of[successor]
    config = dataclasses.replace(entry.config, successor=successor)
    return AskSuccessor(before=entry, config=config, registrations={home: snapshot.map.workers[home].registration}, plan=plan)


def may_be_asked(config: ShardConfig, successor: ReplicaId, cluster: ClusterMap) -> bool:
    """Return whether the primary can be asked to hand over to a replica: that one can take over, its worker is live,
    and the primary's program knows of it."""
    primary = cluster.workers.get(config.worker_of.get(config.primary, NOWHERE))
    live = config.worker_of.get(successor) in cluster.workers
    return live and may_take_over(config, successor) and primary is not None and primary.can_move


def trouble_of(config: ShardConfig, move: Move, snapshot: Snapshot) -> str | None:
    """Return why a move whose target is not in sync is to be given up, in words; None while it may go on."""
    worker = config.worker_of.get(move.target)
    gone_s = absent_s(config, move.target, snapshot)
    if gone_s >= TARGET_GONE_S:
        return f"worker {worker} is gone"
    drain = None if worker is None else snapshot.map.drains.get(worker)
    if drain is not None and not drain.primaries_only:
        return f"worker {worker} is drained"
    age = snapshot.moving.get(config.shard)
    if age is not None and age.stuck_s >= NO_PROGRESS_S:
        return f"no progress for {NO_PROGRESS_S / 60:.0f} min"
    return None


def item_of(plan: RebalanceEntry | None, config: ShardConfig) -> int | None:
    """Return the number of the plan's item that wanted the move or the hand-over that is under way in a shard.

    None if nothing is under way, or no item of a plan that has not ended wanted it.
    """
    if plan is None or plan.ended:
        return None
    if config.move is not None:
        ends = config.worker_of.get(config.move.source), config.worker_of.get(config.move.target)
        return next((item.number for item in plan.plan.moves if item.shard == config.shard and (item.source, item.target) == ends), None)
    if config.successor is None:
        return None
    home = config.worker_of.get(config.successor)
    return next((item.number for item in plan.plan.hand_overs if item.shard == config.shard and item.target == home), None)


def target_status(config: ShardConfig, move: Move, reports: Mapping[WorkerId, WorkerStatus]) -> ReplicaStatus | None:
    """Return what its worker last said about the target of a move; None if it is unknown."""
    said = reports.get(config.worker_of.get(move.target, NOWHERE))
    status = None if said is None else said.replicas.get(str(config.shard))
    return status if status is not None and status.replica == move.target else None


def is_cold(status: ReplicaStatus | None) -> bool:
    """Return whether a target in sync builds indexes, or has not yet said that it is in sync."""
    return status is None or status.role in (ReplicaRole.LEARNER, ReplicaRole.WAITING) or status.builds_pending > 0


def _ready(config: ShardConfig, snapshot: Snapshot) -> tuple[ReplicaId, ...]:
    """Return the members of the isr that neither leave by a move nor have come by one and still build their indexes."""
    move = config.move
    if move is None:
        return config.isr
    cold = () if _is_warm(config, move, snapshot) else (move.target,)
    return tuple(member for member in config.isr if member not in (move.source, *cold))


def _may_stay_asked(config: ShardConfig, successor: ReplicaId, cluster: ClusterMap) -> bool:
    """Return whether a hand-over goes on: the successor can lead, and no plan that asked for it has given it up.

    A move or a drain asks for its own reasons: taken back, it would be asked for again in the next round.
    """
    if not may_be_asked(config, successor, cluster):
        return False
    plan, item = cluster.rebalance, item_of(cluster.rebalance, config)
    asked_by_plan = config.move is None and config.primary_worker not in cluster.drains
    return plan is None or not asked_by_plan or item not in plan.given_up


def _is_to_be_cancelled(config: ShardConfig, move: Move, snapshot: Snapshot) -> bool:
    """Return whether a move is to be given up. Of an item of a plan, the reason is noted beside the plan first."""
    plan = snapshot.map.rebalance
    item = item_of(plan, config)
    if plan is None or item is None:
        return move.target not in config.isr and trouble_of(config, move, snapshot) is not None
    return item in plan.given_up or (plan.state is PlanState.CANCELLED and move.target not in config.isr)


def _cancellation(entry: ShardEntry, collection: Collection, snapshot: Snapshot, move: Move) -> CancelMove | None:
    config, target = entry.config, move.target
    if not _may_get_tombstone(config, target, snapshot):
        return None
    successor = None if config.successor == target else config.successor
    after = dataclasses.replace(retired(config, target), move=None, successor=successor)
    live = keeping(config, target, snapshot)
    return CancelMove(collection=collection, before=entry, config=after, replica=target, registrations=live)


def _departure(entry: ShardEntry, collection: Collection, snapshot: Snapshot, move: Move) -> RetireReplica | None:
    config, source = entry.config, move.source
    if not _may_get_tombstone(config, source, snapshot):
        return None
    after = dataclasses.replace(retired(config, source), move=None)
    live = keeping(config, source, snapshot)
    return RetireReplica(collection=collection, before=entry, config=after, replica=source, registrations=live)


def _may_get_tombstone(config: ShardConfig, member: ReplicaId, snapshot: Snapshot) -> bool:
    if member in config.elr or not may_go(config, member, snapshot):
        return False
    return member not in config.isr or may_leave_isr(config, snapshot)


def _request(entry: ShardEntry, snapshot: Snapshot, move: Move) -> AskSuccessor | None:
    """Return the step that asks the source, which leads, to hand over to the target; to another replica that stays, if
    the target's worker is to lead nothing."""
    config, drains = entry.config, snapshot.map.drains
    if config.successor is not None:
        return None
    others = [each for each in config.isr if each not in (move.source, move.target)] if config.worker_of[move.target] in drains else []
    first = [each for each in others if config.worker_of.get(each) not in drains]
    successor = next((each for each in (*first, move.target) if may_be_asked(config, each, snapshot.map)), None)
    return None if successor is None else asked(entry, snapshot, successor)


def _is_warm(config: ShardConfig, move: Move, snapshot: Snapshot) -> bool:
    age = snapshot.moving.get(config.shard)
    waited = age is not None and age.joined_s >= WARM_S
    return waited or not is_cold(target_status(config, move, snapshot.reports))
