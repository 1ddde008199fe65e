"""One open replica: the product's machine, writer and replication over a simulated disk.

Only its reads and its clock are simulated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from shoal.core.collection import CollectionSpec
from shoal.core.errors import PreconditionFailed, ShoalError, Unavailable
from shoal.core.ids import ReplicaId, RequestId, Revision, Seq, Term
from shoal.core.shard_calls import Consistency, ReadTerms, WriteAck
from shoal.core.shard_config import ShardConfig
from shoal.shard_worker.logic.replication import primary_read
from shoal.shard_worker.logic.replication.append import Append, AppendAnswer, LogMatches, NoRoom
from shoal.shard_worker.logic.replication.events import (
    DISK_LIMIT,
    ConfigSeen,
    FetchSnapshot,
    LeadNoMore,
    ReplicaEvent,
    SpaceChanged,
    Tick,
)
from shoal.shard_worker.logic.replication.machine import ReplicaMachine
from shoal.shard_worker.logic.replication.record import Record, RecordKind
from shoal.shard_worker.logic.replication.roles import Candidate, Failed, Idle, Leading
from shoal.shard_worker.replica.replicate import PeerCalls, Replicate
from shoal.shard_worker.replica.writer import Outward, Writer
from shoal.shard_worker.resources.open_stores import StoreUse
from shoal.shard_worker.resources.writer_pool import WriterPool
from tests.simulation.disk import ReplicaDisk, Store, WorkerDisk
from tests.simulation.engine import DiskWatcher, SimEngine
from tests.simulation.scheduler import Process, Resume

TICK_S = 0.1
BATCH_RECORDS = 64
CRASH_STEPS = 3
WRITERS = WriterPool()
"""Its threads are never started: a virtual thread does the work of each executor."""


class Watcher(DiskWatcher, Protocol):
    """Checkers that see every replica."""

    def stepped(self, replica: Replica) -> None: ...
    def matched(self, disk: ReplicaDisk, append: Append) -> None: ...
    def steps_down(self, replica: ReplicaId, term: Term) -> None: ...
    def answered(self, replica: ReplicaId, term: Term | None) -> None: ...


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a read. applied: seq that the replica had applied when the result was fixed."""

    seq: int
    value: str | None
    applied: int


class WatchedWriter(Writer):
    """The product's writer. stepped: called after each event that the machine has handled."""

    def __init__(self, *, stepped: Callable[[], None], **parts: Any) -> None:
        self._stepped = stepped
        super().__init__(**parts)

    def feed(self, happened: ReplicaEvent) -> None:
        """See Writer."""
        super().feed(happened)
        self._stepped()


