"""Test that the coordinator's steps lead any cluster to what is wanted: no rule is broken, and no committed record is
lost.
"""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.coordinator.logic.failover import candidates_of
from shoal.coordinator.logic.reconcile import reconcile
from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import CollectionState
from shoal.core.ids import CollectionId, ReplicaId, Revision, ShardId, WorkerId
from shoal.core.rebalance import PlanState
from shoal.core.shard_config import ShardConfig, ShardState, resigned
from tests.twins.coordinator.plain_focus import snapshot_of
from tests.twins.coordinator.plans import some_plan
from tests.twins.coordinator.rules import check_shape
from tests.twins.coordinator.world import REPLACE_AFTER_S, World, collection_of, shard_config

WORKERS = ("w0", "w1", "w2", "w3", "w4")

actions = st.one_of(
    st.tuples(st.just("register"), st.sampled_from(WORKERS)),
    st.tuples(st.just("vanish"), st.sampled_from(WORKERS)),
    st.tuples(st.just("create"), st.sampled_from("abc"), st.integers(1, 4), st.integers(1, 3), st.integers(0, 3)),
    st.tuples(st.just("alter"), st.sampled_from("abcxyz"), st.integers(1, 4), st.integers(0, 3)),
    st.tuples(st.just("drop"), st.sampled_from("abc")),
    st.tuples(st.just("round"), st.integers(1, 5)),
    st.tuples(st.just("stale round"), st.integers(1, 12)),
    st.tuples(st.just("wait"), st.sampled_from([1.0, REPLACE_AFTER_S])),
    st.tuples(st.just("tell"), st.integers(-1, 3)),
    st.tuples(st.just("resign"), st.integers(0, 9), st.booleans()),
    st.tuples(st.just("plan"), st.integers(0, 50)),
    st.tuples(st.just("plan is"), st.sampled_from([PlanState.RUNS, PlanState.PAUSED, PlanState.CANCELLED])),
    st.tuples(st.just("drain"), st.sampled_from(WORKERS), st.booleans()),
    st.tuples(st.just("undrain"), st.sampled_from(WORKERS)),
    st.tuples(st.just("build"), st.integers(0, 9)),
    st.just(("look",)),
    st.just(("work",)),
)


@st.composite
def beginnings(draw: st.DrawFn) -> World:
    """Draw any state of a cluster: collections and shards half created, half dropped or half replicated; workers that
    are gone, that came back, or that never registered.
    """
    world = World()
    for worker in draw(st.sets(st.sampled_from(WORKERS))):
        world.register(worker)
    for name in draw(st.sets(st.sampled_from("xyz"))):
        state = draw(st.sampled_from(CollectionState))
        replicas = draw(st.integers(1, 4))
        chosen = draw(st.integers(0, replicas))
        collection = collection_of(name, shards=draw(st.integers(1, 3)), state=state, replicas=replicas, min_isr=chosen)
        world.put_collection(collection)
        for number in range(collection.spec.shards):
            if state is CollectionState.ACTIVE or draw(st.booleans()):
                world.put_shard(_random_shard(draw, world, ShardId(collection.id, number), state))
    return world


def _random_shard(draw: st.DrawFn, world: World, shard: ShardId, state: CollectionState) -> ShardConfig:
    spec = world.map.collections[shard.collection].spec
    count = draw(st.integers(1, 4))
    homes = {f"{shard}-r{at}": WORKERS[at] for at in draw(st.permutations(range(len(WORKERS))))[:count]}
    replicas = list(homes)
    min_isr = draw(st.integers(1, 3))
    shard_state = ShardState.ACTIVE if state is CollectionState.ACTIVE else draw(st.sampled_from(ShardState))
    in_sync = 1 if shard_state is ShardState.CREATING else draw(st.integers(1, count))
    eligible = draw(st.integers(in_sync, count)) if in_sync < min_isr and shard_state is ShardState.ACTIVE else in_sync
    living, home = world.map.workers, WorkerId(homes[replicas[0]])
    config = shard_config(
        shard,
        {} if state is CollectionState.DROPPING and draw(st.booleans()) else homes,
        isr=replicas[:in_sync],
        elr=replicas[in_sync:eligible],
        learners=replicas[eligible:],
        primary_reg=living[home].registration if home in living and draw(st.booleans()) else 1,
        min_isr=min_isr,
        rf=spec.replicas if draw(st.booleans()) else count,
        state=shard_state,
    )
    may_go = [each for each in config.members if each != config.primary and each not in config.elr]
    leaving = (draw(st.sampled_from(may_go)),) if may_go and draw(st.booleans()) else ()
    return dataclasses.replace(config, leaving=leaving, learners=tuple(each for each in config.learners if each not in leaving))


