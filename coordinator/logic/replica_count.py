"""Keeps a shard at the replica count of its collection: new learners, tombstones for surplus replicas, min_isr.

It never changes isr or elr. Only the primary does, because only the primary knows how far each replica has come. A
replica gets its tombstone only when as many others as are wanted are in sync and their workers have just reported them
open. Neither a learner that catches up nor a worker's registration proves that the data is elsewhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Sequence

from shoal.coordinator.logic.balance_sizes import shard_sizes
from shoal.coordinator.logic.failover import has_primary
from shoal.coordinator.logic.placement import Placement
from shoal.coordinator.logic.snapshot import Snapshot, new_replica_id
from shoal.coordinator.logic.steps import AddLearners, ForgetReplicas, RetireReplica, SetReplication
from shoal.core.collection import Collection, CollectionSpec, CollectionState
from shoal.core.ids import ReplicaId, WorkerId
from shoal.core.shard_config import ShardConfig, ShardEntry, ShardState, is_gone, is_spare, keepers

MOST_TOMBSTONES = 16
"""Most tombstones of one shard on workers that are gone for good. If there are more, the oldest are removed."""


def replication_step(
    entry: ShardEntry, collection: Collection, snapshot: Snapshot, placement: Placement
) -> SetReplication | AddLearners | RetireReplica | ForgetReplicas | None:
    """Return the next change of a shard of a live collection; None if it needs none or has no primary.

    Each change is one swap.
    """
    config = entry.config
    if config.state is not ShardState.ACTIVE or not has_primary(config, snapshot.map.workers):
        return None
    wanted = _with_spec(config, collection.spec)
    if wanted != config:
        return SetReplication(collection=collection, before=entry, config=wanted)
    lost = _lost(config, snapshot, 0.0 if collection.state is CollectionState.CREATING else snapshot.replace_after_s)
    staying = _staying(config)
    missing = config.rf - len([member for member in staying if member not in lost])
    if missing > 0:
        kept = _without_tombstones(config, missing)
        if kept != config:
            return SetReplication(collection=collection, before=entry, config=kept)
        return _addition(entry, collection, snapshot, placement, lost[:missing], missing)
    if len(staying) > config.rf:
        return _retirement(entry, collection, snapshot, placement, lost)
    return _forgetting(entry, snapshot, MOST_TOMBSTONES)


def has_too_many(config: ShardConfig, spec: CollectionSpec) -> bool:
    """Return whether a replica gets its tombstone as soon as the replicas in sync are reported open."""
    rightly_set = config.state is ShardState.ACTIVE and _with_spec(config, spec) == config
    return rightly_set and len(_staying(config)) > config.rf and any(is_spare(config, member) for member in _staying(config))


def is_as_wanted(config: ShardConfig, spec: CollectionSpec, workers: Container[WorkerId]) -> bool:
    """Return whether a shard has as many replicas as its collection wants, all on live workers, and no tombstone.

    Then `replication_step` returns None, whatever workers report and however much time passes.
    """
    placed = len(config.members) == config.rf and not config.leaving
    return placed and all(home in workers for home in config.worker_of.values()) and _with_spec(config, spec) == config


def _may_go(config: ShardConfig, member: ReplicaId, snapshot: Snapshot) -> bool:
    """Return whether a replica is spare, proved by reports that enough others are open."""
    return len(_open_keepers(config, member, snapshot)) >= config.rf


def _open_keepers(config: ShardConfig, member: ReplicaId, snapshot: Snapshot) -> list[ReplicaId]:
    """Return the other replicas that are in sync and stay, and whose workers have just reported them open."""
    keep = (each for each in keepers(config, member) if config.worker_of.get(each) in snapshot.map.workers)
    return [each for each in keep if each in snapshot.told.ends]


def forgetting_of_dropped(entry: ShardEntry, snapshot: Snapshot) -> ForgetReplicas | None:
    """Return the step that removes a dropped shard's replicas on workers that are gone for good, None for no replica.

    Else the drop would wait for these workers."""
    gone = _gone_for_good(entry.config, snapshot, tuple(entry.config.worker_of))
    return _forgotten(entry, gone) if gone else None


def _with_spec(config: ShardConfig, spec: CollectionSpec) -> ShardConfig:
    """Return the configuration with the collection's replica count and min_isr.

    min_isr is lowered at once, but raised only when that many replicas are in sync."""
    in_sync = sum(member not in config.leaving for member in config.isr)
    min_isr = spec.min_isr if spec.min_isr < config.min_isr or in_sync >= spec.min_isr else config.min_isr
    return dataclasses.replace(config, rf=spec.replicas, min_isr=min_isr)


def _without_tombstones(config: ShardConfig, count: int) -> ShardConfig:
    """Return the configuration without the tombstones of up to `count` replicas that are still in sync.

    These replicas are wanted again, and they have all records."""
    wanted = [member for member in config.leaving if member in config.isr][:count]
    return dataclasses.replace(config, leaving=tuple(member for member in config.leaving if member not in wanted))


def _staying(config: ShardConfig) -> tuple[ReplicaId, ...]:
    return tuple(member for member in config.members if member not in config.leaving)


def _lost(config: ShardConfig, snapshot: Snapshot, patience_s: float) -> tuple[ReplicaId, ...]:
    """Return the members without a tombstone whose workers have been gone for patience_s or longer."""
    return tuple(member for member in _staying(config) if _absent_s(config, member, snapshot) >= patience_s)


def _absent_s(config: ShardConfig, member: ReplicaId, snapshot: Snapshot) -> float:
    """Return the seconds for which a replica's worker has been gone; below 0 while it is live."""
    home = config.worker_of.get(member)
    return -1.0 if home is None or home in snapshot.map.workers else snapshot.absent_s.get(home, -1.0)


