"""Plans that move replicas between workers, what becomes of them, and what operators say about workers.

A plan never changes. What became of its items is read off the configurations of their shards; only what was given up is
noted beside the plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from shoal.core.ids import ClusterId, Revision, ShardId, WorkerId

MOST_MOVES = 1_000
"""Most moves of one plan. A cluster that needs more is planned again when it ends."""

DEFAULT_TOLERANCE = 0.05
DEFAULT_MOVES_AT_ONCE = 4
DEFAULT_MOVE_BYTES_PER_S = 48 * 1024 * 1024


class PlanKind(StrEnum):
    """Why a plan was made.

    UNDO: it takes back what an earlier plan did. UNKNOWN: a newer server has a word for it that this version does not
    know.
    """

    BALANCE = "balance"
    AUTO = "auto"
    DRAIN = "drain"
    UNDO = "undo"
    UNKNOWN = "unknown"


class PlanState(StrEnum):
    """RUNS and PAUSED: it has items left. DONE: it ended by itself, whatever became of each item.

    UNKNOWN: see PlanKind.
    """

    RUNS = "runs"
    PAUSED = "paused"
    DONE = "done"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


class ItemState(StrEnum):
    """How far an item of a plan is.

    COPYING: the target gets the data; WARMING: it has the data and builds its indexes; HANDING_OVER: the source leads
    and is asked to hand over; LEAVING: the source is being removed. SKIPPED: the cluster changed so that it makes no
    sense any more; FAILED: it was given up. UNKNOWN: see PlanKind.
    """

    WAITING = "waiting"
    COPYING = "copying"
    WARMING = "warming"
    HANDING_OVER = "handing over"
    LEAVING = "leaving"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to the item."""
        return self in (ItemState.DONE, ItemState.SKIPPED, ItemState.FAILED, ItemState.CANCELLED)

    @property
    def under_way(self) -> bool:
        """Whether it has begun and not ended."""
        return self in (ItemState.COPYING, ItemState.WARMING, ItemState.HANDING_OVER, ItemState.LEAVING)


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedMove:
    """A move of one replica. number: from 1; memory_bytes, disk_bytes: of the replica; why: in words."""

    number: int
    collection: str
    shard: ShardId
    source: WorkerId
    target: WorkerId
    memory_bytes: int
    disk_bytes: int
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedHandOver:
    """A shard is to be led by its replica on another worker, after the plan's moves, whose numbers it continues."""

    number: int
    collection: str
    shard: ShardId
    source: WorkerId
    target: WorkerId


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerBalance:
    """A worker in a plan.

    capacity_bytes: that its replicas may take; bytes: that they take now; target_bytes: its share; after_bytes: after
    the plan; primaries, primaries_after: shards that it leads; in_bytes, out_bytes: memory of what comes and goes; new:
    it holds nothing yet.
    """

    worker: WorkerId
    zone: str
    capacity_bytes: int
    bytes: int
    target_bytes: int
    after_bytes: int
    primaries: int
    primaries_after: int
    in_bytes: int
    out_bytes: int
    draining: bool = False

    @property
    def new(self) -> bool:
        """Whether it holds nothing yet."""
        return not self.bytes and not self.primaries

    def share_of_target(self, size_bytes: int) -> float:
        """Return bytes as a part of its share; 0 if it is to hold nothing."""
        return size_bytes / self.target_bytes if self.target_bytes else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class PinnedShard:
    """A shard that the plan leaves as it is. why: in words."""

    collection: str
    shard: ShardId
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RebalancePlan:
    """An ordered list of moves and hand-overs.

    id: six or more hex digits that depend on what is to be done and on nothing else; subject: the worker that is
    drained, or the plan that is undone, else ""; cluster, revision: for which it was made; fingerprint: of members,
    zones, budgets, drains and homes: a plan with another one than the cluster's is refused; bytes: on disk, of all
    moves; least_bytes: in memory, that any plan has to move; seconds: estimate at the cluster's rate; left: what could
    not be mended, or not be undone, in words.
    """

    id: str
    kind: PlanKind
    subject: str
    cluster: ClusterId
    revision: Revision
    fingerprint: str
    tolerance: float
    replicas: int
    workers: tuple[WorkerBalance, ...]
    moves: tuple[PlannedMove, ...]
    hand_overs: tuple[PlannedHandOver, ...]
    bytes: int
    least_bytes: int
    seconds: float
    pinned: tuple[PinnedShard, ...] = ()
    left: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.moves and not self.hand_overs


@dataclass(frozen=True, kw_only=True, slots=True)
class RebalanceEntry:
    """An applied plan as the store keeps it.

    given_up: why, in words, by number of the item; times in ms since 1970, 0 for not yet; revision: modification
    revision of its key, 0 in the history. outcomes: of every item by number, once it has ended; longest_wait_s: of
    writes at one of its hand-overs, once it has ended, 0 if unknown.
    """

    plan: RebalancePlan
    state: PlanState
    asked_by: str
    started_ms: int
    ended_ms: int = 0
    given_up: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))
    outcomes: Mapping[int, ItemState] = field(default_factory=lambda: MappingProxyType({}))
    longest_wait_s: float = 0.0
    revision: Revision = Revision(0)

    @property
    def active(self) -> bool:
        """Whether it has items left to begin or to finish."""
        return self.state in (PlanState.RUNS, PlanState.PAUSED)

    @property
    def ended(self) -> bool:
        """Whether nothing more happens by it. A plan that is cancelled ends when its items under way have ended."""
        return self.state is PlanState.DONE or (self.state is PlanState.CANCELLED and self.ended_ms > 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class BalanceSettings:
    """How plans run. auto: plans are made and applied without an operator; move_bytes_per_s: at each source."""

    auto: bool = False
    tolerance: float = DEFAULT_TOLERANCE
    moves_at_once: int = DEFAULT_MOVES_AT_ONCE
    move_bytes_per_s: int = DEFAULT_MOVE_BYTES_PER_S
    revision: Revision = Revision(0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Drain:
    """Nothing is placed on the worker and it leads nothing. primaries_only: it keeps its replicas.

    since_ms: in ms since 1970; revision: modification revision of its key.
    """

    primaries_only: bool
    asked_by: str
    since_ms: int
    revision: Revision = Revision(0)
