"""Decides when the coordinator makes a plan by itself: to empty drained workers, and, if it is allowed, to balance.

The memory holds what a coordinator has seen itself since it leads. No promise depends on it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Self

from shoal.coordinator.logic.failover import has_primary
from shoal.coordinator.logic.reported_sizes import Statuses
from shoal.core.cluster_map import ClusterMap, WorkerEntry
from shoal.core.collection import CollectionState
from shoal.core.ids import WorkerId
from shoal.core.rebalance import Drain, PlanKind, PlanState, RebalancePlan
from shoal.core.shard_config import replica_on

STEADY_S = 60.0
"""How long members and drains must have been the same, in seconds, before an automatic plan is made."""

AUTO_EVERY_S = 600.0
"""Least time in seconds between the beginnings of two automatic plans."""

LOOK_EVERY_S = 10.0
"""Least time in seconds between two looks for an automatic plan."""

AUTO_OFF = 0.20
"""An automatic plan moves bytes only while a worker is off its share by more than this part of it."""

GROWN = 0.05
"""What a worker holds has changed when it differs by this part of what all hold."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 300.0
"""Pause in seconds after a plan that did not get anything off a drained worker: the first, and the longest."""

CANCELLED_PAUSE_S = 600.0
"""Pause in seconds after a drain's plan that an operator cancelled."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class EmptyWorker:
    """Make a plan that moves the replicas of a drained worker away."""

    worker: WorkerId


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LookAtBalance:
    """Make a plan for the cluster if all shards are whole, and put it if it is worth it."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Emptying:
    """The last plan for a drained worker.

    members: live workers at that time; replicas: that the worker held; plans: without any effect so far; next_s: when
    the next one may be made, on the coordinator's clock.
    """

    members: frozenset[WorkerId]
    replicas: int
    plans: int
    next_s: float


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class BalanceMemory:
    """What a coordinator remembers between its turns. Immutable: each change returns the next.

    members, drains: live workers and what is drained, unchanged since steady_since_s; emptyings: of drained workers;
    looked_at: the map of the last look for an automatic plan, and looked_sizes what each worker held then;
    next_look_s: when the next look may be.
    """

    members: Mapping[WorkerId, WorkerEntry] = dataclasses.field(default_factory=lambda: MappingProxyType({}))
    drains: Mapping[WorkerId, Drain] = dataclasses.field(default_factory=lambda: MappingProxyType({}))
    steady_since_s: float = 0.0
    emptyings: Mapping[WorkerId, Emptying] = dataclasses.field(default_factory=lambda: MappingProxyType({}))
    looked_at: ClusterMap | None = None
    looked_sizes: Mapping[WorkerId, int] = dataclasses.field(default_factory=lambda: MappingProxyType({}))
    next_look_s: float = 0.0

    def seen(self, cluster: ClusterMap, now_s: float) -> Self:
        """Return the memory after this map."""
        if self.members is cluster.workers and self.drains is cluster.drains:
            return self
        emptyings = {worker: last for worker, last in self.emptyings.items() if worker in cluster.drains}
        steady = self.members == cluster.workers and self.drains == cluster.drains
        return dataclasses.replace(
            self,
            members=cluster.workers,
            drains=cluster.drains,
            steady_since_s=self.steady_since_s if steady else now_s,
            emptyings=emptyings,
        )

    def emptied(self, cluster: ClusterMap, worker: WorkerId, now_s: float) -> Self:
        """Return the memory after a plan for a drained worker was made now, whether it was put or not."""
        held = len(cluster.shards.of_worker(worker))
        last = self.emptyings.get(worker)
        plans = 1 if last is None or held < last.replicas or last.members != cluster.workers.keys() else last.plans + 1
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (plans - 1))
        made = Emptying(members=frozenset(cluster.workers), replicas=held, plans=plans, next_s=now_s + pause_s)
        return dataclasses.replace(self, emptyings={**self.emptyings, worker: made})

    def later(self, now_s: float) -> Self:
        """Return the memory after a look that could not be made now."""
        return dataclasses.replace(self, next_look_s=now_s + LOOK_EVERY_S)

    def begun(self, now_s: float) -> Self:
        """Return the memory after an automatic plan has begun."""
        return dataclasses.replace(self, next_look_s=now_s + AUTO_EVERY_S)

    def looked(self, cluster: ClusterMap, statuses: Statuses, now_s: float) -> Self:
        """Return the memory after a look for an automatic plan."""
        return dataclasses.replace(self, looked_at=cluster, looked_sizes=_sizes(statuses), next_look_s=now_s + LOOK_EVERY_S)


