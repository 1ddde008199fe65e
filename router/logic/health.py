"""Judges the state of the cluster from the cluster map and the workers' status."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import Collection, CollectionState
from shoal.core.health import ReplicationCondition, ShardCondition, WorkerCondition
from shoal.core.ids import ReplicaId, ShardId, WorkerId
from shoal.core.replies import ClusterInfo, ShardInfo, WorkerInfo
from shoal.core.shard_calls import WorkerStatus
from shoal.core.shard_config import ShardConfig, ShardState
from shoal.router.logic.replication_health import Cause, Replication, Statuses, replicas_of, replication_of


def cluster_health(cluster: ClusterMap, statuses: Statuses) -> ClusterInfo:
    """Return the state of every worker, by id, and of every shard, by collection name and number.

    A worker that was forgotten is no worker any more, unless it is registered: its replicas are being replaced.
    """
    there = {*cluster.workers, *(each for each in cluster.shards.workers if each not in cluster.forgotten)}
    return ClusterInfo(
        cluster_id=cluster.cluster or "",
        leader=cluster.leader.address if cluster.leader else None,
        workers=tuple(_worker(cluster, statuses, worker) for worker in sorted(there)),
        shards=tuple(_shards(cluster, statuses)),
    )


def _worker(cluster: ClusterMap, statuses: Statuses, worker: WorkerId) -> WorkerInfo:
    entry = cluster.workers.get(worker)
    if entry is None:
        return WorkerInfo(id=worker, address="", pid=0, node="", zone="", state=WorkerCondition.DOWN, memory=0)
    status = statuses.get(worker)
    silent = WorkerCondition.UNREACHABLE
    known = WorkerInfo(id=worker, address=entry.address, pid=entry.pid, node=entry.node, zone=entry.zone, state=silent, memory=0)
    if not isinstance(status, WorkerStatus):
        return dataclasses.replace(known, memory_budget=entry.memory_budget_bytes)
    return dataclasses.replace(
        known,
        state=WorkerCondition.UP,
        memory=status.memory_bytes,
        memory_budget=status.memory_budget_bytes,
        memory_used=status.memory_used_bytes,
        disk=status.disk,
        file_limit=status.file_limit,
        files_open=status.files_open,
    )


def _shards(cluster: ClusterMap, statuses: Statuses) -> Iterable[ShardInfo]:
    usable = (each for each in cluster.collections.values() if each.state is not CollectionState.DROPPING)
    for collection in sorted(usable, key=lambda each: each.spec.name):
        for number in range(collection.spec.shards):
            yield _shard(cluster, statuses, collection, number)


def _shard(cluster: ClusterMap, statuses: Statuses, collection: Collection, number: int) -> ShardInfo:
    entry = cluster.shards.get(ShardId(collection.id, number))
    if entry is None:
        return _unplaced(collection, number)
    config = entry.config
    finding = _find(cluster, statuses, config)
    replication = replication_of(cluster, statuses, config, f"{collection.spec.name}/{number}")
    return ShardInfo(
        collection=collection.spec.name,
        shard=number,
        state=finding.state,
        detail=_detail(finding, replication, config),
        term=config.term,
        primary=config.primary_worker or "",
        isr=_homes(config, config.isr),
        learners=_homes(config, config.learners),
        memory=_memory(statuses, config),
        replication=replication.state,
        elr=_homes(config, config.elr),
        leaving=_homes(config, config.leaving),
        rf=config.rf,
        min_isr=config.min_isr,
        replicas=replicas_of(cluster, statuses, config),
    )


def _unplaced(collection: Collection, number: int) -> ShardInfo:
    return ShardInfo(
        collection=collection.spec.name,
        shard=number,
        term=0,
        primary="",
        isr=(),
        learners=(),
        state=ShardCondition.CREATING,
        detail="not placed on a worker yet",
        replication=ReplicationCondition.CREATING,
        rf=0,
        min_isr=0,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Finding:
    """Whether a shard answers. why: reason in words, "" if it is OK. lost: the replica whose loss `why` reports."""

    state: ShardCondition
    why: str = ""
    lost: ReplicaId | None = None


def _detail(finding: _Finding, replication: Replication, config: ShardConfig) -> str:
    if len(config.worker_of) <= 1 and config.rf == 1:
        # The only replica's state says everything.
        return finding.why
    causes = "; ".join(cause.words for cause in replication.causes if not _is_told(cause, finding))
    return "; ".join(part for part in (finding.why, replication.summary, causes) if part)


def _is_told(cause: Cause, finding: _Finding) -> bool:
    return cause.replica is not None and cause.replica == finding.lost


def _memory(statuses: Statuses, config: ShardConfig) -> int:
    home = config.primary_worker
    status = None if home is None else statuses.get(home)
    return status.replica_bytes.get(str(config.shard), 0) if isinstance(status, WorkerStatus) else 0


def _find(cluster: ClusterMap, statuses: Statuses, config: ShardConfig) -> _Finding:
    worker = config.primary_worker
    if worker is None:
        return _Finding(state=ShardCondition.NO_PRIMARY, why="the replica that led it was dropped")
    entry = cluster.workers.get(worker)
    if entry is None:
        return _without_primary(config, f"worker {worker} is down", lost=config.primary)
    status = statuses.get(worker)
    if not isinstance(status, WorkerStatus):
        why = f"worker {worker} is unreachable: {status.message if status else 'it was not asked'}"
        return _without_primary(config, why, lost=config.primary)
    reason = status.failed.get(str(config.shard))
    if not config.primary_reg:
        return _without_primary(config, f"the primary on worker {worker} has resigned{'' if reason is None else f': {reason}'}")
    if reason is not None:
        return _failed(config, worker, reason)
    if entry.registration != config.primary_reg:
        return _without_primary(config, f"worker {worker} has come back and is not elected again yet")
    if config.state is ShardState.CREATING:
        return _Finding(state=ShardCondition.CREATING, why=f"worker {worker} is making its folder")
    if str(config.shard) not in status.serving:
        return _Finding(state=ShardCondition.OPENING, why=f"worker {worker} is opening it")
    return _Finding(state=ShardCondition.OK)


def _failed(config: ShardConfig, worker: WorkerId, reason: str) -> _Finding:
    if any(each != config.primary for each in (*config.isr, *config.elr)):
        return _without_primary(config, f"the replica on worker {worker} has failed: {reason}", lost=config.primary)
    # A shard in creation holds no data yet, so no data can be damaged. Its worker has not begun, and `reason` says why.
    state = ShardCondition.CREATING if config.state is ShardState.CREATING else ShardCondition.FAILED
    return _Finding(state=state, why=f"on worker {worker}: {reason}")


def _without_primary(config: ShardConfig, why: str, lost: ReplicaId | None = None) -> _Finding:
    creating = config.state is ShardState.CREATING
    return _Finding(state=ShardCondition.CREATING if creating else ShardCondition.NO_PRIMARY, why=why, lost=lost)


def _homes(config: ShardConfig, replicas: Iterable[ReplicaId]) -> tuple[WorkerId, ...]:
    return tuple(config.worker_of[replica] for replica in replicas if replica in config.worker_of)
