"""Decides which collections are searched in one call at a worker of this process, and when. Pure.

A shard counts as here if this worker has the replica that a search shard by shard would ask first, apart from loads.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import Collection
from shoal.core.ids import ReplicaId, ShardId, WorkerId
from shoal.core.shard_calls import Consistency
from shoal.core.shard_config import ShardConfig, may_lead
from shoal.router.logic.breaker import Gate
from shoal.router.logic.read_plan import is_still_led, shards_of
from shoal.router.logic.replica_choice import homes_of

ON_LOOP_US = 2_000.0
"""Searches estimated below this time run on the event loop: to pass one to a pool, and to wait, costs a millisecond.

In a pool the data is in the cache of another core. The bound is far above the estimate of a usual filtered search, so
that an hour in which memory is slow does not send it to the pool, which would double its time. (Fashion-MNIST, two
cores, searches of 0.6 to 1.2 ms: 1.2 to 2 times the queries a second with one client on the loop, twice with eight.)
"""

ALONE_US = 3_000.0
"""A search of one query that takes longer is faster shard by shard, since shards are then searched side by side."""


class Lane(StrEnum):
    """Where a search of several shards runs. EACH_SHARD: as one search of each shard, wherever its replicas are."""

    LOOP = "loop"
    POOL = "pool"
    EACH_SHARD = "each shard"


@dataclass(frozen=True, kw_only=True, slots=True)
class ExpressPlan:
    """A worker of this process that can answer for every shard of a collection.

    configs: of the shards, in the order of their numbers; replicas: those that are asked; others: live workers that
    could answer for a shard as well, for the shards that have some.
    """

    worker: WorkerId
    shards: tuple[ShardId, ...]
    configs: tuple[ShardConfig, ...]
    replicas: tuple[ReplicaId, ...]
    others: tuple[tuple[ShardId, tuple[WorkerId, ...]], ...]


def express_plan(cluster: ClusterMap, collection: Collection, consistency: Consistency, here: frozenset[WorkerId]) -> ExpressPlan | None:
    """Return the plan; None if no worker of this process can answer for all shards. here: workers of this process."""
    return next((plan for worker in sorted(here) if (plan := _plan_at(worker, cluster, collection, consistency, here))), None)


def still_holds(plan: ExpressPlan, cluster: ClusterMap, consistency: Consistency) -> bool:
    """Return whether the replicas of a plan may still answer, by a newer map."""
    for config, replica in zip(plan.configs, plan.replicas, strict=True):
        entry = cluster.shards.get(config.shard)
        newest = None if entry is None else entry.config
        if consistency is Consistency.PRIMARY:
            if not is_still_led(config, newest):
                return False
        elif newest is None or not may_lead(newest, replica):
            return False
    return True


def goes_first(here: Gate, others: Iterable[Gate]) -> bool:
    """Return whether the replica here is asked before the others, apart from loads: its breaker is closed, and no other
    replica waits for a probe.
    """
    return here is Gate.PASSES and Gate.PROBES not in others


def lane_of(*, cost_us: float, queries: int, plan: ExpressPlan) -> Lane:
    """Return where a search runs.

    A long search goes shard by shard if other workers could answer, too: there loads are compared.
    """
    if cost_us <= ON_LOOP_US:
        return Lane.LOOP
    alone = queries < 2 and len(plan.shards) > 1 and cost_us > ALONE_US
    return Lane.EACH_SHARD if plan.others or alone else Lane.POOL


def _plan_at(
    worker: WorkerId, cluster: ClusterMap, collection: Collection, consistency: Consistency, here: frozenset[WorkerId]
) -> ExpressPlan | None:
    shards, live = shards_of(collection), here | cluster.workers.keys()
    configs: list[ShardConfig] = []
    replicas: list[ReplicaId] = []
    others: list[tuple[ShardId, tuple[WorkerId, ...]]] = []
    for shard in shards:
        entry = cluster.shards.get(shard)
        if entry is None:
            return None
        homes = homes_of(entry.config, consistency, live)
        mine = next((each for each in homes if each.worker == worker), None)
        if mine is None or (not mine.in_sync and any(each.in_sync for each in homes)):
            return None
        configs.append(entry.config)
        replicas.append(mine.replica)
        if len(homes) > 1:
            others.append((shard, tuple(each.worker for each in homes if each is not mine)))
    return ExpressPlan(worker=worker, shards=shards, configs=tuple(configs), replicas=tuple(replicas), others=tuple(others))
