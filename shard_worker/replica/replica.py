"""One open replica: passes writes to its machine, runs reads beside them, and builds segments in the background."""

from __future__ import annotations

import asyncio
import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from shoal.core.collection import CollectionSpec
from shoal.core.deadline import Deadline
from shoal.core.errors import DataLoss, DeadlineExceeded, ErrorDetails, ShoalError, Unavailable
from shoal.core.health import ReplicaRole
from shoal.core.ids import ReplicaId, Revision, Seq, ShardId, Term
from shoal.core.points import StoredColumns
from shoal.core.shard_calls import (
    Consistency,
    ReadTerms,
    ReplicaStatus,
    ShardCount,
    ShardDelete,
    ShardDeleteMatching,
    ShardFound,
    ShardGet,
    ShardScroll,
    ShardSearch,
    ShardStats,
    ShardUpdate,
    ShardWrite,
    WriteAck,
)
from shoal.core.shard_config import ShardConfig
from shoal.core.tuning_calls import SegmentCurve, ShardMeasureRecall, ShardRecall, ShardTune
from shoal.core.turns import FREE, Asker, Turn
from shoal.runtime.change_signal import ChangeSignal
from shoal.runtime.clock import boot_s, wall_ms
from shoal.shard_worker.index.search.search import SearchedView
from shoal.shard_worker.index.view import IndexView
from shoal.shard_worker.logic.replication.append import Append, AppendAnswer
from shoal.shard_worker.logic.replication.events import ConfigSeen, FetchSnapshot, LeadNoMore, SnapshotRefused
from shoal.shard_worker.logic.replication.machine import ReplicaMachine
from shoal.shard_worker.logic.replication.primary_read import is_lost, is_sure, served_term, sure_term
from shoal.shard_worker.logic.replication.record import RecordKind
from shoal.shard_worker.logic.replication.roles import Candidate, Failed, Idle, Leading
from shoal.shard_worker.replica.engine import Beginning, Engine
from shoal.shard_worker.replica.figures import figures_of, replication_of, status_of
from shoal.shard_worker.replica.files import ReplicaFiles
from shoal.shard_worker.replica.machine_time import MachineTime
from shoal.shard_worker.replica.reading import ON_LOOP_US, FoundRows, ReplicaReading, is_large_read, reads_store, stored_us
from shoal.shard_worker.replica.reads_under_way import ReadsUnderWay
from shoal.shard_worker.replica.replicate import PeerCalls, Replicate
from shoal.shard_worker.replica.room import ReplicaRoom
from shoal.shard_worker.replica.sealing import Sealing
from shoal.shard_worker.replica.searched_vectors import SearchedVector, SearchedVectors
from shoal.shard_worker.replica.waiting import BEHIND_S, until_it_serves
from shoal.shard_worker.replica.write_bodies import kind_and_body
from shoal.shard_worker.replica.writer import Outward, Writer
from shoal.shard_worker.resources.memory import WorkerMemory
from shoal.shard_worker.resources.open_stores import StoreUse
from shoal.shard_worker.resources.pools import Pools
from shoal.wire.records import exact_delete_body

T = TypeVar("T")
Ask = Callable[[IndexView, Turn], T | None]
"""Queries a view; returns None if a row that it found was replaced meanwhile."""
Cost = Callable[[IndexView], float]

DELETED_AT_ONCE = 50_000
"""Most points that one delete by filter removes; the caller asks again for the rest."""

UNDISTURBED_TRIES = 3
"""Tries of a search beside the writer. If its hits were replaced each time, the search is run between writes."""


