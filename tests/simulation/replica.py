"""One open replica: the product's machine over a simulated disk. It plays the writer, the performer of replication and
the reads.

Effects gather while the disk is busy and are then carried out together, in the writer's order: known term, log, applied
state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from shoal.core.collection import CollectionSpec
from shoal.core.errors import DeadlineExceeded, ErrorDetails, Internal, ShoalError, Unavailable
from shoal.core.ids import ReplicaId, RequestId, Revision, Seq, Term
from shoal.core.shard_calls import Consistency, ReadTerms, WriteAck
from shoal.core.shard_config import ShardConfig
from shoal.shard_worker.logic.replication.append import Append, LogMatches, NoRoom
from shoal.shard_worker.logic.replication.events import (
    DISK_LIMIT,
    Acknowledge,
    AnswerAppend,
    AppendAsked,
    AppendRecords,
    ApplyRecords,
    CallerLeft,
    ConfigSeen,
    FetchSnapshot,
    ForgetRequests,
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
    SpaceChanged,
    StorageBroke,
    StoreTerm,
    SwapEnded,
    TermStored,
    Tick,
    TruncateLog,
    WriteAsked,
)
from shoal.shard_worker.logic.replication.leadership import ReadLog, SendAppend, SwapConfig
from shoal.shard_worker.logic.replication.machine import ReplicaMachine
from shoal.shard_worker.logic.replication.primary_read import is_lost, is_sure, sure_term
from shoal.shard_worker.logic.replication.record import Record, RecordKind
from shoal.shard_worker.logic.replication.roles import Failed, Idle
from tests.simulation.disk import ReplicaDisk, WorkerDisk
from tests.simulation.scheduler import Process, Resume, Steps, Wait

FLUSH_S, APPLY_S = (0.0005, 0.003), 0.0002
APPEND_TIMEOUT_S = 2.0
TICK_S = 0.1
BATCH_RECORDS = 64
CHECKPOINT_EVERY = 40
RETAINED_TOO_MUCH = 0.1
"""How often the log has grown so large that only what is needed is kept."""


class Outside(Protocol):
    """What a replica reaches beyond its own disk."""

    def send_append(self, worker: str, append: Append, timeout_s: float) -> Wait: ...
    def swap(self, config: ShardConfig, base: Revision, registration: Revision) -> Steps: ...
    def lease_held(self, registration: Revision) -> bool: ...
    def changed(self) -> None: ...


class Watcher(Protocol):
    """Checkers that see every replica."""

    def stepped(self, replica: Replica) -> None: ...
    def applying(self, replica: Replica, record: Record) -> None: ...
    def cut(self, replica: Replica, records: list[Record]) -> None: ...
    def matched(self, replica: Replica, append: Append) -> None: ...


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a read. applied: of the replica when the result was fixed."""

    seq: int
    value: str | None
    applied: int


