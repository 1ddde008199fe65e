"""Plans how to take back what an applied plan did: the reverse of each item whose outcome is still there.

What cannot be taken back stays where it is, and the plan says why, in words.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence

from shoal.coordinator.logic.balance_input import plan_id, seconds_of
from shoal.coordinator.logic.balance_sizes import ShardSizes, shard_sizes
from shoal.coordinator.logic.reported_sizes import Statuses, capacity_of
from shoal.coordinator.logic.worker_checks import MOST_FILL
from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import CollectionState
from shoal.core.ids import ShardId, WorkerId
from shoal.core.rebalance import (
    BalanceSettings,
    ItemState,
    PlanKind,
    PlannedHandOver,
    PlannedMove,
    RebalanceEntry,
    RebalancePlan,
    WorkerBalance,
)
from shoal.core.shard_config import may_lead, replica_on

Item = PlannedMove | PlannedHandOver


def undone(entry: RebalanceEntry, base: RebalancePlan, cluster: ClusterMap, statuses: Statuses, settings: BalanceSettings) -> RebalancePlan:
    """Return the plan that takes back an applied plan which has ended.

    base: any plan for this cluster: for its fingerprint, and for what the workers have now.
    """
    applied: tuple[Item, ...] = (*entry.plan.moves, *entry.plan.hand_overs)
    done = [item for item in applied if entry.outcomes.get(item.number) is ItemState.DONE]
    left: list[str] = []
    rooms = _Spaces(cluster, statuses)
    moves: list[PlannedMove] = []
    hand_overs: list[PlannedHandOver] = []
    for item in sorted(done, key=lambda each: each.number, reverse=True):
        why = _obstacle(item, cluster, rooms, statuses)
        if why is not None:
            left.append(f"{item.collection}/{item.shard.number}: {why}; it stays where it is")
        elif isinstance(item, PlannedMove):
            size = shard_sizes(cluster.shards[item.shard].config, statuses)
            rooms.move(size, item.target, item.source)
            moves.append(_reversed(item, size, entry.plan.id))
        else:
            hand_overs.append(dataclasses.replace(item, source=item.target, target=item.source))
    needed = _still_needed(hand_overs, moves, cluster)
    return _with_balances(_numbered(base, entry, moves, needed, tuple(left), seconds_of(moves, settings)), cluster)


def _obstacle(item: Item, cluster: ClusterMap, rooms: _Spaces, statuses: Statuses) -> str | None:
    """Return why an item cannot be taken back, in words; None if it can."""
    home, now = item.source, item.target
    entry, collection = cluster.shards.get(item.shard), cluster.collections.get(item.shard.collection)
    if entry is None or collection is None or collection.state is CollectionState.DROPPING:
        return "the collection was dropped"
    if home in cluster.forgotten:
        return f"worker {home} is forgotten"
    if home not in cluster.workers:
        return f"worker {home} is down"
    if home in cluster.drains:
        return f"worker {home} is drained"
    if not cluster.workers[home].can_move:
        return f"worker {home} is of a version that knows no moves"
    if replica_on(entry.config, now) is None:
        return f"worker {now} holds no replica of it any more"
    if isinstance(item, PlannedHandOver):
        return None if entry.config.primary_worker == now else f"worker {now} does not lead it any more"
    if replica_on(entry.config, home) is not None:
        return f"worker {home} holds another replica of it"
    if entry.config.move is not None:
        return "another move of it is under way"
    return None if rooms.hold(shard_sizes(entry.config, statuses), home) else f"worker {home} has no room for it"


class _Spaces:
    """What each worker holds and may hold, in bytes, while a plan is made. A capacity of 0 is unknown, so enough."""

    def __init__(self, cluster: ClusterMap, statuses: Statuses) -> None:
        self._workers = cluster.workers
        self._capacities = {worker: capacity_of(entry, statuses.get(worker)) for worker, entry in cluster.workers.items()}
        self._memory: Counter[WorkerId] = Counter()
        self._disk: Counter[WorkerId] = Counter()
        for worker in cluster.workers:
            for entry in cluster.shards.of_worker(worker).values():
                self._add(worker, shard_sizes(entry.config, statuses), 1)

    def hold(self, size: ShardSizes, worker: WorkerId) -> bool:
        """Return whether a worker may take one more replica of this size."""
        memory, disk = self._memory[worker] + size.memory_bytes, self._disk[worker] + size.disk_bytes
        budgets = ((self._capacities[worker], memory), (self._workers[worker].disk_bytes, disk))
        return all(not budget or after <= MOST_FILL * budget for budget, after in budgets)

    def move(self, size: ShardSizes, source: WorkerId, target: WorkerId) -> None:
        """Count a replica on its new worker and no more on its old one."""
        self._add(source, size, -1)
        self._add(target, size, 1)

    def _add(self, worker: WorkerId, size: ShardSizes, sign: int) -> None:
        self._memory[worker] += sign * size.memory_bytes
        self._disk[worker] += sign * size.disk_bytes


def _reversed(move: PlannedMove, size: ShardSizes, plan: str) -> PlannedMove:
    return dataclasses.replace(
        move,
        source=move.target,
        target=move.source,
        memory_bytes=size.memory_bytes,
        disk_bytes=size.disk_bytes,
        why=f"plan {plan} moved it",
    )


def _led_after(moves: Iterable[PlannedMove], cluster: ClusterMap) -> dict[ShardId, WorkerId | None]:
    """Return the worker that leads each moved shard after the moves. A moved primary leads on its new worker."""
    leading: dict[ShardId, WorkerId | None] = {}
    for move in moves:
        led_by = leading.setdefault(move.shard, cluster.shards[move.shard].config.primary_worker)
        leading[move.shard] = move.target if led_by == move.source else led_by
    return leading


def _still_needed(hand_overs: Iterable[PlannedHandOver], moves: Sequence[PlannedMove], cluster: ClusterMap) -> list[PlannedHandOver]:
    """Return the hand-overs that have something to do after the moves, between the workers that then lead and hold."""
    leading, needed = _led_after(moves, cluster), list[PlannedHandOver]()
    for item in hand_overs:
        config = cluster.shards[item.shard].config
        source, target, replica = leading.get(item.shard, config.primary_worker), item.target, replica_on(config, item.target)
        holds = replica is not None and may_lead(config, replica)
        for move in moves:
            if move.shard == item.shard and target in (move.source, move.target):
                target, holds = move.target, True
        if holds and source is not None and source != target:
            needed.append(dataclasses.replace(item, source=source, target=target))
    return needed


def _numbered(
    base: RebalancePlan,
    entry: RebalanceEntry,
    moves: Sequence[PlannedMove],
    hand_overs: Sequence[PlannedHandOver],
    left: tuple[str, ...],
    seconds: float,
) -> RebalancePlan:
    numbered = tuple(dataclasses.replace(move, number=number) for number, move in enumerate(moves, start=1))
    handed = tuple(dataclasses.replace(item, number=number) for number, item in enumerate(hand_overs, start=len(moves) + 1))
    return dataclasses.replace(
        base,
        id=plan_id(numbered, handed),
        kind=PlanKind.UNDO,
        subject=entry.plan.id,
        moves=numbered,
        hand_overs=handed,
        bytes=sum(move.disk_bytes for move in numbered),
        least_bytes=sum(move.memory_bytes for move in numbered),
        seconds=seconds,
        pinned=(),
        left=left,
    )


def _with_balances(plan: RebalancePlan, cluster: ClusterMap) -> RebalancePlan:
    """Return the plan with what each worker holds and leads after it."""
    coming, going, led = Counter[WorkerId](), Counter[WorkerId](), Counter[WorkerId]()
    for move in plan.moves:
        going[move.source] += move.memory_bytes
        coming[move.target] += move.memory_bytes
    leading = _led_after(plan.moves, cluster) | {item.shard: item.target for item in plan.hand_overs}
    for shard, after in leading.items():
        before = cluster.shards[shard].config.primary_worker
        if before is not None and after is not None:
            led[before] -= 1
            led[after] += 1

    def after_plan(worker: WorkerBalance) -> WorkerBalance:
        came, went = coming[worker.worker], going[worker.worker]
        return dataclasses.replace(
            worker,
            after_bytes=worker.bytes + came - went,
            primaries_after=worker.primaries + led[worker.worker],
            in_bytes=came,
            out_bytes=went,
        )

    return dataclasses.replace(plan, workers=tuple(map(after_plan, plan.workers)))
