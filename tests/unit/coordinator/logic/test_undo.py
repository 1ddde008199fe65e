from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import pytest

from shoal.coordinator.logic.plan_check import check_form, check_items
from shoal.coordinator.logic.undo import undone
from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import CollectionState
from shoal.core.ids import Revision, ShardId, WorkerId
from shoal.core.rebalance import (
    BalanceSettings,
    Drain,
    ItemState,
    PlanKind,
    PlannedHandOver,
    PlannedMove,
    PlanState,
    RebalanceEntry,
    RebalancePlan,
)
from shoal.core.shard_calls import WorkerStatus
from shoal.core.shard_config import Move, ShardConfig
from tests.twins.coordinator.bare_operator import MIB, balance_of, hand_over_of, move_of, plan_of, status_of
from tests.twins.coordinator.operated import able_worker
from tests.twins.coordinator.world import collection_of, map_of, shard_config

THINGS = collection_of("things", state=CollectionState.ACTIVE, shards=6, replicas=2)
DRAIN = Drain(primaries_only=False, asked_by="", since_ms=1)


def shard(number: int) -> ShardId:
    return ShardId(THINGS.id, number)


def on(number: int, *homes: str) -> ShardConfig:
    """Return the configuration of a shard in sync on these workers. The first one leads."""
    members = {f"on {home}": home for home in homes}
    return shard_config(shard(number), members, isr=members)


def moved(number: int, source: str, target: str, at: int) -> PlannedMove:
    return move_of(shard(number), source, target, collection="things", number=at, memory_bytes=3 * MIB, disk_bytes=5 * MIB)


def handed(number: int, source: str, target: str, at: int) -> PlannedHandOver:
    return hand_over_of(shard(number), source, target, collection="things", number=at)


def cluster_of(*configs: ShardConfig, workers: Iterable[str] = ("w0", "w1", "w2", "w3"), memory_bytes: int = 100 * MIB) -> ClusterMap:
    return map_of([THINGS], configs, [able_worker(name, memory_bytes=memory_bytes) for name in workers])


def undo_of(
    *items: PlannedMove | PlannedHandOver,
    seen: ClusterMap,
    outcomes: Mapping[int, ItemState] | None = None,
    statuses: Mapping[WorkerId, WorkerStatus] | None = None,
) -> RebalancePlan:
    """Return the undo of a plan with these items, all of which were done unless outcomes says else."""
    moves = [item for item in items if isinstance(item, PlannedMove)]
    plan = plan_of(moves, [item for item in items if isinstance(item, PlannedHandOver)], id="8c1f09")
    ended = {**{item.number: ItemState.DONE for item in items}, **(outcomes or {})}
    entry = RebalanceEntry(plan=plan, state=PlanState.DONE, asked_by="", started_ms=1, ended_ms=2, outcomes=ended)
    workers = [balance_of(worker, size=10 * MIB, primaries=2) for worker in sorted(seen.workers)]
    undo = undone(entry, plan_of(workers=workers), seen, statuses or {}, BalanceSettings())
    check_form(undo)
    check_items(undo, seen)
    return undo


def steps(plan: RebalancePlan) -> list[tuple[int, int, str, str]]:
    """Return number, shard, source and target of each item."""
    return [(item.number, item.shard.number, item.source, item.target) for item in (*plan.moves, *plan.hand_overs)]


def test_moves_are_taken_back_in_reverse_order() -> None:
    seen = cluster_of(on(0, "w2", "w1"), on(1, "w3", "w0"))
    told = {shard(0): (3 * MIB, 5 * MIB), shard(1): (3 * MIB, 5 * MIB)}
    statuses = {WorkerId(worker): status_of(told) for worker in ("w0", "w1", "w2", "w3")}
    undo = undo_of(moved(0, "w0", "w2", 1), moved(1, "w1", "w3", 2), seen=seen, statuses=statuses)
    assert steps(undo) == [(1, 1, "w3", "w1"), (2, 0, "w2", "w0")]
    assert (undo.kind, undo.subject, undo.left, undo.bytes, undo.least_bytes) == (PlanKind.UNDO, "8c1f09", (), 10 * MIB, 6 * MIB)
    assert {move.why for move in undo.moves} == {"plan 8c1f09 moved it"}
    by_worker = {each.worker: (each.in_bytes, each.out_bytes, each.after_bytes, each.primaries_after) for each in undo.workers}
    assert by_worker == {
        "w0": (3 * MIB, 0, 13 * MIB, 3),
        "w1": (3 * MIB, 0, 13 * MIB, 3),
        "w2": (0, 3 * MIB, 7 * MIB, 1),
        "w3": (0, 3 * MIB, 7 * MIB, 1),
    }


def test_the_same_undo_has_the_same_id_and_another_has_another() -> None:
    items, seen = (moved(0, "w0", "w2", 1), moved(1, "w1", "w3", 2)), cluster_of(on(0, "w2", "w1"), on(1, "w3", "w0"))
    first = undo_of(*items, seen=seen)
    again = undo_of(*items, seen=dataclasses.replace(seen, revision=Revision(999)))
    other = undo_of(*items, seen=seen, outcomes={2: ItemState.FAILED})
    assert first.id == again.id != other.id
    assert len(first.id) == 6
    int(first.id, 16)


