"""One open replica: writes through its machine, reads beside it, builds behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from shard_worker.engine import Engine
from shard_worker.logic.record import RecordKind
from shard_worker.logic.replica_events import ConfigSeen, SpaceChanged
from shard_worker.logic.replica_machine import Broken, Leading, ReplicaMachine
from shard_worker.pools import Pools
from shard_worker.sealing import Sealing
from shard_worker.writer import Writer
from shoal.core.collection import CollectionSpec
from shoal.core.errors import DeadlineExceeded, ErrorDetails, InvalidArgument, ShoalError, Unavailable
from shoal.core.ids import ReplicaId, Revision, ShardId
from shoal.core.points import StoredColumns, check_dim, check_finite, check_unique
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
        self._reads = 0
        self._idle = asyncio.Event()
        self._idle.set()
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

    def tell(self, config: ShardConfig, epoch: Revision, registration: Revision) -> None:
        """Its configuration as last seen, and this worker's registration."""
        self._registration = registration
        self._writer.feed(ConfigSeen(config=config, epoch=epoch, registration=registration))

    def tell_space(self, reason: str | None) -> None:
        """Whether there is room on the disk; reason: why not."""
        self._writer.feed(SpaceChanged(reason=reason))

    async def write(self, call: ShardWrite, timeout_s: float) -> WriteAck:
        """See ShardService."""
        kind, encode = self._encoding(call)
        large = isinstance(call, ShardUpsert) and call.points.vectors.nbytes > LARGE_BODY_BYTES
        body = await self._pools.read(encode) if large else encode()
        return await self._writer.write(epoch=call.epoch, request_id=call.request_id, kind=kind, body=body, timeout_s=timeout_s)

    async def search(self, call: ShardSearch, timeout_s: float) -> HitColumns:
        """See ShardService."""
        check_dim(call.queries, self._spec.dim, field="queries")
        if call.k < 1 or call.ef < 1:
            raise InvalidArgument(f"k is {call.k} and ef is {call.ef}, both must be at least 1", ErrorDetails(field="k"))
        return await self._read(call.terms, timeout_s, lambda: self._search(call))

    async def get(self, call: ShardGet, timeout_s: float) -> StoredColumns:
        """See ShardService."""
        return await self._read(call.terms, timeout_s, lambda: self._run(lambda: self._engine.get(call), len(call.ids) > LARGE_READ_POINTS))

    async def scroll(self, call: ShardScroll, timeout_s: float) -> StoredColumns:
        """See ShardService."""
        return await self._read(call.terms, timeout_s, lambda: self._run(lambda: self._engine.scroll(call), True))

    async def count(self, call: ShardCount, timeout_s: float) -> int:
        """See ShardService."""
        return await self._read(call.terms, timeout_s, lambda: self._run(self._engine.count, False))

    async def optimize(self, timeout_s: float) -> None:
        """See ShardService."""
        self._check_working()
        await self._sealing.optimize(timeout_s)

    async def stats(self) -> ShardStats:
        """See ShardService."""
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
        await self._sealing.close()
        await self._writer.close()
        await self._idle.wait()
        await asyncio.get_running_loop().run_in_executor(None, self._engine.close)

    def _encoding(self, call: ShardWrite) -> tuple[RecordKind, Callable[[], bytes]]:
        match call:
            case ShardUpsert(points=points):
                # Checked before it is logged: a committed record that cannot be applied would break the replica.
                check_dim(points.vectors, self._spec.dim)
                check_finite(points.vectors)
                check_unique(points.ids)
                return RecordKind.UPSERT, lambda: upsert_body(points)
            case ShardDelete(ids=ids):
                return RecordKind.DELETE, lambda: delete_body(ids)

    async def _read(self, terms: ReadTerms, timeout_s: float, read: Callable[[], Awaitable[T]]) -> T:
        await self._wait_for(terms, timeout_s)
        self._reads += 1
        self._idle.clear()
        try:
            result = await read()
        finally:
            self._reads -= 1
            if not self._reads:
                self._idle.set()
        self._check_primary(terms)
        return result

    async def _run(self, work: Callable[[], T], in_pool: bool) -> T:
        return await self._pools.read(work) if in_pool else work()

    async def _search(self, call: ShardSearch) -> HitColumns:
        for _ in range(UNDISTURBED_TRIES):
            view = self._engine.view()
            cost = self._engine.estimated_us(view, call)
            if call.with_payload or call.with_vectors:
                cost += PAYLOAD_US * call.k * len(call.queries)
            hits = await self._run(lambda view=view: self._engine.search(view, call), cost > ON_LOOP_US)  # type: ignore[misc]
            if hits is not None:
                return hits
        hits = await self._writer.between_writes(lambda: self._engine.search(self._engine.view(), call))
        assert hits is not None, "a hit vanished although nothing was applied"
        return hits

    async def _wait_for(self, terms: ReadTerms, timeout_s: float) -> None:
        """Until the replica may answer under these terms. Raises DeadlineExceeded, Unavailable, or why it failed."""
        self._check_working()
        machine = self._writer.machine
        if machine.applied_seq >= terms.min_seq:
            return
        deadline = boot_s() + timeout_s
        while machine.applied_seq < terms.min_seq:
            self._progress.clear()
            try:
                async with asyncio.timeout(max(0.0, deadline - boot_s())):
                    await self._progress.wait()
            except TimeoutError:
                raise DeadlineExceeded(
                    f"shard {self._shard} has applied {machine.applied_seq}, the read needs {terms.min_seq}, after {timeout_s:.1f} s",
                    ErrorDetails(shard=str(self._shard)),
                ) from None
            self._check_working()

    def _check_working(self) -> None:
        machine = self._writer.machine
        if isinstance(machine.role, Broken):
            raise type(machine.role.error)(machine.role.error.message, ErrorDetails(shard=str(self._shard)))
        if self._closing or not machine.serves_reads:
            state = "closing" if self._closing else machine.role_name
            raise Unavailable(f"the replica of shard {self._shard} is not ready ({state})", ErrorDetails(shard=str(self._shard)))

    def _check_primary(self, terms: ReadTerms) -> None:
        """After the result is fixed: whether this replica was certainly the primary all along."""
        if terms.consistency is not Consistency.PRIMARY:
            return
        machine = self._writer.machine
        elected = isinstance(machine.role, Leading) and leads(machine.role.config, self.id, self._registration)
        if not (machine.serves_writes and elected and self._lease_held()):
            raise Unavailable(f"the replica of shard {self._shard} is not surely the primary", ErrorDetails(shard=str(self._shard)))

    def _progressed(self) -> None:
        self._progress.set()
        self._sealing.kick()
