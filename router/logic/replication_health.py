"""Judges how well a shard is replicated, from its configuration and the workers' status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shoal.core.cluster_map import ClusterMap
from shoal.core.errors import ShoalError
from shoal.core.health import MemberRole, ReplicaRole, ReplicationCondition
from shoal.core.ids import ReplicaId, Seq, WorkerId
from shoal.core.replies import ReplicaInfo
from shoal.core.shard_calls import ReplicaStatus, WorkerStatus
from shoal.core.shard_config import ShardConfig, ShardState

Statuses = Mapping[WorkerId, WorkerStatus | ShoalError]
"""The status of each registered worker, or the error of the call for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """One reason why fewer replicas are in sync than are wanted. replica: the replica concerned, if there is one."""

    words: str
    replica: ReplicaId | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Replication:
    """How well a shard is replicated. summary: in numbers, "" while it is OK or CREATING. causes: why it is not OK."""

    state: ReplicationCondition
    summary: str = ""
    causes: tuple[Cause, ...] = ()


def replicas_of(cluster: ClusterMap, statuses: Statuses, config: ShardConfig) -> tuple[ReplicaInfo, ...]:
    """Return every replica of the shard: the primary, then the other members, then those with a tombstone."""
    ordered = dict.fromkeys((config.primary, *config.members, *config.leaving, *config.worker_of))
    return tuple(_replica(cluster, statuses, config, each) for each in ordered if each in config.worker_of)


def replication_of(cluster: ClusterMap, statuses: Statuses, config: ShardConfig, name: str) -> Replication:
    """Return how well the shard is replicated. name: the public name of the shard."""
    if config.state is ShardState.CREATING:
        return Replication(state=ReplicationCondition.CREATING)
    lost = {each: why for each in (*config.members, *config.worker_of) if (why := _lost(cluster, statuses, config, each))}
    in_sync = sum(each not in lost for each in config.isr)
    causes = tuple(_causes(cluster, statuses, config, lost))
    if all(each in lost for each in (*config.isr, *config.elr)):
        return Replication(state=ReplicationCondition.UNAVAILABLE, summary=_way_out(config, lost, name), causes=causes)
    if in_sync < config.min_isr:
        summary = f"{in_sync} of the {config.min_isr} replicas that a write needs are in sync"
        return Replication(state=ReplicationCondition.READ_ONLY, summary=summary, causes=causes)
    if in_sync < config.rf:
        summary = f"{in_sync} of {config.rf} replicas are in sync"
        return Replication(state=ReplicationCondition.UNDER_REPLICATED, summary=summary, causes=causes)
    return Replication(state=ReplicationCondition.OK)


def _replica(cluster: ClusterMap, statuses: Statuses, config: ShardConfig, replica: ReplicaId) -> ReplicaInfo:
    worker = config.worker_of[replica]
    told = _told(statuses, config, replica)
    status = statuses.get(worker)
    failed = isinstance(status, WorkerStatus) and str(config.shard) in status.failed
    state = ReplicaRole.FAILED if failed else told.role if told else ReplicaRole.UNTOLD
    return ReplicaInfo(
        id=replica, worker=worker, role=_role(config, replica), state=state, applied_seq=told.applied_seq if told else Seq(0)
    )


def _role(config: ShardConfig, replica: ReplicaId) -> MemberRole:
    if replica == config.primary:
        return MemberRole.PRIMARY
    if replica in config.leaving:
        return MemberRole.LEAVING
    return MemberRole.ISR if replica in config.isr else MemberRole.ELR if replica in config.elr else MemberRole.LEARNER


def _told(statuses: Statuses, config: ShardConfig, replica: ReplicaId) -> ReplicaStatus | None:
    status = statuses.get(config.worker_of[replica])
    told = status.replicas.get(str(config.shard)) if isinstance(status, WorkerStatus) else None
    return told if told is not None and told.replica == replica else None


def _lost(cluster: ClusterMap, statuses: Statuses, config: ShardConfig, replica: ReplicaId) -> str:
    """Return why a replica does not work now; "" if it seems to work."""
    worker = config.worker_of.get(replica)
    if worker is None:
        return f"replica {replica} was dropped"
    status = statuses.get(worker)
    if worker not in cluster.workers:
        return f"worker {worker} is down"
    if not isinstance(status, WorkerStatus):
        return f"worker {worker} is unreachable"
    reason = status.failed.get(str(config.shard))
    return f"the replica on worker {worker} has failed: {reason}" if reason is not None else ""


def _causes(cluster: ClusterMap, statuses: Statuses, config: ShardConfig, lost: Mapping[ReplicaId, str]) -> Iterable[Cause]:
    staying = [each for each in config.members if each not in config.leaving]
    for replica in staying:
        if replica in lost:
            yield Cause(words=lost[replica], replica=replica)
        elif replica not in config.isr:
            does = f"catches up{_behind(statuses, config, replica)}" if config.primary not in lost else "waits for a primary"
            yield Cause(words=f"the replica on worker {config.worker_of[replica]} {does}", replica=replica)
    missing = config.rf - len(staying)
    if missing > 0:
        yield Cause(words=f"{missing} more {'has' if missing == 1 else 'have'} no place yet ({len(cluster.workers)} workers are up)")


def _behind(statuses: Statuses, config: ShardConfig, replica: ReplicaId) -> str:
    if config.primary not in config.worker_of:
        return ""
    ahead, told = _told(statuses, config, config.primary), _told(statuses, config, replica)
    return f", {max(0, ahead.applied_seq - told.applied_seq)} records behind" if ahead and told else ""


def _way_out(config: ShardConfig, lost: Mapping[ReplicaId, str], name: str) -> str:
    """Return what an operator can do if no live replica may lead.

    A recovery needs a live replica. It makes this replica the primary, although it may lack writes.
    """
    workers = " or ".join(dict.fromkeys(config.worker_of[each] for each in (*config.isr, *config.elr) if each in config.worker_of))
    others = [each for each in config.worker_of if each not in lost]
    recover = f", or its loss be accepted: shoal shard recover {name}" if others else ""
    return f"no other replica may lead it: the replica on worker {workers or '(none)'} must come back{recover}"
