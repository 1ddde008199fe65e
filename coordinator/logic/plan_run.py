"""Decides how the applied plan goes on: which items begin now, which are given up, and when it ends.

The plan says what is wanted and never changes. What became of each item is read off the configurations of the shards;
only what was given up is noted beside the plan. So nothing is remembered here, and a new coordinator goes on.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass

from shoal.coordinator.logic.failover import has_primary
from shoal.coordinator.logic.moves import SUCCESSOR_S, TARGET_GONE_S, asked, is_cold, may_be_asked, target_status, trouble_of
from shoal.coordinator.logic.replica_count import is_set_as
from shoal.coordinator.logic.snapshot import Snapshot, new_replica_id
from shoal.coordinator.logic.steps import AskSuccessor, BeginMove, EndPlan, GiveUpItems
from shoal.coordinator.logic.tombstones import staying
from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import CollectionState
from shoal.core.ids import ReplicaId, ShardId, WorkerId
from shoal.core.rebalance import ItemState, PlanKind, PlannedHandOver, PlannedMove, PlanState, RebalanceEntry, RebalancePlan
from shoal.core.shard_calls import WorkerStatus
from shoal.core.shard_config import Move, ShardConfig, ShardState, replica_on

NOTHING_BEGUN_S = 600.0
"""Time in seconds with nothing under way after which the items that cannot begin are given up."""

_CLOCKS_MS = 1_000
"""By so much may the clock of a worker be ahead of that of the coordinator."""

Reports = Mapping[WorkerId, WorkerStatus]
PlannedItem = PlannedMove | PlannedHandOver
Outcome = tuple[ItemState, str]
"""How far an item is, and why in words, or ""."""


def item_states(cluster: ClusterMap, entry: RebalanceEntry, reports: Reports) -> Mapping[int, Outcome]:
    """Return how far each item of an applied plan is, by its number, and why it waits, was skipped or has failed.

    It is read off the shards of this map, and the newest statuses of workers: these only tell whether a target still
    builds indexes.
    """
    plan = entry.plan
    if entry.ended:
        numbers = (item.number for item in _items(plan))
        return {number: (entry.outcomes.get(number, ItemState.CANCELLED), entry.given_up.get(number, "")) for number in numbers}
    states = {item.number: _move_state(cluster, entry, item, reports) for item in plan.moves}
    still_moving = {item.shard for item in plan.moves if not states[item.number][0].ended}
    states |= {item.number: _hand_over_state(cluster, entry, item, still_moving) for item in plan.hand_overs}
    return _with_turns(entry, states)


def plan_steps(snapshot: Snapshot, taken: Container[ShardId]) -> Iterator[BeginMove | AskSuccessor | GiveUpItems | EndPlan]:
    """Yield the next steps of the applied plan. taken: shards that another step of this round changes."""
    entry = snapshot.map.rebalance
    if entry is None or entry.ended:
        return
    states = item_states(snapshot.map, entry, snapshot.reports)
    given_up = _given_up(snapshot, entry, states)
    if given_up:
        # Every other step of the plan relies on the plan as it is. They follow in the next round.
        yield GiveUpItems(before=entry, after=dataclasses.replace(entry, given_up={**entry.given_up, **given_up}))
    elif all(state.ended for state, _ in states.values()):
        yield EndPlan(before=entry, after=_ended(entry, states, snapshot.reports, snapshot.now_ms))
    elif entry.state is PlanState.RUNS:
        yield from _beginnings(snapshot, entry, states, taken)


# How far an item is


def _move_state(cluster: ClusterMap, entry: RebalanceEntry, item: PlannedMove, reports: Reports) -> Outcome:
    config, why = _live_config(cluster, item.shard), entry.given_up.get(item.number)
    if config is None:
        return ItemState.SKIPPED, "its collection was dropped"
    if config.move is not None and _ends(config, config.move) == (item.source, item.target):
        return _stage(config, config.move, reports), why or ""
    source, target = _staying_on(config, item.source), _staying_on(config, item.target)
    if source is None and target is not None:
        deletes = replica_on(config, item.source) is not None and item.source in cluster.workers
        return (ItemState.LEAVING if deletes else ItemState.DONE), ""
    if why is not None:
        return ItemState.FAILED, why
    if source is None:
        return ItemState.SKIPPED, f"worker {item.source} holds no replica of it any more"
    if target is not None:
        return ItemState.SKIPPED, f"worker {item.target} holds a replica of it already"
    return _not_begun(cluster, entry, item.target, _obstacle_of_move(cluster, config, item))


def _stage(config: ShardConfig, move: Move, reports: Reports) -> ItemState:
    if move.target not in config.isr:
        return ItemState.COPYING
    if move.source == config.primary and config.successor is not None:
        return ItemState.HANDING_OVER
    if is_cold(target_status(config, move, reports)):
        return ItemState.WARMING
    return ItemState.HANDING_OVER if move.source == config.primary else ItemState.LEAVING


def _hand_over_state(cluster: ClusterMap, entry: RebalanceEntry, item: PlannedHandOver, still_moving: Container[ShardId]) -> Outcome:
    config, why = _live_config(cluster, item.shard), entry.given_up.get(item.number)
    if config is None:
        return ItemState.SKIPPED, "its collection was dropped"
    if item.shard not in still_moving and config.primary_worker == item.target:
        return ItemState.DONE, ""
    if item.shard not in still_moving and config.successor is not None and config.worker_of.get(config.successor) == item.target:
        return ItemState.HANDING_OVER, why or ""
    if why is not None:
        return ItemState.FAILED, why
    if item.shard not in still_moving and _staying_on(config, item.target) is None:
        return ItemState.SKIPPED, f"worker {item.target} holds no replica of it"
    obstacle = "its moves come first" if item.shard in still_moving else _obstacle_of_hand_over(cluster, config, item)
    return _not_begun(cluster, entry, item.target, obstacle)


def _not_begun(cluster: ClusterMap, entry: RebalanceEntry, target: WorkerId, obstacle: str | None) -> Outcome:
    if entry.state is PlanState.CANCELLED:
        return ItemState.CANCELLED, ""
    if _is_taken_back(cluster, entry.plan):
        return ItemState.SKIPPED, f"worker {entry.plan.subject} is not drained any more"
    if target in cluster.forgotten:
        return ItemState.SKIPPED, f"worker {target} is forgotten"
    if target in cluster.drains:
        return ItemState.SKIPPED, f"worker {target} is drained"
    return ItemState.WAITING, obstacle or ""


def _is_taken_back(cluster: ClusterMap, plan: RebalancePlan) -> bool:
    """Return whether a plan empties a worker that is to keep its replicas now. What is under way is finished."""
    if plan.kind is not PlanKind.DRAIN:
        return False
    drain = cluster.drains.get(WorkerId(plan.subject))
    return drain is None or drain.primaries_only


def _with_turns(entry: RebalanceEntry, states: dict[int, Outcome]) -> Mapping[int, Outcome]:
    """Return the states in which items that could begin say for what they wait."""
    if entry.state is PlanState.PAUSED:
        return {number: (state, "paused") if state is ItemState.WAITING else (state, why) for number, (state, why) in states.items()}
    busy = Busy.of(entry, states)
    for item in entry.plan.moves:
        if states[item.number] == (ItemState.WAITING, ""):
            states[item.number] = ItemState.WAITING, busy.turn(item.source, item.target)
    return states


def _obstacle_of_move(cluster: ClusterMap, config: ShardConfig, item: PlannedMove) -> str | None:
    """Return why a shard cannot begin a move now, in words; None if it can. A shard that lacks replicas begins none."""
    workers, collection = cluster.workers, cluster.collections[config.shard.collection]
    if item.target not in workers:
        return f"worker {item.target} is down"
    if collection.state is not CollectionState.ACTIVE or config.state is not ShardState.ACTIVE or not has_primary(config, workers):
        return "it has no primary"
    if config.move is not None or config.successor is not None:
        return "another move or hand-over of it is under way"
    in_sync = [member for member in config.isr if member not in config.leaving and config.worker_of.get(member) in workers]
    whole = len(staying(config)) == config.rf <= len(in_sync) and len(in_sync) == len(config.isr) and not config.elr
    if not whole or not is_set_as(config, collection.spec):
        return "its replicas are not all in sync"
    if item.target in config.worker_of.values():
        return f"worker {item.target} still has to delete a replica of it"
    homes = sorted({*config.worker_of.values(), item.target})
    old = next((home for home in homes if home in workers and not workers[home].can_move), None)
    return None if old is None else f"worker {old} runs a version that knows no moves"


def _obstacle_of_hand_over(cluster: ClusterMap, config: ShardConfig, item: PlannedHandOver) -> str | None:
    if item.target not in cluster.workers:
        return f"worker {item.target} is down"
    if config.state is not ShardState.ACTIVE or not has_primary(config, cluster.workers):
        return "it has no primary"
    if config.move is not None or config.successor is not None:
        return "another move or hand-over of it is under way"
    replica = _staying_on(config, item.target)
    return None if replica is not None and may_be_asked(config, replica, cluster) else f"its replica on {item.target} cannot lead now"


# What happens next


def _given_up(snapshot: Snapshot, entry: RebalanceEntry, states: Mapping[int, Outcome]) -> dict[int, str]:
    """Return the items that are to be given up now, and why."""
    found: dict[int, str] = {}
    for item in _items(entry.plan):
        state, why = states[item.number]
        reason = None if item.number in entry.given_up else _trouble(snapshot, entry, item, state, why)
        if reason is not None:
            found[item.number] = reason
    return found


def _trouble(snapshot: Snapshot, entry: RebalanceEntry, item: PlannedItem, state: ItemState, why: str) -> str | None:
    shard = snapshot.map.shards.get(item.shard)
    if shard is None:
        return None
    if state is ItemState.WAITING and entry.state is PlanState.RUNS:
        if item.target not in snapshot.map.workers and snapshot.absent_s.get(item.target, 0.0) >= TARGET_GONE_S:
            return f"worker {item.target} is gone"
        return f"it could not begin: {why or 'others did not end'}" if snapshot.plan_idle_s >= NOTHING_BEGUN_S else None
    if state is ItemState.COPYING and entry.state is not PlanState.CANCELLED and shard.config.move is not None:
        return trouble_of(shard.config, shard.config.move, snapshot)
    if state is ItemState.HANDING_OVER and isinstance(item, PlannedHandOver):
        age = snapshot.moving.get(item.shard)
        late = age is not None and age.asked_s >= SUCCESSOR_S
        return f"the primary did not hand over within {SUCCESSOR_S:.0f} s" if late else None
    return None


def longest_wait_s(entry: RebalanceEntry, reports: Reports) -> float:
    """Return for how long writes waited at most at a hand-over of an applied plan, as workers tell; 0 if none does."""
    shards = {str(item.shard) for item in _items(entry.plan)}
    end_ms = entry.ended_ms + _CLOCKS_MS if entry.ended_ms else math.inf
    waits = (
        time.seconds
        for report in reports.values()
        for shard, time in report.hand_overs.items()
        if shard in shards and entry.started_ms <= time.ended_ms <= end_ms
    )
    return max((entry.longest_wait_s, *waits))


def _ended(entry: RebalanceEntry, states: Mapping[int, Outcome], reports: Reports, now_ms: int) -> RebalanceEntry:
    skipped = {number: why for number, (state, why) in states.items() if state is ItemState.SKIPPED}
    return dataclasses.replace(
        entry,
        state=PlanState.CANCELLED if entry.state is PlanState.CANCELLED else PlanState.DONE,
        ended_ms=now_ms,
        given_up={**skipped, **entry.given_up},
        outcomes={number: state for number, (state, _) in states.items()},
        longest_wait_s=longest_wait_s(entry, reports),
    )


def _beginnings(
    snapshot: Snapshot, entry: RebalanceEntry, states: Mapping[int, Outcome], taken: Container[ShardId]
) -> Iterator[BeginMove | AskSuccessor]:
    """Yield the items that begin now, in the plan's order. One that waits for its worker lets later ones go first."""
    busy, begun = Busy.of(entry, states), set[ShardId]()
    for item in _due(entry, states):
        if busy.items >= snapshot.map.balance.moves_at_once:
            return
        shard = snapshot.map.shards.get(item.shard)
        if shard is None or item.shard in taken or item.shard in begun:
            continue
        source = item.source if isinstance(item, PlannedMove) else shard.config.primary_worker or item.source
        if busy.turn(source, item.target):
            continue
        step = _begun(snapshot, entry, item) if isinstance(item, PlannedMove) else _asked_for(snapshot, entry, item)
        if step is not None:
            busy = busy.with_item(source, item.target)
            begun.add(item.shard)
            yield step


