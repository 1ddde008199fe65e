"""What the planner of moves reads and what it returns: plain values, without the cluster map.

The planner is in `balance.py`. `balance_input.py` makes its input from the map and the reports of workers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shoal.core.ids import ShardId, WorkerId
from shoal.core.rebalance import DEFAULT_TOLERANCE, MOST_MOVES
from shoal.core.sizing import MIB

MOST_HAND_OVERS = 4_000
"""Most hand-overs of one plan. With MOST_MOVES moves it is then smaller than a value of the store may be."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BalanceWorker:
    """A live worker.

    capacity_bytes: memory that its replicas may take, 0 if unknown; disk_bytes: size of its disk, 0 if unknown;
    most_replicas: that it may open, 0 if unknown; draining: its replicas are to leave; may_lead: it may have primaries;
    accepts: replicas may be moved to it; fixed: all its shards are pinned and it accepts none, so it is to hold what it
    holds.
    """

    id: WorkerId
    capacity_bytes: int
    zone: str = ""
    disk_bytes: int = 0
    most_replicas: int = 0
    draining: bool = False
    may_lead: bool = True
    accepts: bool = True
    fixed: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class BalanceShard:
    """A shard and the workers of its replicas.

    name: as people know it; memory_bytes, disk_bytes: of one replica; homes: may name workers that are not live;
    primary: worker of the primary, None for none; pinned: why neither its replicas nor its primary may be moved, in
    words, "" if they may.
    """

    id: ShardId
    name: str
    memory_bytes: int
    disk_bytes: int
    homes: tuple[WorkerId, ...]
    primary: WorkerId | None
    pinned: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannerSettings:
    """How the planner weighs.

    tolerance: how far a worker may be off its target, as a part of it, each way; fill: no move fills a worker's memory
    or disk beyond this part; move_cost_bytes: what a move costs besides its bytes; least_gain: bytes that a move or an
    exchange has to mend for each byte that it moves; partners: of each zone so many workers are looked at as the other
    side; crowding_cost: part of a move's score that it loses if the two workers would share everything; only_drains:
    move only what drains need.
    """

    tolerance: float = DEFAULT_TOLERANCE
    fill: float = 0.85
    move_cost_bytes: int = 32 * MIB
    least_gain: float = 0.1
    partners: int = 3
    crowding_cost: float = 0.3
    only_drains: bool = False
    most_moves: int = MOST_MOVES
    most_hand_overs: int = MOST_HAND_OVERS


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplicaMove:
    """A replica of a shard goes from one worker to another. why: in words."""

    shard: ShardId
    source: WorkerId
    target: WorkerId
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LeadershipChange:
    """After the moves, a shard is led on another worker that holds it."""

    shard: ShardId
    source: WorkerId
    target: WorkerId


@dataclass(frozen=True, kw_only=True, slots=True)
class BalanceOutcome:
    """What the planner found.

    moves: in the order in which they are to be done; hand_overs: after the moves; before, after: memory of the replicas
    on each worker, in bytes; targets: bytes that each worker should hold; primaries_before, primaries_after: shards
    that each worker leads; least_bytes: memory that any plan would have to move; left: what could not be mended, in
    words.
    """

    moves: tuple[ReplicaMove, ...]
    hand_overs: tuple[LeadershipChange, ...]
    before: Mapping[WorkerId, int]
    after: Mapping[WorkerId, int]
    targets: Mapping[WorkerId, int]
    primaries_before: Mapping[WorkerId, int]
    primaries_after: Mapping[WorkerId, int]
    least_bytes: int
    left: tuple[str, ...] = ()
