"""The steps that a round may decide.

Each step is one compare-and-swap of one key or, for EndPlan, two. It names the state that it relies on, and is not
applied if that has changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shoal.core.collection import Collection
from shoal.core.ids import ClusterId, ReplicaId, Revision, WorkerId
from shoal.core.rebalance import RebalanceEntry
from shoal.core.shard_config import ShardConfig, ShardEntry

Registrations = Mapping[WorkerId, Revision]
"""Live workers that a step relies on, each with its registration."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CreateCluster:
    """Give the cluster its id. Relies on the absence of an id."""

    cluster: ClusterId


@dataclass(frozen=True, kw_only=True, slots=True)
class CreateShard:
    """Put the first configuration of a shard.

    Relies on the absence of the shard, on its workers' registrations, and on the collection as it is.
    """

    collection: Collection
    config: ShardConfig
    registrations: Registrations


@dataclass(frozen=True, kw_only=True, slots=True)
class PlaceShardAnew:
    """Give new replicas to a shard that never became ACTIVE.

    Relies on `before`, the end of its primary's term, the new workers' registrations, and the collection as it is.
    """

    collection: Collection
    before: ShardEntry
    config: ShardConfig
    registrations: Registrations


@dataclass(frozen=True, kw_only=True, slots=True)
class ElectPrimary:
    """Begin a new term.

    Relies on `before`, on the new primary's registration, and, unless the old primary resigned, on the end of the old
    one's registration.
    """

    before: ShardEntry
    config: ShardConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class SetReplication:
    """Give a shard its collection's replica count or min_isr, or take back tombstones. Relies on `before` and the
    collection as it is."""

    collection: Collection
    before: ShardEntry
    config: ShardConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class AddLearners:
    """Give a shard more replicas. Relies on `before`, the collection as it is, and the registrations of the new
    replicas' workers.

    replaced: the lost replicas that the new ones replace.
    """

    collection: Collection
    before: ShardEntry
    config: ShardConfig
    registrations: Registrations
    replaced: tuple[ReplicaId, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class RetireReplica:
    """Put a replica's tombstone.

    Relies on `before`, the collection as it is, and the registrations of the workers that keep the data.
    """

    collection: Collection
    before: ShardEntry
    config: ShardConfig
    replica: ReplicaId
    registrations: Registrations


@dataclass(frozen=True, kw_only=True, slots=True)
class ForgetReplicas:
    """Remove replicas from the configuration whose workers are gone for good. Relies on `before` and the absence of
    these workers.

    A worker that returns keeps the folder, which no configuration names any more.
    """

    before: ShardEntry
    config: ShardConfig
    homes: Mapping[ReplicaId, WorkerId]


@dataclass(frozen=True, kw_only=True, slots=True)
class BeginMove:
    """Begin a move of a plan: a learner on another worker, which is to take the place of a replica.

    Relies on `before`, the plan and the collection as they are, on the registrations of the target's worker and of all
    live workers that hold the shard, and on the absence of a drain of the target's worker.

    number: of the plan's item.
    """

    plan: RebalanceEntry
    number: int
    collection: Collection
    before: ShardEntry
    config: ShardConfig
    target: WorkerId
    registrations: Registrations


@dataclass(frozen=True, kw_only=True, slots=True)
class AskSuccessor:
    """Ask the primary to hand over to a replica in sync.

    Relies on `before`, on the registration of the successor's worker, and on the plan as it is, if it is for a plan.
    """

    before: ShardEntry
    config: ShardConfig
    registrations: Registrations
    plan: RebalanceEntry | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class WithdrawMove:
    """Take a move, or a request to hand over, out of a configuration: it has no meaning any more. Relies on `before`.

    No replica changes. After a move, both of its replicas count.
    """

    before: ShardEntry
    config: ShardConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class CancelMove:
    """Give a move up: its target gets a tombstone.

    Relies on `before`, the collection as it is, and the registrations of the workers that keep the data.
    """

    collection: Collection
    before: ShardEntry
    config: ShardConfig
    replica: ReplicaId
    registrations: Registrations


@dataclass(frozen=True, kw_only=True, slots=True)
class GiveUpItems:
    """Note beside a plan which items are given up, and why. Relies on the plan as it is."""

    before: RebalanceEntry
    after: RebalanceEntry


@dataclass(frozen=True, kw_only=True, slots=True)
class EndPlan:
    """Put what became of each item, and keep the plan in the history. Relies on the plan as it is."""

    before: RebalanceEntry
    after: RebalanceEntry


@dataclass(frozen=True, kw_only=True, slots=True)
class ActivateCollection:
    """Make a collection usable. Relies on the collection as it is."""

    collection: Collection


@dataclass(frozen=True, kw_only=True, slots=True)
class DeleteShard:
    """Delete the configuration of a dropped shard without replicas. Relies on `entry`."""

    entry: ShardEntry


@dataclass(frozen=True, kw_only=True, slots=True)
class DeleteCollection:
    """Delete a dropped collection without shards. Relies on the collection as it is."""

    collection: Collection


MoveStep = BeginMove | AskSuccessor | WithdrawMove | CancelMove
PlanStep = GiveUpItems | EndPlan
OneKeyStep = (
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
Step = OneKeyStep | MoveStep | PlanStep
