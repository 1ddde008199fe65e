"""The memory budget of a worker, computed from the limits of its process. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shoal.core.sizing import REPLICA_BASE_BYTES


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryLimit:
    """One limit.

    name: in words; limit_bytes: beyond it the process is refused memory or killed; taken_bytes: what the process itself
    uses of it before it holds any replica.
    """

    name: str
    limit_bytes: int
    taken_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryBudget:
    """budget_bytes: for replicas, builds and caches; why: where the value comes from, in words; beyond: name of a limit
    that allows less, or "".
    """

    budget_bytes: int
    why: str
    beyond: str = ""


def memory_budget(limits: Sequence[MemoryLimit], *, percent: float, given_bytes: int) -> MemoryBudget:
    """Return given_bytes as the budget if it is not 0, else `percent` of the least that any limit leaves. limits: at
    least one.

    The rest is for memory that is bounded but not counted (temporary memory of searches, messages in transfer, free
    memory of the allocator) and for other processes of the machine.
    """
    least = min(limits, key=lambda limit: limit.limit_bytes - limit.taken_bytes)
    left = max(0, least.limit_bytes - least.taken_bytes)
    if given_bytes:
        return MemoryBudget(budget_bytes=given_bytes, why="as set", beyond=least.name if given_bytes > left else "")
    return MemoryBudget(budget_bytes=int(left * percent / 100), why=f"{percent:g} % of what {least.name} leaves")


def replica_rooms(budget_bytes: int, taken_bytes: int) -> int | None:
    """Return how many more empty replicas may be placed on a worker whose replicas take `taken_bytes`; None if its
    budget is unknown (0).

    Only the memory of an empty replica is counted for a new one, because its later size is unknown.
    """
    return max(0, (budget_bytes - taken_bytes) // REPLICA_BASE_BYTES) if budget_bytes else None