def _due(entry: RebalanceEntry, states: Mapping[int, Outcome]) -> Iterable[PlannedItem]:
    """Return the items that wait: moves, and when all of them have ended, hand-overs."""
    moves_ended = all(states[item.number][0].ended for item in entry.plan.moves)
    items: tuple[PlannedItem, ...] = entry.plan.hand_overs if moves_ended else entry.plan.moves
    return (item for item in items if states[item.number][0] is ItemState.WAITING)


def _begun(snapshot: Snapshot, entry: RebalanceEntry, item: PlannedMove) -> BeginMove | None:
    cluster, before = snapshot.map, snapshot.map.shards[item.shard]
    config = before.config
    source = _staying_on(config, item.source)
    if source is None or _obstacle_of_move(cluster, config, item) is not None:
        return None
    target = new_replica_id(snapshot.seed, item.shard, item.target)
    after = dataclasses.replace(
        config,
        learners=(*config.learners, target),
        worker_of={**config.worker_of, target: item.target},
        move=Move(source=source, target=target),
    )
    homes = {*after.worker_of.values()} & cluster.workers.keys()
    return BeginMove(
        plan=entry,
        number=item.number,
        collection=cluster.collections[item.shard.collection],
        before=before,
        config=after,
        target=item.target,
        registrations={home: cluster.workers[home].registration for home in homes},
    )


