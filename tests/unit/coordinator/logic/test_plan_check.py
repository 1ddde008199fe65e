from __future__ import annotations

import dataclasses

import pytest

from shoal.coordinator.logic.balance_model import MOST_HAND_OVERS
from shoal.coordinator.logic.plan_check import check_form, check_items
from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import CollectionState
from shoal.core.errors import InvalidArgument, PreconditionFailed
from shoal.core.ids import CollectionId, ShardId, WorkerId
from shoal.core.rebalance import MOST_MOVES, Drain, PlannedHandOver, PlannedMove, RebalancePlan
from tests.twins.coordinator.bare_operator import hand_over_of, move_of, plan_of
from tests.twins.coordinator.operated import BOOKS, BOOKS_0, BOOKS_1, able_worker
from tests.twins.coordinator.world import collection_of, map_of, shard_config

GONE = collection_of("gone", state=CollectionState.DROPPING)


def cluster() -> ClusterMap:
    """Return w0 to w3, of which w3 is of an older version; books/0 is on w0 and w1, books/1 on w0 and the dead w9."""
    configs = [
        shard_config(BOOKS_0, {"a": "w0", "b": "w1"}, isr=["a", "b"]),
        shard_config(BOOKS_1, {"a": "w0", "b": "w9"}, isr=["a", "b"]),
        shard_config(ShardId(GONE.id, 0), {"a": "w0"}, isr=["a"]),
    ]
    return map_of([BOOKS, GONE], configs, [able_worker(name, able=name != "w3") for name in ("w0", "w1", "w2", "w3")])


def checked(*items: PlannedMove | PlannedHandOver, seen: ClusterMap | None = None) -> None:
    moves = [item for item in items if isinstance(item, PlannedMove)]
    plan = plan_of(moves, [item for item in items if isinstance(item, PlannedHandOver)])
    check_form(plan)
    check_items(plan, seen or cluster())


def test_a_plan_of_a_planner_is_taken() -> None:
    checked(
        move_of(BOOKS_0, "w1", "w2"),
        move_of(BOOKS_1, "w9", "w1", number=2),
        hand_over_of(BOOKS_0, "w1", "w2", number=3),
    )


@pytest.mark.parametrize(
    ("plan", "text"),
    [
        (plan_of((move_of(BOOKS_0, "w1", "w2"),), id="x" * 65), "the plan's id is 'x+'"),
        (plan_of((move_of(BOOKS_0, "w1", "w2", number=0),)), "move 0 of 'books'/0 has the number 0"),
        (plan_of((move_of(BOOKS_0, "w1", "w2"),), (hand_over_of(BOOKS_0, "w0", "w1"),)), "two items with the number 1"),
        (plan_of((), (hand_over_of(BOOKS_0, "w0", "w0"),)), "hand-over 1 of 'books'/0 goes from worker 'w0' to itself"),
        (
            plan_of((move_of(BOOKS_0, "w1", "w2"), move_of(BOOKS_0, "w2", "w1", number=2))),
            "move 1 of 'books'/0 goes to worker 'w2', from which another move of this shard goes",
        ),
        (
            plan_of((), (hand_over_of(BOOKS_0, "w0", "w1"), hand_over_of(BOOKS_0, "w1", "w0", number=2))),
            "hand-over 2 of 'books'/0: the plan has two hand-overs of this shard",
        ),
        (plan_of((move_of(BOOKS_0, "w1", "w2", memory_bytes=-1),)), "-1 bytes in memory"),
        (plan_of((move_of(BOOKS_0, "w1", "w2", disk_bytes=-5),)), "-5 bytes on disk"),
        (plan_of((move_of(BOOKS_0, "w1", "w2", why="x" * 1001),)), "1001 characters, at most 1000"),
        (plan_of(move_of(BOOKS_0, "w1", "w2", number=at + 1) for at in range(MOST_MOVES + 1)), "1001 moves, at most 1000 are allowed"),
        (
            plan_of((), (hand_over_of(BOOKS_0, "w0", "w1", number=at + 1) for at in range(MOST_HAND_OVERS + 1))),
            "4001 hand-overs, at most 4000 are allowed",
        ),
    ],
)
def test_a_malformed_plan_is_refused_with_the_value(plan: RebalancePlan, text: str) -> None:
    with pytest.raises(InvalidArgument, match=text) as caught:
        check_form(plan)
    assert caught.value.details.field == "plan"


def test_a_plan_without_an_id_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="the plan's id is ''"):
        check_form(dataclasses.replace(plan_of((move_of(BOOKS_0, "w1", "w2"),)), id=""))


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (move_of(ShardId(CollectionId("id-x"), 0), "w1", "w2", collection="x"), "collection 'x' with id 'id-x' does not exist"),
        (move_of(ShardId(GONE.id, 0), "w0", "w2", collection="gone"), "collection 'gone' with id 'id-gone' does not exist"),
        (move_of(BOOKS_0, "w1", "w2", collection="raw"), "the collection with id id-books is 'books'"),
        (move_of(ShardId(BOOKS.id, 7), "w1", "w2"), "the collection has no shard 7"),
        (move_of(BOOKS_0, "w1", "w8"), "worker 'w8' does not exist"),
        (move_of(BOOKS_0, "w8", "w2"), "worker 'w8' does not exist"),
        (move_of(BOOKS_0, "w2", "w3"), "worker w2 holds no replica of it"),
        (move_of(BOOKS_0, "w0", "w1"), "worker w1 holds a replica of it already"),
        (move_of(BOOKS_0, "w0", "w9"), "worker w9 is down"),
        (hand_over_of(BOOKS_0, "w0", "w2"), "worker w2 holds no replica of it then"),
    ],
)
def test_an_item_that_does_not_fit_the_cluster_is_refused(item: PlannedMove | PlannedHandOver, text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        checked(item)


def test_an_item_is_checked_after_those_before_it() -> None:
    with pytest.raises(InvalidArgument, match="move 2 of 'books'/0: worker w1 holds no replica of it"):
        checked(move_of(BOOKS_0, "w1", "w2"), move_of(BOOKS_0, "w1", "w3", number=2))
    with pytest.raises(InvalidArgument, match="hand-over 2 of 'books'/0: worker w1 holds no replica of it then"):
        checked(move_of(BOOKS_0, "w1", "w2"), hand_over_of(BOOKS_0, "w0", "w1", number=2))


def test_nothing_is_moved_to_a_drained_worker() -> None:
    for primaries_only in (False, True):
        drained = dataclasses.replace(cluster(), drains={WorkerId("w2"): Drain(primaries_only=primaries_only, asked_by="", since_ms=1)})
        with pytest.raises(InvalidArgument, match="worker w2 is drained"):
            checked(move_of(BOOKS_0, "w1", "w2"), seen=drained)


def test_a_worker_that_knows_no_moves_takes_part_in_none() -> None:
    with pytest.raises(PreconditionFailed, match="worker w3 is of a version that knows no moves"):
        checked(move_of(BOOKS_0, "w1", "w3"))
