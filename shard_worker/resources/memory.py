"""The memory of a worker, shared by all its replicas: keeps the account of logic.memory_ledger and refuses what would
exceed the budget.

Any thread may call it. Deletes and searches do not ask: memory that searches take for a moment is outside of the budget
(see os_limits).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from shoal.core.errors import ErrorDetails, Internal, ResourceExhausted
from shoal.core.ids import ShardId
from shoal.core.sizing import EMPTY_STORE_BYTES, REPLICA_BASE_BYTES, open_store_bytes
from shoal.shard_worker.logic.largest import Largest
from shoal.shard_worker.logic.memory_ledger import (
    MemoryLedger,
    Pending,
    ReplicaCost,
    build_refusal,
    opening_refusal,
    replica_refusal,
    write_need,
    write_refusal,
)

MEMORY_LIMIT = "memory"
"""Name of the bound in errors."""

CACHE_PART = 16
"""Caches of filtered searches may take 1 / CACHE_PART of the whole budget."""

MAX_CACHE_BYTES = 1 << 30

SHORT_PART = 8
"""Memory is short when less than 1 / SHORT_PART of the budget is left."""


@dataclass(frozen=True, slots=True)
class Shortage:
    """A build must wait. reason: as a text."""

    reason: str


class Claim:
    """Reserved memory, given back when its context ends. A second give_back does nothing."""

    def __init__(self, memory: WorkerMemory, shard: ShardId, *, points: int = 0, message_bytes: int = 0, build: bool = False) -> None:
        self._memory, self._shard = memory, shard
        self._points, self._message_bytes, self._build = points, message_bytes, build
        self._held = True

    def give_back(self) -> None:
        """Give the memory back."""
        held, self._held = self._held, False
        if held and self._build:
            self._memory._end_build()
        elif held:
            self._memory._end_write(self._shard, self._points, self._message_bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.give_back()


class WorkerMemory:
    """Account of one worker. budget_bytes: what replicas, builds and caches may use, see core.memory_budget."""

    def __init__(self, budget_bytes: int) -> None:
        self._lock = threading.Lock()
        self.cache_bytes = min(MAX_CACHE_BYTES, budget_bytes // CACHE_PART)
        """What all caches of filtered searches together may take."""
        self._ledger = MemoryLedger(budget=budget_bytes - self.cache_bytes)
        self._costs: dict[ShardId, ReplicaCost] = {}
        self._next_builds = Largest[ShardId]()
        self._pending: dict[ShardId, Pending] = {}

    @property
    def budget_bytes(self) -> int:
        """Return what replicas and builds may use; caches have a share of their own."""
        return self._ledger.budget

    @property
    def used_bytes(self) -> int:
        """Return how much of the budget is used, reserved memory included."""
        return self._ledger.used

    @property
    def promised_bytes(self) -> int:
        """Return how much of the used memory is reserved for writes under way."""
        return self._ledger.writes

    @property
    def free_bytes(self) -> int:
        """Return what is left if no build runs and no memory is kept free for one."""
        return max(0, self._ledger.budget - self._ledger.held - self._ledger.writes)

    def replica_bytes(self) -> Mapping[ShardId, int]:
        """Return what each replica holds."""
        with self._lock:
            return {shard: cost.held for shard, cost in self._costs.items()}

    def bytes_of(self, shard: ShardId) -> int:
        """Return what the replica of a shard holds; 0 if it is not in the account."""
        cost = self._costs.get(shard)
        return 0 if cost is None else cost.held

    def awake_bytes_of(self, shard: ShardId) -> int:
        """Return what the replica of a shard holds while its files are open, which a read or write opens again; 0 if it
        is not in the account.
        """
        cost = self._costs.get(shard)
        return 0 if cost is None else cost.held + cost.waking

    def lasting_bytes_of(self, shard: ShardId) -> int:
        """Return what the replica of a shard takes in the long run, see ReplicaCost.lasting; 0 if it is not in the
        account.
        """
        cost = self._costs.get(shard)
        return 0 if cost is None else cost.lasting

    def overfull(self) -> str | None:
        """Return why this worker cannot hold more than it does, as a text; None while it can."""
        used, budget = self._ledger.used, self._ledger.budget
        return None if used <= budget else f"memory: {used} bytes are in use, the budget is {budget}"

    @property
    def is_short(self) -> bool:
        """Return whether little is left, so that unused files should be closed soon."""
        return self._ledger.room < self._ledger.budget // SHORT_PART

    def refusal_of_replica(self) -> str | None:
        """Return why an empty replica cannot be created now, as a text; None when it can."""
        return replica_refusal(self._ledger, REPLICA_BASE_BYTES + open_store_bytes(EMPTY_STORE_BYTES))

    def refusal_of_filling(self, shard: ShardId, need_bytes: int) -> str | None:
        """Return why the replica of a shard, which is open and in the account, could not be opened again if it took
        need_bytes, as a text; None when it could. need_bytes is 0 if unknown.
        """
        with self._lock:
            return opening_refusal(replace(self._ledger, held=self._ledger.held - self.bytes_of(shard)), need_bytes)

    def open(self, shard: ShardId, cost: ReplicaCost) -> None:
        """Add a replica to the account, with its cost or an upper bound of it. `close` removes it.

        Raises ResourceExhausted when there is no room, so that it must not be opened.
        """
        with self._lock:
            if shard in self._costs:
                raise Internal(f"shard {shard} is in the memory account already")
            reason = opening_refusal(self._ledger, cost.held)
            if reason is not None:
                raise ResourceExhausted(reason, ErrorDetails(limit=MEMORY_LIMIT, shard=str(shard)))
            self._put(shard, cost)

    def update(self, shard: ShardId, cost: ReplicaCost) -> None:
        """Set the cost of an open replica: after records were applied, a segment was frozen or swapped, or a load
        ended."""
        with self._lock:
            if shard in self._costs:
                self._put(shard, cost)

    def close(self, shard: ShardId) -> None:
        """Remove a closed replica from the account. Does nothing when it is not there.

        Its claims may be given back later.
        """
        with self._lock:
            self._take(shard)
            self._next_builds.drop(shard)
            self._keep()

    def admit(self, shard: ShardId, points: int, message_bytes: int) -> Claim:
        """Reserve memory for an upsert until it is applied, or will certainly not be applied. message_bytes: of its
        record.

        Raises ResourceExhausted(limit="memory") with need, rest and budget; nothing is reserved then.
        """
        with self._lock:
            cost, before = self._costs.get(shard), self._pending.get(shard, Pending())
            if cost is None:
                raise Internal(f"shard {shard} is not in the memory account")
            reason = write_refusal(self._ledger, cost, before, points, message_bytes)
            if reason is not None:
                raise ResourceExhausted(reason, ErrorDetails(limit=MEMORY_LIMIT, shard=str(shard), applied={str(shard): "no"}))
            self._change_pending(shard, points, message_bytes)
        return Claim(self, shard, points=points, message_bytes=message_bytes)

    def reserve_build(self, shard: ShardId, need_bytes: int) -> Claim | Shortage:
        """Reserve memory for a build until its result is swapped in or it is given up.

        The whole worker has one build at a time.
        """
        with self._lock:
            reason = build_refusal(self._ledger, need_bytes)
            if reason is not None:
                return Shortage(reason)
            # At least 1: a build that needs almost nothing is still the running build.
            self._ledger = replace(self._ledger, building=max(1, need_bytes))
        return Claim(self, shard, build=True)

    def _end_build(self) -> None:
        with self._lock:
            self._ledger = replace(self._ledger, building=0)

    def _end_write(self, shard: ShardId, points: int, message_bytes: int) -> None:
        with self._lock:
            self._change_pending(shard, -points, -message_bytes)

    def _change_pending(self, shard: ShardId, points: int, message_bytes: int) -> None:
        before = self._pending.get(shard, Pending())
        after = before.plus(points, message_bytes)
        if after == Pending():
            self._pending.pop(shard, None)
        else:
            self._pending[shard] = after
        cost = self._costs.get(shard)
        if cost is not None:
            self._ledger = self._ledger.with_write(write_need(cost, after) - write_need(cost, before))

    def _put(self, shard: ShardId, cost: ReplicaCost) -> None:
        self._take(shard)
        self._costs[shard] = cost
        self._next_builds.put(shard, cost.next_build)
        more = write_need(cost, self._pending.get(shard, Pending()))
        self._ledger = replace(self._ledger, held=self._ledger.held + cost.held, writes=self._ledger.writes + more)
        self._keep()

    def _take(self, shard: ShardId) -> None:
        cost = self._costs.pop(shard, None)
        if cost is not None:
            less = write_need(cost, self._pending.get(shard, Pending()))
            self._ledger = replace(self._ledger, held=self._ledger.held - cost.held, writes=self._ledger.writes - less)

    def _keep(self) -> None:
        kept = self._next_builds.value
        if kept != self._ledger.kept:
            self._ledger = replace(self._ledger, kept=kept)


def unbounded_memory() -> WorkerMemory:
    """Return an account that refuses nothing, for a replica that is opened without a worker."""
    return WorkerMemory(1 << 60)
