"""The messages between the primary of a shard and the other members, as plain values."""

from __future__ import annotations

from dataclasses import dataclass

from shoal.core.ids import ReplicaId, Seq, ShardId, Term
from shoal.shard_worker.logic.replication.record import Record


@dataclass(frozen=True, kw_only=True, slots=True)
class Append:
    """Records that follow (prev_term, prev_seq) in the primary's log. Without records it is a heartbeat.

    commit_seq: the primary's commit point. behind: the primary sends no records before (prev_term, prev_seq): its log
    no longer holds those that the member lacked in its last answer, or they are so many that a snapshot is better. The
    member must fetch a snapshot, unless it has the record (prev_term, prev_seq) by now.
    """

    shard: ShardId
    term: Term
    primary: ReplicaId
    to: ReplicaId
    prev_term: Term
    prev_seq: Seq
    records: tuple[Record, ...]
    commit_seq: Seq
    behind: bool = False

    @property
    def through(self) -> Seq:
        """Return the seq of its last record; without records, prev_seq."""
        return Seq(self.prev_seq + len(self.records))


@dataclass(frozen=True, kw_only=True, slots=True)
class LogSummary:
    """The terms in a replica's log, at least from its commit point on.

    runs: (term, seq of its first record), ascending.
    """

    last_seq: Seq
    commit_seq: Seq
    runs: tuple[tuple[Term, Seq], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class NoRoom:
    """Why there is no room for upserts. reason: text; limit: the bound that is reached, as in ErrorDetails."""

    reason: str
    limit: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LogMatches:
    """The log is durable and equal to the primary's up to `through`. no_room: None if upserts have room here."""

    through: Seq
    no_room: NoRoom | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Diverged:
    """The records do not follow the log of this replica."""

    summary: LogSummary


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """The sender's term is over: this replica knows `known_term`, which is higher."""

    known_term: Term


AppendAnswer = LogMatches | Diverged | Refused
