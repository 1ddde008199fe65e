"""What a worker does about the shards that the cluster map gives it: pure, from the map and its folders to steps.

Data is deleted only for a collection whose tombstone (DROPPING) is in the map. A replica whose folder is missing
although the shard is ACTIVE is lost: it is never made again empty, for it would pose as the member it was.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Set
from dataclasses import dataclass
from enum import StrEnum

from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import Collection, CollectionSpec, CollectionState
from shoal.core.ids import ReplicaId, Revision, ShardId, Term, WorkerId
from shoal.core.shard_config import ShardConfig, ShardEntry, ShardState, is_gone, leads, may_lead, replica_on, resigned


class Local(StrEnum):
    """How a replica stands in this process."""

    OPEN = "open"
    FULL = "full"
    FAILED = "failed"
    UNFIT = "unfit"


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalReplica:
    """A replica this process knows.

    state: FULL when a write found no room, or opening failed for a reason that passes: reopening cures it; UNFIT when
    it cannot be opened by this program, but may be intact. epoch, registration, spec: what it was last told; spec is
    None of one that is not open; idle_term: the term it knows while it does not lead; None when it leads, or is about
    to, or is not open; behind: the primary whose log does not reach back to what is missing here, None while that is
    not so.
    """

    replica: ReplicaId
    state: Local
    epoch: Revision
    registration: Revision
    spec: CollectionSpec | None = None
    idle_term: Term | None = None
    behind: ReplicaId | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class HostView:
    """All that the decision depends on. folders: replicas found on disk; busy: shards with a step under way; roomy:
    disk not full.
    """

    map: ClusterMap
    me: WorkerId
    registration: Revision
    local: Mapping[ShardId, LocalReplica]
    folders: Set[tuple[ShardId, ReplicaId]]
    busy: Set[ShardId]
    roomy: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class CreateReplica:
    """Claim the shard by a swap, make an empty folder, and swap the shard to ACTIVE."""

    entry: ShardEntry
    replica: ReplicaId
    collection: Collection


@dataclass(frozen=True, kw_only=True, slots=True)
class JoinAnew:
    """Swap the id of a learner that has nothing, or nothing that can be trusted, for one that was never used; once that
    is known to have happened, make an empty folder under it. aside: keep the folder it has, out of the way."""

    entry: ShardEntry
    replica: ReplicaId
    collection: Collection
    aside: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class TakeSnapshot:
    """Replace what an open learner has by a snapshot of the primary."""

    entry: ShardEntry
    replica: ReplicaId
    primary: ReplicaId
    collection: Collection


@dataclass(frozen=True, kw_only=True, slots=True)
class Resign:
    """The replica cannot go on: leave the isr, and the lead, by a swap. config: without it."""

    entry: ShardEntry
    config: ShardConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenReplica:
    """Open the replica from its folder."""

    entry: ShardEntry
    replica: ReplicaId
    collection: Collection


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfirmReplica:
    """The folder is there but the swap to ACTIVE is not known to have happened: swap."""

    entry: ShardEntry


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportMissing:
    """The folder is gone: the replica has FAILED."""

    entry: ShardEntry
    replica: ReplicaId


@dataclass(frozen=True, kw_only=True, slots=True)
class TellConfig:
    """Tell an open replica its configuration and this worker's registration."""

    entry: ShardEntry


@dataclass(frozen=True, kw_only=True, slots=True)
class TellSpec:
    """The collection was altered: tell an open replica what it is now."""

    shard: ShardId
    spec: CollectionSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class ReopenReplica:
    """There is room again: close the replica, whose last write found none, and open it from its folder."""

    entry: ShardEntry
    replica: ReplicaId
    collection: Collection


@dataclass(frozen=True, kw_only=True, slots=True)
class RaiseTerm:
    """The primary was reopened within its term, in which it may not lead twice: give it the next one by a swap."""

    entry: ShardEntry


@dataclass(frozen=True, kw_only=True, slots=True)
class CloseReplica:
    """The shard is not this worker's any more: close, delete nothing."""

    shard: ShardId


@dataclass(frozen=True, kw_only=True, slots=True)
class DropReplica:
    """A tombstone is there, of the collection or of this replica: close, delete the folder, leave the configuration by
    a swap.
    """

    entry: ShardEntry
    replica: ReplicaId


HostStep = (
    CreateReplica
    | JoinAnew
    | TakeSnapshot
    | Resign
    | OpenReplica
    | ConfirmReplica
    | ReportMissing
    | TellConfig
    | TellSpec
    | ReopenReplica
    | RaiseTerm
    | CloseReplica
    | DropReplica
)


def next_steps(view: HostView) -> list[HostStep]:
    """Steps to take now, at most one a shard, in order of shards."""
    steps: list[HostStep] = []
    for shard in sorted({*view.map.shards, *view.local}):
        if shard in view.busy:
            continue
        step = _step_of(view, shard)
        if step is not None:
            steps.append(step)
    return steps


