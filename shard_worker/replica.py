"""One open replica: writes through its machine, reads beside it, builds behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from shard_worker.engine import Engine
from shard_worker.logic.record import RecordKind
from shard_worker.logic.replica_events import ConfigSeen, SpaceChanged
from shard_worker.logic.replica_machine import Broken, Idle, Leading, ReplicaMachine
from shard_worker.pools import Pools
from shard_worker.sealing import Sealing
from shard_worker.writer import Writer
from shoal.core.collection import CollectionSpec
from shoal.core.errors import DeadlineExceeded, ErrorDetails, InvalidArgument, ShoalError, Unavailable
from shoal.core.ids import ReplicaId, Revision, ShardId, Term
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.points import StoredColumns, check_dim, check_finite, check_ids, check_unique
from shoal.core.shard_calls import (
    Consistency,
    ReadTerms,
    ShardCount,
    ShardDelete,
    ShardGet,
    ShardScroll,
    ShardSearch,
    ShardStats,
    ShardUpsert,
    ShardWrite,
    WriteAck,
)
from shoal.core.shard_config import ShardConfig, leads
from shoal.core.topk import HitColumns
from shoal.runtime.clock import boot_s
from shoal.wire.records import delete_body, upsert_body

T = TypeVar("T")

ON_LOOP_US = 300.0
"""Searches estimated below this run on the event loop: handing one to a pool costs as much."""

PAYLOAD_US = 6.0
"""Estimated time to read one hit's payload."""

UNDISTURBED_TRIES = 3
"""Tries of a search beside the writer before it is run between writes, when hits keep being replaced under it."""

LARGE_BODY_BYTES = 256 * 1024
LARGE_READ_POINTS = 16


