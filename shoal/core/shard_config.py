"""The configuration of one shard: who holds it, who leads, who is in sync. Lives in one key of the store.

The modification revision of that key is the configuration's epoch. Every predicate on it stands here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from shoal.core.ids import ReplicaId, Revision, Seq, ShardId, Term, WorkerId
from shoal.core.slots import SlotRange


class ShardState(StrEnum):
    """CREATING: its first primary may make an empty folder; ACTIVE: it has done so, and a missing folder is a lost replica."""

    CREATING = "creating"
    ACTIVE = "active"


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardConfig:
    """Configuration of a shard.

    primary_reg: modification revision of the registration of the primary's worker when it was elected;
    isr: replicas that must make a record durable before it is committed; elr: further replicas that hold every committed
    record and may lead; learners: replicas that catch up; worker_of: where each replica lives; rf: replicas wanted.
    """

    shard: ShardId
    term: Term
    primary: ReplicaId
    primary_reg: Revision
    isr: tuple[ReplicaId, ...]
    elr: tuple[ReplicaId, ...]
    learners: tuple[ReplicaId, ...]
    worker_of: Mapping[ReplicaId, WorkerId]
    min_isr: int
    rf: int
    state: ShardState
    slots: tuple[SlotRange, ...]

    @property
    def primary_worker(self) -> WorkerId | None:
        """The worker that holds the primary; None once that replica has been dropped."""
        return self.worker_of.get(self.primary)


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardEntry:
    """A configuration and its epoch, the modification revision of its key."""

    config: ShardConfig
    epoch: Revision


def replica_on(config: ShardConfig, worker: WorkerId) -> ReplicaId | None:
    """The replica of this shard that lives on `worker`, if any (the placement rule allows one at most)."""
    return next((replica for replica, home in config.worker_of.items() if home == worker), None)


def may_lead(config: ShardConfig, replica: ReplicaId) -> bool:
    """Whether a replica certainly holds every committed record (invariant 2 of the replication design)."""
    return replica in config.isr or replica in config.elr


def leads(config: ShardConfig, replica: ReplicaId, registration: Revision) -> bool:
    """Whether `replica`, on a worker with this registration, is the elected primary.

    A worker that registered again must be elected again: its old reign ended with its old registration.
    """
    return config.primary == replica and config.primary_reg == registration


def commit_point(config: ShardConfig, durable: Mapping[ReplicaId, Seq]) -> Seq:
    """The seq up to which every member of the isr is durable; 0 when the isr is too small to commit (invariant 1)."""
    if len(config.isr) < config.min_isr:
        return Seq(0)
    return min((durable.get(member, Seq(0)) for member in config.isr), default=Seq(0))