def _step_of(view: HostView, shard: ShardId) -> HostStep | None:
    entry, local = view.map.shards.get(shard), view.local.get(shard)
    collection = view.map.collections.get(shard.collection)
    replica = None if entry is None else replica_on(entry.config, view.me)
    if entry is None or replica is None or collection is None:
        return None if local is None else CloseReplica(shard=shard)
    if collection.state is CollectionState.DROPPING:
        return DropReplica(entry=entry, replica=replica) if view.registration else None
    if local is not None and local.replica != replica:
        return CloseReplica(shard=shard)
    if is_gone(entry.config, replica):
        return DropReplica(entry=entry, replica=replica) if view.registration else None
    if local is None:
        return _step_of_absent(view, entry, replica, collection)
    if local.state is Local.FAILED:
        return _step_of_failed(view, entry, replica, collection)
    if local.state is not Local.OPEN:
        return _step_of_full(view, entry, local, collection)
    return _step_of_open(view, entry, local, collection)


def _step_of_open(view: HostView, entry: ShardEntry, local: LocalReplica, collection: Collection) -> HostStep | None:
    shard, replica = entry.config.shard, local.replica
    elected = leads(entry.config, replica, view.registration)
    if entry.config.state is ShardState.CREATING and elected:
        return ConfirmReplica(entry=entry)
    if (local.epoch, local.registration) != (entry.epoch, view.registration):
        return TellConfig(entry=entry)
    if local.spec != collection.spec:
        return TellSpec(shard=shard, spec=collection.spec)
    if local.behind is not None and local.behind == entry.config.primary and not may_lead(entry.config, replica):
        return TakeSnapshot(entry=entry, replica=replica, primary=local.behind, collection=collection)
    return RaiseTerm(entry=entry) if elected and local.idle_term == entry.config.term else None


def next_term(config: ShardConfig) -> ShardConfig:
    """The configuration in which the same primary begins anew.

    With another term its records cannot be taken for those it lost.
    """
    return dataclasses.replace(config, term=Term(config.term + 1))


def _step_of_absent(view: HostView, entry: ShardEntry, replica: ReplicaId, collection: Collection) -> HostStep | None:
    config = entry.config
    if (config.shard, replica) in view.folders:
        return OpenReplica(entry=entry, replica=replica, collection=collection)
    if config.state is ShardState.CREATING:
        elected = leads(config, replica, view.registration)
        return CreateReplica(entry=entry, replica=replica, collection=collection) if elected else None
    if may_lead(config, replica) or config.primary == replica:
        return ReportMissing(entry=entry, replica=replica)
    return _join(view, entry, replica, collection, aside=False)


def _step_of_failed(view: HostView, entry: ShardEntry, replica: ReplicaId, collection: Collection) -> HostStep | None:
    if may_lead(entry.config, replica):
        return _resign(view, entry, replica, intact=False)
    return _join(view, entry, replica, collection, aside=(entry.config.shard, replica) in view.folders)


def _step_of_full(view: HostView, entry: ShardEntry, local: LocalReplica, collection: Collection) -> HostStep | None:
    """Another one leads, where there is one, before anything is mended here."""
    if leads(entry.config, local.replica, view.registration):
        resigning = _resign(view, entry, local.replica, intact=True)
        if resigning is not None:
            return resigning
    reopens = local.state is Local.FULL and view.roomy
    return ReopenReplica(entry=entry, replica=local.replica, collection=collection) if reopens else None


def _resign(view: HostView, entry: ShardEntry, replica: ReplicaId, *, intact: bool) -> Resign | None:
    """Not when nobody else may lead. Nor, where there is a folder, when only those may whose workers are gone, perhaps
    for good: what is here may be mended, and may be the last there is."""
    members = {*entry.config.isr, *entry.config.elr} - {replica}
    alone = not any(entry.config.worker_of[member] in view.map.workers for member in members)
    if alone and (entry.config.shard, replica) in view.folders:
        return None
    config = resigned(entry.config, replica, intact=intact)
    return Resign(entry=entry, config=config) if config is not None and view.registration else None


def _join(view: HostView, entry: ShardEntry, replica: ReplicaId, collection: Collection, *, aside: bool) -> JoinAnew | None:
    """Not while there is nobody to fill it, if what is here has to be put aside for it."""
    if replica not in entry.config.learners or not view.registration or (aside and not _is_led(view, entry.config)):
        return None
    return JoinAnew(entry=entry, replica=replica, collection=collection, aside=aside)


def _is_led(view: HostView, config: ShardConfig) -> bool:
    home = config.primary_worker
    return home is not None and home in view.map.workers and leads(config, config.primary, view.map.workers[home].registration)
