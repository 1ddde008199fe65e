"""Whether a cluster is still the one that a plan was made for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping

from shoal.coordinator.logic.balance_sizes import shard_sizes
from shoal.coordinator.logic.balance_words import sized
from shoal.core.cluster_map import ClusterMap
from shoal.core.ids import ShardId, WorkerId
from shoal.core.rebalance import RebalancePlan, WorkerBalance
from shoal.core.shard_calls import WorkerStatus
from shoal.core.sizing import MIB

MOST_GROWTH = 0.25
"""A plan is refused when a replica that it moves has grown by this part and by LEAST_GROWTH_BYTES."""

LEAST_GROWTH_BYTES = 32 * MIB
"""So much is what a move costs besides its bytes. The caches of a store alone make a small replica that is written to
grow by up to 24 MiB within seconds.
"""

MOST_REASONS = 10


def fingerprint_of(cluster: ClusterMap, tolerance: float) -> str:
    """Return a hash of all that a plan relies on but sizes: live workers with zone and budget, drains, forgotten
    workers, and where every replica is.
    """
    seen = {
        "tolerance": tolerance,
        "workers": [(worker, entry.zone, entry.memory_budget_bytes, entry.can_move) for worker, entry in sorted(cluster.workers.items())],
        "drains": [(worker, drain.primaries_only) for worker, drain in sorted(cluster.drains.items())],
        "forgotten": sorted(cluster.forgotten),
        "homes": [(str(shard), sorted(entry.config.worker_of.items())) for shard, entry in sorted(cluster.shards.items())],
    }
    return hashlib.blake2b(json.dumps(seen, sort_keys=True).encode("utf-8"), digest_size=16).hexdigest()


def has_changed(plan: RebalancePlan, cluster: ClusterMap, reports: Mapping[WorkerId, WorkerStatus]) -> list[str]:
    """Return why a plan is no more for this cluster, in words for operators; nothing if it still is."""
    reasons = list(_growths(plan, cluster, reports))
    if fingerprint_of(cluster, plan.tolerance) != plan.fingerprint:
        found = [*_workers_changed(plan, cluster), *_replicas_changed(plan, cluster)]
        reasons = [*(found or ["versions or drains of workers, shards or places of replicas have changed"]), *reasons]
    if len(reasons) > MOST_REASONS:
        return [*reasons[:MOST_REASONS], f"{len(reasons) - MOST_REASONS:,} more changes"]
    return reasons


def _workers_changed(plan: RebalancePlan, cluster: ClusterMap) -> Iterator[str]:
    planned = {each.worker: each for each in plan.workers}
    living = cluster.workers.keys() - cluster.forgotten.keys()
    for worker in sorted(planned.keys() | living):
        if worker not in planned:
            yield f"worker {worker} has joined"
        elif worker not in living:
            yield f"worker {worker} is {'forgotten' if worker in cluster.forgotten else 'down'}"
        else:
            yield from _worker_changed(planned[worker], cluster)


def _worker_changed(before: WorkerBalance, cluster: ClusterMap) -> Iterator[str]:
    entry, drain = cluster.workers[before.worker], cluster.drains.get(before.worker)
    if entry.zone != before.zone:
        yield f"worker {before.worker} is in zone {entry.zone or '(none)'} now"
    if entry.memory_budget_bytes and entry.memory_budget_bytes != before.capacity_bytes:
        yield f"worker {before.worker} may use {sized(entry.memory_budget_bytes)} now, not {sized(before.capacity_bytes)}"
    draining = drain is not None and not drain.primaries_only
    if draining != before.draining:
        yield f"worker {before.worker} is {'drained' if draining else 'not drained any more'}"


def _replicas_changed(plan: RebalancePlan, cluster: ClusterMap) -> Iterator[str]:
    homes: dict[ShardId, set[WorkerId]] = {}
    for move in plan.moves:
        name = f"{move.collection}/{move.shard.number}"
        if move.shard not in cluster.shards:
            yield f"{name} does not exist any more"
            continue
        held = homes.setdefault(move.shard, set(cluster.shards[move.shard].config.worker_of.values()))
        if move.source not in held:
            yield f"{move.source} holds no replica of {name} any more"
        elif move.target in held:
            yield f"{move.target} holds a replica of {name} already"
        held -= {move.source}
        held |= {move.target}


def _growths(plan: RebalancePlan, cluster: ClusterMap, reports: Mapping[WorkerId, WorkerStatus]) -> Iterator[str]:
    for move in plan.moves:
        entry = cluster.shards.get(move.shard)
        told = None if entry is None else shard_sizes(entry.config, reports)
        if told is not None and told.memory_bytes - move.memory_bytes >= max(LEAST_GROWTH_BYTES, MOST_GROWTH * move.memory_bytes):
            yield f"{move.collection}/{move.shard.number} grew from {sized(move.memory_bytes)} to {sized(told.memory_bytes)}"
