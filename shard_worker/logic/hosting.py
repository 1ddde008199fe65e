"""Decide what a worker does about the shards that the cluster map assigns to it. Pure: the map and its folders in,
steps out.

Data is deleted only when a tombstone is in the map: DROPPING of its collection, or `leaving` of the replica. If the
folder of a replica is missing although the shard is ACTIVE, the replica is lost. It is never created again empty, since
it would then pass for the member that it was.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from enum import StrEnum

from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import Collection, CollectionSpec, CollectionState
from shoal.core.ids import ReplicaId, Revision, ShardId, Term, WorkerId
from shoal.core.shard_config import (
    ShardConfig,
    ShardEntry,
    ShardState,
    handed_over,
    is_gone,
    leads,
    may_lead,
    may_take_over,
    replica_on,
    resigned,
)


class Local(StrEnum):
    """The state of a replica in this process."""

    OPEN = "open"
    FULL = "full"
    FAILED = "failed"
    UNFIT = "unfit"


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalReplica:
    """A replica that this process knows.

    state: FULL when a write found no room, or when opening failed for a passing reason: reopening cures it; UNFIT when
    this program cannot open it, but it may be intact. epoch, registration, spec: the values it last received; spec is
    None while it is not open. idle_term: the term it knows while it does not lead; None when it leads, is about to
    lead, or is not open. behind: the primary whose log no longer reaches back to the records that are missing here;
    None otherwise.
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
    """Everything that the decision depends on.

    folders: replicas found on disk; busy: shards with a step under way; roomy: the disk is not full.
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
    """Replace the id of a learner without data, or without trustworthy data, by a new id, in a swap.

    Once the swap is known to have happened, make an empty folder under the new id. aside: keep the old folder, out of
    the way.
    """

    entry: ShardEntry
    replica: ReplicaId
    collection: Collection
    aside: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class TakeSnapshot:
    """Replace the data of an open learner by a snapshot of the primary."""

    entry: ShardEntry
    replica: ReplicaId
    primary: ReplicaId
    collection: Collection


@dataclass(frozen=True, kw_only=True, slots=True)
class Resign:
    """Leave the isr, and the term as primary, by a swap: the replica cannot go on. config: without the replica."""

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
    """Swap the shard to ACTIVE: the folder exists, but this swap is not known to have happened."""

    entry: ShardEntry


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportMissing:
    """Report the replica as failed: its folder is gone."""

    entry: ShardEntry
    replica: ReplicaId


@dataclass(frozen=True, kw_only=True, slots=True)
class TellConfig:
    """Give an open replica its configuration and this worker's registration."""

    entry: ShardEntry


@dataclass(frozen=True, kw_only=True, slots=True)
class TellSpec:
    """Give an open replica its collection's new spec: the collection was altered."""

    shard: ShardId
    spec: CollectionSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class ReopenReplica:
    """Close the replica, whose last write found no room, and open it from its folder: there is room again."""

    entry: ShardEntry
    replica: ReplicaId
    collection: Collection


@dataclass(frozen=True, kw_only=True, slots=True)
class RaiseTerm:
    """Give the primary the next term by a swap: it was reopened within its term, or has stepped down in it, and may not
    lead twice in one term."""

    entry: ShardEntry


@dataclass(frozen=True, kw_only=True, slots=True)
class HandOver:
    """Lead no more, and only then make another replica in sync the primary, by a swap. config: its term.

    The swap relies on the registration of the new primary's worker, too. If it is not done, the old primary, which
    leads no more, tries it again, or gets the next term.
    """

    entry: ShardEntry
    config: ShardConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class CloseReplica:
    """Close the replica and delete nothing: the shard is no longer assigned to this worker."""

    shard: ShardId


@dataclass(frozen=True, kw_only=True, slots=True)
class DropReplica:
    """Close the replica, delete its folder, and leave the configuration by a swap: there is a tombstone.

    The tombstone is that of the collection or of this replica.
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
    | HandOver
    | CloseReplica
    | DropReplica
)


def next_steps(view: HostView, shards: Iterable[ShardId] | None = None) -> list[HostStep]:
    """Return the steps to take now for these shards, at most one per shard, in order of shards.

    shards: None for every shard that has a replica here, in the map or in this process. No other shard ever has a step.
    """
    looked_at = {*view.map.shards.of_worker(view.me), *view.local} if shards is None else set(shards)
    steps = (_step_of(view, shard) for shard in sorted(looked_at - view.busy))
    return [step for step in steps if step is not None]


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
    if not elected:
        return None
    handing_over = None if entry.config.successor is None else hand_over_to(view.map, entry, entry.config.successor)
    if handing_over is not None:
        return handing_over
    return RaiseTerm(entry=entry) if local.idle_term == entry.config.term else None


def hand_over_to(cluster: ClusterMap, entry: ShardEntry, successor: ReplicaId) -> HandOver | None:
    """Return the step by which a primary makes a replica its successor; None if that replica cannot lead now.

    It can if it is in sync, on a live worker, and the isr is large enough to commit.
    """
    home = cluster.workers.get(entry.config.worker_of.get(successor, WorkerId("")))
    if home is None or not may_take_over(entry.config, successor):
        return None
    return HandOver(entry=entry, config=handed_over(dataclasses.replace(entry.config, successor=successor), home.registration))


def next_term(config: ShardConfig) -> ShardConfig:
    """Return the configuration in which the same primary begins a new term.

    With another term its records cannot be mistaken for the records it lost. It was asked to hand over in the old term,
    if at all.
    """
    return dataclasses.replace(config, term=Term(config.term + 1), successor=None)


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
    """If this replica leads, resign first, if another can lead. Otherwise reopen it once there is room."""
    if leads(entry.config, local.replica, view.registration):
        resigning = _resign(view, entry, local.replica, intact=True)
        if resigning is not None:
            return resigning
    reopens = local.state is Local.FULL and view.roomy
    return ReopenReplica(entry=entry, replica=local.replica, collection=collection) if reopens else None


def _resign(view: HostView, entry: ShardEntry, replica: ReplicaId, *, intact: bool) -> Resign | None:
    """Return the step to resign; None when this worker has no registration, or when no other replica may lead.

    Also None when this replica has a folder and all others that may lead are on workers that are gone, perhaps forever:
    its data may be repaired, and may be the last there is.
    """
    members = {*entry.config.isr, *entry.config.elr} - {replica}
    alone = not any(entry.config.worker_of[member] in view.map.workers for member in members)
    if alone and (entry.config.shard, replica) in view.folders:
        return None
    config = resigned(entry.config, replica, intact=intact)
    return Resign(entry=entry, config=config) if config is not None and view.registration else None


def _join(view: HostView, entry: ShardEntry, replica: ReplicaId, collection: Collection, *, aside: bool) -> JoinAnew | None:
    """Return the step to join anew; None when the replica is not a learner, or this worker has no registration.

    Also None when the folder here must be put aside and the shard has no primary to send a snapshot.
    """
    if replica not in entry.config.learners or not view.registration or (aside and not _is_led(view, entry.config)):
        return None
    return JoinAnew(entry=entry, replica=replica, collection=collection, aside=aside)


def _is_led(view: HostView, config: ShardConfig) -> bool:
    home = config.primary_worker
    return home is not None and home in view.map.workers and leads(config, config.primary, view.map.workers[home].registration)
