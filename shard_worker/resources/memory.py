"""The memory of a worker, shared by all its replicas: keeps the account of logic.memory_ledger and says no before it is
overdrawn.

Any thread may call it. Deletes and searches never ask: what searches take for a moment lies outside of the budget (see
limits).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from shoal.core.errors import ErrorDetails, Internal, ResourceExhausted
from shoal.core.ids import ShardId
from shoal.core.sizing import REPLICA_BASE_BYTES
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
"""Names the bound in errors."""

CACHE_PART = 16
"""Caches of filtered searches may take one part in so many of the whole budget."""

MAX_CACHE_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Shortage:
    """A build must wait. reason: in words."""

    reason: str


class Claim:
    """A promise of memory, given back when its context ends; giving it back again does nothing."""

    def __init__(self, memory: WorkerMemory, shard: ShardId, *, points: int = 0, message_bytes: int = 0, build: bool = False) -> None:
        self._memory, self._shard = memory, shard
        self._points, self._message_bytes, self._build = points, message_bytes, build
        self._held = True

    def give_back(self) -> None:
        """End it."""
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
    """Account of one worker. budget_bytes: what replicas, builds and caches may use, see limits.memory_budget."""

    def __init__(self, budget_bytes: int) -> None:
        self._lock = threading.Lock()
        self.cache_bytes = min(MAX_CACHE_BYTES, budget_bytes // CACHE_PART)
        """What the caches of filtered searches may take, all together."""
        self._ledger = MemoryLedger(budget=budget_bytes - self.cache_bytes)
        self._costs: dict[ShardId, ReplicaCost] = {}
        self._pending: dict[ShardId, Pending] = {}

    @property
    def budget_bytes(self) -> int:
        """What replicas and builds may use; caches have a part of their own."""
        return self._ledger.budget

    @property
    def used_bytes(self) -> int:
        """Of the budget, promises included."""
        return self._ledger.used

    @property
    def promised_bytes(self) -> int:
        """Of what is used, room that writes under way are promised."""
        return self._ledger.writes

    @property
    def free_bytes(self) -> int:
        """What is left when no build runs and nothing is kept free for one."""
        return max(0, self._ledger.budget - self._ledger.held - self._ledger.writes)

    def replica_bytes(self) -> Mapping[ShardId, int]:
        """What each replica holds."""
        with self._lock:
            return {shard: cost.held for shard, cost in self._costs.items()}

    def overfull(self) -> str | None:
        """Why this worker cannot hold more than it does, in words; None while it can."""
        used, budget = self._ledger.used, self._ledger.budget
        return None if used <= budget else f"memory: {used} bytes are in use, the budget is {budget}"

    def refusal_of_replica(self) -> str | None:
        """Why an empty replica cannot be made now, in words; None when it can."""
        return replica_refusal(self._ledger, REPLICA_BASE_BYTES)

    def open(self, shard: ShardId, cost: ReplicaCost) -> None:
        """Take a replica into the account, as it is or as it surely will be once open; `close` ends that.

        Raises ResourceExhausted when there is no room for it: it is not to be opened.
        """
        with self._lock:
            if shard in self._costs:
                raise Internal(f"shard {shard} is in the memory account already")
            reason = opening_refusal(self._ledger, cost.held)
            if reason is not None:
                raise ResourceExhausted(reason, ErrorDetails(limit=MEMORY_LIMIT, shard=str(shard)))
            self._put(shard, cost)

    def update(self, shard: ShardId, cost: ReplicaCost) -> None:
        """What an open replica holds now: after records were applied, a segment was frozen or swapped, a load ended."""
        with self._lock:
            if shard in self._costs:
                self._put(shard, cost)

    def close(self, shard: ShardId) -> None:
        """The replica is closed and holds nothing; nothing when it is not in the account.

        Claims may be given back later.
        """
        with self._lock:
            self._take(shard)
            self._keep()

    def admit(self, shard: ShardId, points: int, message_bytes: int) -> Claim:
        """Room for an upsert until it is applied, or surely will not be. message_bytes: of its record.

        Raises ResourceExhausted(limit="memory") naming need, rest and budget; nothing was promised then.
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
        """Room for a build until its result is swapped in or it is given up; one build at a time for the whole
        worker.
        """
        with self._lock:
            reason = build_refusal(self._ledger, need_bytes)
            if reason is not None:
                return Shortage(reason)
            # Also a build that needs next to nothing is the one that runs.
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
        more = write_need(cost, self._pending.get(shard, Pending()))
        self._ledger = replace(self._ledger, held=self._ledger.held + cost.held, writes=self._ledger.writes + more)
        self._keep()

    def _take(self, shard: ShardId) -> None:
        cost = self._costs.pop(shard, None)
        if cost is not None:
            less = write_need(cost, self._pending.get(shard, Pending()))
            self._ledger = replace(self._ledger, held=self._ledger.held - cost.held, writes=self._ledger.writes - less)

    def _keep(self) -> None:
        kept = max((cost.next_build for cost in self._costs.values()), default=0)
        if kept != self._ledger.kept:
            self._ledger = replace(self._ledger, kept=kept)


def unbounded_memory() -> WorkerMemory:
    """An account that refuses nothing, for a replica that is opened without a worker."""
    return WorkerMemory(1 << 60)
