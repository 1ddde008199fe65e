"""The configuration of one shard: who holds it, who leads, who is in sync. Lives in one key of the store.

The modification revision of that key is the configuration's epoch. Every predicate on it stands here, and every change
of its members.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from shoal.core.ids import ReplicaId, Revision, Seq, ShardId, Term, WorkerId
from shoal.core.slots import SlotRange


class ShardState(StrEnum):
    """CREATING: its first primary may make an empty folder; ACTIVE: it has done so, and a missing folder is a lost
    replica.
    """

    CREATING = "creating"
    ACTIVE = "active"


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardConfig:
    """Configuration of a shard.

    primary_reg: modification revision of the registration of the primary's worker when it was elected, 0 once it has
    resigned; isr: replicas that must make a record durable before it is committed; elr: further replicas that hold
    every committed record and may lead; learners: replicas that catch up; worker_of: where each replica lives; rf:
    replicas wanted; leaving: replicas that are to go: the primary takes them out of the isr, and then their workers
    delete them (the tombstone).
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
    leaving: tuple[ReplicaId, ...] = ()

    @property
    def members(self) -> tuple[ReplicaId, ...]:
        """Replicas that records are sent to, the primary among them."""
        return tuple(dict.fromkeys((*self.isr, *self.elr, *self.learners)))

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
    """Whether a replica certainly holds every committed record (invariant 2 in docs/design/replication.md)."""
    return replica in config.isr or replica in config.elr


def leads(config: ShardConfig, replica: ReplicaId, registration: Revision) -> bool:
    """Whether `replica`, on a worker with this registration (0: none), is the elected primary.

    A worker that registered again must be elected again: its old term ended with its old registration.
    """
    return config.primary == replica and registration != 0 and config.primary_reg == registration


def is_gone(config: ShardConfig, replica: ReplicaId) -> bool:
    """Whether a replica has its tombstone and nobody counts on it any more, so that its data is to be deleted."""
    return replica in config.leaving and replica not in config.members and replica != config.primary


def commit_point(config: ShardConfig, durable: Mapping[ReplicaId, Seq], joining: Collection[ReplicaId] = ()) -> Seq:
    """The seq up to which a record is committed (invariant 1); 0 when the isr is too small to commit, or others are
    eligible beside it: they hold every committed record only as long as nothing is committed without them.

    durable: how far each replica is certainly durable and equal to the primary. joining: the isr of a configuration
    that was asked for and may be in force or not; a record must be on these, too.
    """
    if not may_commit(config):
        return Seq(0)
    return min((durable.get(member, Seq(0)) for member in {*config.isr, *joining}), default=Seq(0))


def may_commit(config: ShardConfig) -> bool:
    """Whether a primary may commit under this configuration: the isr is large enough, and nobody else is counted on
    (elr).
    """
    return len(config.isr) >= config.min_isr and not config.elr


def is_spare(config: ShardConfig, replica: ReplicaId) -> bool:
    """Whether a replica's data is not needed: as many others as are wanted are in sync and to stay.

    Nothing less gives it a tombstone.
    """
    return len(keepers(config, replica)) >= config.rf


def keepers(config: ShardConfig, replica: ReplicaId) -> tuple[ReplicaId, ...]:
    """The replicas besides this one that are in sync and to stay."""
    return tuple(member for member in config.isr if member != replica and member not in config.leaving)


def may_shrink(config: ShardConfig, member: ReplicaId) -> bool:
    """Whether the primary may take a member out of the isr: never itself, and never below min_isr."""
    return member in config.isr and member != config.primary and len(config.isr) > config.min_isr


def shrunk(config: ShardConfig, member: ReplicaId) -> ShardConfig:
    """The isr without a member, which is a learner from now on, unless it is to leave and can be spared."""
    return _behind(replace(config, isr=_without(config.isr, member)), (member,))


def without_eligible(config: ShardConfig) -> ShardConfig:
    """The configuration under which a primary commits without those that are eligible (elr): they would miss the next
    record, so they become learners. Only the primary asks for it, since only a primary has shown that its own log is
    open."""
    return _behind(replace(config, elr=()), config.elr)


def expanded(config: ShardConfig, member: ReplicaId) -> ShardConfig:
    """The isr with one more member, which holds every committed record.

    Who is eligible besides stays so (see without_eligible).
    """
    eligible, learners = _without(config.elr, member), _without(config.learners, member)
    return replace(config, isr=(*config.isr, member), elr=eligible, learners=learners)


def resigned(config: ShardConfig, member: ReplicaId, *, intact: bool) -> ShardConfig | None:
    """The configuration without a member whose storage failed, as its own worker may ask for it; None when it is the
    last that may lead.

    A primary gives up its term. intact: whether it still holds what it had; if so it stays eligible until another
    leads.
    """
    if not any(other != member for other in (*config.isr, *config.elr)):
        return None
    isr, elr = _without(config.isr, member), _without(config.elr, member)
    eligible = intact and may_lead(config, member)
    elr = (*elr, member) if eligible else elr
    leadership = Revision(0) if config.primary == member else config.primary_reg
    left = replace(config, isr=isr, elr=elr, learners=_without(config.learners, member), primary_reg=leadership)
    return left if eligible else _behind(left, (member,))


def renamed_learner(config: ShardConfig, before: ReplicaId, after: ReplicaId) -> ShardConfig:
    """A learner that begins anew, empty, under an id that was never used: nothing that is known of the old one may
    count for it.
    """
    homes = {after if each == before else each: home for each, home in config.worker_of.items()}
    learners = tuple(after if each == before else each for each in config.learners)
    return replace(config, learners=learners, worker_of=homes)


def departed(config: ShardConfig, member: ReplicaId) -> ShardConfig:
    """The configuration after a member's data was deleted."""
    homes = {each: home for each, home in config.worker_of.items() if each != member}
    return replace(config, worker_of=homes, leaving=_without(config.leaving, member))


def _behind(config: ShardConfig, members: tuple[ReplicaId, ...]) -> ShardConfig:
    """Former members of isr or elr become learners. One that is to leave stays away for good only if it can be spared:
    else it loses its tombstone, and may get it again when it can."""
    needed = tuple(each for each in members if each not in config.leaving or not is_spare(config, each))
    leaving = tuple(each for each in config.leaving if each not in needed)
    return replace(config, learners=(*config.learners, *needed), leaving=leaving)


def _without(members: tuple[ReplicaId, ...], member: ReplicaId) -> tuple[ReplicaId, ...]:
    return tuple(each for each in members if each != member)