def _play(world: World, seen: ClusterMap, action: tuple[object, ...]) -> ClusterMap:
    match action:
        case ("register", str(worker)):
            world.register(worker)
        case ("vanish", str(worker)):
            world.vanish(worker)
        case ("create", name, int(shards), int(replicas), int(min_isr)) if f"id-{name}" not in world.map.collections:
            world.put_collection(collection_of(str(name), shards=shards, replicas=replicas, min_isr=min(min_isr, replicas)))
        case ("alter", name, int(replicas), int(min_isr)):
            world.alter(CollectionId(f"id-{name}"), replicas, min_isr)
        case ("drop", name):
            world.drop(CollectionId(f"id-{name}"))
        case ("round", int(limit)):
            world.round(limit=limit)
        case ("stale round", int(limit)):
            world.round(seen, limit=limit)
        case ("wait", float(seconds)):
            world.now_s += seconds
        case ("tell", int(salt)):
            world.told = salt
        case ("look",):
            return world.map
        case ("work",):
            world.work()
        case _:
            _operate(world, action)
    return seen


def _operate(world: World, action: tuple[object, ...]) -> None:
    """Do what operators do about plans and workers, and what happens to replicas."""
    match action:
        case ("resign", int(which), bool(intact)):
            _resign(world, which, intact)
        case ("plan", int(salt)) if world.map.rebalance is None or world.map.rebalance.ended:
            world.put_plan(some_plan(world.map, WORKERS, salt))
        case ("plan is", PlanState() as state) if world.map.rebalance is not None and world.map.rebalance.active:
            world.put_plan(dataclasses.replace(world.map.rebalance, state=state))
        case ("drain", str(worker), bool(primaries_only)):
            world.drain(worker, primaries_only=primaries_only)
        case ("undrain", str(worker)):
            world.undrain(worker)
        case ("build", int(which)):
            world.building = {each for entry in world.map.shards.values() for each in entry.config.worker_of if len(each) % 10 < which}


def _resign(world: World, which: int, intact: bool) -> None:
    """Let the storage of one live replica fail, and let its worker resign it."""
    cluster = world.map
    replicas = [
        (config, replica)
        for config in (entry.config for _, entry in sorted(cluster.shards.items()))
        for replica, home in config.worker_of.items()
        if home in cluster.workers and replica in config.members and config.state is ShardState.ACTIVE
    ]
    if replicas:
        config, replica = replicas[which % len(replicas)]
        after = resigned(config, replica, intact=intact)
        if after is not None:
            held = world.holders[config.shard] - (set() if intact else {replica})
            world.put_shard(after)
            world.holders[config.shard] = held


def _terms_only_grow(cluster: ClusterMap, terms: dict[ShardId, int]) -> None:
    for shard in [shard for shard in terms if shard not in cluster.shards]:
        del terms[shard]
    for shard, entry in cluster.shards.items():
        assert entry.config.term >= terms.get(shard, 0)
        terms[shard] = entry.config.term


def _is_as_it_should_be(cluster: ClusterMap, config: ShardConfig, dead: set[str]) -> None:
    spec, home = cluster.collections[config.shard.collection].spec, config.primary_worker
    check_shape(config)
    assert config.state is ShardState.ACTIVE
    assert home is not None
    assert config.primary_reg == cluster.workers[home].registration
    assert (config.rf, config.min_isr) == (spec.replicas, spec.min_isr)
    assert (len(config.isr), config.elr, config.learners) == (spec.replicas, (), ())
    assert {config.worker_of[each] for each in config.isr} <= set(cluster.workers)
    assert {config.worker_of[each] for each in config.leaving} <= dead, "only a dead worker keeps what it should delete"
    assert set(config.worker_of) == {*config.isr, *config.leaving}


def _end_operations(world: World) -> None:
    """Let everything come to its end: nothing is drained or paused any more, and time passes."""
    for worker in WORKERS:
        world.undrain(worker)
    plan = world.map.rebalance
    if plan is not None and plan.state is PlanState.PAUSED:
        world.put_plan(dataclasses.replace(plan, state=PlanState.RUNS))
    for _ in range(4):
        world.settle()
        world.now_s += REPLACE_AFTER_S
    world.settle()
    ended = world.map.rebalance
    assert ended is None or ended.ended, "a plan does not end"
    assert ended is None or all(state.ended for state in ended.outcomes.values())
    configs = [entry.config for entry in world.map.shards.values()]
    assert [(each.move, each.successor) for each in configs if each.move or each.successor] == []


