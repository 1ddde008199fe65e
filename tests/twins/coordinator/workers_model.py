"""A small model of what workers do with the configurations of their shards: they create folders, and primaries change
the isr.
"""

from __future__ import annotations

import dataclasses

from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import CollectionState
from shoal.core.ids import ReplicaId, WorkerId
from shoal.core.shard_config import (
    ShardConfig,
    ShardState,
    departed,
    expanded,
    handed_over,
    is_gone,
    is_spare,
    keepers,
    leads,
    may_commit,
    may_shrink,
    may_take_over,
    renamed_learner,
    replica_on,
    shrunk,
    without_eligible,
)


def worked(config: ShardConfig, cluster: ClusterMap, worker: WorkerId, made: set[ReplicaId]) -> ShardConfig:
    """Return the configuration after one swap by one live worker. made: the replicas that have a folder."""
    mine = replica_on(config, worker)
    collection = cluster.collections.get(config.shard.collection)
    if mine is None or collection is None:
        return config
    if collection.state is CollectionState.DROPPING or is_gone(config, mine):
        return departed(config, mine)
    if leads(config, mine, cluster.workers[worker].registration):
        made.add(mine)
        if config.state is ShardState.CREATING:
            return dataclasses.replace(config, state=ShardState.ACTIVE)
        successor = config.successor
        if successor is not None and may_take_over(config, successor) and config.worker_of.get(successor) in cluster.workers:
            return handed_over(config, cluster.workers[config.worker_of[successor]].registration)
        return _led(config, cluster, made)
    if mine in config.learners and mine not in made:
        anew = ReplicaId(f"{config.shard}@{worker}#{len(made)}")
        made.add(anew)
        return renamed_learner(config, mine, anew)
    return config


def _led(config: ShardConfig, cluster: ClusterMap, made: set[ReplicaId]) -> ShardConfig:
    """Return the configuration after a swap by the primary.

    An eligible replica becomes a learner, a leaving or silent member leaves the isr, a caught-up learner joins it.
    """
    if config.elr and len(config.isr) >= config.min_isr:
        return without_eligible(config)
    for member in config.isr:
        leaves = member in config.leaving and is_spare(config, member)
        if may_shrink(config, member) and (leaves or config.worker_of[member] not in cluster.workers):
            return shrunk(config, member)
    for member in (*config.elr, *config.learners):
        ready = member in made or member in config.elr
        live = config.worker_of[member] in cluster.workers and member not in config.leaving
        if ready and live and _has_place(config, member):
            return expanded(config, member)
    return config


def _has_place(config: ShardConfig, member: ReplicaId) -> bool:
    """Return whether the isr has a place for a member.

    One more may join if min_isr forbids to remove a silent one first, and one more while a replica moves: its target,
    then anybody.
    """
    taken, places = len(keepers(config, config.primary)) + 1, max(config.rf, config.min_isr + 1)
    if taken < places or config.move is None:
        return taken < places
    return taken < max(places, config.rf + 1) and (config.move.target == member or config.move.target in config.isr)


def commits(config: ShardConfig, cluster: ClusterMap) -> bool:
    """Return whether a write can be committed now."""
    home = config.primary_worker
    led = home is not None and home in cluster.workers and leads(config, config.primary, cluster.workers[home].registration)
    whole = all(config.worker_of.get(member) in cluster.workers for member in config.isr)
    return led and whole and config.state is ShardState.ACTIVE and may_commit(config)
