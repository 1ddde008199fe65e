from __future__ import annotations

import pytest

from shoal.core.cluster_map import ClusterMap
from shoal.core.ids import CollectionId, Revision, ShardId
from shoal.core.map_tables import ShardTable
from shoal.core.shard_config import ShardEntry
from shoal.shard_worker.hosting.due_shards import TRUST_AGAIN_S, DueShards, swapped
from shoal.shard_worker.logic.replication.leadership import SwapOutcome
from tests.twins.coordinator.world import shard_config

ONE, TWO, THREE = (ShardId(CollectionId("c"), number) for number in range(3))
EVERY = (ONE, TWO, THREE)
MINE, BASE = Revision(7), Revision(20)


def map_at(epoch: int) -> ClusterMap:
    return ClusterMap(shards=ShardTable([ShardEntry(config=shard_config(ONE, {"r": "w"}, isr=["r"]), epoch=Revision(epoch))]))


def begun() -> DueShards:
    """All shards were looked at once, under the registration MINE."""
    due = DueShards()
    assert due.take(EVERY, map_at(20), MINE, 0.0) == {*EVERY}
    return due


def test_some_shards_are_due_once_and_all_after_a_wake_or_another_registration() -> None:
    due = begun()
    assert due.take(EVERY, map_at(20), MINE, 0.0) == set()
    due.add([ONE, TWO])
    assert not due.are_all(MINE)
    assert due.take(EVERY, map_at(20), MINE, 0.0) == {ONE, TWO}
    due.add_all()
    assert due.are_all(MINE)
    assert due.take(EVERY, map_at(20), MINE, 0.0) == {*EVERY}
    assert due.are_all(Revision(8))
    assert due.take(EVERY, map_at(20), Revision(8), 0.0) == {*EVERY}
    assert due.take(EVERY, map_at(20), Revision(8), 0.0) == set()


@pytest.mark.parametrize(
    ("outcome", "made", "shown"),
    [(SwapOutcome.DONE, 30, 30), (SwapOutcome.REJECTED, 0, 21), (SwapOutcome.UNKNOWN, 0, 21), (SwapOutcome.NOT_DONE, 0, 21)],
)
def test_a_shard_waits_until_the_map_shows_what_the_swap_has_shown(outcome: SwapOutcome, made: int, shown: int) -> None:
    due = begun()
    due.note(ONE, swapped(BASE, outcome, Revision(made), MINE, 0.0))
    for epoch in (20, shown - 1):
        due.add_all()
        assert due.take(EVERY, map_at(epoch), MINE, 0.0) == {TWO, THREE}
    due.add([ONE])
    assert due.take(EVERY, map_at(shown), MINE, 0.0) == {ONE}
    due.add([ONE])
    assert due.take(EVERY, map_at(20), MINE, 0.0) == {ONE}, "what the swap told is over"


@pytest.mark.parametrize("outcome", list(SwapOutcome))
def test_time_ends_the_wait_only_where_the_outcome_is_not_known(outcome: SwapOutcome) -> None:
    due = begun()
    due.note(ONE, swapped(BASE, outcome, Revision(30 if outcome is SwapOutcome.DONE else 0), MINE, 100.0))
    due.add([ONE])
    assert due.take(EVERY, map_at(20), MINE, 100.0 + TRUST_AGAIN_S - 0.01) == set()
    due.add([ONE])
    known = outcome in (SwapOutcome.DONE, SwapOutcome.REJECTED)
    assert due.take(EVERY, map_at(20), MINE, 100.0 + TRUST_AGAIN_S) == (set() if known else {ONE})


@pytest.mark.parametrize("outcome", list(SwapOutcome))
def test_another_registration_and_a_shard_that_is_gone_end_the_wait(outcome: SwapOutcome) -> None:
    for cluster, registration in ((map_at(20), Revision(8)), (ClusterMap(), MINE)):
        due = begun()
        due.note(ONE, swapped(BASE, outcome, Revision(30), MINE, 0.0))
        due.add([ONE])
        assert ONE in due.take(EVERY, cluster, registration, 0.0)


def test_shards_that_were_left_out_are_looked_at_again_until_the_map_or_time_tells() -> None:
    due = begun()
    due.note(ONE, swapped(BASE, SwapOutcome.UNKNOWN, Revision(0), MINE, 0.0))
    due.add([ONE, TWO])
    assert due.take(EVERY, map_at(20), MINE, 0.0) == {TWO}
    due.add([TWO])
    assert due.take(EVERY, map_at(20), MINE, 0.0) == {TWO}, "only what was left out is held"
    for _ in range(2):
        due.add_held()
        assert due.take(EVERY, map_at(20), MINE, TRUST_AGAIN_S / 2) == set()
    due.add_held()
    assert due.take(EVERY, map_at(20), MINE, TRUST_AGAIN_S) == {ONE}
    due.add_held()
    assert due.take(EVERY, map_at(20), MINE, TRUST_AGAIN_S) == set()
