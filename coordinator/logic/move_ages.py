"""The memory of a coordinator about moves: since when each has made no progress, since when its target is in sync, and
since when a hand-over is asked for. It holds only what the coordinator has seen itself since it leads.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from shoal.coordinator.logic.moves import target_status
from shoal.coordinator.logic.snapshot import MoveAge
from shoal.core.cluster_map import ClusterMap
from shoal.core.ids import ReplicaId, Revision, ShardId, WorkerId
from shoal.core.rebalance import PlanState
from shoal.core.shard_calls import ReplicaStatus, WorkerStatus
from shoal.core.shard_config import ShardConfig

Reports = Mapping[WorkerId, WorkerStatus]


@dataclass(frozen=True, kw_only=True, slots=True)
class _MoveSeen:
    """What is known of one shard. reached: how far its target was reported; *_s: since when it is as it is."""

    target: ReplicaId | None
    reached: tuple[int, int]
    reached_s: float
    joined_s: float | None
    successor: ReplicaId | None
    asked_s: float


class MoveAges:
    """For how long moves and hand-overs have been as they are. Immutable: `seen` returns the next."""

    def __init__(
        self, shards: Mapping[ShardId, _MoveSeen] | None = None, plan: Revision | None = None, idle_since_s: float | None = None
    ) -> None:
        """plan: revision of the plan that goes on; idle_since_s: since when it runs with nothing under way."""
        self._shards, self._plan, self._idle_since_s = dict(shards or {}), plan, idle_since_s

    def seen(self, cluster: ClusterMap, shards: Iterable[ShardId], reports: Reports, now_s: float) -> Self:
        """Return the ages after this map and these reports. shards: those that are not settled."""
        moving = {}
        for shard in shards:
            entry = cluster.shards.get(shard)
            if entry is not None and (entry.config.move is not None or entry.config.successor is not None):
                moving[shard] = _next(self._shards.get(shard), entry.config, reports, now_s)
        plan = cluster.rebalance
        open_plan = None if plan is None or plan.ended or plan.state is PlanState.PAUSED else plan.revision
        runs = plan is not None and plan.state is PlanState.RUNS and not moving
        same = open_plan == self._plan and self._idle_since_s is not None
        return type(self)(moving, open_plan, (self._idle_since_s if same else now_s) if runs else None)

    @property
    def under_way(self) -> bool:
        """Return whether a replica moves, a hand-over is asked for, or a plan goes on, not paused."""
        return bool(self._shards) or self._plan is not None

    def ages(self, now_s: float) -> Mapping[ShardId, MoveAge]:
        """Return the ages of what is under way."""
        return {
            shard: MoveAge(
                stuck_s=now_s - each.reached_s,
                joined_s=0.0 if each.joined_s is None else now_s - each.joined_s,
                asked_s=0.0 if each.successor is None else now_s - each.asked_s,
            )
            for shard, each in self._shards.items()
        }

    def plan_idle_s(self, now_s: float) -> float:
        """Return the seconds for which a plan that runs has had nothing under way."""
        return 0.0 if self._idle_since_s is None else now_s - self._idle_since_s


def _next(before: _MoveSeen | None, config: ShardConfig, reports: Reports, now_s: float) -> _MoveSeen:
    """Return what is known of a shard now. before: what was known of it, None if nothing was under way."""
    fresh = _MoveSeen(target=_target(config), reached=(-1, -1), reached_s=now_s, joined_s=None, successor=config.successor, asked_s=now_s)
    last = fresh if before is None else before
    if last.target != fresh.target:
        last = dataclasses.replace(fresh, successor=last.successor, asked_s=last.asked_s)
    status = None if config.move is None else target_status(config, config.move, reports)
    reached = last.reached if status is None else _reached(status)
    joined_s = (now_s if last.joined_s is None else last.joined_s) if fresh.target in config.isr else None
    return dataclasses.replace(
        fresh,
        reached=reached,
        reached_s=last.reached_s if reached == last.reached else now_s,
        joined_s=joined_s,
        asked_s=last.asked_s if last.successor == config.successor else now_s,
    )


def _target(config: ShardConfig) -> ReplicaId | None:
    return None if config.move is None else config.move.target


def _reached(status: ReplicaStatus) -> tuple[int, int]:
    return status.applied_seq, -1 if status.snapshot is None else status.snapshot.done_bytes
