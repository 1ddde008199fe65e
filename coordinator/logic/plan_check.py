"""Checks a plan that an operator hands in, against itself and against the cluster, before it is put.

Whether the cluster has changed since the plan was made is decided elsewhere. Here a plan is refused that could never be
carried out: a file that was edited by hand, or is not one of a planner's.
"""

from __future__ import annotations

from collections.abc import Iterable

from shoal.coordinator.logic.balance_model import MOST_HAND_OVERS
from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import CollectionState
from shoal.core.errors import ErrorDetails, InvalidArgument, PreconditionFailed
from shoal.core.ids import ShardId, WorkerId
from shoal.core.rebalance import MOST_MOVES, PlannedHandOver, PlannedMove, RebalancePlan
from shoal.core.shown import shown

_LONGEST_ID = 64
_LONGEST_TEXT = 1_000

Item = PlannedMove | PlannedHandOver
Homes = dict[ShardId, list[WorkerId]]


def check_form(plan: RebalancePlan) -> None:
    """Raise InvalidArgument, naming the value, for a plan that is malformed whatever the cluster is like."""
    if not plan.id or len(plan.id) > _LONGEST_ID:
        raise _invalid(f"the plan's id is {shown(plan.id)}: it must have 1 to {_LONGEST_ID} characters")
    for count, most, what in ((len(plan.moves), MOST_MOVES, "moves"), (len(plan.hand_overs), MOST_HAND_OVERS, "hand-overs")):
        if count > most:
            raise InvalidArgument(f"the plan has {count} {what}, at most {most} are allowed", ErrorDetails(field="plan", limit=what))
    numbers: set[int] = set()
    for item in _items(plan):
        if item.number < 1:
            raise _invalid(f"{_named(item)} has the number {item.number}: numbers begin with 1")
        if item.number in numbers:
            raise _invalid(f"the plan has two items with the number {item.number}")
        if item.source == item.target:
            raise _invalid(f"{_named(item)} goes from worker {shown(item.source)} to itself")
        numbers.add(item.number)
    _check_that_it_ends(plan)
    for move in plan.moves:
        for size, what in ((move.memory_bytes, "in memory"), (move.disk_bytes, "on disk")):
            if size < 0:
                raise _invalid(f"{_named(move)} has {size} bytes {what}: a size is never negative")
        if len(move.why) > _LONGEST_TEXT:
            raise _invalid(f"{_named(move)} says why in {len(move.why)} characters, at most {_LONGEST_TEXT} are allowed")


def _check_that_it_ends(plan: RebalancePlan) -> None:
    """Check that no item of a shard takes back another one.

    What became of an item is read off the shard, so such a plan would go on for ever.
    """
    sources = {(move.shard, move.source) for move in plan.moves}
    for move in plan.moves:
        if (move.shard, move.target) in sources:
            raise _invalid(f"{_named(move)} goes to worker {shown(move.target)}, from which another move of this shard goes")
    handed_over: set[ShardId] = set()
    for item in plan.hand_overs:
        if item.shard in handed_over:
            raise _invalid(f"{_named(item)}: the plan has two hand-overs of this shard")
        handed_over.add(item.shard)


def check_items(plan: RebalancePlan, cluster: ClusterMap) -> None:
    """Check that each item can be carried out after the ones before it, in the cluster as it is.

    Raises InvalidArgument naming the item and the worker, shard or collection that does not fit, and
    PreconditionFailed if a worker that has to take part is of a version that knows no moves.
    """
    homes: Homes = {}
    for item in sorted(_items(plan), key=lambda each: each.number):
        _check_names(item, cluster)
        held = homes.setdefault(item.shard, list(cluster.shards[item.shard].config.worker_of.values()))
        match item:
            case PlannedMove():
                _check_move(item, cluster, held)
                held[held.index(item.source)] = item.target
            case PlannedHandOver():
                if item.target not in held:
                    raise _invalid(f"{_named(item)}: worker {item.target} holds no replica of it then")
        _check_versions(item, cluster)


def _check_names(item: Item, cluster: ClusterMap) -> None:
    collection = cluster.collections.get(item.shard.collection)
    if collection is None or collection.state is CollectionState.DROPPING:
        raise _invalid(f"{_named(item)}: collection {shown(item.collection)} with id {shown(item.shard.collection)} does not exist")
    if collection.spec.name != item.collection:
        raise _invalid(f"{_named(item)}: the collection with id {collection.id} is {collection.spec.name!r}")
    if item.shard not in cluster.shards:
        raise _invalid(f"{_named(item)}: the collection has no shard {item.shard.number}")
    for worker in (item.source, item.target):
        if worker not in cluster.workers and not cluster.shards.of_worker(worker):
            raise _invalid(f"{_named(item)}: worker {shown(worker)} does not exist")


def _check_move(move: PlannedMove, cluster: ClusterMap, held: list[WorkerId]) -> None:
    if move.source not in held:
        raise _invalid(f"{_named(move)}: worker {move.source} holds no replica of it")
    if move.target in held:
        raise _invalid(f"{_named(move)}: worker {move.target} holds a replica of it already")
    if move.target not in cluster.workers:
        raise _invalid(f"{_named(move)}: worker {move.target} is down")
    if move.target in cluster.drains:
        raise _invalid(f"{_named(move)}: worker {move.target} is drained, so nothing is placed on it")


def _check_versions(item: Item, cluster: ClusterMap) -> None:
    taking_part = {item.target, *cluster.shards[item.shard].config.worker_of.values()}
    older = sorted(each for each in taking_part if each in cluster.workers and not cluster.workers[each].can_move)
    if older:
        raise PreconditionFailed(
            f"{_named(item)}: worker {older[0]} is of a version that knows no moves; upgrade it first", ErrorDetails(field="plan")
        )


def _items(plan: RebalancePlan) -> Iterable[Item]:
    return (*plan.moves, *plan.hand_overs)


def _named(item: Item) -> str:
    what = "move" if isinstance(item, PlannedMove) else "hand-over"
    return f"{what} {item.number} of {shown(item.collection)}/{item.shard.number}"


def _invalid(message: str) -> InvalidArgument:
    return InvalidArgument(message, ErrorDetails(field="plan"))
