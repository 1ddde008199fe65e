"""The configuration of one shard: its replicas, its primary, and the replicas in sync. It is one key of the store.

The modification revision of that key is the epoch of the configuration. This module holds each predicate on a
configuration and each change of its members.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from shoal.core.ids import ReplicaId, Revision, Seq, ShardId, Term, WorkerId
from shoal.core.slots import SlotRange


class ShardState(StrEnum):
    """CREATING: its first primary may create an empty folder; ACTIVE: it has done so, and a missing folder is a lost
    replica.
    """

    CREATING = "creating"
    ACTIVE = "active"


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """A replica takes the place of another one on another worker: target joins, then source leaves."""

    source: ReplicaId
    target: ReplicaId


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardConfig:
    """Configuration of a shard.

    primary_reg: modification revision of the registration of the primary's worker at the election, 0 after the primary
    resigned; isr: replicas that must make a record durable before it is committed; elr: further replicas that hold
    every committed record and may lead; learners: replicas that catch up; worker_of: worker of each replica; rf:
    replicas wanted; leaving: replicas to be removed: the primary takes them out of the isr, and then their workers
    delete them (the tombstone); move: the move of one of its replicas that is under way; successor: the replica in sync
    that the primary is asked to hand over to; unknown: what a newer version of this program keeps here, by name, as
    JSON values: it is carried through every change.
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
    move: Move | None = None
    successor: ReplicaId | None = None
    unknown: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def members(self) -> tuple[ReplicaId, ...]:
        """Return the replicas that records are sent to, with the primary."""
        return tuple(dict.fromkeys((*self.isr, *self.elr, *self.learners)))

    @property
    def primary_worker(self) -> WorkerId | None:
        """Return the worker that holds the primary; None after that replica was dropped."""
        return self.worker_of.get(self.primary)


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardEntry:
    """A configuration and its epoch, the modification revision of its key."""

    config: ShardConfig
    epoch: Revision


def replica_on(config: ShardConfig, worker: WorkerId) -> ReplicaId | None:
    """Return the replica of this shard on `worker`, or None. The placement rule allows at most one."""
    return next((replica for replica, home in config.worker_of.items() if home == worker), None)


def may_lead(config: ShardConfig, replica: ReplicaId) -> bool:
    """Return whether a replica certainly holds every committed record (invariant 2 in docs/design/replication.md)."""
    return replica in config.isr or replica in config.elr


def leads(config: ShardConfig, replica: ReplicaId, registration: Revision) -> bool:
    """Return whether `replica`, on a worker with this registration (0: none), is the elected primary.

    A worker that registered again must be elected again: its old term ended with its old registration.
    """
    return config.primary == replica and registration != 0 and config.primary_reg == registration


def is_gone(config: ShardConfig, replica: ReplicaId) -> bool:
    """Return whether a replica's data is to be deleted: it has its tombstone, and is neither a member nor the
    primary.
    """
    return replica in config.leaving and replica not in config.members and replica != config.primary


def commit_point(config: ShardConfig, durable: Mapping[ReplicaId, Seq], joining: Collection[ReplicaId] = ()) -> Seq:
    """Return the seq up to which records are committed (invariant 1); 0 if this configuration cannot commit.

    It cannot if the isr is too small, or if other replicas are eligible (elr): these hold every committed record only
    as long as nothing is committed without them.

    durable: up to which seq each replica is certainly durable and equal to the primary; joining: the isr of a
    configuration that was requested and may or may not be in force; a record must be on these replicas, too.
    """
    if not may_commit(config):
        return Seq(0)
    return min((durable.get(member, Seq(0)) for member in {*config.isr, *joining}), default=Seq(0))


def may_commit(config: ShardConfig) -> bool:
    """Return whether a primary may commit under this configuration: the isr is large enough, and the elr is empty."""
    return len(config.isr) >= config.min_isr and not config.elr


def is_spare(config: ShardConfig, replica: ReplicaId) -> bool:
    """Return whether a replica's data is not needed: rf other replicas are in sync and stay.

    Only then may a replica get a tombstone.
    """
    return len(keepers(config, replica)) >= config.rf


