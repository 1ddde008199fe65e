"""What becomes of a shard when an operator accepts the loss of data: which replica is believed, which are given up,
what is recorded.
"""

from __future__ import annotations

from dataclasses import dataclass

from shoal.core.ids import ReplicaId, Seq, ShardId, Term, WorkerId

ACCEPT_DATA_LOSS = "accept-data-loss"
"""The action of an audit entry."""


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class LogEnd:
    """Where a replica's log ends: the longer of two is the greater one."""

    term: Term
    seq: Seq


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplicaPlace:
    """A replica and where it lives. role: in words, what it was; end: of its log, None where its worker has not
    said.
    """

    replica: ReplicaId
    worker: WorkerId
    role: str
    end: LogEnd | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Recovery:
    """chosen: whose data becomes the shard's; given_up: the others, whatever they hold; term: of the new term."""

    shard: ShardId
    term: Term
    chosen: ReplicaPlace
    given_up: tuple[ReplicaPlace, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class RecoveryRequest:
    """What an operator asks for. worker: whose replica is to be believed, None for the longest log; accept_data_loss:
    without it nothing is done; request_id: the same for a retry of the same call; asked_by: who, as far as that is
    known."""

    name: str
    number: int
    worker: WorkerId | None
    accept_data_loss: bool
    reason: str
    asked_by: str
    request_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditEntry:
    """What an operator did at time_ms (since 1970). collection: its name at that time."""

    time_ms: int
    action: str
    collection: str
    recovery: Recovery
    reason: str
    asked_by: str
    request_id: str