class Replica:
    """An open replica. Made and used on the event loop; `close` before it is dropped."""

    def __init__(
        self, *, shard: ShardId, replica: ReplicaId, spec: CollectionSpec, engine: Engine, pools: Pools, lease_held: Callable[[], bool]
    ) -> None:
        """lease_held: whether this worker's lease is surely held at the moment of the call."""
        self.id = replica
        self._shard, self._spec = shard, spec
        self._engine, self._pools, self._lease_held = engine, pools, lease_held
        self._registration = Revision(0)
        self._progress = asyncio.Event()
        self._reading: set[asyncio.Task[Any]] = set()
        self._closing = False
        memory = engine.request_memory()
        self._writer = Writer(machine=ReplicaMachine(engine.opened(memory), memory), engine=engine, progressed=self._progressed)
        self._sealing = Sealing(shard=shard, engine=engine, writer=self._writer, pools=pools)
        self._sealing.kick()

    @property
    def failure(self) -> ShoalError | None:
        """Why the replica has FAILED in this process; None while it works."""
        return self._writer.failure

    @property
    def role(self) -> str:
        """Its role in a word: primary, starting, waiting, backup or failed."""
        return self._writer.machine.role_name

    @property
    def collection_name(self) -> str:
        """Name of the collection it belongs to."""
        return self._spec.name

    @property
    def writes_pending(self) -> int:
        """Writes that wait for their acknowledgement."""
        return self._writer.waiting

    @property
    def idle_term(self) -> Term | None:
        """The term it knows, while it neither leads nor is about to; else None."""
        machine = self._writer.machine
        return machine.known_term if isinstance(machine.role, Idle) else None

    def tell(self, config: ShardConfig, epoch: Revision, registration: Revision) -> None:
        """Its configuration as last seen, and this worker's registration."""
        self._registration = registration
        self._writer.feed(ConfigSeen(config=config, epoch=epoch, registration=registration))

    def tell_space(self, reason: str | None) -> None:
        """Whether there is room on the disk; reason: why not."""
        self._writer.feed(SpaceChanged(reason=reason))
        self._sealing.tell_space(reason)

    async def write(self, call: ShardWrite, timeout_s: float) -> WriteAck:
        """See ShardService."""
        kind, encode = self._encoding(call)
        large = isinstance(call, ShardUpsert) and call.points.vectors.nbytes > LARGE_BODY_BYTES
        body = await self._pools.encode(encode) if large else encode()
        return await self._writer.write(epoch=call.epoch, request_id=call.request_id, kind=kind, body=body, timeout_s=timeout_s)

    async def search(self, call: ShardSearch, timeout_s: float) -> HitColumns:
        """See ShardService."""
        check_dim(call.queries, self._spec.dim, field="queries")
        if call.k < 1 or call.ef < 1:
            raise InvalidArgument(f"k is {call.k} and ef is {call.ef}, both must be at least 1", ErrorDetails(field="k"))
        deadline = boot_s() + timeout_s
        await self._wait_for(call.terms, deadline)
        hits = await self._search(call, deadline)
        self._check_primary(call.terms)
        return hits

    async def get(self, call: ShardGet, timeout_s: float) -> StoredColumns:
        """See ShardService."""
        return await self._read(call.terms, timeout_s, lambda: self._engine.get(call), in_pool=len(call.ids) > LARGE_READ_POINTS)

    async def scroll(self, call: ShardScroll, timeout_s: float) -> StoredColumns:
        """See ShardService."""
        return await self._read(call.terms, timeout_s, lambda: self._engine.scroll(call), in_pool=True)

    async def count(self, call: ShardCount, timeout_s: float) -> int:
        """See ShardService."""
        return await self._read(call.terms, timeout_s, self._engine.count, in_pool=False)

    async def optimize(self, timeout_s: float) -> None:
        """See ShardService."""
        self._check_working()
        await self._sealing.optimize(timeout_s)

    async def stats(self) -> ShardStats:
        """See ShardService."""
        return self.stats_now()

    def stats_now(self) -> ShardStats:
        """What it holds. May be called on any thread."""
        machine, index = self._writer.machine, self._engine.index_stats()
        return ShardStats(
            shard=self._shard,
            role=machine.role_name,
            term=machine.known_term,
            applied_seq=machine.applied_seq,
            points=index.points,
            growing_rows=index.growing_rows,
            sealed_rows=index.sealed_rows,
            segments=index.segments,
            builds_pending=self._sealing.pending,
            bytes=self._engine.size_bytes(),
            memory_bytes=index.memory_bytes,
        )

    async def close(self) -> None:
        """Refuse new calls, let reads and the build end, make everything durable."""
        self._closing = True
        self._progress.set()
        try:
            await self._sealing.close()
        finally:
            await self._writer.close()
            while self._reading:
                await asyncio.wait(self._reading)
            await asyncio.to_thread(self._engine.close)

    def _encoding(self, call: ShardWrite) -> tuple[RecordKind, Callable[[], bytes]]:
        match call:
            case ShardUpsert(points=points):
                # Checked before it is logged: a committed record that cannot be applied would break the replica.
                check_dim(points.vectors, self._spec.dim)
                check_finite(points.vectors)
                check_unique(points.ids)
                check_ids(points.ids, DEFAULT_LIMITS)
                return RecordKind.UPSERT, lambda: upsert_body(points)
            case ShardDelete(ids=ids):
                return RecordKind.DELETE, lambda: delete_body(ids)

    async def _read(self, terms: ReadTerms, timeout_s: float, work: Callable[[], T], *, in_pool: bool) -> T:
        deadline = boot_s() + timeout_s
        await self._wait_for(terms, deadline)
        result = await self._run(lambda: self._pools.read(work), deadline) if in_pool else work()
        self._check_primary(terms)
        return result

    async def _run(self, work: Callable[[], Coroutine[Any, Any, T]], deadline: float) -> T:
        """Wait for work in a thread until the deadline. It goes on behind a caller who has left, and `close` waits for it."""
        running = asyncio.create_task(work())
        self._reading.add(running)
        running.add_done_callback(self._reading.discard)
        running.add_done_callback(_look_at)
        await asyncio.wait({running}, timeout=max(0.0, deadline - boot_s()))
        if running.done():
            return running.result()
        raise DeadlineExceeded(f"shard {self._shard} did not answer in time; ask for less, or give it longer", self._details())

    async def _search(self, call: ShardSearch, deadline: float) -> HitColumns:
        for _ in range(UNDISTURBED_TRIES):
            view = self._engine.view()
            cost = self._engine.estimated_us(view, call)
            if call.with_payload or call.with_vectors:
                cost += PAYLOAD_US * call.k * len(call.queries)
            search = partial(self._engine.search, view, call)
            hits = search() if cost <= ON_LOOP_US else await self._run(partial(self._pools.read, search), deadline)
            if hits is not None:
                return hits
        last = partial(self._writer.between_writes, lambda: self._engine.search(self._engine.view(), call))
        hits = await self._run(last, deadline)
        assert hits is not None, "a hit vanished although nothing was applied"
        return hits

    async def _wait_for(self, terms: ReadTerms, deadline: float) -> None:
        """Until the replica may answer under these terms. Raises DeadlineExceeded, Unavailable, or why it failed."""
        self._check_working()
        machine = self._writer.machine
        while machine.applied_seq < terms.min_seq:
            self._progress.clear()
            try:
                async with asyncio.timeout(max(0.0, deadline - boot_s())):
                    await self._progress.wait()
            except TimeoutError:
                raise DeadlineExceeded(
                    f"shard {self._shard} has applied {machine.applied_seq} in time, the read needs {terms.min_seq}", self._details()
                ) from None
            self._check_working()

    def _check_working(self) -> None:
        machine = self._writer.machine
        if isinstance(machine.role, Broken):
            raise type(machine.role.error)(machine.role.error.message, self._details())
        if self._closing or not machine.serves_reads:
            state = "closing" if self._closing else machine.role_name
            raise Unavailable(f"the replica of shard {self._shard} is not ready ({state})", self._details())

    def _check_primary(self, terms: ReadTerms) -> None:
        """After the result is fixed: whether this replica was certainly the primary all along."""
        if terms.consistency is not Consistency.PRIMARY:
            return
        machine = self._writer.machine
        elected = isinstance(machine.role, Leading) and leads(machine.role.config, self.id, self._registration)
        if not (machine.serves_writes and elected and self._lease_held()):
            raise Unavailable(f"the replica of shard {self._shard} is not surely the primary", self._details())

    def _details(self) -> ErrorDetails:
        return ErrorDetails(shard=str(self._shard))

    def _progressed(self) -> None:
        self._progress.set()
        self._sealing.kick()


def _look_at(running: asyncio.Task[Any]) -> None:
    """Take the outcome of work, whose caller may have left."""
    if not running.cancelled():
        running.exception()