def _addition(
    entry: ShardEntry, collection: Collection, snapshot: Snapshot, placement: Placement, replaced: tuple[ReplicaId, ...], count: int
) -> AddLearners | None:
    config = entry.config
    beside = {config.worker_of[member] for member in _staying(config) if member in config.worker_of}
    size = shard_sizes(config, snapshot.reports)
    homes = placement.choose_several(collection.id, count, taken=set(config.worker_of.values()), beside=beside, size=size)
    if not homes:
        return None
    return AddLearners(
        collection=collection,
        before=entry,
        config=_with_learners(config, snapshot.seed, homes),
        registrations={worker: snapshot.map.workers[worker].registration for worker in homes},
        replaced=replaced[: len(homes)],
    )


def _with_learners(config: ShardConfig, seed: str, homes: Sequence[WorkerId]) -> ShardConfig:
    new = {new_replica_id(seed, config.shard, worker): worker for worker in homes}
    return dataclasses.replace(config, learners=(*config.learners, *new), worker_of={**config.worker_of, **new})


def _retirement(
    entry: ShardEntry, collection: Collection, snapshot: Snapshot, placement: Placement, lost: tuple[ReplicaId, ...]
) -> RetireReplica | None:
    """Return the step that gives a surplus replica its tombstone. The next gets one only when this one left the isr."""
    config = entry.config
    if any(member in config.isr for member in config.leaving):
        return None
    spare = len(_staying(config)) - len(lost) - config.rf
    learners = [member for member in config.learners if member in _staying(config) and (member in lost or spare > 0)]
    learners = [member for member in learners if _may_go(config, member, snapshot)]
    victim = _least_wanted_learner(config, learners, snapshot)
    if victim is None and spare > 0:
        victim = _least_wanted_in_sync(config, snapshot, placement)
    if victim is None:
        return None
    homes = [config.worker_of[each] for each in _open_keepers(config, victim, snapshot)]
    registrations = {home: snapshot.map.workers[home].registration for home in homes}
    retired = _retired(config, victim)
    return RetireReplica(collection=collection, before=entry, config=retired, replica=victim, registrations=registrations)


def _least_wanted_learner(config: ShardConfig, learners: Sequence[ReplicaId], snapshot: Snapshot) -> ReplicaId | None:
    """Return the learner whose worker has been gone for longest; else the newest, which has the least data."""
    return max(reversed(learners), key=lambda member: _absent_s(config, member, snapshot), default=None)


def _least_wanted_in_sync(config: ShardConfig, snapshot: Snapshot, placement: Placement) -> ReplicaId | None:
    """Return the backup to remove first: one that shares its zone with another, then one on the fullest worker.

    Return None while a worker of the isr is gone, since one of the others may have to lead, and if every member is
    needed to commit.
    """
    homes = {member: config.worker_of.get(member) for member in config.isr}
    workers = [home for home in homes.values() if home is not None and home in snapshot.map.workers]
    if len(workers) < len(homes) or len(config.isr) <= config.min_isr:
        return None
    zones = [placement.zone(worker) for worker in workers]

    def burden(at: int) -> tuple[bool, int, int]:
        return zones.count(zones[at]) > 1, placement.load(workers[at]), at

    may = [at for at, member in enumerate(config.isr) if member != config.primary and _may_go(config, member, snapshot)]
    return config.isr[max(may, key=burden)] if may else None


def _retired(config: ShardConfig, victim: ReplicaId) -> ShardConfig:
    learners = tuple(member for member in config.learners if member != victim)
    return dataclasses.replace(config, learners=learners, leaving=(*config.leaving, victim))


def _forgetting(entry: ShardEntry, snapshot: Snapshot, most: int) -> ForgetReplicas | None:
    config = entry.config
    gone = _gone_for_good(config, snapshot, tuple(member for member in config.leaving if is_gone(config, member)))
    return _forgotten(entry, gone[: len(gone) - most]) if len(gone) > most else None


def _gone_for_good(config: ShardConfig, snapshot: Snapshot, members: Sequence[ReplicaId]) -> tuple[ReplicaId, ...]:
    return tuple(member for member in members if _absent_s(config, member, snapshot) >= snapshot.replace_after_s)


def _forgotten(entry: ShardEntry, gone: tuple[ReplicaId, ...]) -> ForgetReplicas:
    config = entry.config
    after = dataclasses.replace(
        config,
        worker_of={member: home for member, home in config.worker_of.items() if member not in gone},
        leaving=tuple(member for member in config.leaving if member not in gone),
    )
    return ForgetReplicas(before=entry, config=after, homes={member: config.worker_of[member] for member in gone})