class Replica:
    """See the module. Lives until it is closed, or its process dies."""

    def __init__(
        self, *, process: Process, disk: ReplicaDisk, worker_disk: WorkerDisk, outside: Outside, watcher: Watcher, spec: CollectionSpec
    ) -> None:
        self.process, self.disk, self.spec = process, disk, spec
        self.id, self.shard = disk.replica, disk.shard
        self._worker_disk, self._outside, self._watcher = worker_disk, outside, watcher
        self.machine = ReplicaMachine(disk.opened(), disk.request_memory())
        self.failure: ShoalError | None = None
        self.registration = Revision(0)
        self._told_behind: ReplicaId | None = None
        self._work: list[ReplicaEffect] = []
        self.under_way: list[Callable[[], None]] = []
        self._busy = self.closed = self._ticking = False
        self._callers: dict[int, Resume] = {}
        self._appends: dict[int, tuple[Append, Resume]] = {}
        self._next_ticket = 1
        self._waiting: list[tuple[int, Callable[[], None]]] = []
        self._idle: list[Resume] = []
        self._checkpoint_at = disk.store.applied + CHECKPOINT_EVERY
        self.told_commit = self.machine.commit_seq

    # Calls

    def tell(self, config: ShardConfig, epoch: Revision, registration: Revision) -> None:
        """Its configuration, and the registration of its worker."""
        self.registration = registration
        self.feed(ConfigSeen(config=config, epoch=epoch, registration=registration))

    def tell_space(self, reason: str | None) -> None:
        """Whether there is room."""
        self.feed(SpaceChanged(no_room=None if reason is None else NoRoom(reason=reason, limit=DISK_LIMIT)))

    @property
    def idle_term(self) -> Term | None:
        """The term it knows while it does not lead."""
        return self.machine.known_term if isinstance(self.machine.role, Idle) else None

    @property
    def behind(self) -> ReplicaId | None:
        """The primary whose snapshot it needs."""
        return self.machine.behind

    def write(self, request_id: RequestId, kind: RecordKind, body: bytes, timeout_s: float, answer: Resume) -> None:
        """Answers with a WriteAck or a ShoalError."""
        shard = str(self.shard)
        if self.closed:
            answer(Unavailable("closing", ErrorDetails(applied={shard: "no"})))
            return
        ticket = self._ticket()
        self._callers[ticket] = answer
        self.process.after(timeout_s, lambda: self._leave(ticket))
        now_ms = self.process.wall_ms()
        self.feed(WriteAsked(ticket=ticket, request_id=request_id, kind=kind, body=body, now_ms=now_ms))

    def append(self, append: Append, timeout_s: float, answer: Resume) -> None:
        """Answers with an AppendAnswer or a ShoalError."""
        if self.closed:
            answer(Unavailable("closing"))
            return
        ticket = self._ticket()
        self._appends[ticket] = (append, answer)
        self.process.after(timeout_s, lambda: self._appends.pop(ticket, None))
        self.feed(AppendAsked(ticket=ticket, append=append))

    def read(self, key: str, terms: ReadTerms, timeout_s: float, answer: Resume) -> None:
        """Answers with Found or a ShoalError."""
        trouble = self._trouble()
        if trouble is not None:
            answer(trouble)
        elif self.machine.applied_seq < terms.min_seq and not is_lost(terms.min_seq, self.machine, self._sure_term()):
            self._waiting.append((terms.min_seq, lambda: self.read(key, terms, timeout_s, answer)))
        else:
            store = self.disk.store
            seq, value = store.points.get(key, (0, None))
            found = Found(seq=seq, value=value, applied=self.machine.applied_seq)
            began = self._sure_term()
            self.process.after(0.0002 + 0.003 * self.process.scheduler.random.random(), lambda: answer(self._checked(found, terms, began)))

    def close(self) -> Wait:
        """Finish what the disk does now and refuse what waits."""

        def begin(resume: Resume) -> None:
            self.closed = True
            if self._busy:
                self._idle.append(lambda _: self._end(resume))
            else:
                self._end(resume)

        return begin

    def _end(self, resume: Resume) -> None:
        for _, answer in self._appends.values():
            answer(Unavailable("closing"))
        for answer in self._callers.values():
            answer(Unavailable("closing", ErrorDetails(applied={str(self.shard): "maybe"})))
        self._appends, self._callers, self._waiting = {}, {}, []
        resume(None)

    def _trouble(self) -> ShoalError | None:
        role = self.machine.role
        if isinstance(role, Failed):
            return role.error
        return Unavailable("not ready") if self.closed or not self.machine.serves_reads else None

    def _checked(self, found: Found, terms: ReadTerms, began: Term | None) -> Found | ShoalError:
        """After the result is fixed, as Replica._check_primary."""
        sure = terms.consistency is not Consistency.PRIMARY or is_sure(began, self._sure_term())
        return found if sure and not self.closed else Unavailable("not surely the primary")

    def _sure_term(self) -> Term | None:
        return sure_term(self.machine, self.registration, self._outside.lease_held)

    def _ticket(self) -> int:
        self._next_ticket += 1
        return self._next_ticket

    def _leave(self, ticket: int) -> None:
        answer = self._callers.pop(ticket, None)
        if answer is not None:
            answer(DeadlineExceeded("not acknowledged in time", ErrorDetails(applied={str(self.shard): "maybe"})))
            self.feed(CallerLeft(ticket=ticket))

    # The machine

    def feed(self, event: ReplicaEvent) -> None:
        """Give the machine an event and carry out what it wants."""
        if self.closed:
            return
        for effect in self.machine.handle(event):
            self._perform(effect)
        if isinstance(event, StorageBroke):
            self.failure = event.error
            self._outside.changed()
        self._watcher.stepped(self)
        if self._waiting:
            self._wake_readers()
        if not self._ticking and self.machine.wants_ticks:
            self._ticking = True
            self._tick()

    def _perform(self, effect: ReplicaEffect) -> None:  # noqa: PLR0912
        match effect:
            case SendAppend():
                self.process.spawn(self._send(effect))
            case AnswerAppend(ticket=ticket, answer=answer):
                append, tell = self._appends.pop(ticket, (None, None))
                if append is not None and tell is not None:
                    if isinstance(answer, LogMatches):
                        self._watcher.matched(self, append)
                    tell(answer)
            case RefuseAppend(ticket=ticket, error=error):
                _, tell = self._appends.pop(ticket, (None, None))
                if tell is not None:
                    tell(error)
            case Acknowledge(ticket=ticket, seq=seq, affected=affected):
                self._answer(ticket, WriteAck(seq=seq, affected=affected))
            case Refuse(ticket=ticket, error=error):
                self._answer(ticket, error)
            case ReadLog():
                self.process.spawn(self._read_log(effect))
            case SwapConfig():
                self.process.spawn(self._swap(effect))
            case FetchSnapshot(primary=primary):
                if primary != self._told_behind:
                    self._told_behind = primary
                    self._outside.changed()
            case _:
                self._work.append(effect)
                if not self._busy:
                    self._busy = True
                    self.process.after(0.0, self._take_batch)

    def _answer(self, ticket: int, value: Any) -> None:
        answer = self._callers.pop(ticket, None)
        if answer is not None:
            answer(value)

    def _send(self, effect: SendAppend) -> Steps:
        peer = effect.append.to
        try:
            answer = yield self._outside.send_append(effect.worker, effect.append, APPEND_TIMEOUT_S)
        except Exception:
            self.feed(PeerSilent(peer=peer, serial=effect.serial))
        else:
            self.feed(PeerAnswered(peer=peer, serial=effect.serial, answer=answer))

    def _read_log(self, effect: ReadLog) -> Steps:
        yield self.process.sleep(self._flush_s())
        records = self.disk.read(effect.from_seq, BATCH_RECORDS)
        self.feed(LogRead(peer=effect.peer, from_seq=effect.from_seq, records=records))

    def _swap(self, effect: SwapConfig) -> Steps:
        outcome, revision = yield from self._outside.swap(effect.config, effect.base, effect.config.primary_reg)
        self.feed(SwapEnded(base=effect.base, outcome=outcome, revision=revision))

    def _tick(self) -> None:
        if self.closed or not self.machine.wants_ticks:
            self._ticking = False
            return
        self.process.after(TICK_S, self._tick)
        self.feed(Tick(now_ms=int(self.process.clock() * 1000)))

    def _wake_readers(self) -> None:
        waiting, self._waiting = self._waiting, []
        for min_seq, again in waiting:
            if self.machine.applied_seq >= min_seq or isinstance(self.machine.role, Failed):
                again()
            else:
                self._waiting.append((min_seq, again))

    # The disk

    def keep_log(self) -> None:
        """From now on nothing of the log is trimmed."""
        self._checkpoint_at = 1 << 62

    def crash(self, part: float) -> None:
        """The process dies: of what the disk was doing, a part is done."""
        done = int(len(self.under_way) * part)
        self.closed = True
        for step in self.under_way[:done]:
            step()
        self.under_way = []

    def _flush_s(self) -> float:
        low, high = FLUSH_S
        return (low + (high - low) * self.process.scheduler.random.random()) * self._worker_disk.slow

    def _take_batch(self) -> None:
        work, self._work = self._work, []
        if self.closed or self.failure is not None or not work:
            self._rest()
            return
        stages: list[tuple[float, Callable[[], None], ReplicaEvent | None]] = []
        terms = [effect.term for effect in work if isinstance(effect, StoreTerm)]
        if terms:
            stages.append((self._flush_s(), lambda: self._store_term(terms[-1]), TermStored(term=terms[-1])))
        self._plan_log(work, stages)
        self._plan_applying(work, stages)
        self.under_way = [step for _, step, _ in stages]
        self._next_stage(stages)

    def _rest(self) -> None:
        self._busy = False
        idle, self._idle = self._idle, []
        for resume in idle:
            resume(None)

    def _plan_applying(self, work: list[ReplicaEffect], stages: list[Any]) -> None:
        for effect in work:
            if isinstance(effect, ForgetRequests):
                self.disk.store.forget(effect.forgetting)
        records = [record for effect in work if isinstance(effect, ApplyRecords) for record in effect.records]
        if records:
            stages.append((APPLY_S, lambda: self._apply(records), None))

    def _plan_log(self, work: list[ReplicaEffect], stages: list[Any]) -> None:
        group: list[Record] = []
        for effect in work:
            match effect:
                case AppendRecords(records=records):
                    group.extend(records)
                case TruncateLog(after=after):
                    self._plan_append(group, stages)
                    group = []
                    stages.append((self._flush_s(), self._cutting(after), None))
        self._plan_append(group, stages)

    def _plan_append(self, group: list[Record], stages: list[Any]) -> None:
        if group:
            last = group[-1]
            stages.append((self._flush_s(), lambda: self.disk.append(group), RecordsDurable(term=last.term, through=last.seq)))

    def _next_stage(self, stages: list[Any]) -> None:
        if not stages:
            self._trim_if_due()
            if self._work and not self.closed:
                self._take_batch()
            else:
                self._rest()
            return
        seconds, step, event = stages.pop(0)

        def done() -> None:
            if self.under_way:
                self.under_way.pop(0)
            if self._worker_disk.full and isinstance(event, RecordsDurable) and self.process.scheduler.random.random() < 0.1:
                self.under_way = []
                self.feed(StorageBroke(error=Unavailable("disk full", ErrorDetails(limit=DISK_LIMIT))))
                self._rest()
                return
            if self._worker_disk.breaks and event is not None:
                self._worker_disk.breaks, self.under_way = False, []
                self.feed(StorageBroke(error=Internal("a flush failed")))
                self._rest()
                return
            step()
            if event is not None:
                self.feed(event)
            self._next_stage(stages)

        self.process.after(seconds, done)

    def _store_term(self, term: Term) -> None:
        assert term >= self.disk.known_term, f"stored term falls from {self.disk.known_term} to {term}"
        self.disk.known_term = term

    def _apply(self, records: list[Record]) -> None:
        affected = []
        for record in records:
            self._watcher.applying(self, record)
            affected.append(self.disk.store.apply(record))
        if not self.closed:
            self.feed(RecordsApplied(through=records[-1].seq, affected=tuple(affected)))

    def _cutting(self, after: Seq) -> Callable[[], None]:
        return lambda: self._watcher.cut(self, self.disk.truncate_after(after))

    def _trim_if_due(self) -> None:
        if self.disk.store.applied < self._checkpoint_at or self.closed:
            return
        self._checkpoint_at = self.disk.store.applied + CHECKPOINT_EVERY
        self.disk.make_checkpoint()
        needed, wanted = self.machine.kept_for_others
        kept_from = needed if self.process.scheduler.random.random() < RETAINED_TOO_MUCH else wanted
        if self.disk.trim(kept_from - 1):
            self.feed(LogTrimmed(term=Term(self.disk.base[0]), seq=Seq(self.disk.base[1])))
