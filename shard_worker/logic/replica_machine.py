"""The replica state machine: events in, effects out. It performs nothing and knows no clock, disk or network.

It decides as design of replication says: a record is committed when every member of the isr has it durable; the store and the
indexes see committed records only; a new primary makes its term durable, appends a no-op, and serves once that is committed.
With one replica the isr is {me}; with more, further events (appends, acknowledgements) join this machine.

Invariants asserted here: a record is committed only while this replica leads, with |isr| >= min_isr (1); terms never fall (3);
nothing at or below the commit point is replaced (5); records are applied once, in order of seq (6).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from shard_worker.logic.record import Record, RecordKind
from shard_worker.logic.replica_events import (
    DISK_LIMIT,
    Acknowledge,
    AppendRecords,
    ApplyRecords,
    CallerLeft,
    ConfigSeen,
    ForgetRequests,
    RecordsApplied,
    RecordsDurable,
    Refuse,
    ReplicaEffect,
    ReplicaEvent,
    SpaceChanged,
    StorageBroke,
    StoreTerm,
    TermStored,
    Ticket,
    WriteAsked,
)
from shard_worker.logic.request_memory import Remembered, RequestMemory, TooOld, Unheard
from shoal.core.errors import Applied, ErrorDetails, PreconditionFailed, ResourceExhausted, ShoalError, Unavailable
from shoal.core.ids import ReplicaId, RequestId, Revision, Seq, ShardId, Term
from shoal.core.shard_config import ShardConfig, ShardState, commit_point, leads

MAX_PENDING_WRITES = 256
MAX_PENDING_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Idle:
    """Does not lead."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rising:
    """Elected; its term is being made durable."""

    config: ShardConfig
    epoch: Revision


@dataclass(frozen=True, kw_only=True, slots=True)
class Leading:
    """Leads; serves from the moment its no-op is committed and applied."""

    config: ShardConfig
    epoch: Revision
    noop: Seq


@dataclass(frozen=True, kw_only=True, slots=True)
class Broken:
    """Its storage failed in this process. It answers nothing any more."""

    error: ShoalError


Role = Idle | Rising | Leading | Broken


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """What a replica finds on its disk. tail: records of the log behind applied_seq, in order."""

    shard: ShardId
    replica: ReplicaId
    known_term: Term
    last_term: Term
    last_seq: Seq
    applied_seq: Seq
    last_time_ms: int
    tail: tuple[Record, ...]


@dataclass
class _Pending:
    tickets: list[Ticket] = field(default_factory=list)
    bytes: int = 0
    request_id: RequestId | None = None


