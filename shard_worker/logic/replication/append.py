"""What the primary of a shard sends to the other members, and what they answer: messages as plain values."""

from __future__ import annotations

from dataclasses import dataclass

from shoal.core.ids import ReplicaId, Seq, ShardId, Term
from shoal.shard_worker.logic.replication.record import Record


@dataclass(frozen=True, kw_only=True, slots=True)
class Append:
    """Records that follow (prev_term, prev_seq) in the primary's log; none: a heartbeat. commit_seq: the primary's
    commit point.

    behind: the primary's log, which begins after (prev_term, prev_seq), does not reach back to what the member lacked
    when it answered last; unless it has that record now, it has to fetch a snapshot.
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
        """Seq of the last record it carries, or of the one that they would follow."""
        return Seq(self.prev_seq + len(self.records))


@dataclass(frozen=True, kw_only=True, slots=True)
class LogSummary:
    """What a replica's log holds. runs: (term, seq of its first record), ascending, from its commit point on at
    least.
    """

    last_seq: Seq
    commit_seq: Seq
    runs: tuple[tuple[Term, Seq], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class NoRoom:
    """Why upserts find no room. reason: in words; limit: the bound that is reached, as in ErrorDetails."""

    reason: str
    limit: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LogMatches:
    """Durable, and equal to the primary's log, up to `through`. no_room: None while upserts find room here."""

    through: Seq
    no_room: NoRoom | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Diverged:
    """The records do not follow what this replica has."""

    summary: LogSummary


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """The sender's term is over: this one is known."""

    known_term: Term


AppendAnswer = LogMatches | Diverged | Refused
