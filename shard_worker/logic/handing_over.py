"""Decides who leads the shards of a worker that is about to end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from shoal.core.cluster_map import ClusterMap
from shoal.core.ids import ReplicaId, ShardId, WorkerId
from shoal.core.shard_config import ShardConfig, may_take_over


def successors(cluster: ClusterMap, me: WorkerId, led: Iterable[ShardId]) -> Mapping[ShardId, ReplicaId]:
    """Return for each of these shards, which `me` leads, the replica in sync that is to lead it. A shard without one is
    left out.

    Of several, it is the one on the worker that leads least, with what it gets here. Workers that are drained or
    forgotten, or whose program cannot hand over itself, get nothing.
    """
    able = [worker for worker in sorted(cluster.workers) if worker != me and _may_lead_more(cluster, worker)]
    leads = Counter({worker: _led_by(cluster, worker) for worker in able})
    chosen: dict[ShardId, ReplicaId] = {}
    for shard in sorted(led):
        entry = cluster.shards.get(shard)
        homes = {} if entry is None else _homes_of_successors(entry.config)
        home = min((worker for worker in able if worker in homes), key=lambda worker: (leads[worker], worker), default=None)
        if home is not None:
            chosen[shard] = homes[home]
            leads[home] += 1
    return chosen


def _may_lead_more(cluster: ClusterMap, worker: WorkerId) -> bool:
    return cluster.workers[worker].can_move and worker not in cluster.drains and worker not in cluster.forgotten


def _led_by(cluster: ClusterMap, worker: WorkerId) -> int:
    return sum(entry.config.primary_worker == worker for entry in cluster.shards.of_worker(worker).values())


def _homes_of_successors(config: ShardConfig) -> dict[WorkerId, ReplicaId]:
    return {config.worker_of[each]: each for each in config.isr if each in config.worker_of and may_take_over(config, each)}
