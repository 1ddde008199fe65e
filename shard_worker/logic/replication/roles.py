"""The state of a replica when it is opened, and its possible roles."""

from __future__ import annotations

from dataclasses import dataclass

from shoal.core.errors import ShoalError
from shoal.core.ids import ReplicaId, Revision, Seq, ShardId, Term
from shoal.core.shard_config import ShardConfig
from shoal.shard_worker.logic.replication.leadership import REPLAY_BYTES, Leadership
from shoal.shard_worker.logic.replication.log_view import LogView
from shoal.shard_worker.logic.replication.record import Record


@dataclass(frozen=True, kw_only=True, slots=True)
class Idle:
    """It does not lead: it takes the records that a primary sends."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """It was elected; its term is being made durable."""

    config: ShardConfig
    epoch: Revision


@dataclass(frozen=True, kw_only=True, slots=True)
class Leading:
    """It leads, and serves once its no-op is committed and applied."""

    leadership: Leadership

    @property
    def config(self) -> ShardConfig:
        """Return the configuration of its term, as last seen."""
        return self.leadership.config


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """Its storage failed in this process. It answers nothing any more."""

    error: ShoalError


Role = Idle | Candidate | Leading | Failed


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplicaAtOpening:
    """The state that a replica has on its disk.

    base: term and seq of the record before the first kept one; runs: first kept seq of each term; tail: records of the
    log after applied_seq, in order; stretches: sizes of the log, see LogSizes; replay_bytes: see Leadership.
    """

    shard: ShardId
    replica: ReplicaId
    known_term: Term
    base: tuple[Term, Seq]
    runs: tuple[tuple[Term, Seq], ...]
    last_seq: Seq
    applied_seq: Seq
    last_time_ms: int
    tail: tuple[Record, ...]
    stretches: tuple[tuple[Seq, int], ...] = ()
    replay_bytes: int = REPLAY_BYTES

    def log_view(self) -> LogView:
        """Return its log as the deciders see it."""
        return LogView(base=self.base, runs=self.runs, last_seq=self.last_seq, tail=self.tail, stretches=self.stretches)
