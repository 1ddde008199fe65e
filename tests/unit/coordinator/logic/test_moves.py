"""Test the steps of a move and of a hand-over, row by row. A step is decided from the configuration and from reports
alone, so a coordinator that has just begun to lead decides what the one before it would have.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest

from shoal.coordinator.logic.moves import (
    NO_PROGRESS_S,
    SUCCESSOR_S,
    TARGET_GONE_S,
    WARM_S,
    PrimaryLoads,
    drained_step,
)
from shoal.coordinator.logic.placement import Placement
from shoal.coordinator.logic.reconcile import questions, reconcile
from shoal.coordinator.logic.replica_count import replication_step
from shoal.coordinator.logic.snapshot import MoveAge, Snapshot, Told
from shoal.coordinator.logic.steps import AddLearners, AskSuccessor, CancelMove, ForgetReplicas, RetireReplica, SetReplication, WithdrawMove
from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import CollectionState
from shoal.core.health import ReplicaRole
from shoal.core.ids import CollectionId, ReplicaId, Revision, Seq, ShardId, Term, WorkerId
from shoal.core.rebalance import Drain, RebalanceEntry
from shoal.core.recovery import LogEnd
from shoal.core.shard_calls import ReplicaStatus, WorkerStatus
from shoal.core.shard_config import Move, ShardConfig
from tests.twins.coordinator.plain_focus import snapshot_of
from tests.twins.coordinator.plans import plan_entry
from tests.twins.coordinator.world import REPLACE_AFTER_S, collection_of, map_of, shard_config, worker_entry

SHARD = ShardId(CollectionId("id-c"), 0)
S, B, T, X = (ReplicaId(each) for each in "sbtx")
HOMES = {"s": "ws", "b": "wb", "t": "wt"}
ALL = ("ws", "wb", "wt", "wx")
SPEC = collection_of("c", state=CollectionState.ACTIVE, replicas=2, min_isr=1)
MOVE = Move(source=S, target=T)


def config_of(isr: str, learners: str = "", *, primary: str = "b", move: Move | None = MOVE, rf: int = 2, **more: Any) -> ShardConfig:
    homes = {replica: f"w{replica}" for replica in {*isr, *learners, *more.get("elr", ()), *more.get("leaving", ())}}
    successor = more.pop("successor", None)
    made = shard_config(SHARD, homes, isr=isr, learners=learners, primary=primary, rf=rf, **more)
    return dataclasses.replace(made, move=move, successor=successor)


COPYING, JOINED, LED = config_of("sb", "t"), config_of("sbt"), config_of("sbt", primary="s")
LED_BY_TARGET = config_of("sbt", primary="t")


def status_of(replica: str = "t", *, role: ReplicaRole = ReplicaRole.BACKUP, builds: int = 0) -> Mapping[WorkerId, WorkerStatus]:
    status = ReplicaStatus(replica=ReplicaId(replica), role=role, applied_seq=Seq(5), builds_pending=builds)
    return {WorkerId("wt"): WorkerStatus(memory_bytes=0, failed={}, replicas={str(SHARD): status})}


WARM = status_of()
NOTHING_HELD = {WorkerId("wt"): WorkerStatus(memory_bytes=0, failed={})}


def snapshot(
    config: ShardConfig,
    *,
    live: Sequence[str] = ALL,
    absent: Mapping[str, float] | None = None,
    silent: Iterable[str] = (),
    drains: Mapping[str, bool] | None = None,
    forgotten: Iterable[str] = (),
    reports: Mapping[WorkerId, WorkerStatus] = WARM,
    age: MoveAge | None = None,
    spec: int = 2,
    old: Iterable[str] = (),
) -> Snapshot:
    """Return what a round sees. silent: replicas not reported open; drains: whether only primaries leave, by worker;
    old: workers whose program knows no moves.
    """
    collection = collection_of("c", state=CollectionState.ACTIVE, replicas=spec, min_isr=1)
    cluster = dataclasses.replace(
        map_of([collection], [config], [worker_entry(name, moves=name not in old) for name in live]),
        drains={WorkerId(each): Drain(primaries_only=only, asked_by="", since_ms=1) for each, only in (drains or {}).items()},
        forgotten={WorkerId(each): Revision(9) for each in forgotten},
    )
    told = {each: LogEnd(term=Term(1), seq=Seq(1)) for each in config.worker_of if each not in silent}
    return snapshot_of(
        cluster,
        told=Told(ends=told),
        absent_s={WorkerId(worker): seconds for worker, seconds in (absent or {}).items()},
        replace_after_s=REPLACE_AFTER_S,
        reports=reports,
        moving={} if age is None else {SHARD: age},
    )


def step_of(config: ShardConfig, **seen: Any) -> object:
    whole = snapshot(config, **seen)
    collection = whole.map.collections[SHARD.collection]
    return replication_step(whole.map.shards[SHARD], collection, whole, Placement.of(whole.map))


# Copy and join


def test_while_the_target_copies_nothing_is_decided_and_nothing_is_one_too_many() -> None:
    assert step_of(COPYING) is None
    assert step_of(JOINED, reports={}) is None, "in sync: nothing is known of its indexes"


@pytest.mark.parametrize("config", [COPYING, JOINED, LED, LED_BY_TARGET])
def test_a_surplus_replica_is_never_the_source_or_the_target_of_a_move(config: ShardConfig) -> None:
    extra = dataclasses.replace(config, isr=(*config.isr, X), worker_of={**config.worker_of, X: WorkerId("wx")})
    step = step_of(extra, reports={})
    assert isinstance(step, RetireReplica)
    assert step.replica == X if config.primary == B else step.replica in (X, B)
    assert step.config.move == MOVE


# Warm


@pytest.mark.parametrize("config", [JOINED, LED])
@pytest.mark.parametrize("reports", [{}, status_of(builds=1), status_of("older"), status_of(role=ReplicaRole.LEARNER), NOTHING_HELD])
def test_the_source_stays_until_the_target_says_that_it_builds_nothing_but_not_for_ever(
    config: ShardConfig, reports: Mapping[WorkerId, WorkerStatus]
) -> None:
    assert step_of(config, reports=reports) is None
    assert step_of(config, reports=reports, age=MoveAge(joined_s=WARM_S - 1)) is None
    assert step_of(config, reports=reports, age=MoveAge(joined_s=WARM_S)) is not None
    assert step_of(config) is not None


# Ask


def test_a_source_that_leads_is_asked_to_hand_over_to_the_target() -> None:
    step = step_of(LED)
    assert isinstance(step, AskSuccessor)
    assert step.config == dataclasses.replace(LED, successor=T)
    assert (step.registrations, step.plan) == ({"wt": 1}, None)
    assert step_of(step.config) is None, "it is asked"


def test_a_source_that_leads_is_not_asked_while_the_target_could_not_lead_or_its_program_knows_no_hand_over() -> None:
    assert step_of(LED, live=("ws", "wb"), absent={"wt": 1.0}) is None
    assert step_of(LED, old=["ws"]) is None


def test_a_source_that_leads_hands_over_to_another_that_stays_if_the_targets_worker_is_to_lead_nothing() -> None:
    step = step_of(LED, drains={"wt": True})
    assert isinstance(step, AskSuccessor)
    assert step.config.successor == B
    both = step_of(LED, drains={"wt": True, "wb": True})
    assert isinstance(both, AskSuccessor)
    assert both.config.successor == T, "somebody else must lead, or the source could never leave"


@pytest.mark.parametrize(
    "asked",
    [
        config_of("sb", "t", primary="s", successor=T),
        config_of("sbt", primary="t", successor=T),
        config_of("sbt", primary="s", successor=ReplicaId("gone")),
        config_of("sbt", primary="s", successor=B, leaving="b", rf=2),
        config_of("sb", primary="s", move=None, successor=X),
    ],
)
def test_a_successor_that_cannot_lead_is_taken_back(asked: ShardConfig) -> None:
    step = step_of(asked, reports={})
    assert isinstance(step, WithdrawMove)
    assert step.config == dataclasses.replace(asked, successor=None)


def test_a_successor_whose_worker_is_gone_is_taken_back_and_one_that_may_lead_is_waited_for() -> None:
    asked = config_of("sb", primary="s", move=None, successor=B)
    assert step_of(asked) is None
    assert isinstance(step_of(asked, live=("ws",)), WithdrawMove)


# Leave


@pytest.mark.parametrize("config", [JOINED, LED_BY_TARGET, config_of("bt", "s"), config_of("bts")])
def test_a_source_that_does_not_lead_leaves_and_with_its_tombstone_the_move_ends(config: ShardConfig) -> None:
    step = step_of(config)
    assert isinstance(step, RetireReplica)
    assert (step.replica, step.config.move, step.config.leaving) == (S, None, (S,))
    assert step.config.isr == config.isr, "only the primary changes the isr"
    assert step.registrations == {"wb": 1, "wt": 1}


@pytest.mark.parametrize("silent", ["b", "t", "bt"])
def test_a_source_leaves_only_when_as_many_others_as_are_wanted_have_just_told_that_they_are_open(silent: str) -> None:
    assert step_of(JOINED, silent=silent) is None
    assert step_of(config_of("bt", "s"), silent=silent) is None


def test_a_source_leaves_only_when_as_many_others_as_are_wanted_are_in_sync_and_stay() -> None:
    assert step_of(config_of("st", "b", primary="t")) is None
    assert step_of(config_of("sbtx", primary="t", leaving="x"), spec=2) is None, "one at a time"
    assert isinstance(step_of(config_of("sbt", primary="t", leaving="b")), WithdrawMove), "there would be too few without it"


def test_a_source_in_sync_stays_while_a_worker_of_the_isr_is_gone_since_another_may_have_to_lead() -> None:
    assert step_of(JOINED, live=("wb", "wt"), absent={"ws": 30.0}) is None
    assert isinstance(step_of(config_of("bt", "s"), live=("wb", "wt"), absent={"ws": 30.0}), RetireReplica)


def test_a_coordinator_asks_the_replicas_in_sync_whether_they_are_open() -> None:
    seen = snapshot(JOINED)
    assert questions(seen.map, [SHARD]) == dict.fromkeys(("wb", "ws", "wt"), (SHARD,))


# Cancel

GIVEN_UP: list[dict[str, Any]] = [
    {"live": ("ws", "wb", "wx"), "absent": {"wt": TARGET_GONE_S}},
    {"live": ("ws", "wb", "wx"), "forgotten": ["wt"]},
    {"age": MoveAge(stuck_s=NO_PROGRESS_S)},
    {"drains": {"wt": False}},
]


@pytest.mark.parametrize("seen", GIVEN_UP)
def test_a_move_is_given_up_when_its_target_is_gone_drained_or_makes_no_progress(seen: dict[str, Any]) -> None:
    step = step_of(COPYING, **seen)
    assert isinstance(step, CancelMove)
    assert (step.replica, step.config.learners, step.config.leaving, step.config.move) == (T, (), (T,), None)
    assert step.registrations == {"ws": 1, "wb": 1}
    assert step_of(COPYING, silent="s", **seen) is None, "not while one that is needed does not say that it is open"


GOES_ON: list[dict[str, Any]] = [
    {"live": ("ws", "wb", "wx"), "absent": {"wt": TARGET_GONE_S - 1}},
    {"age": MoveAge(stuck_s=NO_PROGRESS_S - 1)},
    {"drains": {"wt": True}},
]


@pytest.mark.parametrize("seen", GOES_ON)
def test_a_move_goes_on_when_its_target_was_only_gone_for_a_moment(seen: dict[str, Any]) -> None:
    assert step_of(COPYING, **seen) is None


@pytest.mark.parametrize("seen", GIVEN_UP)
@pytest.mark.parametrize("config", [JOINED, LED_BY_TARGET])
def test_a_move_whose_target_is_in_sync_is_finished(seen: dict[str, Any], config: ShardConfig) -> None:
    assert not isinstance(step_of(config, **seen), CancelMove)


def test_a_target_that_may_lead_without_being_in_sync_is_left_to_the_primary() -> None:
    eligible = config_of("sb", primary="b", elr="t")
    assert step_of(eligible, age=MoveAge(stuck_s=NO_PROGRESS_S)) is None


# Ends that nobody planned


def test_a_lost_replica_comes_first_and_the_target_takes_its_place() -> None:
    lost: dict[str, Any] = {"live": ("ws", "wt", "wx"), "absent": {"wb": REPLACE_AFTER_S}}
    led = config_of("sb", "t", primary="s")
    step = step_of(led, **lost)
    assert isinstance(step, WithdrawMove)
    assert step.config == dataclasses.replace(led, move=None)
    assert step_of(step.config, **lost) is None, "as many as are wanted, and nothing more is copied"
    joined = dataclasses.replace(step.config, isr=(S, T), learners=(B,))
    retired = step_of(joined, **lost)
    assert isinstance(retired, RetireReplica)
    assert retired.replica == B


def test_when_more_replicas_are_wanted_both_of_the_move_count() -> None:
    raised = step_of(COPYING, spec=3)
    assert isinstance(raised, SetReplication)
    step = step_of(raised.config, spec=3)
    assert isinstance(step, WithdrawMove)
    assert step_of(step.config, spec=3) is None
    more = step_of(dataclasses.replace(step.config, rf=4), spec=4)
    assert isinstance(more, AddLearners)


def test_when_fewer_are_wanted_one_that_does_not_move_leaves_first_and_the_move_goes_on() -> None:
    lowered = step_of(LED_BY_TARGET, spec=1)
    assert isinstance(lowered, SetReplication)
    step = step_of(lowered.config, spec=1, reports={})
    assert isinstance(step, RetireReplica)
    assert (step.replica, step.config.move) == (B, MOVE)


@pytest.mark.parametrize("config", [config_of("sb", leaving="t"), config_of("bt", leaving="s"), config_of("bt"), config_of("sb")])
def test_a_move_without_its_source_or_target_ends(config: ShardConfig) -> None:
    step = step_of(config)
    assert isinstance(step, WithdrawMove)
    assert step.config.move is None


def test_nothing_is_decided_without_a_primary() -> None:
    assert step_of(LED, live=("wb", "wt")) is None


# Drained workers


def primaries_on(worker: str, count: int) -> list[ShardConfig]:
    return [shard_config(ShardId(SHARD.collection, 1 + number), {f"r{number}": worker}, isr=[f"r{number}"]) for number in range(count)]


def drained(config: ShardConfig, *others: ShardConfig, **seen: Any) -> object:
    whole = snapshot(config, **seen)
    cluster: ClusterMap = dataclasses.replace(whole.map, shards=map_of([], [config, *others]).shards)
    return drained_step(cluster.shards[SHARD], dataclasses.replace(whole, map=cluster), PrimaryLoads(cluster))


@pytest.mark.parametrize("only", [True, False])
def test_the_primary_of_a_drained_worker_is_asked_to_hand_over_to_the_one_that_leads_least(only: bool) -> None:
    config = config_of("sbt", primary="s", move=None, rf=3)
    step = drained(config, *primaries_on("wb", 1), drains={"ws": only})
    assert isinstance(step, AskSuccessor)
    assert (step.config.successor, step.registrations) == (T, {"wt": 1})
    other = drained(config, *primaries_on("wb", 1), *primaries_on("wt", 2), drains={"ws": only})
    assert isinstance(other, AskSuccessor)
    assert other.config.successor == B


@pytest.mark.parametrize(
    ("config", "seen"),
    [
        (config_of("s", "b", primary="s", move=None), {"drains": {"ws": False}}),
        (config_of("sb", primary="s", move=None), {"drains": {"ws": False, "wb": True}}),
        (config_of("sb", primary="s", move=None), {"drains": {"ws": False}, "live": ("ws", "wt")}),
        (config_of("sb", primary="s", move=None), {"drains": {"ws": False}, "old": ["ws"]}),
        (config_of("sb", primary="s", move=None, leaving="b", rf=1), {"drains": {"ws": False}}),
        (config_of("sb", primary="b", move=Move(source=S, target=T), learners="t"), {"drains": {"wb": False}}),
        (config_of("sb", primary="s", move=None, successor=B), {"drains": {"ws": False}}),
        (config_of("sb", primary="s", move=None), {"drains": {"wb": False}}),
        (config_of("sb", primary="s", move=None), {"drains": {"ws": False}, "live": ("wb", "wt")}),
    ],
)
def test_a_drain_waits_while_nobody_else_in_sync_can_lead_or_it_is_asked_already(config: ShardConfig, seen: dict[str, Any]) -> None:
    assert drained(config, **seen) is None


def test_the_only_other_replica_in_sync_takes_the_lead_of_a_drained_worker_once_it_has_built_its_indexes() -> None:
    moving = config_of("st", primary="s", rf=1)
    assert drained(moving, drains={"ws": False}, reports=status_of(builds=1)) is None
    step = drained(moving, drains={"ws": False})
    assert isinstance(step, AskSuccessor)
    assert step.config.successor == T


def test_the_primaries_of_a_drained_worker_are_spread_over_the_others() -> None:
    configs = [
        shard_config(ShardId(SHARD.collection, at), {f"{each}{at}": f"w{each}" for each in "sbt"}, isr=[f"{each}{at}" for each in "sbt"])
        for at in range(6)
    ]
    collection = collection_of("c", state=CollectionState.ACTIVE, replicas=3, min_isr=1, shards=6)
    cluster = dataclasses.replace(
        map_of([collection], [dataclasses.replace(each, min_isr=1) for each in configs], [worker_entry(name) for name in ALL]),
        drains={WorkerId("ws"): Drain(primaries_only=True, asked_by="", since_ms=1)},
    )
    steps = [step for step in reconcile(snapshot_of(cluster), 100) if isinstance(step, AskSuccessor)]
    homes = [step.config.worker_of[step.config.successor] for step in steps if step.config.successor is not None]
    assert sorted(homes) == ["wb"] * 3 + ["wt"] * 3


# Forgotten workers


def test_the_replicas_of_a_forgotten_worker_are_lost_at_once_and_their_tombstones_go_at_once() -> None:
    config = config_of("s", "b", primary="s", move=None)
    gone: dict[str, Any] = {"live": ("ws", "wt", "wx"), "absent": {"wb": 1.0}}
    assert step_of(config, **gone) is None
    added = step_of(config, **gone, forgotten=["wb"])
    assert isinstance(added, AddLearners)
    assert added.replaced == (B,)
    buried = config_of("st", primary="s", move=None, leaving="b")
    assert step_of(buried, **gone) is None
    forgotten = step_of(buried, **gone, forgotten=["wb"])
    assert isinstance(forgotten, ForgetReplicas)
    assert (dict(forgotten.homes), forgotten.config.leaving) == ({B: "wb"}, ())


@pytest.mark.parametrize(
    ("config", "plan"),
    [
        (config_of("sb", "t", primary="s", successor=B), plan_entry([(SHARD, "ws", "wt")], given_up={1: "no progress"})),
        (config_of("sb", primary="s", move=None, successor=B), plan_entry([], [(SHARD, "ws", "wb")], given_up={1: "too late"})),
    ],
)
def test_a_request_of_a_drain_is_not_taken_back_because_a_plan_gave_its_item_up(config: ShardConfig, plan: RebalanceEntry) -> None:
    whole = snapshot(config, drains={"ws": True}, silent=["b"])
    seen = dataclasses.replace(whole, map=dataclasses.replace(whole.map, rebalance=plan))
    assert replication_step(seen.map.shards[SHARD], seen.map.collections[SHARD.collection], seen, Placement.of(seen.map)) is None


def test_a_hand_over_that_was_asked_for_long_ago_is_still_waited_for_without_a_plan() -> None:
    assert step_of(config_of("sb", primary="s", move=None, successor=B), age=MoveAge(asked_s=SUCCESSOR_S)) is None
