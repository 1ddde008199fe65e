"""Test how an applied plan runs: how far its items are, which begin, which are given up, and how it ends."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from shoal.coordinator.logic.moves import NO_PROGRESS_S, SUCCESSOR_S, TARGET_GONE_S
from shoal.coordinator.logic.plan_run import NOTHING_BEGUN_S, item_states, longest_wait_s, plan_steps
from shoal.coordinator.logic.snapshot import MoveAge, Snapshot
from shoal.coordinator.logic.steps import AskSuccessor, BeginMove, EndPlan, GiveUpItems
from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import CollectionState
from shoal.core.health import ReplicaRole
from shoal.core.ids import CollectionId, ReplicaId, Revision, Seq, ShardId, WorkerId
from shoal.core.rebalance import BalanceSettings, Drain, ItemState, PlanKind, PlanState, RebalanceEntry
from shoal.core.shard_calls import HandOverTime, ReplicaStatus, WorkerStatus
from shoal.core.shard_config import Move, ShardConfig, ShardState
from tests.twins.coordinator.plain_focus import snapshot_of
from tests.twins.coordinator.plans import plan_entry
from tests.twins.coordinator.world import World, collection_of, map_of, shard_config, worker_entry

COLLECTION = CollectionId("id-c")
SHARDS = [ShardId(COLLECTION, number) for number in range(8)]
SHARD = SHARDS[0]
S, B, T = (ReplicaId(each) for each in "sbt")
MOVE = Move(source=S, target=T)
WORKERS = ("wa", "wb", "wc", "ws", "wt", "wx")
WAITING, COPYING, WARMING, HANDING_OVER, LEAVING = (
    ItemState.WAITING,
    ItemState.COPYING,
    ItemState.WARMING,
    ItemState.HANDING_OVER,
    ItemState.LEAVING,
)


def config_of(isr: str, learners: str = "", *, primary: str = "b", move: Move | None = None, **more: Any) -> ShardConfig:
    homes = {each: f"w{each}" for each in {*isr, *learners, *more.get("leaving", ()), *more.get("elr", ())}}
    successor = more.pop("successor", None)
    made = shard_config(SHARD, homes, isr=isr, learners=learners, primary=primary, rf=more.pop("rf", 2), **more)
    return dataclasses.replace(made, move=move, successor=successor)


def cluster_of(
    *configs: ShardConfig,
    plan: RebalanceEntry | None = None,
    live: tuple[str, ...] = WORKERS,
    old: tuple[str, ...] = (),
    state: CollectionState = CollectionState.ACTIVE,
    replicas: int = 2,
    at_once: int = 4,
    drains: tuple[str, ...] = (),
    forgotten: tuple[str, ...] = (),
) -> ClusterMap:
    """Return a cluster of one collection. old: workers whose program knows no moves."""
    collection = collection_of("c", state=state, replicas=replicas, min_isr=1, shards=len(SHARDS))
    return dataclasses.replace(
        map_of([collection], configs, [worker_entry(name, moves=name not in old) for name in live]),
        rebalance=plan,
        balance=BalanceSettings(moves_at_once=at_once),
        drains={WorkerId(each): Drain(primaries_only=False, asked_by="", since_ms=1) for each in drains},
        forgotten={WorkerId(each): Revision(9) for each in forgotten},
    )


def reports(*, builds: int = 0, role: ReplicaRole = ReplicaRole.BACKUP) -> dict[WorkerId, WorkerStatus]:
    status = ReplicaStatus(replica=T, role=role, applied_seq=Seq(1), builds_pending=builds)
    return {WorkerId("wt"): WorkerStatus(memory_bytes=0, failed={}, replicas={str(SHARD): status})}


ONE_MOVE = plan_entry([(SHARD, "ws", "wt")], revision=Revision(70))
ONE_HAND_OVER = plan_entry([], [(SHARD, "ws", "wt")], revision=Revision(70))
DRAIN_OF_WS = dataclasses.replace(ONE_MOVE, plan=dataclasses.replace(ONE_MOVE.plan, kind=PlanKind.DRAIN, subject="ws"))


def state_of(config: ShardConfig | None, plan: RebalanceEntry = ONE_MOVE, *, builds: int = 0, **parts: Any) -> ItemState:
    cluster = cluster_of(*([] if config is None else [config]), plan=plan, **parts)
    return item_states(cluster, plan, reports(builds=builds))[1][0]


def cancelled(plan: RebalanceEntry) -> RebalanceEntry:
    return dataclasses.replace(plan, state=PlanState.CANCELLED)


def given_up(plan: RebalanceEntry, number: int = 1) -> RebalanceEntry:
    return dataclasses.replace(plan, given_up={number: "because"})


@pytest.mark.parametrize(
    ("config", "state"),
    [
        (config_of("sb"), WAITING),
        (config_of("sb", "t", move=MOVE), COPYING),
        (config_of("sb", elr="t", move=MOVE), COPYING),
        (config_of("sbt", move=MOVE), LEAVING),
        (config_of("sbt", primary="s", move=MOVE), HANDING_OVER),
        (config_of("sbt", primary="s", move=MOVE, successor=T), HANDING_OVER),
        (config_of("sbt", primary="t", move=MOVE), LEAVING),
        (config_of("bt", leaving="s"), LEAVING),
        (config_of("sbt", leaving="s"), LEAVING),
        (config_of("bt"), ItemState.DONE),
        (config_of("b", "t"), ItemState.DONE),
        (config_of("ba"), ItemState.SKIPPED),
        (config_of("sbt"), ItemState.SKIPPED),
        (config_of("sb", leaving="t"), WAITING),
        (config_of("sb", "a", move=Move(source=S, target=ReplicaId("a"))), WAITING),
        (None, ItemState.SKIPPED),
    ],
)
def test_how_far_a_move_is_can_be_read_off_its_shard(config: ShardConfig | None, state: ItemState) -> None:
    assert state_of(config) is state


def test_a_target_in_sync_is_warming_until_it_says_that_it_builds_nothing() -> None:
    for config in (config_of("sbt", move=MOVE), config_of("sbt", primary="s", move=MOVE)):
        assert state_of(config, builds=1) is WARMING
        cluster = cluster_of(config, plan=ONE_MOVE)
        assert item_states(cluster, ONE_MOVE, {})[1][0] is WARMING, "it has not said anything yet"


@pytest.mark.parametrize(
    ("config", "parts", "plan", "state"),
    [
        (config_of("sb"), {"drains": ("wt",)}, ONE_MOVE, ItemState.SKIPPED),
        (config_of("sb"), {"forgotten": ("wt",)}, ONE_MOVE, ItemState.SKIPPED),
        (config_of("sb"), {"live": ("ws", "wb")}, ONE_MOVE, WAITING),
        (config_of("sb"), {"state": CollectionState.DROPPING}, ONE_MOVE, ItemState.SKIPPED),
        (config_of("sb"), {}, cancelled(ONE_MOVE), ItemState.CANCELLED),
        (config_of("sb", "t", move=MOVE), {}, cancelled(ONE_MOVE), COPYING),
        (config_of("sbt", move=MOVE), {}, cancelled(ONE_MOVE), LEAVING),
        (config_of("bt"), {}, cancelled(ONE_MOVE), ItemState.DONE),
        (config_of("sb"), {}, given_up(ONE_MOVE), ItemState.FAILED),
        (config_of("sb", "t", move=MOVE), {}, given_up(ONE_MOVE), COPYING),
        (config_of("bt"), {}, given_up(ONE_MOVE), ItemState.DONE),
        (config_of("bt", leaving="s"), {"live": ("wb", "wt")}, ONE_MOVE, ItemState.DONE),
    ],
)
def test_what_operators_and_the_cluster_do_to_a_move(
    config: ShardConfig, parts: dict[str, Any], plan: RebalanceEntry, state: ItemState
) -> None:
    assert state_of(config, plan, **parts) is state


@pytest.mark.parametrize(
    ("config", "parts", "plan", "state"),
    [
        (config_of("st", primary="s"), {}, ONE_HAND_OVER, WAITING),
        (config_of("st", primary="s", successor=T), {}, ONE_HAND_OVER, HANDING_OVER),
        (config_of("st", primary="t"), {}, ONE_HAND_OVER, ItemState.DONE),
        (config_of("sb", primary="s"), {}, ONE_HAND_OVER, ItemState.SKIPPED),
        (config_of("stb", primary="b", rf=3), {"replicas": 3}, ONE_HAND_OVER, WAITING),
        (config_of("st", primary="s"), {"drains": ("wt",)}, ONE_HAND_OVER, ItemState.SKIPPED),
        (config_of("st", primary="s"), {}, cancelled(ONE_HAND_OVER), ItemState.CANCELLED),
        (config_of("st", primary="s", successor=T), {}, cancelled(ONE_HAND_OVER), HANDING_OVER),
        (config_of("st", primary="s"), {}, given_up(ONE_HAND_OVER), ItemState.FAILED),
        (None, {}, ONE_HAND_OVER, ItemState.SKIPPED),
    ],
)
def test_how_far_a_hand_over_is(config: ShardConfig | None, parts: dict[str, Any], plan: RebalanceEntry, state: ItemState) -> None:
    assert state_of(config, plan, **parts) is state


def test_a_drain_that_was_ended_or_is_for_primaries_alone_now_begins_no_further_move_and_finishes_what_is_under_way() -> None:
    undrained, drained = cluster_of(config_of("sb"), plan=DRAIN_OF_WS), cluster_of(config_of("sb"), plan=DRAIN_OF_WS, drains=("ws",))
    primaries = dataclasses.replace(drained, drains={WorkerId("ws"): Drain(primaries_only=True, asked_by="", since_ms=1)})
    for cluster in (undrained, primaries):
        assert item_states(cluster, DRAIN_OF_WS, {})[1] == (ItemState.SKIPPED, "worker ws is not drained any more")
        assert [type(step) for step in plan_steps(snapshot(cluster), ())] == [EndPlan]
    assert item_states(drained, DRAIN_OF_WS, {})[1][0] is WAITING
    assert begun(drained) == [1]
    assert state_of(config_of("sb", "t", move=MOVE), DRAIN_OF_WS) is COPYING
    assert state_of(config_of("bt"), DRAIN_OF_WS) is ItemState.DONE


def test_a_hand_over_to_a_replica_that_is_still_moving_there_waits_for_the_move() -> None:
    plan = plan_entry([(SHARD, "ws", "wt")], [(SHARD, "wb", "wt")])
    states = item_states(cluster_of(config_of("sb"), plan=plan), plan, {})
    assert states[2] == (WAITING, "its moves come first")
    led_by_target = config_of("sbt", primary="t", move=MOVE)
    assert item_states(cluster_of(led_by_target, plan=plan), plan, reports())[2][0] is WAITING, "the move has not ended"
    assert item_states(cluster_of(config_of("bt", primary="t"), plan=plan), plan, {})[2][0] is ItemState.DONE


def test_a_plan_that_ended_says_what_was_written_down() -> None:
    ended = dataclasses.replace(ONE_MOVE, state=PlanState.DONE, outcomes={1: ItemState.SKIPPED}, given_up={1: "why"})
    assert item_states(cluster_of(config_of("sb", "t", move=MOVE)), ended, {}) == {1: (ItemState.SKIPPED, "why")}


# What begins


def whole(number: int, *homes: str, primary: int = 0, move: Move | None = None) -> ShardConfig:
    replicas = {f"{number}{home}": home for home in homes}
    made = shard_config(SHARDS[number], replicas, isr=list(replicas), primary=f"{number}{homes[primary]}", rf=2)
    return dataclasses.replace(made, move=move)


def snapshot(cluster: ClusterMap, **parts: Any) -> Snapshot:
    return snapshot_of(cluster, **{"reports": reports(), **parts})


def begun(cluster: ClusterMap, *taken: ShardId, **parts: Any) -> list[int]:
    """Return the numbers of the items that begin."""
    steps = list(plan_steps(snapshot(cluster, **parts), taken))
    assert all(isinstance(step, BeginMove) for step in steps)
    return [step.number for step in steps if isinstance(step, BeginMove)]


def test_a_move_begins_with_a_learner_on_its_target_and_names_the_replica_it_replaces() -> None:
    cluster = cluster_of(config_of("sb"), plan=ONE_MOVE)
    (step,) = plan_steps(snapshot(cluster), ())
    assert isinstance(step, BeginMove)
    (target,) = step.config.learners
    assert step.config.move == Move(source=S, target=target)
    assert step.config.worker_of == {S: "ws", B: "wb", target: "wt"}
    assert (step.plan, step.number, step.target) == (ONE_MOVE, 1, "wt")
    assert step.registrations == {"ws": 1, "wb": 1, "wt": 1}
    assert dataclasses.replace(step.config, learners=(), worker_of=config_of("sb").worker_of, move=None) == config_of("sb")


@pytest.mark.parametrize(
    ("config", "parts", "why"),
    [
        (config_of("sb", state=ShardState.CREATING), {}, "it has no primary"),
        (config_of("sb"), {"live": ("ws", "wt")}, "it has no primary"),
        (config_of("sb"), {"live": ("wb", "wt")}, "its replicas are not all in sync"),
        (config_of("sb"), {"state": CollectionState.CREATING}, "it has no primary"),
        (config_of("s", "b", primary="s"), {}, "its replicas are not all in sync"),
        (config_of("sb", elr="a"), {}, "its replicas are not all in sync"),
        (config_of("sb", leaving="b"), {}, "its replicas are not all in sync"),
        (config_of("sb"), {"replicas": 3}, "its replicas are not all in sync"),
        (config_of("sb", successor=S), {}, "another move or hand-over of it is under way"),
        (config_of("sb", leaving="t"), {}, "worker wt still has to delete a replica of it"),
        (config_of("sb"), {"old": ("wt",)}, "worker wt runs a version that knows no moves"),
        (config_of("sb"), {"old": ("wb",)}, "worker wb runs a version that knows no moves"),
        (config_of("sb"), {"live": ("ws", "wb")}, "worker wt is down"),
    ],
)
def test_a_shard_that_is_not_whole_led_and_free_begins_no_move_and_says_why(config: ShardConfig, parts: dict[str, Any], why: str) -> None:
    cluster = cluster_of(config, plan=ONE_MOVE, **parts)
    assert begun(cluster) == []
    assert item_states(cluster, ONE_MOVE, {})[1] == (WAITING, why)


def test_items_begin_in_order_one_from_and_one_to_a_worker_and_later_ones_may_go_first() -> None:
    configs = [whole(0, "wa", "wb"), whole(1, "wa", "wb"), whole(2, "wb", "wc"), whole(3, "ws", "wc"), whole(4, "wt", "wc")]
    ways = [(SHARDS[0], "wa", "wt"), (SHARDS[1], "wa", "wx"), (SHARDS[2], "wb", "wt"), (SHARDS[3], "ws", "wx"), (SHARDS[4], "wt", "wa")]
    plan = plan_entry(ways)
    cluster = cluster_of(*configs, plan=plan)
    assert begun(cluster) == [1, 4, 5]
    assert begun(dataclasses.replace(cluster, balance=BalanceSettings(moves_at_once=1))) == [1]
    assert begun(cluster, SHARDS[0]) == [2, 3, 5], "another step of this round changes that shard"
    moving = whole(0, "wa", "wb", "wt", move=Move(source=ReplicaId("0wa"), target=ReplicaId("0wt")))
    later = cluster_of(moving, *configs[1:], plan=plan)
    assert begun(later) == [4, 5]
    states = item_states(later, plan, {})
    assert [states[number] for number in (2, 3)] == [(WAITING, "one item from wa at a time"), (WAITING, "one item to wt at a time")]


def handed_over(**times: tuple[ShardId, float, int]) -> dict[WorkerId, WorkerStatus]:
    """Return reports of workers that handed over a shard each, in so many seconds, at a time in ms since 1970."""
    return {
        WorkerId(worker): WorkerStatus(memory_bytes=0, failed={}, hand_overs={str(shard): HandOverTime(seconds=seconds, ended_ms=ended_ms)})
        for worker, (shard, seconds, ended_ms) in times.items()
    }


def test_the_longest_wait_is_that_of_a_hand_over_of_this_plan() -> None:
    plan = dataclasses.replace(ONE_MOVE, started_ms=1_000)
    said = handed_over(ws=(SHARD, 0.2, 1_500), wa=(SHARD, 0.3, 2_000), wb=(SHARD, 7.0, 999), wc=(SHARDS[1], 8.0, 1_500))
    assert longest_wait_s(plan, said) == 0.3
    assert longest_wait_s(plan, {}) == 0.0
    ended = dataclasses.replace(plan, ended_ms=1_600)
    assert longest_wait_s(ended, said | handed_over(wd=(SHARD, 9.0, 4_000))) == 0.3, "the clock of wa is a little ahead"
    assert longest_wait_s(dataclasses.replace(ended, longest_wait_s=0.25), {}) == 0.25, "workers have forgotten it"
    now = dataclasses.replace(snapshot(cluster_of(config_of("bt"), plan=plan), now_ms=5_000), reports=said)
    (step,) = plan_steps(now, ())
    assert isinstance(step, EndPlan)
    assert step.after.longest_wait_s == 0.3


@pytest.mark.parametrize("state", [PlanState.PAUSED, PlanState.CANCELLED, PlanState.DONE])
def test_a_plan_that_does_not_run_begins_nothing(state: PlanState) -> None:
    plan = dataclasses.replace(ONE_MOVE, state=state)
    steps = list(plan_steps(snapshot(cluster_of(config_of("sb"), plan=plan)), ()))
    assert [step for step in steps if not isinstance(step, EndPlan)] == []
    assert bool(steps) == (state is PlanState.CANCELLED), "nothing is under way, so a cancelled one ends"


def test_hand_overs_begin_after_all_moves_and_rely_on_the_plan() -> None:
    plan = plan_entry([(SHARDS[1], "wa", "wx")], [(SHARDS[2], "wb", "wc")], revision=Revision(70))
    other = whole(2, "wb", "wc")
    assert begun(cluster_of(whole(1, "wa", "wb"), other, plan=plan)) == [1]
    moved = cluster_of(whole(1, "wx", "wb"), other, plan=plan)
    (step,) = plan_steps(snapshot(moved), ())
    assert isinstance(step, AskSuccessor)
    assert (step.config.successor, step.plan, step.registrations) == ("2wc", plan, {"wc": 1})


def test_a_hand_over_waits_while_its_replica_cannot_lead() -> None:
    cluster = cluster_of(config_of("s", "t", primary="s"), plan=ONE_HAND_OVER)
    assert list(plan_steps(snapshot(cluster), ())) == []
    assert item_states(cluster, ONE_HAND_OVER, {})[1] == (WAITING, "its replica on wt cannot lead now")


# What is given up


@pytest.mark.parametrize(
    ("config", "plan", "parts", "why"),
    [
        (config_of("sb", "t", move=MOVE), ONE_MOVE, {"moving": {SHARD: MoveAge(stuck_s=NO_PROGRESS_S)}}, "no progress for 10 min"),
        (config_of("sb", "t", move=MOVE), ONE_MOVE, {"live": ("ws", "wb"), "absent_s": {"wt": TARGET_GONE_S}}, "worker wt is gone"),
        (config_of("sb", "t", move=MOVE), ONE_MOVE, {"drains": ("wt",)}, "worker wt is drained"),
        (config_of("sb"), ONE_MOVE, {"live": ("ws", "wb"), "absent_s": {"wt": TARGET_GONE_S}}, "worker wt is gone"),
        (
            config_of("sb", elr="a"),
            ONE_MOVE,
            {"plan_idle_s": NOTHING_BEGUN_S},
            "it could not begin: its replicas are not all in sync",
        ),
        (
            config_of("st", primary="s", successor=T),
            ONE_HAND_OVER,
            {"moving": {SHARD: MoveAge(asked_s=SUCCESSOR_S)}},
            "the primary did not hand over within 60 s",
        ),
    ],
)
def test_what_is_given_up_is_noted_beside_the_plan_with_its_reason(
    config: ShardConfig, plan: RebalanceEntry, parts: dict[str, Any], why: str
) -> None:
    of_cluster = {name: parts.pop(name) for name in ("live", "drains") if name in parts}
    (step,) = plan_steps(snapshot(cluster_of(config, plan=plan, **of_cluster), **parts), ())
    assert isinstance(step, GiveUpItems)
    assert step.before == plan
    assert step.after == dataclasses.replace(plan, given_up={1: why})
    parts.update(of_cluster)


@pytest.mark.parametrize(
    ("config", "plan", "parts"),
    [
        (config_of("sb", "t", move=MOVE), ONE_MOVE, {"moving": {SHARD: MoveAge(stuck_s=NO_PROGRESS_S - 1)}}),
        (config_of("sb", "t", move=MOVE), cancelled(ONE_MOVE), {"moving": {SHARD: MoveAge(stuck_s=NO_PROGRESS_S)}}),
        (config_of("sb", "t", move=MOVE), given_up(ONE_MOVE), {"moving": {SHARD: MoveAge(stuck_s=NO_PROGRESS_S)}}),
        (config_of("sbt", move=MOVE), ONE_MOVE, {"moving": {SHARD: MoveAge(stuck_s=NO_PROGRESS_S)}}),
        (config_of("st", primary="s", successor=T), ONE_HAND_OVER, {"moving": {SHARD: MoveAge(asked_s=SUCCESSOR_S - 1)}}),
        (config_of("sb", elr="a"), ONE_MOVE, {"plan_idle_s": NOTHING_BEGUN_S - 1}),
        (config_of("sb", elr="a"), dataclasses.replace(ONE_MOVE, state=PlanState.PAUSED), {"plan_idle_s": NOTHING_BEGUN_S}),
    ],
)
def test_what_may_still_go_on_or_is_given_up_already_is_not_noted(config: ShardConfig, plan: RebalanceEntry, parts: dict[str, Any]) -> None:
    assert list(plan_steps(snapshot(cluster_of(config, plan=plan), **parts), ())) == []


# How it ends


@pytest.mark.parametrize(
    ("config", "plan", "state", "outcome", "why"),
    [
        (config_of("bt"), ONE_MOVE, PlanState.DONE, ItemState.DONE, {}),
        (config_of("bt"), dataclasses.replace(ONE_MOVE, state=PlanState.PAUSED), PlanState.DONE, ItemState.DONE, {}),
        (config_of("ba"), ONE_MOVE, PlanState.DONE, ItemState.SKIPPED, {1: "worker ws holds no replica of it any more"}),
        (config_of("sb"), given_up(ONE_MOVE), PlanState.DONE, ItemState.FAILED, {1: "because"}),
        (config_of("sb"), cancelled(ONE_MOVE), PlanState.CANCELLED, ItemState.CANCELLED, {}),
        (config_of("bt"), cancelled(ONE_MOVE), PlanState.CANCELLED, ItemState.DONE, {}),
    ],
)
def test_a_plan_ends_when_all_its_items_have_and_keeps_what_became_of_them(
    config: ShardConfig, plan: RebalanceEntry, state: PlanState, outcome: ItemState, why: dict[int, str]
) -> None:
    (step,) = plan_steps(snapshot(cluster_of(config, plan=plan), now_ms=5_000), ())
    assert isinstance(step, EndPlan)
    assert step.before == plan
    assert step.after == dataclasses.replace(plan, state=state, ended_ms=5_000, outcomes={1: outcome}, given_up=why)
    assert step.after.ended
    ended = cluster_of(config, plan=step.after)
    assert list(plan_steps(snapshot(ended), ())) == []


@pytest.mark.parametrize("config", [config_of("sb", "t", move=MOVE), config_of("sbt", move=MOVE), config_of("bt", leaving="s")])
def test_a_cancelled_plan_ends_only_when_what_is_under_way_has(config: ShardConfig) -> None:
    assert list(plan_steps(snapshot(cluster_of(config, plan=cancelled(ONE_MOVE))), ())) == []


# A whole cluster


def cluster_world(*, shards: int = 3, replicas: int = 2) -> World:
    world = World()
    for worker in ("wa", "wb", "wc"):
        world.register(worker)
    world.put_collection(collection_of("c", shards=shards, replicas=replicas))
    world.settle()
    world.register("wx")
    return world


def homes_of(world: World, number: int) -> set[str]:
    config = world.map.shards[SHARDS[number]].config
    return {config.worker_of[each] for each in config.isr}


def moved_to(world: World, target: str) -> RebalanceEntry:
    """Return a plan that moves the primary of each shard to a worker that holds nothing."""
    configs = [entry.config for _, entry in sorted(world.map.shards.items())]
    return plan_entry([(config.shard, str(config.primary_worker), target) for config in configs])


def outcomes(world: World) -> list[ItemState]:
    plan = world.map.rebalance
    assert plan is not None
    assert plan.ended
    kept = world.state.list("/shoal/test/v1/history/").entries
    assert len(kept) == 1
    return [plan.outcomes[number] for number in sorted(plan.outcomes)]


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_a_plan_moves_primaries_one_after_the_other_and_leaves_every_shard_whole(replicas: int) -> None:
    world = cluster_world(replicas=replicas)
    plan = moved_to(world, "wx")
    world.put_plan(plan)
    moving_at_once = 0
    for _ in range(100):
        world.round()
        world.work()
        configs = [entry.config for entry in world.map.shards.values()]
        moving_at_once = max(moving_at_once, sum(config.move is not None for config in configs))
        assert all(len(config.isr) >= replicas for config in configs), "never fewer replicas in sync than are wanted"
    assert outcomes(world) == [ItemState.DONE] * 3
    assert moving_at_once == 1, "all go to the same worker"
    for item in plan.plan.moves:
        assert "wx" in homes_of(world, item.shard.number)
        assert item.source not in homes_of(world, item.shard.number)
    assert all(not entry.config.leaving for entry in world.map.shards.values())


def test_a_cancelled_plan_gives_up_what_only_copies_and_finishes_what_is_in_sync() -> None:
    world = cluster_world(shards=1)
    before = homes_of(world, 0)
    for joined in (False, True):
        plan = moved_to(world, "wx")
        world.put_plan(plan)
        world.round()
        if joined:
            while len(world.map.shards[SHARD].config.isr) == 2:
                world.work()
        world.put_plan(dataclasses.replace(plan, state=PlanState.CANCELLED))
        world.settle()
        ended = world.map.rebalance
        assert ended is not None
        assert (ended.state, ended.outcomes[1]) == (PlanState.CANCELLED, ItemState.DONE if joined else ItemState.CANCELLED)
        assert (homes_of(world, 0) == before) != joined


def test_a_move_to_a_worker_that_dies_is_given_up_and_the_plan_goes_on() -> None:
    world = cluster_world(shards=2)
    configs = [entry.config for _, entry in sorted(world.map.shards.items())]
    spare = ["wx", next(worker for worker in ("wa", "wb", "wc") if worker not in homes_of(world, 1))]
    world.put_plan(plan_entry([(config.shard, str(config.primary_worker), target) for config, target in zip(configs, spare, strict=True)]))
    world.round()
    world.vanish("wx")
    world.settle()
    world.now_s += TARGET_GONE_S
    world.settle()
    assert outcomes(world) == [ItemState.FAILED, ItemState.DONE]
    plan = world.map.rebalance
    assert plan is not None
    assert plan.given_up == {1: "worker wx is gone"}
    config = world.map.shards[SHARDS[0]].config
    assert (len(config.isr), config.learners, config.move) == (2, (), None)


def test_a_new_coordinator_goes_on_from_the_shards_alone() -> None:
    world = cluster_world(shards=1)
    world.put_plan(moved_to(world, "wx"))
    steps = []
    for _ in range(60):
        fresh = World()
        fresh.state, fresh.leadership, fresh.now_s = world.state, world.leadership, world.now_s
        fresh.holders, fresh._made = world.holders, world._made
        steps += fresh.round()
        fresh.work()
    kinds = [type(step).__name__ for step in steps]
    assert kinds == ["BeginMove", "AskSuccessor", "RetireReplica", "EndPlan"]
    assert outcomes(world) == [ItemState.DONE]
