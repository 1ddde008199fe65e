"""Makes the input of the planner from the cluster map and the reports of workers, and a RebalancePlan from its outcome.

What is not known for certain is pinned: a shard whose replicas are not whole, or whose sizes are not told, stays as it
is, and the plan says why.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from shoal.coordinator.logic.balance import planned
from shoal.coordinator.logic.balance_changes import fingerprint_of
from shoal.coordinator.logic.balance_model import BalanceOutcome, BalanceShard, BalanceWorker, PlannerSettings
from shoal.coordinator.logic.balance_sizes import ShardSizes, shard_sizes
from shoal.coordinator.logic.failover import has_primary
from shoal.core.cluster_map import ClusterMap, WorkerEntry
from shoal.core.collection import Collection, CollectionState
from shoal.core.ids import ClusterId, ShardId, WorkerId
from shoal.core.rebalance import (
    BalanceSettings,
    PinnedShard,
    PlanKind,
    PlannedHandOver,
    PlannedMove,
    RebalancePlan,
    WorkerBalance,
)
from shoal.core.shard_calls import WorkerStatus
from shoal.core.shard_config import ShardConfig, ShardState

Reports = Mapping[WorkerId, WorkerStatus]

MOST_PINNED = 100
"""Most pinned shards that a plan names, so that it fits into a value of the store. The others are counted."""

_ID_DIGITS = 6


def plan_of(cluster: ClusterMap, reports: Reports, settings: BalanceSettings, *, kind: PlanKind, subject: str = "") -> RebalancePlan:
    """Return the plan for a cluster as it is.

    kind: with DRAIN only what drained workers need. subject: see RebalancePlan.
    """
    workers = balance_workers(cluster, reports)
    shards = balance_shards(cluster, reports)
    outcome = planned(workers, shards, PlannerSettings(tolerance=settings.tolerance, only_drains=kind is PlanKind.DRAIN))
    moves, hand_overs = _items(outcome, {shard.id: shard for shard in shards}, cluster)
    pinned = [PinnedShard(collection=_name(cluster, shard.id), shard=shard.id, why=shard.pinned) for shard in shards if shard.pinned]
    more = (f"{len(pinned) - MOST_PINNED:,} more shards stay as they are",) if len(pinned) > MOST_PINNED else ()
    return RebalancePlan(
        id=plan_id(moves, hand_overs),
        kind=kind,
        subject=subject,
        cluster=cluster.cluster or ClusterId(""),
        revision=cluster.revision,
        fingerprint=fingerprint_of(cluster, settings.tolerance),
        tolerance=settings.tolerance,
        replicas=sum(len(shard.homes) for shard in shards),
        workers=_balances(workers, outcome, moves),
        moves=moves,
        hand_overs=hand_overs,
        bytes=sum(move.disk_bytes for move in moves),
        least_bytes=outcome.least_bytes,
        seconds=seconds_of(moves, settings),
        pinned=tuple(pinned[:MOST_PINNED]),
        left=(*outcome.left, *more),
    )


def balance_workers(cluster: ClusterMap, reports: Reports) -> list[BalanceWorker]:
    """Return the live workers that are not forgotten, as the planner sees them."""
    found = []
    for worker, entry in cluster.workers.items():
        if worker in cluster.forgotten:
            continue
        drain, report = cluster.drains.get(worker), reports.get(worker)
        known = entry.can_move and report is not None
        found.append(
            BalanceWorker(
                id=worker,
                capacity_bytes=_capacity(entry, report),
                zone=entry.zone,
                disk_bytes=entry.disk_bytes,
                most_replicas=entry.file_budget // entry.replica_files if entry.replica_files else 0,
                draining=drain is not None and not drain.primaries_only,
                may_lead=drain is None,
                accepts=drain is None and known and not (report is not None and report.disk),
                fixed=not known,
            )
        )
    return found


def _capacity(entry: WorkerEntry, report: WorkerStatus | None) -> int:
    return entry.memory_budget_bytes or (0 if report is None else report.memory_budget_bytes)


def balance_shards(cluster: ClusterMap, reports: Reports) -> list[BalanceShard]:
    """Return all shards as the planner sees them, in the order of their ids."""
    found = []
    for shard, entry in sorted(cluster.shards.items()):
        config, sizes = entry.config, shard_sizes(entry.config, reports)
        found.append(
            BalanceShard(
                id=shard,
                name=f"{_name(cluster, shard)}/{shard.number}",
                memory_bytes=sizes.memory_bytes,
                disk_bytes=sizes.disk_bytes,
                homes=tuple(sorted(config.worker_of.values())),
                primary=config.primary_worker,
                pinned=why_pinned(cluster, config, sizes),
            )
        )
    return found


def _name(cluster: ClusterMap, shard: ShardId) -> str:
    collection = cluster.collections.get(shard.collection)
    return str(shard.collection) if collection is None else collection.spec.name


def why_pinned(cluster: ClusterMap, config: ShardConfig, sizes: ShardSizes) -> str:
    """Return why a shard stays as it is, in words; "" if its replicas may move."""
    return (
        _not_in_use(cluster.collections.get(config.shard.collection), config)
        or _changing(config)
        or _not_whole(cluster, config)
        or _homes_that_pin(cluster, config)
        or (f"worker {sizes.untold[0]} has not told the size of its replica" if sizes.untold else "")
    )


def _not_in_use(collection: Collection | None, config: ShardConfig) -> str:
    if collection is None or collection.state is CollectionState.DROPPING:
        return "its collection is being dropped"
    if collection.state is CollectionState.CREATING:
        return "its collection is being created"
    return "" if config.state is ShardState.ACTIVE else "it is being created"


def _changing(config: ShardConfig) -> str:
    if config.move is not None:
        return "one of its replicas is being moved"
    if config.successor is not None:
        return "its primary is being handed over"
    return "one of its replicas is being removed" if config.leaving else ""


def _not_whole(cluster: ClusterMap, config: ShardConfig) -> str:
    if not has_primary(config, cluster.workers):
        return "it has no primary"
    if config.learners or config.elr or len(config.isr) < config.rf:
        return f"{len(config.isr)} of {config.rf} replicas are in sync"
    return "it has more replicas than wanted" if len(config.isr) > config.rf else ""


def _homes_that_pin(cluster: ClusterMap, config: ShardConfig) -> str:
    for worker in sorted(config.worker_of.values()):
        if worker in cluster.forgotten:
            return f"worker {worker} is forgotten"
        if worker not in cluster.workers:
            return f"worker {worker} is down"
        if not cluster.workers[worker].can_move:
            return f"worker {worker} is of a version that knows no moves"
    return ""


def _items(
    outcome: BalanceOutcome, shards: Mapping[ShardId, BalanceShard], cluster: ClusterMap
) -> tuple[tuple[PlannedMove, ...], tuple[PlannedHandOver, ...]]:
    moves = tuple(
        PlannedMove(
            number=number,
            collection=_name(cluster, move.shard),
            shard=move.shard,
            source=move.source,
            target=move.target,
            memory_bytes=shards[move.shard].memory_bytes,
            disk_bytes=shards[move.shard].disk_bytes,
            why=move.why,
        )
        for number, move in enumerate(outcome.moves, start=1)
    )
    hand_overs = tuple(
        PlannedHandOver(
            number=number,
            collection=_name(cluster, change.shard),
            shard=change.shard,
            source=change.source,
            target=change.target,
        )
        for number, change in enumerate(outcome.hand_overs, start=len(moves) + 1)
    )
    return moves, hand_overs


def plan_id(moves: Sequence[PlannedMove], hand_overs: Sequence[PlannedHandOver]) -> str:
    """Return the id of a plan that does this: it depends on shards and workers in their order, not on sizes."""
    done = [[(str(item.shard), item.source, item.target) for item in items] for items in (moves, hand_overs)]
    return hashlib.blake2b(json.dumps(done).encode("utf-8"), digest_size=16).hexdigest()[:_ID_DIGITS]


def seconds_of(moves: Iterable[PlannedMove], settings: BalanceSettings) -> float:
    """Return how long moves take at the rate of a source: moves_at_once in parallel, one from and one to a worker."""
    sources, targets = Counter[WorkerId](), Counter[WorkerId]()
    for move in moves:
        sources[move.source] += move.disk_bytes
        targets[move.target] += move.disk_bytes
    at_once = max(1, settings.moves_at_once)
    longest = max(sources.total() / at_once, *sources.values(), *targets.values(), 0)
    return longest / max(1, settings.move_bytes_per_s)


def _balances(workers: Iterable[BalanceWorker], outcome: BalanceOutcome, moves: Iterable[PlannedMove]) -> tuple[WorkerBalance, ...]:
    comes, goes = Counter[WorkerId](), Counter[WorkerId]()
    for move in moves:
        goes[move.source] += move.memory_bytes
        comes[move.target] += move.memory_bytes
    return tuple(
        WorkerBalance(
            worker=worker.id,
            zone=worker.zone,
            capacity_bytes=worker.capacity_bytes,
            bytes=outcome.before[worker.id],
            target_bytes=outcome.targets[worker.id],
            after_bytes=outcome.after[worker.id],
            primaries=outcome.primaries_before[worker.id],
            primaries_after=outcome.primaries_after[worker.id],
            in_bytes=comes[worker.id],
            out_bytes=goes[worker.id],
            draining=worker.draining,
        )
        for worker in sorted(workers, key=lambda worker: worker.id)
    )