class Replica:
    """A replica until it is closed or its process dies. Created and used on the virtual loop."""

    def __init__(
        self,
        *,
        process: Process,
        disk: ReplicaDisk,
        worker_disk: WorkerDisk,
        spec: CollectionSpec,
        peers: PeerCalls,
        use: StoreUse,
        lease_held: Callable[[Revision], bool],
        changed: Callable[[], None],
        watcher: Watcher,
    ) -> None:
        """peers, use, lease_held, changed: see the product's Replica."""
        self.process, self.disk, self.spec = process, disk, spec
        self.id, self.shard = disk.replica, disk.shard
        self._lease_held, self._changed, self._watcher = lease_held, changed, watcher
        self._registration = Revision(0)
        self._closing = self._ticking = False
        self._shown: tuple[bool, Term | None] | None = None
        self._waiting: list[tuple[int, Callable[[], None]]] = []
        self._loop = asyncio.get_running_loop()
        self.engine = SimEngine(process=process, disk=disk, worker_disk=worker_disk, watcher=watcher)
        self.machine = ReplicaMachine(disk.opened(), disk.request_memory())
        self.told_commit = self.machine.commit_seq
        self._writer = WatchedWriter(
            stepped=self._stepped,
            machine=self.machine,
            engine=self.engine,
            thread=WRITERS.executor(),
            files=use,
            progressed=self._progressed,
            wants_ticks=self._wants_ticks,
            outward=self._outward,
            wall_ms=process.wall_ms,
        )
        self._full, self._use = False, use
        use.begin(lambda: self._writer.rest(may_write=not self._full))
        self._replicate = Replicate(peers=peers, feed=self._writer.feed, read_log=self._read_log)

    # What Assignments asks

    @property
    def failure(self) -> ShoalError | None:
        """See the product's Replica."""
        return self._writer.failure

    @property
    def idle_term(self) -> Term | None:
        """See the product's Replica."""
        return self.machine.known_term if isinstance(self.machine.role, Idle) else None

    @property
    def behind(self) -> ReplicaId | None:
        """See the product's Replica."""
        return self.machine.behind

    def tell(self, config: ShardConfig, epoch: Revision, registration: Revision) -> None:
        """See the product's Replica."""
        self._registration = registration
        self._writer.feed(self._time())
        self._writer.feed(ConfigSeen(config=config, epoch=epoch, registration=registration))

    def lead_no_more(self, term: Term) -> None:
        """See the product's Replica."""
        self._writer.feed(LeadNoMore(term=term))
        self._watcher.steps_down(self.id, term)

    def tell_space(self, reason: str | None) -> None:
        """See the product's Replica."""
        self._full = reason is not None
        self._writer.feed(SpaceChanged(no_room=None if reason is None else NoRoom(reason=reason, limit=DISK_LIMIT)))

    def tell_spec(self, spec: CollectionSpec) -> None:
        """See the product's Replica."""
        self.spec = spec

    async def close(self) -> None:
        """See the product's Replica."""
        self._closing = True
        self._wake_readers()
        await self._writer.close()
        await self._replicate.close()
        self._use.end()

    # What other processes ask

    async def write(self, request_id: RequestId, kind: RecordKind, body: bytes, timeout_s: float) -> WriteAck:
        """See Writer."""
        return await self._writer.write(request_id=request_id, kind=kind, body=body, timeout_s=timeout_s)

    async def append(self, append: Append, timeout_s: float) -> AppendAnswer:
        """See Writer."""
        answer = await self._writer.append(append, timeout_s)
        if isinstance(answer, LogMatches):
            self._watcher.matched(self.disk, append)
        return answer

    def snapshot(self) -> Store:
        """Return a copy of the applied state. Raises Unavailable unless this is the primary or a candidate."""
        if self._closing or not isinstance(self.machine.role, Leading | Candidate):
            raise Unavailable(f"the replica of shard {self.shard} does not lead")
        return self.disk.store.copy()

    def read(self, key: str, terms: ReadTerms, answer: Resume) -> None:
        """Answer with Found or a ShoalError."""
        trouble, sure = self._trouble(), self._sure_term()
        if trouble is not None:
            answer(trouble)
        elif self.machine.applied_seq < terms.min_seq and not primary_read.is_lost(terms.min_seq, self.machine, sure):
            self._waiting.append((terms.min_seq, lambda: self.read(key, terms, answer)))
        else:
            seq, value = self.disk.store.points.get(key, (0, None))
            found = Found(seq=seq, value=value, applied=self.machine.applied_seq)
            self.process.after(0.0002 + 0.003 * self.process.scheduler.random.random(), lambda: answer(self._checked(found, terms, sure)))

    def crash(self) -> None:
        """Die with the process. A part of the writer thread's pending work is still done."""
        self._closing = True
        self.engine.crash(self.process.scheduler.random.randrange(CRASH_STEPS))

    def _trouble(self) -> ShoalError | None:
        role = self.machine.role
        if isinstance(role, Failed):
            return role.error
        return Unavailable("not ready") if self._closing or not self.machine.serves_reads else None

    def _checked(self, found: Found, terms: ReadTerms, began: Term | None) -> Found | ShoalError:
        if terms.consistency is not Consistency.PRIMARY:
            return Unavailable("it is being closed") if self._closing else found
        if self._closing or not primary_read.is_sure(began, self._sure_term()):
            return Unavailable("not certainly the primary")
        self._watcher.answered(self.id, began)
        return found

    def _sure_term(self) -> Term | None:
        return primary_read.sure_term(self.machine, self._registration, self._lease_held)

    def _wake_readers(self) -> None:
        waiting, self._waiting = self._waiting, []
        for min_seq, again in waiting:
            if self.machine.applied_seq >= min_seq or self._trouble() is not None:
                again()
            else:
                self._waiting.append((min_seq, again))

    # What the writer tells

    def _progressed(self) -> None:
        self._wake_readers()
        shown = self.failure is None, self.idle_term
        if shown != self._shown:
            self._shown = shown
            self._changed()

    def _stepped(self) -> None:
        if self.machine.commit_seq != self.told_commit:
            self._watcher.stepped(self)

    def _wants_ticks(self) -> None:
        if not self._ticking:
            self._ticking = True
            self._loop.call_soon(self._tick)

    def _tick(self) -> None:
        if self._closing or not self.machine.wants_ticks:
            self._ticking = False
            return
        self._loop.call_later(TICK_S, self._tick)
        self._writer.feed(self._time())

    def _time(self) -> Tick:
        return Tick(now_ms=int(self.process.clock() * 1000))

    def _outward(self, effect: Outward) -> None:
        if isinstance(effect, FetchSnapshot):
            self._changed()
        else:
            self._replicate.perform(effect)

    async def _read_log(self, from_seq: Seq, max_bytes: int) -> tuple[Record, ...]:
        await asyncio.sleep(self.engine.flush_s())
        if from_seq <= self.disk.base[1]:
            raise PreconditionFailed(f"record {from_seq} is trimmed")
        return self.disk.read(from_seq, BATCH_RECORDS)