class Replica:
    """An open replica. Created and used on the event loop; call `close` before it is dropped."""

    def __init__(
        self,
        *,
        shard: ShardId,
        replica: ReplicaId,
        spec: CollectionSpec,
        engine: Engine,
        beginning: Beginning,
        pools: Pools,
        memory: WorkerMemory,
        use: StoreUse,
        lease_held: Callable[[Revision], bool],
        peers: PeerCalls,
        changed: Callable[[], None],
    ) -> None:
        """beginning: of the engine, read off the loop; memory: the account that the replica is in; use: of its files,
        which are open; lease_held: returns whether this worker certainly holds that registration at the moment of the
        call; peers: calls to the other members; changed: called on the loop when `behind`, `failure` or
        `idle_term` has changed.
        """
        self.id, self.collection_name = replica, spec.name
        self._shard, self._spec = shard, spec
        self._engine, self.pools, self._memory, self._lease_held = engine, pools, memory, lease_held
        self._registration = Revision(0)
        self._progress = ChangeSignal()
        self._under_way: set[asyncio.Task[Any]] = set()
        self._closing = False
        self._changed = changed
        self._shown: tuple[bool, Term | None] | None = None
        machine = ReplicaMachine(beginning.opened, beginning.requests)
        self._time = MachineTime(machine, pools.ticks)
        self._writer = Writer(
            machine=machine,
            engine=engine,
            thread=pools.writers.executor(),
            files=use,
            progressed=self._progressed,
            wants_ticks=self._time.want,
            outward=self._outward,
            wall_ms=wall_ms,
        )
        self._time.begin(self._writer.feed)
        self._room = ReplicaRoom(shard=shard, engine=engine, writer=self._writer, memory=memory)
        self._replicate = Replicate(
            peers=peers, feed=self._writer.feed, read_log=lambda *asked: pools.read(lambda _: engine.read_log(*asked), Asker())
        )
        self._files = ReplicaFiles(use=use, engine=engine, writer=self._writer, room=self._room)
        self.reads = ReadsUnderWay(shard=shard, pools=pools, files=self._files)
        self.reading = engine.reading
        self.vectors = SearchedVectors(shard=shard, spec=spec, engine=engine, pools=pools)
        self._sealing = Sealing(shard=shard, engine=engine, writer=self._writer, pools=pools, memory=memory, vectors=self.vectors)
        self.vectors.after_measuring(self._sealing.kick)
        self._sealing.begin(self._files)

    @property
    def behind(self) -> ReplicaId | None:
        """Return the primary whose snapshot it needs, since that primary's log no longer holds what is missing here."""
        return self._writer.machine.behind

    @property
    def failure(self) -> ShoalError | None:
        """Return why the replica has FAILED in this process; None while it works."""
        return self._writer.failure

    @property
    def role(self) -> ReplicaRole:
        """Return its role."""
        return self._writer.machine.role_name

    @property
    def status(self) -> ReplicaStatus:
        """Return its status, a part of the worker's status."""
        return status_of(self._shard, self._writer.machine, self._engine, self._sealing, self._memory)

    @property
    def writes_pending(self) -> int:
        """Return the number of writes that wait for their acknowledgement."""
        return self._writer.waiting

    @property
    def idle_term(self) -> Term | None:
        """Return the term it knows, unless it leads or is a candidate; else None."""
        machine = self._writer.machine
        return machine.known_term if isinstance(machine.role, Idle) else None

    def tell(self, config: ShardConfig, epoch: Revision, registration: Revision) -> None:
        """Take its configuration as last seen, and this worker's registration."""
        self._registration = registration
        self._time.tell()
        self._writer.feed(ConfigSeen(config=config, epoch=epoch, registration=registration))

    def lead_no_more(self, term: Term) -> None:
        """End this term at once: after the call it answers no write and no primary read in it any more."""
        self._writer.feed(LeadNoMore(term=term))

    def tell_space(self, reason: str | None) -> None:
        """Take whether there is room on the disk. reason: why not, None if there is."""
        self._room.tell_disk(reason)
        self._sealing.tell_space(reason)

    @property
    def log_end(self) -> tuple[Term, Seq]:
        """Return term and seq of the last record of its log, committed or not."""
        log = self._writer.machine.log
        return log.last_term, log.last_seq

    async def append(self, append: Append, timeout_s: float) -> AppendAnswer:
        """Take an append of the shard's primary. Raises Unavailable, DeadlineExceeded, or the replica's failure."""
        if self._closing:
            raise Unavailable(f"shard {self._shard} is closing", self._details())
        self._room.watch_memory()
        return await self._writer.append(append, timeout_s)

    async def snapshot(self, pin: Callable[[Engine], T]) -> T:
        """Run `pin` on the engine in a thread; the replica is not closed before it ends.

        A primary that does not serve yet also gives its snapshot: it may be waiting for the member that asks. Raises
        Unavailable on replicas that do not lead.
        """
        if self._closing or not isinstance(self._writer.machine.role, Leading | Candidate):
            raise Unavailable(f"the replica of shard {self._shard} does not lead ({self.role})", self._details())
        running = asyncio.create_task(self._files.during(partial(asyncio.to_thread, pin, self._engine)))
        self._under_way.add(running)
        running.add_done_callback(self._under_way.discard)
        return await asyncio.shield(running)

    async def write(self, call: ShardWrite, timeout_s: float) -> WriteAck:
        """See ShardService."""
        deadline = Deadline.after(timeout_s, boot_s)
        await until_it_serves(self._writer.machine, self._progress, deadline)
        if isinstance(call, ShardDeleteMatching):
            return await self._delete_matching(call, deadline)
        kind, body = await kind_and_body(call, self._spec, self.pools)
        written = await self._foreseen(call, deadline) if isinstance(call, ShardUpdate) else 0
        self._room.watch_memory()
        self._time.before_write()
        write = self._writer.write(request_id=call.request_id, kind=kind, body=body, timeout_s=deadline.left_s)
        if isinstance(call, ShardDelete) or self._writer.machine.knows(call.request_id):
            # A known write is only answered, so it needs no room.
            return await write
        if isinstance(call, ShardUpdate):
            return await self._room.admit(write, len(call.ids), len(body) + written, refused=self._sealing.reclaim)
        with self._engine.decoded(body, call.points):
            return await self._room.admit(write, len(call.points), len(body), refused=self._sealing.reclaim)

    async def search(self, call: ShardSearch, timeout_s: float) -> ShardFound:
        """See ShardService."""
        vector = self.vectors.of(call.vector)
        return (await self._searched(call, vector, Deadline.after(timeout_s, boot_s), vector.reading.search))[0]

    async def find(self, call: ShardSearch, deadline: Deadline) -> FoundRows:
        """Search without reading payloads and vectors: `complete` reads them. Raises as search."""
        bare = dataclasses.replace(call, with_payload=False, with_vectors=False)
        vector = self.vectors.of(call.vector)
        (hits, explain), began = await self._searched(bare, vector, deadline, vector.reading.find)
        return FoundRows(hits=hits, explain=explain, began=began)

    async def complete(self, found: FoundRows, hits: npt.NDArray[np.intp], call: ShardSearch, deadline: Deadline) -> StoredColumns | None:
        """Return the payloads and vectors, as the call wants them, of the hits at these positions.

        Returns None if one of their rows was replaced meanwhile: then the search has to be done again. Raises as
        search.
        """
        self._check_working()
        rows = found.hits.rows[hits]
        read = partial(self.reading.stored, rows, call.with_vectors, call.with_payload)
        if stored_us(len(rows), self._room.point_bytes) <= ON_LOOP_US and self._files.open_now():
            columns = read(FREE)
        else:
            columns = await self.reads.in_pool(read, call.terms.caller, deadline, stored=True)
        self._check_primary(call.terms, found.began)
        return columns

    async def _searched(
        self, call: ShardSearch, vector: SearchedVector, deadline: Deadline, search: Callable[[IndexView, ShardSearch, Turn], T | None]
    ) -> tuple[T, Term | None]:
        """Return what `search` finds in a view, and the term that this replica certainly leads, if any."""
        reading = vector.reading
        reading.check(call)
        began = await self._wait_for(call.terms, deadline)
        vector.tuner.offer(call.queries)
        found = await self._undisturbed(
            lambda view, turn: search(view, call, turn),
            call.terms.caller,
            deadline,
            lambda view: reading.estimated_us(view, call, self._room.point_bytes),
            reading=reading,
            stored=reads_store(call),
        )
        self._check_primary(call.terms, began)
        return found, began

    def searched_now(self, min_seq: Seq, *, stored: bool, reading: ReplicaReading | None = None) -> SearchedView | None:
        """Return what a search sees now that needs this record; None if it must wait, or is not answered here. stored:
        it reads the store, whose files must be open; reading: of the vector that it names, None for the points."""
        machine = self._writer.machine
        if self._closing or not machine.serves_reads or machine.applied_seq < min_seq or (stored and not self._files.open_now()):
            return None
        return (reading or self.reading).searched()

    def sure_term(self) -> Term | None:
        """Return the term that this replica certainly leads and serves at this moment; None if there is none."""
        return sure_term(self._writer.machine, self._registration, self._lease_held)

    @property
    def point_bytes(self) -> float:
        """Return the mean bytes of a stored point."""
        return self._room.point_bytes

    async def get(self, call: ShardGet, timeout_s: float) -> StoredColumns:
        """See ShardService."""
        large = is_large_read(len(call.ids), self._room.point_bytes)
        return await self._read(call.terms, timeout_s, partial(self.reading.get, call), in_pool=large)

    async def scroll(self, call: ShardScroll, timeout_s: float) -> StoredColumns:
        """See ShardService."""
        filter = call.filter
        if filter is None:
            return await self._read(call.terms, timeout_s, partial(self.reading.scroll, call), in_pool=True)
        return await self.read_view(call.terms, timeout_s, lambda view, turn: self.reading.scroll_matching(view, call, filter, turn))

    async def count(self, call: ShardCount, timeout_s: float) -> int:
        """See ShardService."""
        filter = call.filter
        if filter is None:
            return await self._read(call.terms, timeout_s, lambda _: self.reading.count(), in_pool=False, stored=False)
        return await self.read_view(call.terms, timeout_s, lambda view, turn: self.reading.count_matching(view, filter, turn))

    async def tune(self, call: ShardTune, timeout_s: float) -> tuple[SegmentCurve, ...]:
        """See ShardService."""
        self._check_working()
        return await self.vectors.tune(call, timeout_s)

    async def measure_recall(self, call: ShardMeasureRecall, timeout_s: float) -> ShardRecall:
        """See ShardService."""
        self._check_working()
        return await self.vectors.measure_recall(call, timeout_s)

    async def optimize(self, timeout_s: float) -> None:
        """See ShardService."""
        self._check_working()
        await self._sealing.optimize(timeout_s)

    def tell_spec(self, spec: CollectionSpec) -> None:
        """Take the collection's changed specification: its index, its recall or its text fields."""
        self._spec = spec
        self._engine.aim(spec.recall)
        self.vectors.aim(spec.recall)
        self._sealing.tell_spec(spec)
        self._memory.update(self._shard, self._engine.cost())

    async def stats(self) -> ShardStats:
        """See ShardService."""
        return self.stats_now()

    def stats_now(self) -> ShardStats:
        """Return its figures. May be called on any thread."""
        return figures_of(self._shard, self._writer.machine, self._engine, self._sealing)

    def replication_now(self) -> tuple[int, int] | None:
        """See replication_of. May be called on any thread."""
        return replication_of(self._writer.machine)

    def refused_snapshot(self) -> None:
        """Take that there was no room for a snapshot of it on this worker."""
        self._writer.feed(SnapshotRefused())

    async def close(self) -> None:
        """Refuse new calls, end reads and the build, make everything durable."""
        self._closing = True
        self._time.close()
        self._progress.notify()
        try:
            await self.reads.close()
            await self.vectors.close()
            await self._sealing.close()
        finally:
            await self._writer.close()
            await self._replicate.close()
            self._room.give_all_back()
            while self._under_way:
                await asyncio.wait(self._under_way)
            await self._files.close()
            self.pools.give_back_soon()

    async def _read(self, terms: ReadTerms, timeout_s: float, work: Callable[[Turn], T], *, in_pool: bool, stored: bool = True) -> T:
        deadline = Deadline.after(timeout_s, boot_s)
        began = await self._wait_for(terms, deadline)
        now = not in_pool and (not stored or self._files.open_now())
        result = work(FREE) if now else await self.reads.in_pool(work, terms.caller, deadline, stored=stored)
        self._check_primary(terms, began)
        return result

    async def read_view(
        self, terms: ReadTerms, timeout_s: float, ask: Ask[T], cost_us: Cost = lambda _: math.inf, *, stored: bool = True
    ) -> T:
        """Return what `ask` finds in a view, under these terms. cost_us: estimated time; stored: it reads the store."""
        deadline = Deadline.after(timeout_s, boot_s)
        began = await self._wait_for(terms, deadline)
        result = await self._undisturbed(ask, terms.caller, deadline, cost_us, stored=stored)
        self._check_primary(terms, began)
        return result

    async def _undisturbed(
        self, ask: Ask[T], caller: str, deadline: Deadline, cost_us: Cost, *, reading: ReplicaReading | None = None, stored: bool = True
    ) -> T:
        """Return the result of a view whose rows are still in the store.

        `ask` returns None if the writer replaced some of them during the read. reading: whose views, None for the
        points'; stored: it reads the store.
        """
        views = reading or self.reading
        for _ in range(UNDISTURBED_TRIES):
            view = views.view()
            reads = stored and bool(view.parts)
            if cost_us(view) <= ON_LOOP_US and (not reads or self._files.open_now()):
                result = ask(view, FREE)
            else:
                result = await self.reads.in_pool(partial(ask, view), caller, deadline, stored=reads)
            if result is not None:
                return result
        result = await self.reads.in_writer(lambda turn: ask(views.view(), turn), self._writer.between_writes, deadline)
        if result is None:
            raise DataLoss(f"shard {self._shard} has lost rows that its index holds; check it with shoal fsck", self._details())
        return result

    async def _foreseen(self, call: ShardUpdate, deadline: Deadline) -> int:
        """Return the bytes of points that an update would write now; 0 for one that was seen before, or is refused."""
        machine = self._writer.machine
        if served_term(machine) is None or machine.knows(call.request_id):
            return 0
        large = call.filter is not None or is_large_read(len(call.ids), self._room.point_bytes)
        look = partial(self.reading.foresee, call.update)
        return await self._read(ReadTerms(caller=call.request_id.client), deadline.left_s, look, in_pool=large)

    async def _delete_matching(self, call: ShardDeleteMatching, deadline: Deadline) -> WriteAck:
        """Find the matching points, then write "delete these where they still are": points replaced in between stay.

        Both happen in one term that this replica serves. Otherwise it could miss writes that an earlier primary, or
        another one in between, acknowledged.
        """
        await self._wait_for(ReadTerms(), deadline)
        began = self._serving()
        found = await self._undisturbed(
            lambda view, turn: self.reading.matching(view, call.filter, DELETED_AT_ONCE, turn),
            call.request_id.client,
            deadline,
            lambda _: math.inf,
        )
        body = await self.pools.encode(partial(exact_delete_body, found.ids, found.rows))
        if self._serving() != began:
            raise Unavailable(f"shard {self._shard} began another term while the points were searched for", self._details(not_applied=True))
        self._time.before_write()
        answered_before = self._writer.machine.knows(call.request_id)
        ack = await self._writer.write(request_id=call.request_id, kind=RecordKind.DELETE_ROWS, body=body, timeout_s=deadline.left_s)
        # An answer to an earlier attempt does not cover the points found now. If the number affected differs from the
        # number found, points were replaced in between.
        return dataclasses.replace(ack, more=answered_before or found.more or ack.affected != len(found.ids))

    async def _wait_for(self, terms: ReadTerms, deadline: Deadline) -> Term | None:
        """Wait until the replica may answer under these terms. Return the term that it certainly leads, if any.

        Raises DeadlineExceeded, Unavailable, or the error with which the replica failed.
        """
        machine = self._writer.machine
        if terms.consistency is Consistency.PRIMARY:
            await until_it_serves(machine, self._progress, deadline)
        self._check_working()
        until = deadline if isinstance(machine.role, Leading) else deadline.sooner(BEHIND_S)
        while machine.applied_seq < terms.min_seq and not is_lost(terms.min_seq, machine, self.sure_term()):
            if not await self._progress.wait(self._progress.count, until.left_s):
                kind = DeadlineExceeded if until == deadline else Unavailable
                late = f"shard {self._shard} has applied only seq {machine.applied_seq} in time, the read needs {terms.min_seq}"
                raise kind(late, self._details())
            self._check_working()
        term = self.sure_term()
        if term is None and terms.consistency is Consistency.PRIMARY:
            raise Unavailable(f"the replica of shard {self._shard} is not certainly the primary", self._details())
        return term

    def _check_working(self) -> None:
        machine = self._writer.machine
        if isinstance(machine.role, Failed):
            raise type(machine.role.error)(machine.role.error.message, self._details())
        if self._closing or not machine.serves_reads:
            state = "closing" if self._closing else machine.role_name
            raise Unavailable(f"the replica of shard {self._shard} is not ready ({state})", self._details())

    def _check_primary(self, terms: ReadTerms, began: Term | None) -> None:
        """Raise Unavailable unless this replica was certainly the primary all along, in the term `began`."""
        if terms.consistency is Consistency.PRIMARY and not is_sure(began, self.sure_term()):
            raise Unavailable(f"shard {self._shard} has a new primary or a new term since the read began", self._details())

    def _serving(self) -> Term:
        """Return the term that it leads and serves, as far as it knows. Raises Unavailable."""
        term = served_term(self._writer.machine)
        if term is None:
            raise Unavailable(f"shard {self._shard} is not served by this replica ({self.role})", self._details(not_applied=True))
        return term

    def _details(self, *, not_applied: bool = False) -> ErrorDetails:
        shard = str(self._shard)
        return ErrorDetails(shard=shard, applied={shard: "no"} if not_applied else {})

    def _outward(self, effect: Outward) -> None:
        if isinstance(effect, FetchSnapshot):
            self._changed()
        else:
            self._replicate.perform(effect)

    def _progressed(self) -> None:
        self._progress.notify()
        self._room.account()
        self._sealing.kick()
        before, self._shown = self._shown, (self.failure is None, self.idle_term)
        if before != self._shown:
            self._changed()