def keepers(config: ShardConfig, replica: ReplicaId) -> tuple[ReplicaId, ...]:
    """Return the other replicas that are in sync and stay."""
    return tuple(member for member in config.isr if member != replica and member not in config.leaving)


def may_shrink(config: ShardConfig, member: ReplicaId) -> bool:
    """Return whether the primary may take a member out of the isr: never itself, and never below min_isr."""
    return member in config.isr and member != config.primary and len(config.isr) > config.min_isr


def shrunk(config: ShardConfig, member: ReplicaId) -> ShardConfig:
    """Return the configuration with a member out of the isr.

    The member becomes a learner, unless it is leaving and its data is not needed.
    """
    return _behind(replace(config, isr=_without(config.isr, member)), (member,))


def without_eligible(config: ShardConfig) -> ShardConfig:
    """Return the configuration in which the eligible replicas (elr) are learners, so that a primary can commit without
    them.

    They would not get the next record. Only the primary requests this, because only a primary has shown that its own
    log is open.
    """
    return _behind(replace(config, elr=()), config.elr)


def expanded(config: ShardConfig, member: ReplicaId) -> ShardConfig:
    """Return the configuration with one more member in the isr; the member holds every committed record.

    Other eligible replicas stay eligible (see without_eligible).
    """
    eligible, learners = _without(config.elr, member), _without(config.learners, member)
    return replace(config, isr=(*config.isr, member), elr=eligible, learners=learners)


def resigned(config: ShardConfig, member: ReplicaId, *, intact: bool) -> ShardConfig | None:
    """Return the configuration after a member whose storage failed has resigned; None if no other replica may lead.

    The member's own worker requests it. A primary gives up its term. intact: whether the member still holds its data;
    it then stays eligible until another one leads.
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
    """Return the configuration in which a learner begins again, empty, under an id that was never used.

    Thus nothing that is known about the old replica counts for the new one.
    """
    homes = {after if each == before else each: home for each, home in config.worker_of.items()}
    learners = tuple(after if each == before else each for each in config.learners)
    move = config.move
    if move is not None:
        source, target = (after if each == before else each for each in (move.source, move.target))
        move = Move(source=source, target=target)
    return replace(config, learners=learners, worker_of=homes, move=move)


def handed_over(config: ShardConfig, registration: Revision) -> ShardConfig:
    """Return the configuration of the next term, in which the successor leads. The primary has stepped down already.

    registration: of the successor's worker.
    """
    assert config.successor is not None
    assert config.successor in config.isr
    return replace(config, term=Term(config.term + 1), primary=config.successor, primary_reg=registration, successor=None)


def passing(config: ShardConfig) -> ReplicaId | None:
    """Return the replica of a move that does not count for the replica count; None while nothing moves.

    That is the target until it is in sync, then the source.
    """
    if config.move is None:
        return None
    return config.move.source if config.move.target in config.isr else config.move.target


def may_take_over(config: ShardConfig, replica: ReplicaId) -> bool:
    """Return whether the primary may hand over to a replica: it is another one in sync, it stays, and it can commit."""
    return replica in config.isr and replica not in (config.primary, *config.leaving) and may_commit(config)


def departed(config: ShardConfig, member: ReplicaId) -> ShardConfig:
    """Return the configuration after a member's data was deleted."""
    homes = {each: home for each, home in config.worker_of.items() if each != member}
    return replace(config, worker_of=homes, leaving=_without(config.leaving, member))


def _behind(config: ShardConfig, members: tuple[ReplicaId, ...]) -> ShardConfig:
    """Return the configuration in which former members of isr or elr are learners.

    A leaving member is removed only if its data is not needed. Else it loses its tombstone, and may get it again later.
    """
    needed = tuple(each for each in members if each not in config.leaving or not is_spare(config, each))
    leaving = tuple(each for each in config.leaving if each not in needed)
    return replace(config, learners=(*config.learners, *needed), leaving=leaving)


def _without(members: tuple[ReplicaId, ...], member: ReplicaId) -> tuple[ReplicaId, ...]:
    return tuple(each for each in members if each != member)