class ReplicaMachine:
    """State of one replica. Fed from one thread, one event at a time, in order."""

    def __init__(self, opened: Opened, memory: RequestMemory) -> None:
        self.shard, self.replica = opened.shard, opened.replica
        self.known_term = opened.known_term
        self.role: Role = Idle()
        self.last_seq = opened.last_seq
        self.durable_seq = opened.last_seq
        self.commit_seq = opened.applied_seq
        self.applied_seq = opened.applied_seq
        self._handed_out = opened.applied_seq
        self._memory = memory
        self._last_time_ms = opened.last_time_ms
        self._tail: OrderedDict[Seq, Record] = OrderedDict((record.seq, record) for record in opened.tail)
        self._pending: dict[Seq, _Pending] = {}
        self._by_request: dict[RequestId, Seq] = {}
        self._pending_bytes = 0
        self._no_space: str | None = None
        self._has_served = False
        self._newest_epoch = Revision(0)

    def knows(self, request_id: RequestId) -> bool:
        """Whether it has met this write before: it waits, was applied, or is too old to tell."""
        return request_id in self._by_request or not isinstance(self._memory.look_up(request_id), Unheard)

    @property
    def serves_writes(self) -> bool:
        """Whether it is the primary, its folder is confirmed and its no-op is applied."""
        if not isinstance(self.role, Leading):
            return False
        return self.role.config.state is ShardState.ACTIVE and self.applied_seq >= self.role.noop

    @property
    def serves_reads(self) -> bool:
        """Whether it is sure to hold everything committed before this process began."""
        return self._has_served and not isinstance(self.role, Broken)

    @property
    def role_name(self) -> str:
        """The role in a word, for people."""
        match self.role:
            case Leading():
                return "primary" if self.serves_writes else "starting"
            case Rising():
                return "starting"
            case Broken():
                return "failed"
            case Idle():
                return "backup" if self._has_served else "waiting"

    def handle(self, event: ReplicaEvent) -> list[ReplicaEffect]:
        """What to do about an event. Effects are to be carried out in order."""
        match event:
            case CallerLeft(ticket=ticket):
                self._forget_ticket(ticket)
                return []
            case _ if isinstance(self.role, Broken):
                return [self._refused(event.ticket, _refusal_of(self.role.error))] if isinstance(event, WriteAsked) else []
            case ConfigSeen():
                return self._see_config(event)
            case TermStored(term=term):
                return self._begin_term(term)
            case WriteAsked():
                return self._accept_write(event)
            case RecordsDurable(through=through):
                self.durable_seq = max(self.durable_seq, through)
                return self._commit()
            case RecordsApplied():
                return self._settle(event)
            case SpaceChanged(reason=reason):
                self._no_space = reason
                return []
            case StorageBroke(error=error):
                return self._break(error)

    def _see_config(self, event: ConfigSeen) -> list[ReplicaEffect]:
        config = event.config
        if event.epoch < self._newest_epoch or config.term < self.known_term:
            return []
        self._newest_epoch = event.epoch
        if isinstance(self.role, Leading | Rising) and self.role.config.term == config.term:
            return self._follow_config(config, event.epoch)
        if leads(config, self.replica, event.registration) and config.term > self.known_term:
            self.role = Rising(config=config, epoch=event.epoch)
            return [StoreTerm(term=config.term)]
        if config.term > self.known_term:
            return self._step_down(f"term {config.term} belongs to another replica or to another life of this worker")
        return []

    def _follow_config(self, config: ShardConfig, epoch: Revision) -> list[ReplicaEffect]:
        match self.role:
            case Rising():
                self.role = Rising(config=config, epoch=epoch)
            case Leading(noop=noop):
                self.role = Leading(config=config, epoch=epoch, noop=noop)
                self._has_served = self._has_served or self.serves_writes
                return self._commit()
        return []

    def _begin_term(self, term: Term) -> list[ReplicaEffect]:
        assert term >= self.known_term, f"term fell from {self.known_term} to {term}"
        self.known_term = term
        if not isinstance(self.role, Rising) or self.role.config.term != term:
            return []
        noop = self._next_record(term, RecordKind.NOOP, None, b"", self._last_time_ms)
        self.role = Leading(config=self.role.config, epoch=self.role.epoch, noop=noop.seq)
        return [AppendRecords(records=(noop,))]

    def _step_down(self, reason: str) -> list[ReplicaEffect]:
        self.role = Idle()
        return self._refuse_pending(Unavailable(f"the primary stepped down: {reason}; the write may have been applied"))

    def _break(self, error: ShoalError) -> list[ReplicaEffect]:
        self.role = Broken(error=error)
        self._tail.clear()
        return self._refuse_pending(error)

    def _refuse_pending(self, error: ShoalError) -> list[ReplicaEffect]:
        tickets = [ticket for pending in self._pending.values() for ticket in pending.tickets]
        self._pending.clear()
        self._by_request.clear()
        self._pending_bytes = 0
        return [self._refused(ticket, error, "maybe") for ticket in tickets]

    def _accept_write(self, event: WriteAsked) -> list[ReplicaEffect]:
        if not self.serves_writes or not isinstance(self.role, Leading):
            return [self._refused(event.ticket, Unavailable(f"this replica is not the serving primary ({self.role_name})"))]
        if event.epoch != self.role.epoch:
            return [
                self._refused(
                    event.ticket, Unavailable(f"the shard's configuration is of epoch {self.role.epoch}, the call's of {event.epoch}")
                )
            ]
        known = self._by_request.get(event.request_id)
        if known is not None:
            self._pending[known].tickets.append(event.ticket)
            return []
        match self._memory.look_up(event.request_id):
            case Remembered(seq=seq, affected=affected):
                return [Acknowledge(ticket=event.ticket, seq=seq, affected=affected)]
            case TooOld(newest=newest):
                return [self._refused(event.ticket, _too_old(event.request_id, newest), "maybe")]
            case Unheard():
                return self._append_write(event, self.role.config.term)

    def _append_write(self, event: WriteAsked, term: Term) -> list[ReplicaEffect]:
        if self._no_space is not None and event.kind is RecordKind.UPSERT:
            return [self._refused(event.ticket, ResourceExhausted(self._no_space, ErrorDetails(limit=DISK_LIMIT)))]
        if len(self._pending) >= MAX_PENDING_WRITES or self._pending_bytes + len(event.body) > MAX_PENDING_BYTES:
            return [self._refused(event.ticket, _queue_full(len(self._pending), self._pending_bytes))]
        record = self._next_record(term, event.kind, event.request_id, event.body, event.now_ms)
        self._pending[record.seq] = _Pending(tickets=[event.ticket], bytes=len(event.body), request_id=event.request_id)
        self._by_request[event.request_id] = record.seq
        self._pending_bytes += len(event.body)
        return [AppendRecords(records=(record,))]

    def _next_record(self, term: Term, kind: RecordKind, request_id: RequestId | None, body: bytes, now_ms: int) -> Record:
        self._last_time_ms = max(self._last_time_ms, now_ms)
        self.last_seq = Seq(self.last_seq + 1)
        record = Record(term=term, seq=self.last_seq, kind=kind, time_ms=self._last_time_ms, request_id=request_id, body=body)
        self._tail[record.seq] = record
        return record

    def _commit(self) -> list[ReplicaEffect]:
        if not isinstance(self.role, Leading):
            return []
        reached = commit_point(self.role.config, {self.replica: self.durable_seq})
        if reached <= self.commit_seq:
            return []
        assert reached <= self.durable_seq, f"commit {reached} beyond durable {self.durable_seq}"
        self.commit_seq = reached
        ready = tuple(self._tail[Seq(seq)] for seq in range(self._handed_out + 1, reached + 1))
        self._handed_out = reached
        return [ApplyRecords(records=ready)] if ready else []

    def _settle(self, event: RecordsApplied) -> list[ReplicaEffect]:
        assert event.through <= self.commit_seq, f"applied {event.through} beyond commit {self.commit_seq}"
        first = self.applied_seq + 1
        assert event.through == first + len(event.affected) - 1, (
            f"applied {len(event.affected)} records up to {event.through}, from {first}"
        )
        effects: list[ReplicaEffect] = []
        remembered = []
        for seq, affected in zip(range(first, event.through + 1), event.affected, strict=True):
            record = self._tail.pop(Seq(seq))
            if record.request_id is not None:
                remembered.append(Remembered(request_id=record.request_id, seq=record.seq, affected=affected, time_ms=record.time_ms))
            effects.extend(self._acknowledge(record.seq, affected))
        self.applied_seq = event.through
        self._has_served = self._has_served or self.serves_writes
        forgetting = self._memory.remember(remembered)
        if forgetting.through or forgetting.clients:
            effects.append(ForgetRequests(forgetting=forgetting))
        return effects

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
        details = ErrorDetails(shard=shard, limit=error.details.limit, applied={shard: applied})
        return Refuse(ticket=ticket, error=type(error)(error.message, details))

    def _forget_ticket(self, ticket: Ticket) -> None:
        for pending in self._pending.values():
            if ticket in pending.tickets:
                pending.tickets.remove(ticket)


def _refusal_of(failure: ShoalError) -> ShoalError:
    """What later writes hear of a storage that failed. Asking again at once does not make room on a disk."""
    full = failure.details.limit == DISK_LIMIT
    return ResourceExhausted(failure.message, failure.details) if full else failure


def _too_old(request_id: RequestId, newest: int) -> ShoalError:
    return PreconditionFailed(
        f"write {request_id} is too old to tell whether it was applied (newest of this client: {newest}); use a new request id"
    )


def _queue_full(writes: int, size: int) -> ShoalError:
    return ResourceExhausted(
        f"{writes} writes of {size} bytes are waiting, at most {MAX_PENDING_WRITES} of {MAX_PENDING_BYTES} bytes may; send again later",
        ErrorDetails(limit="pending_writes"),
    )