def _asked_for(snapshot: Snapshot, entry: RebalanceEntry, item: PlannedHandOver) -> AskSuccessor | None:
    before = snapshot.map.shards[item.shard]
    replica = _staying_on(before.config, item.target)
    if replica is None or _obstacle_of_hand_over(snapshot.map, before.config, item) is not None:
        return None
    return asked(before, snapshot, replica, entry)


@dataclass(frozen=True, kw_only=True, slots=True)
class Busy:
    """What is under way: how many items, and the workers from which and to which something moves."""

    items: int = 0
    sources: frozenset[WorkerId] = frozenset()
    targets: frozenset[WorkerId] = frozenset()

    @classmethod
    def of(cls, entry: RebalanceEntry, states: Mapping[int, Outcome]) -> Busy:
        """Return what is under way of a plan."""
        under_way = [item for item in _items(entry.plan) if states[item.number][0].under_way]
        return cls(
            items=len(under_way),
            sources=frozenset(item.source for item in under_way),
            targets=frozenset(item.target for item in under_way),
        )

    def turn(self, source: WorkerId, target: WorkerId) -> str:
        """Return for which worker an item has to wait, in words; "" for none."""
        if source in self.sources:
            return f"one item from {source} at a time"
        return f"one item to {target} at a time" if target in self.targets else ""

    def with_item(self, source: WorkerId, target: WorkerId) -> Busy:
        """Return what is under way when one more item has begun."""
        return Busy(items=self.items + 1, sources=self.sources | {source}, targets=self.targets | {target})


def _items(plan: RebalancePlan) -> tuple[PlannedItem, ...]:
    return (*plan.moves, *plan.hand_overs)


def _live_config(cluster: ClusterMap, shard: ShardId) -> ShardConfig | None:
    entry, collection = cluster.shards.get(shard), cluster.collections.get(shard.collection)
    dropped = collection is None or collection.state is CollectionState.DROPPING
    return None if entry is None or dropped else entry.config


def _staying_on(config: ShardConfig, worker: WorkerId) -> ReplicaId | None:
    """Return the replica on a worker that has no tombstone, None for no such replica."""
    return next((member for member in staying(config) if config.worker_of.get(member) == worker), None)


def _ends(config: ShardConfig, move: Move) -> tuple[WorkerId | None, WorkerId | None]:
    return config.worker_of.get(move.source), config.worker_of.get(move.target)
