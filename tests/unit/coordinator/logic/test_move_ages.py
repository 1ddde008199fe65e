"""Test what a coordinator remembers of moves: since when each is as it is."""

from __future__ import annotations

import dataclasses

from shoal.coordinator.logic.move_ages import MoveAges
from shoal.coordinator.logic.snapshot import MoveAge
from shoal.core.cluster_map import ClusterMap
from shoal.core.health import ReplicaRole
from shoal.core.ids import CollectionId, ReplicaId, Revision, Seq, ShardId, WorkerId
from shoal.core.rebalance import ItemState, PlanState, RebalanceEntry
from shoal.core.shard_calls import ReplicaStatus, SnapshotProgress, WorkerStatus
from shoal.core.shard_config import Move, ShardConfig
from tests.twins.coordinator.plans import plan_entry
from tests.twins.coordinator.world import map_of, shard_config

SHARD = ShardId(CollectionId("id-c"), 0)
HOMES = {"s": "ws", "b": "wb", "t": "wt"}
WHOLE = shard_config(SHARD, {"s": "ws", "b": "wb"}, isr="sb", rf=2)
COPYING = dataclasses.replace(
    shard_config(SHARD, HOMES, isr="sb", learners="t", rf=2), move=Move(source=ReplicaId("s"), target=ReplicaId("t"))
)
JOINED = dataclasses.replace(shard_config(SHARD, HOMES, isr="sbt", rf=2), move=COPYING.move)


def seen(
    ages: MoveAges, config: ShardConfig, now_s: float, reached: tuple[int, int] | None = (1, 0), plan: RebalanceEntry | None = None
) -> MoveAges:
    """Return the ages after a map. reached: seq and bytes of a snapshot that the target reports, None for no report."""
    cluster: ClusterMap = dataclasses.replace(map_of([], [config]), rebalance=plan)
    reports = {}
    if reached is not None:
        snapshot = SnapshotProgress(done_bytes=reached[1], total_bytes=100, bytes_per_s=1.0) if reached[1] else None
        status = ReplicaStatus(replica=ReplicaId("t"), role=ReplicaRole.LEARNER, applied_seq=Seq(reached[0]), snapshot=snapshot)
        reports = {WorkerId("wt"): WorkerStatus(memory_bytes=0, failed={}, replicas={str(SHARD): status})}
    return ages.seen(cluster, [SHARD], reports, now_s)


def age_of(ages: MoveAges, now_s: float) -> MoveAge:
    return ages.ages(now_s)[SHARD]


def test_a_target_is_stuck_while_neither_its_records_nor_its_snapshot_grow_and_silence_is_no_progress() -> None:
    ages = seen(MoveAges(), COPYING, 10.0)
    for now_s, reached, since_s in [
        (20.0, (1, 0), 10.0),
        (30.0, None, 10.0),
        (40.0, (1, 7), 40.0),
        (50.0, (1, 8), 50.0),
        (60.0, (2, 0), 60.0),
    ]:
        ages = seen(ages, COPYING, now_s, reached)
        assert age_of(ages, 100.0).stuck_s == 100.0 - since_s
    again = dataclasses.replace(COPYING, move=Move(source=ReplicaId("s"), target=ReplicaId("anew")))
    assert age_of(seen(ages, again, 70.0), 100.0).stuck_s == 30.0, "a target that begins anew is another one"


def test_a_target_has_joined_since_it_was_first_seen_in_sync_and_begins_again_when_it_falls_out() -> None:
    ages = seen(MoveAges(), COPYING, 10.0)
    assert age_of(ages, 20.0).joined_s == 0.0
    ages = seen(seen(ages, JOINED, 30.0), JOINED, 40.0)
    assert age_of(ages, 50.0).joined_s == 20.0
    assert age_of(seen(ages, COPYING, 60.0), 70.0).joined_s == 0.0


def test_a_successor_is_asked_for_since_it_is_the_same_one() -> None:
    asked = dataclasses.replace(WHOLE, successor=ReplicaId("b"))
    ages = seen(seen(MoveAges(), asked, 10.0), asked, 20.0)
    assert age_of(ages, 30.0).asked_s == 20.0
    assert age_of(seen(ages, dataclasses.replace(JOINED, successor=ReplicaId("t")), 40.0), 50.0).asked_s == 10.0
    assert seen(ages, WHOLE, 60.0).ages(70.0) == {}


def test_a_plan_is_idle_while_it_runs_unchanged_and_nothing_moves() -> None:
    plan = plan_entry([(SHARD, "ws", "wt")], revision=Revision(5))
    ages = seen(MoveAges(), WHOLE, 10.0, plan=plan)
    assert seen(ages, WHOLE, 20.0, plan=plan).plan_idle_s(30.0) == 20.0
    moving = seen(ages, COPYING, 20.0, plan=plan)
    assert moving.plan_idle_s(30.0) == 0.0
    assert seen(moving, WHOLE, 40.0, plan=plan).plan_idle_s(50.0) == 10.0
    changed = dataclasses.replace(plan, revision=Revision(6))
    assert seen(ages, WHOLE, 40.0, plan=changed).plan_idle_s(50.0) == 10.0
    paused = dataclasses.replace(plan, state=PlanState.PAUSED)
    assert seen(ages, WHOLE, 40.0, plan=paused).plan_idle_s(50.0) == 0.0


def test_something_is_under_way_while_a_replica_moves_or_a_plan_has_not_ended() -> None:
    plan = plan_entry([(SHARD, "ws", "wt")], revision=Revision(5))
    ended = dataclasses.replace(plan, state=PlanState.DONE, outcomes={1: ItemState.DONE})
    assert not seen(MoveAges(), WHOLE, 1.0).under_way
    assert not seen(MoveAges(), WHOLE, 1.0, plan=ended).under_way
    paused = dataclasses.replace(plan, state=PlanState.PAUSED)
    assert not seen(MoveAges(), WHOLE, 1.0, plan=paused).under_way
    assert seen(MoveAges(), COPYING, 1.0, plan=paused).under_way
    assert seen(MoveAges(), WHOLE, 1.0, plan=plan).under_way
    assert seen(MoveAges(), COPYING, 1.0).under_way