@settings(deadline=None)
@given(world=beginnings(), script=st.lists(actions, max_size=25), dead=st.sets(st.sampled_from(WORKERS), max_size=1))
def test_from_anywhere_the_cluster_converges_and_then_nothing_is_wanted(
    world: World, script: list[tuple[object, ...]], dead: set[str]
) -> None:
    seen = world.map
    terms: dict[ShardId, int] = {}
    for action in script:
        seen = _play(world, seen, action)
        _terms_only_grow(world.map, terms)
    for worker in WORKERS:
        world.vanish(worker) if worker in dead else world.register(worker)
    world.told = max(0, world.told)
    _end_operations(world)
    cluster = world.map
    _terms_only_grow(cluster, terms)
    assert world.decide(cluster) == ()
    assert cluster.cluster is not None
    assert {shard.collection for shard in cluster.shards} == set(cluster.collections)
    for collection in cluster.collections.values():
        entries = cluster.shards_of(collection.id)
        # In a lost shard, every replica that may lead is on the dead worker. Only an operator can recover it.
        lost = [entry for entry in entries if not candidates_of(entry.config, cluster.workers)]
        assert all({config.worker_of[each] for each in (*config.isr, *config.elr)} <= dead for config in (each.config for each in lost))
        assert collection.state is CollectionState.ACTIVE or (lost and collection.state is CollectionState.CREATING)
        assert len(entries) == collection.spec.shards
        for entry in entries:
            if entry not in lost:
                _is_as_it_should_be(cluster, entry.config, dead)


def test_an_old_primary_that_came_back_unseen_may_lead_on() -> None:
    world = World()
    world.told = 0
    for worker in ("w1", "w2"):
        world.register(worker)
    world.put_collection(collection_of("c", replicas=2))
    world.put_shard(shard_config(ShardId(CollectionId("id-c"), 0), {"r1": "w1", "r2": "w2"}, isr=["r2", "r1"], primary_reg=1, rf=2))
    world.vanish("w2")
    stale = world.map
    world.register("w2")
    world.round(stale)
    config = world.map.shards[ShardId(CollectionId("id-c"), 0)].config
    assert (config.term, config.primary, config.isr, config.elr) == (2, "r1", ("r1",), ("r2",))
    world.vanish("w1")
    world.round()
    config = world.map.shards[config.shard].config
    assert (config.term, config.primary, config.isr, config.elr) == (3, "r2", ("r2",), ("r1",)), "the other one never gave it up"


@settings(deadline=None)
@given(world=beginnings())
def test_the_same_snapshot_gives_the_same_steps(world: World) -> None:
    snapshot = snapshot_of(world.map)
    assert reconcile(snapshot, 1000) == reconcile(snapshot_of(world.map), 1000)


def test_a_replica_id_is_never_used_again() -> None:
    world = World()
    for worker in WORKERS:
        world.register(worker)
    world.put_collection(collection_of("c", replicas=3))
    world.settle()
    shard = ShardId(CollectionId("id-c"), 0)
    named: set[ReplicaId] = set(world.map.shards[shard].config.worker_of)
    for _ in range(5):
        config = world.map.shards[shard].config
        victim = config.worker_of[config.isr[-1]]
        world.vanish(victim)
        world.settle()
        world.now_s += REPLACE_AFTER_S
        world.settle()
        world.register(victim)
        world.settle()
        now = set(world.map.shards[shard].config.worker_of)
        assert len(now - named) == 1
        assert len(now) == 3
        named |= now
    assert world.map.shards[shard].epoch > Revision(0)


@pytest.mark.parametrize(("replicas", "min_isr"), [(2, 2), (3, 3), (3, 2), (2, 1)])
def test_a_backup_lost_for_good_is_replaced_also_where_every_replica_must_have_a_write(replicas: int, min_isr: int) -> None:
    world = World()
    for worker in WORKERS:
        world.register(worker)
    world.put_collection(collection_of("c", replicas=replicas, min_isr=min_isr))
    world.settle()
    shard = ShardId(CollectionId("id-c"), 0)
    before = world.map.shards[shard].config
    victim = before.isr[-1]
    world.vanish(before.worker_of[victim])
    world.settle()
    world.now_s += REPLACE_AFTER_S
    world.settle()
    after = world.map.shards[shard].config
    assert (len(after.isr), after.leaving, after.term) == (replicas, (victim,), before.term)
    assert {after.worker_of[each] for each in after.isr} <= set(world.map.workers)
