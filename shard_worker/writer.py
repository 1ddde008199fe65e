"""The performer of the replica state machine: feeds it events, and carries out its effects in the replica's one writer thread.

Effects that gather while the thread is busy are carried out together: that is the group commit (one flush a group).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from shard_worker.engine import Engine
from shard_worker.logic.record import Record, RecordKind
from shard_worker.logic.replica_events import (
    Acknowledge,
    AppendRecords,
    ApplyRecords,
    CallerLeft,
    ForgetRequests,
    RecordsApplied,
    RecordsDurable,
    Refuse,
    ReplicaEffect,
    ReplicaEvent,
    StorageBroke,
    StoreTerm,
    TermStored,
    WriteAsked,
)
from shard_worker.logic.replica_machine import ReplicaMachine
from shoal.core.errors import DeadlineExceeded, ErrorDetails, Internal, ShoalError, Unavailable
from shoal.core.ids import RequestId, Revision
from shoal.core.shard_calls import WriteAck
from shoal.runtime.clock import wall_ms
from shoal.runtime.fault_points import fault_point
from shoal.runtime.logs import event

log = logging.getLogger("shoal.worker.writer")

T = TypeVar("T")


class Writer:
    """Drives one machine over one engine. Used from the event loop; `close` before the engine is closed."""

    def __init__(self, *, machine: ReplicaMachine, engine: Engine, progressed: Callable[[], None]) -> None:
        """progressed: called on the loop after records were applied or the role changed."""
        self.machine = machine
        self.failure: ShoalError | None = None
        self._engine = engine
        self._progressed = progressed
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"writer-{machine.shard.number}")
        self._loop = asyncio.get_running_loop()
        self._work: list[ReplicaEffect] = []
        self._wake = asyncio.Event()
        self._callers: dict[int, asyncio.Future[WriteAck]] = {}
        self._next_ticket = 1
        self._closed = False
        self._running = asyncio.create_task(self._run())

    @property
    def waiting(self) -> int:
        """Writes that wait for their acknowledgement."""
        return len(self._callers)

    async def write(self, *, epoch: Revision, request_id: RequestId, kind: RecordKind, body: bytes, timeout_s: float) -> WriteAck:
        """Have a write appended, committed and applied. Raises what the machine refuses with, DeadlineExceeded, Unavailable."""
        if self._closed:
            raise Unavailable(f"shard {self.machine.shard} is closing", ErrorDetails(applied={str(self.machine.shard): "no"}))
        ticket, self._next_ticket = self._next_ticket, self._next_ticket + 1
        answer: asyncio.Future[WriteAck] = self._loop.create_future()
        self._callers[ticket] = answer
        self.feed(WriteAsked(ticket=ticket, epoch=epoch, request_id=request_id, kind=kind, body=body, now_ms=wall_ms()))
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError:
            shard = str(self.machine.shard)
            raise DeadlineExceeded(
                f"the write to shard {shard} was not acknowledged within {timeout_s:.1f} s; it may be applied",
                ErrorDetails(shard=shard, applied={shard: "maybe"}),
            ) from None
        finally:
            if self._callers.pop(ticket, None) is not None and not answer.done():
                self.feed(CallerLeft(ticket=ticket))

    def feed(self, happened: ReplicaEvent) -> None:
        """Give the machine an event; on the event loop."""
        role = self.machine.role_name
        for effect in self.machine.handle(happened):
            match effect:
                case Acknowledge(ticket=ticket, seq=seq, affected=affected):
                    self._answer(ticket, WriteAck(seq=seq, affected=affected))
                case Refuse(ticket=ticket, error=error):
                    self._answer(ticket, error)
                case _:
                    self._work.append(effect)
                    self._wake.set()
        if isinstance(happened, StorageBroke):
            self.failure = happened.error
            log.error(event("replica_failed", shard=self.machine.shard, reason=happened.error.message))
        if role != self.machine.role_name:
            log.info(event("role", shard=self.machine.shard, role=self.machine.role_name, term=self.machine.known_term))
        self._progressed()

    async def between_writes(self, work: Callable[[], T]) -> T:
        """Run something in the writer thread, so that nothing is applied meanwhile. Raises Unavailable once closed."""
        if self._closed:
            raise Unavailable(f"shard {self.machine.shard} is closing")
        return await self._loop.run_in_executor(self._thread, work)

    async def close(self) -> None:
        """Finish what the thread does now, refuse what waits (it may be applied: it may be in the log), end the thread."""
        self._closed = True
        self._wake.set()
        await self._running
        # Off the loop: what waits in the thread may take long, and the loop keeps the lease.
        await asyncio.to_thread(self._thread.shutdown)
        shard = str(self.machine.shard)
        for ticket in list(self._callers):
            self._answer(ticket, Unavailable(f"shard {shard} is closing", ErrorDetails(shard=shard, applied={shard: "maybe"})))

    def _answer(self, ticket: int, answer: WriteAck | ShoalError) -> None:
        caller = self._callers.pop(ticket, None)
        if caller is None or caller.done():
            return
        if isinstance(answer, WriteAck):
            caller.set_result(answer)
        else:
            caller.set_exception(answer)

    async def _run(self) -> None:
        while not self._closed:
            await self._wake.wait()
            self._wake.clear()
            work, self._work = self._work, []
            if work and self.failure is None:
                await self._loop.run_in_executor(self._thread, self._perform, work)

    def _perform(self, work: Sequence[ReplicaEffect]) -> None:
        try:
            self._store_term(work)
            self._apply(work)
            self._append(work)
            self._engine.checkpoint_if_due()
        except ShoalError as error:
            self._say(StorageBroke(error=error))
        except Exception as error:
            log.exception(event("writer_failed", shard=self.machine.shard))
            self._say(StorageBroke(error=Internal(f"the writer of shard {self.machine.shard} failed: {type(error).__name__}: {error}")))

    def _store_term(self, work: Sequence[ReplicaEffect]) -> None:
        terms = [effect.term for effect in work if isinstance(effect, StoreTerm)]
        if terms:
            self._engine.save_term(terms[-1])
            self._say(TermStored(term=terms[-1]))

    def _append(self, work: Sequence[ReplicaEffect]) -> None:
        records = _records(work, AppendRecords)
        if records:
            self._engine.append(records)
            fault_point("writer.durable")
            self._say(RecordsDurable(through=records[-1].seq))

    def _apply(self, work: Sequence[ReplicaEffect]) -> None:
        for effect in work:
            if isinstance(effect, ForgetRequests):
                self._engine.forget(effect.forgetting)
        records = _records(work, ApplyRecords)
        if records:
            affected = self._engine.apply(records)
            fault_point("writer.applied")
            self._say(RecordsApplied(through=records[-1].seq, affected=affected))

    def _say(self, happened: ReplicaEvent) -> None:
        self._loop.call_soon_threadsafe(self.feed, happened)


def _records(work: Sequence[ReplicaEffect], kind: type[AppendRecords] | type[ApplyRecords]) -> list[Record]:
    return [record for effect in work if isinstance(effect, kind) for record in effect.records]
