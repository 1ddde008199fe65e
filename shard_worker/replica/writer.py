"""Feeds events to the state machine of a replica, and carries out its effects in a writer thread, one at a time.

Effects that collect while the thread is busy are carried out together: group commit, with one flush per group. The
worker's replicas share their writer threads (resources.writer_pool). Each has at most one of them at any moment.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, Protocol, TypeVar

from shoal.core.errors import DeadlineExceeded, ErrorDetails, Internal, ShoalError, Unavailable, to_keep
from shoal.core.ids import RequestId, Seq, Term
from shoal.core.shard_calls import WriteAck
from shoal.runtime.fault_points import fault_point
from shoal.runtime.logs import event
from shoal.shard_worker.logic.replication.append import Append, AppendAnswer
from shoal.shard_worker.logic.replication.events import (
    Acknowledge,
    AnswerAppend,
    AppendAsked,
    AppendRecords,
    ApplyRecords,
    CallerLeft,
    FetchSnapshot,
    ForgetRequests,
    LogTrimmed,
    RecordsApplied,
    RecordsDurable,
    Refuse,
    RefuseAppend,
    ReplicaEffect,
    ReplicaEvent,
    StorageBroke,
    StoreTerm,
    TermStored,
    TruncateLog,
    WriteAsked,
)
from shoal.shard_worker.logic.replication.leadership import LeadershipEffect, ReadLog, SendAppend, SwapConfig
from shoal.shard_worker.logic.replication.machine import ReplicaMachine
from shoal.shard_worker.logic.replication.record import Record, RecordKind
from shoal.shard_worker.logic.replication.request_memory import Forgetting
from shoal.shard_worker.logic.replication.work_pieces import cut_work
from shoal.shard_worker.resources.writer_pool import SerialExecutor

log = logging.getLogger("shoal.worker.writer")

T = TypeVar("T")
W = TypeVar("W")

Outward = LeadershipEffect | FetchSnapshot
"""Effects on other workers or etcd."""


class WriterEngine(Protocol):
    """The part of Engine that the writer uses. All but `keep_log` and `log_base` run in the writer thread and block."""

    @property
    def log_base(self) -> tuple[Term, Seq]:
        """See Engine."""
        ...

    def wake(self) -> bool:
        """See Engine."""
        ...

    def rest(self, *, may_write: bool) -> bool:
        """See Engine."""
        ...

    def save_term(self, term: Term) -> None:
        """See Engine."""
        ...

    def append(self, records: Sequence[Record]) -> None:
        """See Engine."""
        ...

    def truncate_after(self, seq: Seq) -> None:
        """See Engine."""
        ...

    def forget(self, forgetting: Forgetting) -> None:
        """See Engine."""
        ...

    def apply(self, records: Sequence[Record]) -> tuple[int, ...]:
        """See Engine."""
        ...

    def checkpoint_if_due(self) -> None:
        """See Engine."""
        ...

    def keep_log(self, needed_from: Seq, wanted_from: Seq) -> None:
        """See Engine."""
        ...


class Writer:
    """Drives one machine with one engine. Used from the event loop; `close` it before the engine is closed."""

    def __init__(
        self,
        *,
        machine: ReplicaMachine,
        engine: WriterEngine,
        thread: SerialExecutor,
        files: AbstractAsyncContextManager[None],
        progressed: Callable[[], None],
        wants_ticks: Callable[[], None],
        outward: Callable[[Outward], None],
        wall_ms: Callable[[], int],
    ) -> None:
        """thread: of this replica; files: entered around each use of the engine; progressed: called on the loop after
        records were applied, the role changed or the files were opened; wants_ticks: called when the machine begins to
        need ticks; outward: begins an outward effect and returns at once; wall_ms: the wall clock in milliseconds since
        1970.
        """
        self.machine = machine
        self._role = machine.role_name
        self.failure: ShoalError | None = None
        self._engine = engine
        self._progressed, self._outward, self._wall_ms = progressed, outward, wall_ms
        self._wants_ticks, self._ticking = wants_ticks, False
        self._thread, self._files = thread, files
        self._loop = asyncio.get_running_loop()
        self._work: list[ReplicaEffect] = []
        self._wake = asyncio.Event()
        self._callers: dict[int, asyncio.Future[WriteAck]] = {}
        self._appends: dict[int, asyncio.Future[AppendAnswer]] = {}
        self._next_ticket = 1
        self._base = engine.log_base
        self._closed = False
        self._running = asyncio.create_task(self._run())

    @property
    def waiting(self) -> int:
        """Return the number of writes that wait for their acknowledgement."""
        return len(self._callers)

    async def write(self, *, request_id: RequestId, kind: RecordKind, body: bytes, timeout_s: float) -> WriteAck:
        """Append, commit and apply a write. Raises the machine's refusal, DeadlineExceeded, Unavailable."""
        if self._closed:
            raise Unavailable(f"shard {self.machine.shard} is closing", ErrorDetails(applied={str(self.machine.shard): "no"}))
        ticket = self._new_ticket()
        answer: asyncio.Future[WriteAck] = self._loop.create_future()
        self._callers[ticket] = answer
        self.feed(WriteAsked(ticket=ticket, request_id=request_id, kind=kind, body=body, now_ms=self._wall_ms()))
        timer = self._loop.call_later(timeout_s, _expire, answer)
        try:
            return await answer
        except TimeoutError:
            shard = str(self.machine.shard)
            raise DeadlineExceeded(
                f"the write to shard {shard} was not acknowledged within {timeout_s:.1f} s; it may be applied",
                ErrorDetails(shard=shard, applied={shard: "maybe"}),
            ) from None
        finally:
            timer.cancel()
            if self._callers.pop(ticket, None) is not None:
                self.feed(CallerLeft(ticket=ticket))
            # Otherwise a refusal and this frame form a cycle that keeps the bytes of the write alive.
            del answer

    async def append(self, append: Append, timeout_s: float) -> AppendAnswer:
        """Take an append of the primary.

        Raises Unavailable, DeadlineExceeded (it may still be taken later), or the error with which this replica failed.
        """
        if self._closed:
            raise Unavailable(f"shard {self.machine.shard} is closing")
        ticket = self._new_ticket()
        answer: asyncio.Future[AppendAnswer] = self._loop.create_future()
        self._appends[ticket] = answer
        self.feed(AppendAsked(ticket=ticket, append=append))
        timer = self._loop.call_later(timeout_s, _expire, answer)
        try:
            return await answer
        except TimeoutError:
            raise DeadlineExceeded(f"shard {self.machine.shard}: {len(append.records)} records were not durable in time") from None
        finally:
            timer.cancel()
            self._appends.pop(ticket, None)
            del answer

    def _new_ticket(self) -> int:
        ticket, self._next_ticket = self._next_ticket, self._next_ticket + 1
        return ticket

    def feed(self, happened: ReplicaEvent) -> None:
        """Pass an event to the machine and begin its effects. Call it on the event loop."""
        machine, applied, failure = self.machine, self.machine.applied_seq, self.failure
        for effect in self._decided(happened):
            match effect:
                case Acknowledge(ticket=ticket, seq=seq, affected=affected):
                    self._answer(ticket, WriteAck(seq=seq, affected=affected))
                case Refuse(ticket=ticket, error=error):
                    self._answer(ticket, error)
                case AnswerAppend(ticket=ticket, answer=answer):
                    self._answer_append(ticket, answer)
                case RefuseAppend(ticket=ticket, error=error):
                    self._answer_append(ticket, error)
                case SendAppend() | ReadLog() | SwapConfig() | FetchSnapshot():
                    self._outward(effect)
                case _:
                    self._work.append(effect)
                    self._wake.set()
        if isinstance(happened, StorageBroke):
            self.failure = happened.error
            log.error(event("replica_failed", shard=self.machine.shard, reason=happened.error.message))
        role, before = machine.role_name, self._role
        if role != before:
            self._role = role
            log.info(event("role", shard=machine.shard, role=role, term=machine.known_term))
        ticking, self._ticking = self._ticking, machine.wants_ticks
        if self._ticking and not ticking:
            self._wants_ticks()
        # Not for each tick and heartbeat: this callback does much work.
        if role != before or applied != machine.applied_seq or failure is not self.failure:
            self._progressed()

    def _decided(self, happened: ReplicaEvent) -> list[ReplicaEffect]:
        """Return the effects of the event. A violated invariant fails the replica before it does anything wrong."""
        try:
            return self.machine.handle(happened)
        except Exception as error:
            log.exception(event("invariant_broken", shard=self.machine.shard))
            self.failure = Internal(f"shard {self.machine.shard}: {type(error).__name__}: {error}")
            return self.machine.handle(StorageBroke(error=self.failure))

    async def between_writes(self, work: Callable[[], T]) -> T:
        """Run `work` in the writer thread, so that nothing is applied meanwhile. Raises Unavailable after `close`."""
        if self._closed:
            raise Unavailable(f"shard {self.machine.shard} is closing")
        return await self._in_thread(self._told_after, work)

    async def rest(self, *, may_write: bool) -> bool:
        """Let the engine close its files until they are needed again. Return whether they are closed now.

        See Engine.rest. A failure fails the replica.
        """
        if self._closed or self._work or self.failure is not None:
            return False
        self._engine.keep_log(*self.machine.kept_for_others)
        return await self._loop.run_in_executor(self._thread, self._rest, may_write)

    async def close(self) -> None:
        """Finish the work in the thread, and refuse everything that waits.

        A refused write may be in the log, and may be applied later.
        """
        self._closed = True
        self._wake.set()
        await self._running
        # The thread does one thing after the other, so all that was begun before has ended then.
        await self._loop.run_in_executor(self._thread, _tell_nobody)
        shard = str(self.machine.shard)
        for ticket in list(self._appends):
            self._answer_append(ticket, Unavailable(f"shard {shard} is closing"))
        for ticket in list(self._callers):
            self._answer(ticket, Unavailable(f"shard {shard} is closing", ErrorDetails(shard=shard, applied={shard: "maybe"})))
        # Both refer to the replica that owns this writer. Break the cycle, so that the replica is freed at once.
        self._progressed, self._wants_ticks, self._outward = _tell_nobody, _tell_nobody, _reach_nobody

    def _answer(self, ticket: int, answer: WriteAck | ShoalError) -> None:
        caller = self._callers.pop(ticket, None)
        if caller is None or caller.done():
            return
        if isinstance(answer, WriteAck):
            caller.set_result(answer)
        else:
            caller.set_exception(answer)

    def _answer_append(self, ticket: int, answer: AppendAnswer | ShoalError) -> None:
        primary = self._appends.pop(ticket, None)
        if primary is None or primary.done():
            return
        if isinstance(answer, ShoalError):
            primary.set_exception(answer)
        else:
            primary.set_result(answer)

    async def _run(self) -> None:
        while not self._closed:
            await self._wake.wait()
            self._wake.clear()
            work, self._work = cut_work(self._work)
            if self._work:
                self._wake.set()
            if work and self.failure is None:
                await self._in_thread(self._perform, work)
            # Free the records now: the next work may come hours later.
            del work

    async def _in_thread(self, do: Callable[[W], T], work: W) -> T:
        """Run `do(work)` in the writer thread. It may trim the log, so tell the engine first which records to keep."""
        async with self._files:
            self._engine.keep_log(*self.machine.kept_for_others)
            return await self._loop.run_in_executor(self._thread, do, work)

    def _perform(self, work: Sequence[ReplicaEffect]) -> None:
        with self._failing():
            self._open()
            self._store_term(work)
            self._log(work)
            # Append before applying: the primary measures the time until records are durable.
            self._apply(work)
            self._engine.checkpoint_if_due()
            self._tell_base()

    def _told_after(self, work: Callable[[], T]) -> T:
        try:
            self._open()
        except ShoalError as error:
            self._say(StorageBroke(error=to_keep(error)))
            raise
        try:
            return work()
        finally:
            self._tell_base()

    def _rest(self, may_write: bool) -> bool:
        rested = False
        with self._failing():
            rested = self._engine.rest(may_write=may_write)
            self._tell_base()
        return rested

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Let an error within the block fail the replica."""
        try:
            yield
        except ShoalError as error:
            self._say(StorageBroke(error=to_keep(error)))
        except Exception as error:
            log.exception(event("writer_failed", shard=self.machine.shard))
            self._say(StorageBroke(error=Internal(f"the writer of shard {self.machine.shard} failed: {type(error).__name__}: {error}")))

    def _open(self) -> None:
        if self._engine.wake():
            self._loop.call_soon_threadsafe(self._progressed)

    def _tell_base(self) -> None:
        """Report where the log begins now, before the machine looks for a trimmed record."""
        if self._engine.log_base != self._base:
            self._base = self._engine.log_base
            self._say(LogTrimmed(term=self._base[0], seq=self._base[1]))

    def _store_term(self, work: Sequence[ReplicaEffect]) -> None:
        terms = [effect.term for effect in work if isinstance(effect, StoreTerm)]
        if terms:
            self._engine.save_term(terms[-1])
            self._say(TermStored(term=terms[-1]))

    def _log(self, work: Sequence[ReplicaEffect]) -> None:
        """Append and cut, in order. Appends that follow each other share one flush."""
        group: list[Record] = []
        for effect in work:
            match effect:
                case AppendRecords(records=records):
                    group += records
                case TruncateLog(after=after):
                    self._append(group)
                    group = []
                    self._engine.truncate_after(after)
                case _:
                    pass
        self._append(group)

    def _append(self, records: Sequence[Record]) -> None:
        if records:
            self._engine.append(records)
            fault_point("writer.durable")
            self._say(RecordsDurable(term=records[-1].term, through=records[-1].seq))

    def _apply(self, work: Sequence[ReplicaEffect]) -> None:
        for effect in work:
            if isinstance(effect, ForgetRequests):
                self._engine.forget(effect.forgetting)
        records = [record for effect in work if isinstance(effect, ApplyRecords) for record in effect.records]
        if records:
            affected = self._engine.apply(records)
            fault_point("writer.applied")
            self._say(RecordsApplied(through=records[-1].seq, affected=affected))

    def _say(self, happened: ReplicaEvent) -> None:
        self._loop.call_soon_threadsafe(self.feed, happened)


def _expire(answer: asyncio.Future[Any]) -> None:
    """End the wait for an answer. Every write and append waits, and this costs a fraction of asyncio.timeout."""
    if not answer.done():
        answer.set_exception(TimeoutError())


def _tell_nobody() -> None:
    """Do nothing: the owner of this writer is gone."""


def _reach_nobody(effect: Outward) -> None:
    """Do nothing: the owner of this writer is gone."""
