"""Keeps a shard at the replica count of its collection: new learners, tombstones for surplus replicas, min_isr.

It never changes isr or elr. Only the primary does, because only the primary knows how far each replica has come. Of a
move's two replicas one does not count, and neither is removed as surplus: moves.py decides about them. A shard that
lacks replicas comes before moves. When a replica may get its tombstone, tombstones.py says.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Container, Sequence

from shoal.coordinator.logic.failover import has_primary
from shoal.coordinator.logic.moves import moving_step
from shoal.coordinator.logic.placement import Placement
from shoal.coordinator.logic.snapshot import Snapshot, new_replica_id
from shoal.coordinator.logic.steps import AddLearners, ForgetReplicas, MoveStep, RetireReplica, SetReplication
from shoal.coordinator.logic.tombstones import absent_s, counted, keeping, may_go, may_leave_isr, retired, staying
from shoal.core.collection import Collection, CollectionSpec, CollectionState
from shoal.core.ids import ReplicaId, WorkerId
from shoal.core.shard_config import ShardConfig, ShardEntry, ShardState, is_gone, is_spare

MOST_TOMBSTONES = 16
"""Most tombstones of one shard on workers that are gone for good. If there are more, the oldest are removed."""


def replication_step(
    entry: ShardEntry, collection: Collection, snapshot: Snapshot, placement: Placement
) -> SetReplication | AddLearners | RetireReplica | ForgetReplicas | MoveStep | None:
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
    missing = config.rf - len([member for member in counted(config) if member not in lost])
    if config.move is not None or config.successor is not None:
        step = moving_step(entry, collection, snapshot, lacks=missing > 0)
        if step is not None:
            return step
    if missing > 0:
        kept = _without_tombstones(config, missing)
        if kept != config:
            return SetReplication(collection=collection, before=entry, config=kept)
        return _addition(entry, collection, snapshot, placement, lost[:missing], missing)
    if len(counted(config)) > config.rf:
        return _retirement(entry, collection, snapshot, placement, lost)
    return _forgetting(entry, snapshot, MOST_TOMBSTONES)


def has_too_many(config: ShardConfig, spec: CollectionSpec) -> bool:
    """Return whether a replica gets its tombstone as soon as the replicas in sync are reported open.

    During a move, there is one that gets it when the move ends, or is given up.
    """
    rightly_set = config.state is ShardState.ACTIVE and is_set_as(config, spec)
    return rightly_set and len(staying(config)) > config.rf and any(is_spare(config, member) for member in staying(config))


def is_as_wanted(config: ShardConfig, spec: CollectionSpec, workers: Container[WorkerId]) -> bool:
    """Return whether a shard has as many replicas as its collection wants, all on live workers, no tombstone, no move,
    and no successor.

    Then `replication_step` returns None, whatever workers report and however much time passes.
    """
    placed = len(config.members) == config.rf and not config.leaving and config.move is None and config.successor is None
    return placed and all(home in workers for home in config.worker_of.values()) and is_set_as(config, spec)


def is_set_as(config: ShardConfig, spec: CollectionSpec) -> bool:
    """Return whether a shard has its collection's replica count, and its min_isr as far as enough are in sync."""
    return _with_spec(config, spec) == config


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


def _lost(config: ShardConfig, snapshot: Snapshot, patience_s: float) -> tuple[ReplicaId, ...]:
    """Return the members that count whose workers have been gone for patience_s or longer, or will not return."""
    return tuple(member for member in counted(config) if absent_s(config, member, snapshot) >= patience_s)


def _addition(
    entry: ShardEntry, collection: Collection, snapshot: Snapshot, placement: Placement, replaced: tuple[ReplicaId, ...], count: int
) -> AddLearners | None:
    config = entry.config
    beside = {config.worker_of[member] for member in staying(config) if member in config.worker_of}
    homes = placement.choose_several(collection.id, count, taken=set(config.worker_of.values()), beside=beside)
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
    spare = len(counted(config)) - len(lost) - config.rf
    learners = [member for member in config.learners if _may_be_surplus(config, member) and (member in lost or spare > 0)]
    learners = [member for member in learners if may_go(config, member, snapshot)]
    victim = _least_wanted_learner(config, learners, snapshot)
    if victim is None and spare > 0:
        victim = _least_wanted_in_sync(config, snapshot, placement)
    if victim is None:
        return None
    live = keeping(config, victim, snapshot)
    return RetireReplica(collection=collection, before=entry, config=retired(config, victim), replica=victim, registrations=live)


def _may_be_surplus(config: ShardConfig, member: ReplicaId) -> bool:
    """Return whether a replica may be removed as one too many: not if it has its tombstone, or is part of a move."""
    moves = config.move is not None and member in (config.move.source, config.move.target)
    return member in staying(config) and not moves


def _least_wanted_learner(config: ShardConfig, learners: Sequence[ReplicaId], snapshot: Snapshot) -> ReplicaId | None:
    """Return the learner whose worker has been gone for longest; else the newest, which has the least data."""
    return max(reversed(learners), key=lambda member: absent_s(config, member, snapshot), default=None)


def _least_wanted_in_sync(config: ShardConfig, snapshot: Snapshot, placement: Placement) -> ReplicaId | None:
    """Return the backup to remove first: one that shares its zone with another, then one on the fullest worker.

    Return None while a worker of the isr is gone, since one of the others may have to lead, and if every member is
    needed to commit.
    """
    if not may_leave_isr(config, snapshot):
        return None
    workers = [config.worker_of[member] for member in config.isr]
    zones = [placement.zone(worker) for worker in workers]

    def burden(at: int) -> tuple[bool, int, int]:
        return zones.count(zones[at]) > 1, placement.load(workers[at]), at

    backups = [at for at, member in enumerate(config.isr) if member != config.primary and _may_be_surplus(config, member)]
    may = [at for at in backups if may_go(config, config.isr[at], snapshot)]
    return config.isr[max(may, key=burden)] if may else None


def _forgetting(entry: ShardEntry, snapshot: Snapshot, most: int) -> ForgetReplicas | None:
    """Return the step that removes tombstones on workers that are gone: all of workers that will not return, and of the
    others the oldest beyond `most`."""
    config = entry.config
    gone = _gone_for_good(config, snapshot, tuple(member for member in config.leaving if is_gone(config, member)))
    never = tuple(member for member in gone if absent_s(config, member, snapshot) == math.inf)
    others = tuple(member for member in gone if member not in never)
    removed = (*never, *others[: max(0, len(others) - most)])
    return _forgotten(entry, removed) if removed else None


def _gone_for_good(config: ShardConfig, snapshot: Snapshot, members: Sequence[ReplicaId]) -> tuple[ReplicaId, ...]:
    return tuple(member for member in members if absent_s(config, member, snapshot) >= snapshot.replace_after_s)


def _forgotten(entry: ShardEntry, gone: tuple[ReplicaId, ...]) -> ForgetReplicas:
    config = entry.config
    after = dataclasses.replace(
        config,
        worker_of={member: home for member, home in config.worker_of.items() if member not in gone},
        leaving=tuple(member for member in config.leaving if member not in gone),
    )
    return ForgetReplicas(before=entry, config=after, homes={member: config.worker_of[member] for member in gone})
