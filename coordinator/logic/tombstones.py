"""When a replica may get its tombstone: only while as many others as are wanted are in sync, are to stay, and are
reported open (invariant 8 in docs/design/replication.md).

Neither a learner that catches up nor a worker's registration proves that the data is elsewhere.
"""

from __future__ import annotations

import dataclasses
import math

from shoal.coordinator.logic.snapshot import Snapshot
from shoal.coordinator.logic.steps import Registrations
from shoal.core.ids import ReplicaId
from shoal.core.shard_config import ShardConfig, keepers, passing


def staying(config: ShardConfig) -> tuple[ReplicaId, ...]:
    """Return the members without a tombstone."""
    return tuple(member for member in config.members if member not in config.leaving)


def counted(config: ShardConfig) -> tuple[ReplicaId, ...]:
    """Return the members that count for the replica count: one of the two replicas of a move does not."""
    uncounted = passing(config)
    return tuple(member for member in staying(config) if member != uncounted)


def absent_s(config: ShardConfig, member: ReplicaId, snapshot: Snapshot) -> float:
    """Return the seconds for which a replica's worker has been gone; below 0 while it is live, infinite for one that
    will not return."""
    home = config.worker_of.get(member)
    if home is None or home in snapshot.map.workers:
        return -1.0
    return math.inf if home in snapshot.map.forgotten else snapshot.absent_s.get(home, -1.0)


def may_go(config: ShardConfig, member: ReplicaId, snapshot: Snapshot) -> bool:
    """Return whether a replica is spare, proved by reports that enough others are open."""
    return len(open_keepers(config, member, snapshot)) >= config.rf


def open_keepers(config: ShardConfig, member: ReplicaId, snapshot: Snapshot) -> list[ReplicaId]:
    """Return the other replicas that are in sync and stay, and whose workers have just reported them open."""
    keep = (each for each in keepers(config, member) if config.worker_of.get(each) in snapshot.map.workers)
    return [each for each in keep if each in snapshot.told.ends]


def keeping(config: ShardConfig, member: ReplicaId, snapshot: Snapshot) -> Registrations:
    """Return the registrations of the workers that keep the data when a replica goes."""
    homes = [config.worker_of[each] for each in open_keepers(config, member, snapshot)]
    return {home: snapshot.map.workers[home].registration for home in homes}


def may_leave_isr(config: ShardConfig, snapshot: Snapshot) -> bool:
    """Return whether a member may be taken out of the isr: all its workers are live, one more is in sync than commits
    need, and no other one is on its way out."""
    if any(member in config.isr for member in config.leaving) or len(config.isr) <= config.min_isr:
        return False
    return all(config.worker_of.get(member) in snapshot.map.workers for member in config.isr)


def retired(config: ShardConfig, victim: ReplicaId) -> ShardConfig:
    """Return the configuration in which a replica has its tombstone."""
    learners = tuple(member for member in config.learners if member != victim)
    return dataclasses.replace(config, learners=learners, leaving=(*config.leaving, victim))
