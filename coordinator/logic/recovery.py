"""Plans the recovery of a shard that has lost every replica that may lead: another replica becomes primary, and records
that only the lost replicas held are lost.

This is the only way in which a replica outside of isr and elr becomes primary. It is refused while any member of isr or
elr may still be available.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping

from shoal.coordinator.logic.failover import Workers
from shoal.core.errors import ErrorDetails, PreconditionFailed
from shoal.core.ids import ReplicaId, Revision, Term, WorkerId
from shoal.core.recovery import LogEnd, Recovery, ReplicaPlace
from shoal.core.shard_config import ShardConfig, is_gone, replica_on


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Reports:
    """The reports of the workers of a shard's replicas. ends: ends of the logs of the replicas that are open.

    failed: workers that report that their replica of the shard has failed."""

    ends: Mapping[ReplicaId, LogEnd]
    failed: Collection[WorkerId]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RecoveryPlan:
    """The plan of a recovery. registrations: of live workers that it relies on. absent: workers that must be gone."""

    recovery: Recovery
    config: ShardConfig
    registrations: Mapping[WorkerId, Revision]
    absent: tuple[WorkerId, ...]


def plan_recovery(config: ShardConfig, name: str, workers: Workers, reports: Reports, worker: WorkerId | None) -> RecoveryPlan:
    """Return the plan of a recovery. name: of the shard, for messages.

    worker: its replica becomes primary; None for the replica with the longest log. Raises PreconditionFailed while a
    replica that may lead is available or may be soon, and if the replica to choose does not answer.
    """
    trusted = tuple(dict.fromkeys((*config.isr, *config.elr)))
    for member in trusted:
        _check_lost(config, name, member, workers, reports)
    chosen = _chosen(config, name, workers, reports, worker)
    home = config.worker_of[chosen]
    homes = {config.worker_of[member] for member in trusted if member in config.worker_of}
    relied_on = {each: workers[each].registration for each in sorted({home, *homes} & set(workers))}
    others = [member for member in config.worker_of if member != chosen]
    return RecoveryPlan(
        recovery=Recovery(
            shard=config.shard,
            term=Term(config.term + 1),
            chosen=_place(config, chosen, reports),
            given_up=tuple(_place(config, member, reports) for member in others),
        ),
        config=_believing(config, chosen, workers[home].registration),
        registrations=relied_on,
        absent=tuple(sorted(homes - set(workers))),
    )


def _check_lost(config: ShardConfig, name: str, member: ReplicaId, workers: Workers, reports: Reports) -> None:
    home = config.worker_of.get(member)
    if home is None or home not in workers:
        return
    if member not in reports.ends and home in reports.failed:
        return
    how = "is there" if member in reports.ends else "is being opened, or its worker does not answer: wait"
    raise PreconditionFailed(
        f"shard {name} has not lost every replica that may lead: the one on worker {home} {how}; nothing was given up",
        ErrorDetails(shard=name),
    )


def _chosen(config: ShardConfig, name: str, workers: Workers, reports: Reports, worker: WorkerId | None) -> ReplicaId:
    there = {member: end for member, end in reports.ends.items() if config.worker_of.get(member) in workers and not is_gone(config, member)}
    if worker is None:
        longest = max(sorted(there), key=lambda member: there[member], default=None)
        if longest is None:
            raise PreconditionFailed(f"no replica of shard {name} answers, so there is none to be believed", ErrorDetails(shard=name))
        return longest
    named = replica_on(config, worker)
    if named is None or named not in there:
        said = ", ".join(sorted(config.worker_of[member] for member in there)) or "none"
        raise PreconditionFailed(
            f"worker {worker} has no replica of shard {name} that answers (those that do: {said})", ErrorDetails(field="worker", shard=name)
        )
    return named


def _believing(config: ShardConfig, chosen: ReplicaId, registration: Revision) -> ShardConfig:
    """Return the configuration with `chosen` as the only replica.

    The others get no tombstone, so their folders stay on disk.
    """
    return dataclasses.replace(
        config,
        term=Term(config.term + 1),
        primary=chosen,
        primary_reg=registration,
        isr=(chosen,),
        elr=(),
        learners=(),
        leaving=(),
        worker_of={chosen: config.worker_of[chosen]},
        move=None,
        successor=None,
    )


def _place(config: ShardConfig, member: ReplicaId, reports: Reports) -> ReplicaPlace:
    return ReplicaPlace(replica=member, worker=config.worker_of[member], role=_role(config, member), end=reports.ends.get(member))


def _role(config: ShardConfig, member: ReplicaId) -> str:
    if member in config.isr:
        return "in sync, primary" if member == config.primary else "in sync"
    if member in config.elr:
        return "eligible"
    return "learner" if member in config.learners else "leaving"
