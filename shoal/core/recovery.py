"""A recovery, by which an operator accepts the loss of data: the chosen replica, those given up, and the audit
entry.
"""

from __future__ import annotations

from dataclasses import dataclass

from shoal.core.ids import ReplicaId, Seq, ShardId, Term, WorkerId

ACCEPT_DATA_LOSS = "accept-data-loss"
"""The action of an audit entry."""


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class LogEnd:
    """The end of a replica's log. The longer of two logs compares as greater."""

    term: Term
    seq: Seq


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplicaPlace:
    """A replica and its worker. role: its role before, in words; end: of its log, None if its worker has not reported
    it.
    """

    replica: ReplicaId
    worker: WorkerId
    role: str
    end: LogEnd | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Recovery:
    """chosen: the replica whose data becomes the shard's; given_up: the others, whatever they hold; term: the new
    one.
    """

    shard: ShardId
    term: Term
    chosen: ReplicaPlace
    given_up: tuple[ReplicaPlace, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class RecoveryRequest:
    """The request of an operator.

    worker: whose replica is to be chosen, None for the longest log; accept_data_loss: without it nothing is changed;
    request_id: the same for a retry of the same call; asked_by: the operator, as far as known.
    """

    name: str
    number: int
    worker: WorkerId | None
    accept_data_loss: bool
    reason: str
    asked_by: str
    request_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditEntry:
    """An operator's action at time_ms (milliseconds since 1970).

    collection: its name at that time, "" for an action on the cluster; recovery: of a shard, None for another action;
    subject: the worker or the plan that another action is about; reason: why, or what was done, in words.
    """

    time_ms: int
    action: str
    collection: str
    recovery: Recovery | None
    reason: str
    asked_by: str
    request_id: str
    subject: str = ""