@pytest.mark.parametrize("state", [state for state in ItemState if state is not ItemState.DONE])
def test_what_was_not_done_is_not_taken_back(state: ItemState) -> None:
    undo = undo_of(moved(0, "w0", "w2", 1), seen=cluster_of(on(0, "w2", "w1")), outcomes={1: state})
    assert (undo.empty, undo.left) == (True, ())


def with_parts(cluster: ClusterMap, **parts: object) -> ClusterMap:
    return dataclasses.replace(cluster, **parts)  # type: ignore[arg-type]


DONE_ON_W2 = cluster_of(on(0, "w2", "w1"))


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (with_parts(DONE_ON_W2, drains={WorkerId("w0"): DRAIN}), "worker w0 is drained"),
        (with_parts(DONE_ON_W2, drains={WorkerId("w0"): dataclasses.replace(DRAIN, primaries_only=True)}), "worker w0 is drained"),
        (with_parts(DONE_ON_W2, forgotten={WorkerId("w0"): Revision(1)}), "worker w0 is forgotten"),
        (cluster_of(on(0, "w2", "w1"), workers=["w1", "w2"]), "worker w0 is down"),
        (cluster_of(on(0, "w3", "w1")), "worker w2 holds no replica of it any more"),
        (cluster_of(on(0, "w2", "w0")), "worker w0 holds another replica of it"),
        (cluster_of(), "the collection was dropped"),
        (cluster_of(dataclasses.replace(on(0, "w2", "w1"), move=Move(source="x", target="y"))), "another move of it is under way"),  # type: ignore[arg-type]
    ],
)
def test_what_has_changed_since_stays_where_it_is_and_the_plan_says_why(seen: ClusterMap, why: str) -> None:
    undo = undo_of(moved(0, "w0", "w2", 1), seen=seen)
    assert (undo.empty, undo.left) == (True, (f"things/0: {why}; it stays where it is",))


def test_a_replica_goes_back_only_where_there_is_room_for_it() -> None:
    seen = cluster_of(on(0, "w2", "w1"), on(1, "w2", "w1"), on(2, "w0"), memory_bytes=10 * MIB)
    statuses = {
        WorkerId("w2"): status_of({shard(0): (2 * MIB, 4 * MIB), shard(1): (2 * MIB, 4 * MIB)}),
        WorkerId("w0"): status_of({shard(2): (6 * MIB, 0)}),
    }
    undo = undo_of(moved(0, "w0", "w2", 1), moved(1, "w0", "w2", 2), seen=seen, statuses=statuses)
    assert steps(undo) == [(1, 1, "w2", "w0")]
    assert [(move.memory_bytes, move.disk_bytes) for move in undo.moves] == [(2 * MIB, 4 * MIB)]
    assert undo.left == ("things/0: worker w0 has no room for it; it stays where it is",)


def test_hand_overs_are_taken_back_after_the_moves() -> None:
    undo = undo_of(moved(0, "w0", "w2", 1), handed(1, "w0", "w1", 2), seen=cluster_of(on(0, "w1", "w2"), on(1, "w1", "w0")))
    assert steps(undo) == [(1, 0, "w2", "w0"), (2, 1, "w1", "w0")]
    after = {worker.worker: worker.primaries_after for worker in undo.workers}
    assert after == {"w0": 3, "w1": 1, "w2": 2, "w3": 2}


def test_a_hand_over_that_is_not_as_it_was_left_is_told() -> None:
    undo = undo_of(handed(1, "w0", "w1", 1), seen=cluster_of(on(1, "w0", "w1")))
    assert (undo.empty, undo.left) == (True, ("things/1: worker w1 does not lead it any more; it stays where it is",))


def test_a_hand_over_comes_from_the_worker_that_leads_after_the_move_back() -> None:
    """The plan moved a backup from w0 to w2 and made it lead; w1 led before."""
    undo = undo_of(moved(0, "w0", "w2", 1), handed(0, "w1", "w2", 2), seen=cluster_of(on(0, "w2", "w1")))
    assert steps(undo) == [(1, 0, "w2", "w0"), (2, 0, "w0", "w1")]


def test_a_hand_over_goes_to_where_the_move_back_brings_the_replica() -> None:
    """The plan moved the primary from w0 to w3 and made w2 lead."""
    undo = undo_of(moved(0, "w0", "w3", 1), handed(0, "w3", "w2", 2), seen=cluster_of(on(0, "w2", "w3")))
    assert steps(undo) == [(1, 0, "w3", "w0"), (2, 0, "w2", "w0")]


def test_a_hand_over_that_the_move_back_does_too_is_left_out() -> None:
    undo = undo_of(handed(0, "w0", "w2", 2), moved(0, "w0", "w2", 1), seen=cluster_of(on(0, "w2", "w1")))
    assert steps(undo) == [(1, 0, "w2", "w0")]