def next_turn(
    cluster: ClusterMap, statuses: Statuses, memory: BalanceMemory, *, now_s: float, now_ms: int
) -> EmptyWorker | LookAtBalance | None:
    """Return which plan to make now; None for no one. At most one plan runs at any time.

    now_s: on the clock of the memory; now_ms: the time in ms since 1970.
    """
    last = cluster.rebalance
    if cluster.cluster is None or (last is not None and not last.ended):
        return None
    due = [worker for worker in sorted(cluster.drains) if _is_to_be_emptied(cluster, memory, worker, now_s=now_s, now_ms=now_ms)]
    if due:
        # One that no plan could get anything off does not hold up the others.
        return EmptyWorker(worker=min(due, key=lambda worker: memory.emptyings[worker].plans if worker in memory.emptyings else 0))
    return LookAtBalance() if _may_look(cluster, statuses, memory, now_s=now_s, now_ms=now_ms) else None


def is_worth_it(plan: RebalancePlan) -> bool:
    """Return whether a plan moves bytes for a worker that is far enough off its share."""
    return bool(plan.moves) and any(
        abs(worker.bytes - worker.target_bytes) > AUTO_OFF * max(worker.target_bytes, 1) for worker in plan.workers if not worker.draining
    )


def all_whole(cluster: ClusterMap) -> bool:
    """Return whether each shard has its primary and as many replicas in sync as are wanted, and none is on the way."""
    if any(cluster.collections.in_state(state) for state in (CollectionState.CREATING, CollectionState.DROPPING)):
        return False
    configs = (entry.config for entry in cluster.shards.values())
    return all(
        has_primary(config, cluster.workers) and len(config.isr) >= config.rf and config.move is None and not config.leaving
        for config in configs
    )


def _is_to_be_emptied(cluster: ClusterMap, memory: BalanceMemory, worker: WorkerId, *, now_s: float, now_ms: int) -> bool:
    drain, last = cluster.drains[worker], memory.emptyings.get(worker)
    if drain.primaries_only or worker not in cluster.workers or not _is_named(cluster, worker):
        return False
    newest = cluster.rebalance
    if newest is not None and newest.state is PlanState.CANCELLED and (newest.plan.kind, newest.plan.subject) == (PlanKind.DRAIN, worker):
        # An operator stopped it. Another drain of the worker begins it anew, undrain ends it.
        return drain.since_ms > newest.started_ms or now_ms - newest.ended_ms >= CANCELLED_PAUSE_S * 1_000
    if last is None or now_s >= last.next_s or last.members != cluster.workers.keys():
        return True
    return len(cluster.shards.of_worker(worker)) < last.replicas


def _is_named(cluster: ClusterMap, worker: WorkerId) -> bool:
    """Return whether a configuration names a worker for more than a tombstone."""
    dropping = cluster.collections.in_state(CollectionState.DROPPING)
    configs = (entry.config for shard, entry in cluster.shards.of_worker(worker).items() if shard.collection not in dropping)
    return any(replica_on(config, worker) not in config.leaving for config in configs)


def _may_look(cluster: ClusterMap, statuses: Statuses, memory: BalanceMemory, *, now_s: float, now_ms: int) -> bool:
    if not cluster.balance.auto or now_s < memory.next_look_s or now_s - memory.steady_since_s < STEADY_S:
        return False
    last = cluster.rebalance
    if last is not None and last.plan.kind is PlanKind.AUTO and now_ms - last.started_ms < AUTO_EVERY_S * 1_000:
        return False
    return _differs(cluster, statuses, memory)


def _differs(cluster: ClusterMap, statuses: Statuses, memory: BalanceMemory) -> bool:
    """Return whether a look may find something that the last one did not find."""
    before = memory.looked_at
    if before is None or cluster.shards is not before.shards or cluster.workers is not before.workers:
        return True
    if cluster.drains is not before.drains or cluster.balance is not before.balance or cluster.collections is not before.collections:
        return True
    now, then = _sizes(statuses), memory.looked_sizes
    whole = sum(then.values())
    return any(abs(size - then.get(worker, 0)) > GROWN * whole for worker, size in now.items())


def _sizes(statuses: Statuses) -> dict[WorkerId, int]:
    return {worker: sum(status.replica_bytes.values()) for worker, status in statuses.items()}
