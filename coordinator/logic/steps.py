"""What a round may want done.

Each step is one compare-and-swap: it names what it relies on, and is void when that has changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shoal.core.collection import Collection
from shoal.core.ids import ClusterId, ReplicaId, Revision, WorkerId
from shoal.core.shard_config import ShardConfig, ShardEntry

Registrations = Mapping[WorkerId, Revision]
"""Workers that a step relies on, each with the registration under which it is live."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CreateCluster:
    """Give the cluster its id. Relies on there being none."""

    cluster: ClusterId


@dataclass(frozen=True, kw_only=True, slots=True)
class CreateShard:
    """Put the first configuration of a shard.

    Relies on its absence, its workers' registrations and the collection as it is.
    """

    collection: Collection
    config: ShardConfig
    registrations: Registrations


@dataclass(frozen=True, kw_only=True, slots=True)
class PlaceShardAnew:
    """Give a shard that never became ACTIVE other replicas.

    Relies as CreateShard does, and on `before` and its primary's absence.
    """

    collection: Collection
    before: ShardEntry
    config: ShardConfig
    registrations: Registrations


@dataclass(frozen=True, kw_only=True, slots=True)
class ElectPrimary:
    """Begin a new term.

    Relies on `before`, on the new primary's registration, and on the end of the old one's, unless it resigned.
    """

    before: ShardEntry
    config: ShardConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class SetReplication:
    """Give a shard the number of replicas that its collection has now, or min_isr, or take tombstones back. Relies on
    `before` and the collection as it is."""

    collection: Collection
    before: ShardEntry
    config: ShardConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class AddLearners:
    """Give a shard more replicas. Relies on `before`, the collection as it is and the registrations of the new ones'
    workers.

    replaced: the lost replicas that they stand in for.
    """

    collection: Collection
    before: ShardEntry
    config: ShardConfig
    registrations: Registrations
    replaced: tuple[ReplicaId, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class RetireReplica:
    """Put a replica's tombstone.

    Relies on `before`, the collection as it is, and the workers of those that keep the data.
    """

    collection: Collection
    before: ShardEntry
    config: ShardConfig
    replica: ReplicaId
    registrations: Registrations


@dataclass(frozen=True, kw_only=True, slots=True)
class ForgetReplicas:
    """Count no more on the workers of replicas with a tombstone. Relies on `before` and the absence of these workers.

    A worker that returns finds its folder named by nobody, and keeps it.
    """

    before: ShardEntry
    config: ShardConfig
    homes: Mapping[ReplicaId, WorkerId]


@dataclass(frozen=True, kw_only=True, slots=True)
class ActivateCollection:
    """Make a collection usable. Relies on the collection as it is."""

    collection: Collection


@dataclass(frozen=True, kw_only=True, slots=True)
class DeleteShard:
    """Forget a dropped shard that nobody holds any more. Relies on `entry`."""

    entry: ShardEntry


@dataclass(frozen=True, kw_only=True, slots=True)
class DeleteCollection:
    """Forget a dropped collection without shards. Relies on the collection as it is."""

    collection: Collection


Step = (
    CreateCluster
    | CreateShard
    | PlaceShardAnew
    | ElectPrimary
    | SetReplication
    | AddLearners
    | RetireReplica
    | ForgetReplicas
    | ActivateCollection
    | DeleteShard
    | DeleteCollection
)
