"""The state of the cluster in words, from the map and from what the workers say about themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import Collection, CollectionState
from shoal.core.errors import ShoalError
from shoal.core.ids import ReplicaId, ShardId, WorkerId
from shoal.core.shard_calls import WorkerStatus
from shoal.core.shard_config import ShardConfig, ShardState

Statuses = Mapping[WorkerId, WorkerStatus | ShoalError]
"""What each registered worker answered when it was asked about itself, or the error that came instead."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerHealth:
    """One worker. state: up, unreachable (registered, but does not answer) or down (holds replicas, but is not registered);
    disk: in words, when its disk is full or nearly so."""

    id: WorkerId
    state: str
    address: str = ""
    pid: int = 0
    node: str = ""
    zone: str = ""
    memory_bytes: int = 0
    disk: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardHealth:
    """One shard. primary, isr, learners: worker ids; state: ok (its primary answers), creating, opening, no primary or failed;
    detail: why, unless ok."""

    collection: str
    number: int
    state: str
    detail: str = ""
    term: int = 0
    primary: str = ""
    isr: tuple[WorkerId, ...] = ()
    learners: tuple[WorkerId, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterHealth:
    """The whole cluster. leader: address of the leading coordinator, "" when there is none."""

    cluster_id: str
    leader: str
    workers: tuple[WorkerHealth, ...]
    shards: tuple[ShardHealth, ...]


def cluster_health(cluster: ClusterMap, statuses: Statuses) -> ClusterHealth:
    """The state of every worker, by id, and of every shard, by collection name and number."""
    return ClusterHealth(
        cluster_id=cluster.cluster or "",
        leader=cluster.leader.address if cluster.leader else "",
        workers=tuple(_worker(cluster, statuses, worker) for worker in sorted({*cluster.workers, *_named_workers(cluster)})),
        shards=tuple(_shards(cluster, statuses)),
    )


def _named_workers(cluster: ClusterMap) -> Iterable[WorkerId]:
    return (worker for entry in cluster.shards.values() for worker in entry.config.worker_of.values())


def _worker(cluster: ClusterMap, statuses: Statuses, worker: WorkerId) -> WorkerHealth:
    entry = cluster.workers.get(worker)
    if entry is None:
        return WorkerHealth(id=worker, state="down")
    status = statuses.get(worker)
    up = isinstance(status, WorkerStatus)
    return WorkerHealth(
        id=worker,
        state="up" if up else "unreachable",
        address=entry.address,
        pid=entry.pid,
        node=entry.node,
        zone=entry.zone,
        memory_bytes=status.memory_bytes if isinstance(status, WorkerStatus) else 0,
        disk=status.disk if isinstance(status, WorkerStatus) else "",
    )


def _shards(cluster: ClusterMap, statuses: Statuses) -> Iterable[ShardHealth]:
    usable = (each for each in cluster.collections.values() if each.state is not CollectionState.DROPPING)
    for collection in sorted(usable, key=lambda each: each.spec.name):
        for number in range(collection.spec.shards):
            yield _shard(cluster, statuses, collection, number)


def _shard(cluster: ClusterMap, statuses: Statuses, collection: Collection, number: int) -> ShardHealth:
    entry = cluster.shards.get(ShardId(collection.id, number))
    if entry is None:
        return ShardHealth(collection=collection.spec.name, number=number, state="creating", detail="not placed on a worker yet")
    config = entry.config
    state, detail = _state(cluster, statuses, config)
    return ShardHealth(
        collection=collection.spec.name,
        number=number,
        state=state,
        detail=detail,
        term=config.term,
        primary=config.primary_worker or "",
        isr=_homes(config, config.isr),
        learners=_homes(config, config.learners),
    )


def _state(cluster: ClusterMap, statuses: Statuses, config: ShardConfig) -> tuple[str, str]:
    worker = config.primary_worker
    if worker is None:
        return "no primary", "the replica that led it was dropped"
    entry = cluster.workers.get(worker)
    if entry is None:
        return _without_primary(config, f"worker {worker} is down")
    status = statuses.get(worker)
    if not isinstance(status, WorkerStatus):
        return _without_primary(config, f"worker {worker} is unreachable: {status.message if status else 'it was not asked'}")
    reason = status.failed.get(str(config.shard))
    if reason is not None:
        return "failed", f"on worker {worker}: {reason}"
    if entry.registration != config.primary_reg:
        return _without_primary(config, f"worker {worker} has come back and is not elected again yet")
    if config.state is ShardState.CREATING:
        return "creating", f"worker {worker} is making its folder"
    if str(config.shard) not in status.serving:
        return "opening", f"worker {worker} is opening it"
    return "ok", ""


def _without_primary(config: ShardConfig, why: str) -> tuple[str, str]:
    return ("creating" if config.state is ShardState.CREATING else "no primary"), why


def _homes(config: ShardConfig, replicas: Iterable[ReplicaId]) -> tuple[WorkerId, ...]:
    return tuple(config.worker_of[replica] for replica in replicas if replica in config.worker_of)
