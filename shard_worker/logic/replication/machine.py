"""The replica state machine: events in, effects out. It performs nothing and knows no clock, disk or network.

It decides as docs/design/replication.md says. A record is committed when every member of the isr has it durable. The
store and the indexes get committed records only. A new primary makes its term durable, appends a no-op, and serves once
that is committed. `leadership` decides what a primary does for the other members. Writes and incoming appends are here.

Asserted here: a record is committed only while this replica leads, with |isr| >= min_isr (invariant 1); terms never
fall (invariant 3); nothing at or below the commit point is cut (invariant 5); records are applied once, in order of seq
(invariant 6).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from shoal.core.errors import Applied, ErrorDetails, ResourceExhausted, ShoalError, Unavailable
from shoal.core.health import ReplicaRole
from shoal.core.ids import ReplicaId, RequestId, Revision, Seq, Term
from shoal.core.shard_config import ShardConfig, ShardState, leads, may_lead
from shoal.shard_worker.logic.replication import refusals
from shoal.shard_worker.logic.replication.append import Append, Diverged, LogMatches, NoRoom, Refused
from shoal.shard_worker.logic.replication.events import (
    Acknowledge,
    AnswerAppend,
    AppendAsked,
    AppendRecords,
    ApplyRecords,
    CallerLeft,
    ConfigSeen,
    FetchSnapshot,
    ForgetRequests,
    LeadNoMore,
    LogRead,
    LogTrimmed,
    PeerAnswered,
    PeerSilent,
    RecordsApplied,
    RecordsDurable,
    Refuse,
    RefuseAppend,
    ReplicaEffect,
    ReplicaEvent,
    SnapshotRefused,
    SpaceChanged,
    StorageBroke,
    StoreTerm,
    SwapEnded,
    TermStored,
    Tick,
    Ticket,
    TruncateLog,
    WriteAsked,
)
from shoal.shard_worker.logic.replication.leadership import Leadership
from shoal.shard_worker.logic.replication.record import Record, RecordKind
from shoal.shard_worker.logic.replication.request_memory import Remembered, RequestMemory, TooOld, Unheard
from shoal.shard_worker.logic.replication.roles import Candidate, Failed, Idle, Leading, ReplicaAtOpening, Role

MAX_WAITING_APPENDS = 16
LONGEST_TICK_MS = 500
"""Most time that counts as passed between two ticks: while this process was stopped, it could not receive answers."""


@dataclass
class _Pending:
    tickets: list[Ticket] = field(default_factory=list)
    bytes: int = 0
    request_id: RequestId | None = None


class ReplicaMachine:
    """State of one replica. Takes events from one thread, one at a time, in order."""

    def __init__(self, opened: ReplicaAtOpening, memory: RequestMemory) -> None:
        self.shard, self.replica = opened.shard, opened.replica
        self.known_term = opened.known_term
        self.role: Role = Idle()
        self.log = opened.log_view()
        self._replay_bytes = opened.replay_bytes
        self.commit_seq = opened.applied_seq
        self.applied_seq = opened.applied_seq
        self._handed_out = opened.applied_seq
        self._memory = memory
        self._last_time_ms = opened.last_time_ms
        self._pending: dict[Seq, _Pending] = {}
        self._by_request: dict[RequestId, Seq] = {}
        self._pending_bytes = 0
        self._no_room: NoRoom | None = None
        self._has_served = False
        self._config: ShardConfig | None = None
        self._newest_epoch = Revision(0)
        self._now_ms = 0
        self._serials = itertools.count(1)
        self._storing_term = opened.known_term
        self._given_up_term = Term(0)
        self._waiting: list[AppendAsked] = []
        self._owed: list[tuple[Ticket, Seq]] = []
        self._fresh_at: Seq | None = None
        self._ticked_ms: int | None = None
        self.behind: ReplicaId | None = None
        """The primary whose log no longer holds records that are missing here. None again as soon as records of any
        primary follow this log: a snapshot requested before may then lack records acknowledged since, and must not be
        installed."""

    def knows(self, request_id: RequestId) -> bool:
        """Return whether this write was seen before: it waits, was applied, or is too old to tell."""
        return request_id in self._by_request or not isinstance(self._memory.look_up(request_id), Unheard)

    @property
    def last_seq(self) -> Seq:
        """Return the seq of the last record in its log, committed or not."""
        return self.log.last_seq

    @property
    def serves_writes(self) -> bool:
        """Return whether it is the primary, its folder is confirmed and its no-op is applied."""
        if not isinstance(self.role, Leading):
            return False
        return self.role.config.state is ShardState.ACTIVE and self.applied_seq >= self.role.leadership.noop

    @property
    def serves_reads(self) -> bool:
        """Return whether it leads or may lead, and has once served as primary, or applied what was committed when it
        first heard of a record that a primary committed in its own term.
        """
        if isinstance(self.role, Failed) or not self._has_served:
            return False
        return isinstance(self.role, Leading) or (self._config is not None and may_lead(self._config, self.replica))

    @property
    def kept_for_others(self) -> tuple[Seq, Seq]:
        """Return the seqs of the first record that its log must, and should, keep for other members."""
        if not isinstance(self.role, Leading):
            return Seq(self.last_seq + 1), Seq(self.last_seq + 1)
        return self.role.leadership.needed_from(), self.role.leadership.wanted_from()

    @property
    def wants_ticks(self) -> bool:
        """Return whether it needs ticks: it leads other members."""
        return isinstance(self.role, Leading) and self.role.leadership.has_peers

    @property
    def is_quiet(self) -> bool:
        """Return whether it leads others, and few ticks are enough until something happens."""
        return isinstance(self.role, Leading) and self.role.leadership.is_quiet(self.commit_seq)

    @property
    def role_name(self) -> ReplicaRole:
        """Return its role as it is reported to others."""
        match self.role:
            case Leading():
                return ReplicaRole.PRIMARY if self.serves_writes else ReplicaRole.STARTING
            case Candidate():
                return ReplicaRole.STARTING
            case Failed():
                return ReplicaRole.FAILED
            case Idle():
                if self._config is not None and self.replica in self._config.learners:
                    return ReplicaRole.LEARNER
                return ReplicaRole.BACKUP if self._has_served else ReplicaRole.WAITING

    def handle(self, event: ReplicaEvent) -> list[ReplicaEffect]:
        """Return the effects of an event. Carry them out in order."""
        if isinstance(event, CallerLeft):
            self._forget_ticket(event.ticket)
            return []
        if isinstance(self.role, Failed):
            return self._refuse_failed(event, self.role.error)
        effects = self._react(event)
        if isinstance(self.role, Leading):
            effects += self._lead(self.role.leadership)
        return effects

    def _react(self, event: ReplicaEvent) -> list[ReplicaEffect]:
        match event:
            case ConfigSeen():
                return self._see_config(event)
            case LeadNoMore(term=term):
                return self._give_up_term(term)
            case TermStored(term=term):
                return self._begin_term(term)
            case WriteAsked():
                return self._accept_write(event)
            case AppendAsked():
                return self._see_append(event)
            case RecordsDurable(term=term, through=through):
                self.log.became_durable(term, through)
                return [*self._answer_owed(), *self._apply_committed()]
            case RecordsApplied():
                return self._settle(event)
            case SpaceChanged(no_room=no_room):
                self._no_room = no_room
            case StorageBroke(error=error):
                return self._break(error)
            case LogTrimmed(term=term, seq=seq):
                self.log.trimmed((term, seq))
            case Tick(now_ms=now_ms):
                passed_ms = 0 if self._ticked_ms is None else now_ms - self._ticked_ms
                self._now_ms += max(0, min(passed_ms, LONGEST_TICK_MS))
                self._ticked_ms = now_ms
            case PeerAnswered() | PeerSilent() | LogRead() | SwapEnded() | SnapshotRefused():
                return self._hear_of_members(event)
        return []

    # Leading

    def _lead(self, leadership: Leadership) -> list[ReplicaEffect]:
        """Commit what can be committed, request a change of the isr, send appends."""
        reached = leadership.commit_point()
        if reached > self.commit_seq:
            assert reached <= self.log.durable_seq, f"commit {reached} beyond durable {self.log.durable_seq}"
            self.commit_seq = reached
        effects = self._apply_committed()
        effects += leadership.change(self.commit_seq, self._now_ms)
        effects += leadership.pump(self.commit_seq, self._now_ms)
        return effects

    def _hear_of_members(self, event: PeerAnswered | PeerSilent | LogRead | SwapEnded | SnapshotRefused) -> list[ReplicaEffect]:
        if not isinstance(self.role, Leading):
            return []
        leadership = self.role.leadership
        match event:
            case PeerAnswered(answer=Refused(known_term=term)):
                return self._step_down(f"a member knows term {term}") if term > leadership.config.term else []
            case PeerAnswered(peer=peer, serial=serial, answer=answer):
                leadership.answered(peer, serial, answer)
            case PeerSilent(peer=peer, serial=serial, gone=gone):
                leadership.silent(peer, serial, gone=gone)
            case LogRead(peer=peer, from_seq=from_seq, records=records):
                return list(leadership.read(peer, from_seq, records, self.commit_seq, self._now_ms))
            case SwapEnded(base=base, outcome=outcome, revision=revision):
                leadership.swapped(base, outcome, revision)
                self._look_whether_fresh()
            case SnapshotRefused():
                leadership.refused_snapshot()
        return []

    def _see_config(self, event: ConfigSeen) -> list[ReplicaEffect]:
        config = event.config
        if event.epoch < self._newest_epoch:
            return []
        self._newest_epoch, self._config = event.epoch, config
        if config.term < max(self.known_term, self._storing_term):
            return []
        if isinstance(self.role, Leading | Candidate) and self.role.config.term == config.term:
            return self._follow_config(config, event.epoch)
        if leads(config, self.replica, event.registration) and config.term > max(self.known_term, self._given_up_term):
            self.role = Candidate(config=config, epoch=event.epoch)
            return [*self._refuse_pending(refusals.stepped_down("it was elected anew")), self._store_term(config.term)]
        if config.term > self.known_term:
            return self._step_down(f"term {config.term} belongs to another replica or to another life of this worker")
        return []

    def _follow_config(self, config: ShardConfig, epoch: Revision) -> list[ReplicaEffect]:
        assert isinstance(self.role, Leading | Candidate)
        before = self.role.config
        if (config.primary, config.primary_reg) != (before.primary, before.primary_reg):
            return self._step_down("it has resigned")
        match self.role:
            case Candidate():
                self.role = Candidate(config=config, epoch=epoch)
            case Leading(leadership=leadership):
                leadership.follow(config, epoch)
                self._look_whether_fresh()
        return []

    def _store_term(self, term: Term) -> StoreTerm:
        self._storing_term = term
        return StoreTerm(term=term)

    def _begin_term(self, term: Term) -> list[ReplicaEffect]:
        assert term >= self.known_term, f"term fell from {self.known_term} to {term}"
        self.known_term = term
        effects = self._take_waiting()
        if not isinstance(self.role, Candidate) or self.role.config.term > term:
            return effects
        if self.role.config.term < term:
            return [*effects, *self._step_down(f"term {term} has begun")]
        noop = self._next_record(term, RecordKind.NOOP, None, b"", self._last_time_ms)
        leadership = Leadership(
            config=self.role.config,
            epoch=self.role.epoch,
            noop=noop.seq,
            log=self.log,
            serials=self._serials,
            replay_bytes=self._replay_bytes,
        )
        self.role = Leading(leadership=leadership)
        return [*effects, AppendRecords(records=(noop,))]

    def _give_up_term(self, term: Term) -> list[ReplicaEffect]:
        """End a term for good: even if its number is not durable yet, this replica does not lead in it again."""
        self._given_up_term = max(self._given_up_term, term)
        leads_in_it = isinstance(self.role, Leading | Candidate) and self.role.config.term <= term
        return self._step_down("it hands over to another replica") if leads_in_it else []

    def _step_down(self, reason: str) -> list[ReplicaEffect]:
        self.role = Idle()
        return self._refuse_pending(refusals.stepped_down(reason))

    def _break(self, error: ShoalError) -> list[ReplicaEffect]:
        self.role = Failed(error=error)
        effects: list[ReplicaEffect] = [RefuseAppend(ticket=each.ticket, error=error) for each in self._waiting]
        effects += [RefuseAppend(ticket=ticket, error=error) for ticket, _ in self._owed]
        self._waiting, self._owed = [], []
        return [*effects, *self._refuse_pending(error)]

    def _refuse_failed(self, event: ReplicaEvent, error: ShoalError) -> list[ReplicaEffect]:
        match event:
            case WriteAsked(ticket=ticket):
                return [self._refused(ticket, refusals.after_failure(error))]
            case AppendAsked(ticket=ticket):
                return [RefuseAppend(ticket=ticket, error=error)]
            case _:
                return []

    def _refuse_pending(self, error: ShoalError) -> list[ReplicaEffect]:
        tickets = [ticket for pending in self._pending.values() for ticket in pending.tickets]
        self._pending.clear()
        self._by_request.clear()
        self._pending_bytes = 0
        return [self._refused(ticket, error, "maybe") for ticket in tickets]

    # Following

    def _see_append(self, event: AppendAsked) -> list[ReplicaEffect]:
        append = event.append
        if append.to != self.replica:
            return [RefuseAppend(ticket=event.ticket, error=Unavailable(f"replica {append.to} of shard {self.shard} is not here"))]
        if append.term < self.known_term:
            return [AnswerAppend(ticket=event.ticket, answer=Refused(known_term=self.known_term))]
        if append.term == self.known_term:
            return self._take(event)
        if len(self._waiting) >= MAX_WAITING_APPENDS:
            return [RefuseAppend(ticket=event.ticket, error=ResourceExhausted("appends wait for their term to be stored"))]
        self._waiting.append(event)
        effects: list[ReplicaEffect] = []
        if isinstance(self.role, Leading | Candidate) and self.role.config.term < append.term:
            effects += self._step_down(f"term {append.term} has begun")
        if append.term > self._storing_term:
            effects.append(self._store_term(append.term))
        return effects

    def _take_waiting(self) -> list[ReplicaEffect]:
        """Take the appends whose term is durable now.

        Appends of an earlier primary that are not answered yet are refused: their records may be cut.
        """
        effects: list[ReplicaEffect] = [AnswerAppend(ticket=ticket, answer=Refused(known_term=self.known_term)) for ticket, _ in self._owed]
        self._owed = []
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            effects += self._see_append(event)
        return effects

    def _take(self, event: AppendAsked) -> list[ReplicaEffect]:
        append = event.append
        assert not isinstance(self.role, Leading), f"two primaries in term {append.term}: {self.replica} and {append.primary}"
        continues, before = self._continues(append), self.behind
        if append.behind or continues:
            self.behind = None if continues else append.primary
        if append.behind or not continues:
            effects: list[ReplicaEffect] = [] if self.behind in (None, before) else [FetchSnapshot(primary=append.primary)]
            return [*effects, AnswerAppend(ticket=event.ticket, answer=Diverged(summary=self.log.summary(self.commit_seq)))]
        effects = self._take_records(append.records)
        self.commit_seq = max(self.commit_seq, min(append.commit_seq, append.through))
        if self._fresh_at is None and self.log.term_at(append.commit_seq) == append.term:
            # Before its no-op is committed, a primary may know less than what earlier ones acknowledged.
            self._fresh_at = append.commit_seq
        self._look_whether_fresh()
        self._owed.append((event.ticket, append.through))
        return [*effects, *self._answer_owed(), *self._apply_committed()]

    def _continues(self, append: Append) -> bool:
        """Return whether the records follow this log: committed records are the same everywhere."""
        return append.prev_seq <= self.commit_seq or self.log.term_at(append.prev_seq) == append.prev_term

    def _take_records(self, records: Sequence[Record]) -> list[ReplicaEffect]:
        effects: list[ReplicaEffect] = []
        fresh = [record for record in records if self.log.term_at(record.seq) != record.term and record.seq > self.commit_seq]
        if not fresh:
            return effects
        if fresh[0].seq <= self.last_seq:
            assert fresh[0].seq > self.commit_seq, f"record {fresh[0].seq} is committed and cannot be cut"
            self.log.truncate_after(Seq(fresh[0].seq - 1))
            effects.append(TruncateLog(after=Seq(fresh[0].seq - 1)))
        for record in fresh:
            self.log.append(record)
            self._last_time_ms = max(self._last_time_ms, record.time_ms)
        return [*effects, AppendRecords(records=tuple(fresh))]

    def _answer_owed(self) -> list[ReplicaEffect]:
        ready = [(ticket, through) for ticket, through in self._owed if through <= self.log.durable_seq]
        self._owed = [(ticket, through) for ticket, through in self._owed if through > self.log.durable_seq]
        return [AnswerAppend(ticket=ticket, answer=LogMatches(through=through, no_room=self._no_room)) for ticket, through in ready]

    # Writing

    def _accept_write(self, event: WriteAsked) -> list[ReplicaEffect]:
        if not self.serves_writes or not isinstance(self.role, Leading):
            return [self._refused(event.ticket, Unavailable(f"this replica is not the serving primary ({self.role_name})"))]
        known = self._by_request.get(event.request_id)
        if known is not None:
            self._pending[known].tickets.append(event.ticket)
            return []
        match self._memory.look_up(event.request_id):
            case Remembered(seq=seq, affected=affected):
                return [Acknowledge(ticket=event.ticket, seq=seq, affected=affected)]
            case TooOld(newest=newest):
                return [self._refused(event.ticket, refusals.too_old(event.request_id, newest), "maybe")]
            case Unheard():
                return self._append_write(event, self.role.leadership)

    def _append_write(self, event: WriteAsked, leadership: Leadership) -> list[ReplicaEffect]:
        full = self._no_room or leadership.no_room()
        if full is not None and event.kind.writes_points:
            return [self._refused(event.ticket, ResourceExhausted(full.reason, ErrorDetails(limit=full.limit)))]
        obstacle = leadership.obstacle(self._now_ms)
        if obstacle is not None:
            return [self._refused(event.ticket, Unavailable(f"shard {self.shard} takes no writes now: {obstacle}"))]
        if len(self._pending) >= refusals.MAX_PENDING_WRITES or self._pending_bytes + len(event.body) > refusals.MAX_PENDING_BYTES:
            return [self._refused(event.ticket, refusals.queue_full(len(self._pending), self._pending_bytes))]
        record = self._next_record(leadership.config.term, event.kind, event.request_id, event.body, event.now_ms)
        self._pending[record.seq] = _Pending(tickets=[event.ticket], bytes=len(event.body), request_id=event.request_id)
        self._by_request[event.request_id] = record.seq
        self._pending_bytes += len(event.body)
        return [AppendRecords(records=(record,))]

    def _next_record(self, term: Term, kind: RecordKind, request_id: RequestId | None, body: bytes, now_ms: int) -> Record:
        self._last_time_ms = max(self._last_time_ms, now_ms)
        seq = Seq(self.last_seq + 1)
        record = Record(term=term, seq=seq, kind=kind, time_ms=self._last_time_ms, request_id=request_id, body=body)
        self.log.append(record)
        return record

    # Committing

    def _apply_committed(self) -> list[ReplicaEffect]:
        """Pass on records that are committed and durable here: the store must never be ahead of the log."""
        reached = min(self.commit_seq, self.log.durable_seq)
        if reached <= self._handed_out:
            return []
        ready = tuple(self.log.record(Seq(seq)) for seq in range(self._handed_out + 1, reached + 1))
        self._handed_out = Seq(reached)
        return [ApplyRecords(records=ready)]

    def _settle(self, event: RecordsApplied) -> list[ReplicaEffect]:
        assert event.through <= self.commit_seq, f"applied {event.through} beyond commit {self.commit_seq}"
        first = self.applied_seq + 1
        assert event.through == first + len(event.affected) - 1, (
            f"applied {len(event.affected)} records up to {event.through}, from {first}"
        )
        effects: list[ReplicaEffect] = []
        remembered = []
        for seq, affected in zip(range(first, event.through + 1), event.affected, strict=True):
            record = self.log.record(Seq(seq))
            if record.request_id is not None:
                remembered.append(Remembered(request_id=record.request_id, seq=record.seq, affected=affected, time_ms=record.time_ms))
            effects.extend(self._acknowledge(record.seq, affected))
        self.applied_seq = event.through
        self.log.applied(event.through, keep_recent=self.wants_ticks)
        self._look_whether_fresh()
        forgetting = self._memory.remember(remembered)
        if forgetting.through or forgetting.clients:
            effects.append(ForgetRequests(forgetting=forgetting))
        return effects

    def _look_whether_fresh(self) -> None:
        """Note whether it has applied what was committed at first, see serves_reads, or leads and serves."""
        caught_up = self._fresh_at is not None and self.applied_seq >= self._fresh_at
        self._has_served = self._has_served or self.serves_writes or caught_up

    def _acknowledge(self, seq: Seq, affected: int) -> Sequence[ReplicaEffect]:
        pending = self._pending.pop(seq, None)
        if pending is None:
            return ()
        self._pending_bytes -= pending.bytes
        if pending.request_id is not None:
            self._by_request.pop(pending.request_id, None)
        return [Acknowledge(ticket=ticket, seq=seq, affected=affected) for ticket in pending.tickets]

    def _refused(self, ticket: Ticket, error: ShoalError, applied: Applied = "no") -> Refuse:
        shard = str(self.shard)
        details = ErrorDetails(shard=shard, limit=error.details.limit, applied={shard: applied}, retry_after_s=error.details.retry_after_s)
        return Refuse(ticket=ticket, error=type(error)(error.message, details))

    def _forget_ticket(self, ticket: Ticket) -> None:
        for pending in self._pending.values():
            if ticket in pending.tickets:
                pending.tickets.remove(ticket)
