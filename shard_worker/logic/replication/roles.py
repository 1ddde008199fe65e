"""What a replica begins with, and the roles it can have."""

from __future__ import annotations

from dataclasses import dataclass

from shoal.core.errors import ShoalError
from shoal.core.ids import ReplicaId, Revision, Seq, ShardId, Term
from shoal.core.shard_config import ShardConfig
from shoal.shard_worker.logic.replication.leadership import Leadership
from shoal.shard_worker.logic.replication.record import Record


@dataclass(frozen=True, kw_only=True, slots=True)
class Idle:
    """Does not lead: it takes what the primary sends."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """Elected; its term is being made durable."""

    config: ShardConfig
    epoch: Revision


@dataclass(frozen=True, kw_only=True, slots=True)
class Leading:
    """Leads; serves from the moment its no-op is committed and applied."""

    leadership: Leadership

    @property
    def config(self) -> ShardConfig:
        """The configuration of its term, as last seen."""
        return self.leadership.config


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """Its storage failed in this process. It answers nothing any more."""

    error: ShoalError


Role = Idle | Candidate | Leading | Failed


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplicaAtOpening:
    """What a replica finds on its disk. base: term and seq of the record before the first one that its log keeps; runs:
    first kept seq of each term; tail: records of the log behind applied_seq, in order."""

    shard: ShardId
    replica: ReplicaId
    known_term: Term
    base: tuple[Term, Seq]
    runs: tuple[tuple[Term, Seq], ...]
    last_seq: Seq
    applied_seq: Seq
    last_time_ms: int
    tail: tuple[Record, ...]
