from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.logic.reconcile import reconcile
from coordinator.logic.snapshot import Snapshot
from coordinator.logic.steps import (
    ActivateCollection,
    CreateCluster,
    CreateShard,
    DeleteCollection,
    DeleteShard,
    ElectPrimary,
    PlaceShardAnew,
    Step,
)
from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import CollectionState
from shoal.core.ids import CollectionId, Revision, ShardId
from shoal.core.shard_config import ShardState
from shoal.core.slots import SlotRange, split_evenly
from tests.unit.coordinator.world import World, collection_of, map_of, shard_config, worker_entry

WORKERS = ("w0", "w1", "w2")


def steps_of(cluster: ClusterMap, limit: int = 1000) -> tuple[Step, ...]:
    return reconcile(Snapshot(map=cluster, seed="s"), limit)


def test_an_empty_store_gets_a_cluster_id_and_nothing_else() -> None:
    (step,) = steps_of(ClusterMap())
    assert isinstance(step, CreateCluster)
    assert steps_of(map_of()) == ()


def test_shards_are_created_evenly_with_all_slots_and_the_registrations_of_their_workers() -> None:
    collection = collection_of("c", shards=5)
    steps = steps_of(map_of([collection], workers=[worker_entry(name, 7) for name in WORKERS]))
    assert all(isinstance(step, CreateShard) for step in steps)
    configs = [step.config for step in steps if isinstance(step, CreateShard)]
    assert [config.shard.number for config in configs] == [0, 1, 2, 3, 4]
    assert [config.primary_worker for config in configs] == ["w0", "w1", "w2", "w0", "w1"]
    assert tuple(config.slots[0] for config in configs) == split_evenly(5)
    assert {(config.term, config.primary_reg, config.min_isr, config.rf, config.state) for config in configs} == {
        (1, 7, 1, 1, ShardState.CREATING)
    }
    assert len({config.primary for config in configs}) == 5


def test_without_workers_creation_waits() -> None:
    assert steps_of(map_of([collection_of("c", shards=2)])) == ()


def test_a_shard_lost_at_birth_begins_elsewhere_under_a_new_replica_and_term() -> None:
    collection = collection_of("c", shards=1)
    before = shard_config(ShardId(collection.id, 0), {"r0": "gone"}, isr=["r0"], state=ShardState.CREATING, term=4)
    (step,) = steps_of(map_of([collection], [before], [worker_entry("w0", 7)]))
    assert isinstance(step, PlaceShardAnew)
    assert step.before.config == before
    assert (step.config.term, step.config.primary_worker, step.config.state) == (5, "w0", ShardState.CREATING)
    assert step.config.primary != "r0"
    assert step.config.slots == (SlotRange(0, 16_384),)


def test_a_shard_in_birth_whose_worker_came_back_is_elected_not_moved() -> None:
    collection = collection_of("c", shards=1)
    before = shard_config(ShardId(collection.id, 0), {"r0": "w0"}, isr=["r0"], state=ShardState.CREATING, primary_reg=3)
    (step,) = steps_of(map_of([collection], [before], [worker_entry("w0", 7), worker_entry("w1", 8)]))
    assert isinstance(step, ElectPrimary)
    assert (step.config.primary, step.config.primary_reg, step.config.state) == ("r0", 7, ShardState.CREATING)


def test_an_active_shard_of_a_gone_worker_is_never_begun_anew() -> None:
    for state in (CollectionState.ACTIVE, CollectionState.CREATING):
        collection = collection_of("c", shards=2, state=state)
        configs = [
            shard_config(ShardId(collection.id, 0), {"r0": "gone"}, isr=["r0"]),
            shard_config(ShardId(collection.id, 1), {"r1": "w0"}, isr=["r1"], primary_reg=7, state=ShardState.CREATING),
        ]
        assert steps_of(map_of([collection], configs, [worker_entry("w0", 7)])) == ()


def test_a_shard_that_is_absent_from_an_active_collection_is_not_replaced_by_an_empty_one() -> None:
    collection = collection_of("c", shards=2, state=CollectionState.ACTIVE)
    config = shard_config(ShardId(collection.id, 0), {"r0": "w0"}, isr=["r0"], primary_reg=7)
    assert steps_of(map_of([collection], [config], [worker_entry("w0", 7)])) == ()


def test_shards_of_an_absent_collection_are_left_alone() -> None:
    config = shard_config(ShardId(CollectionId("lost"), 0), {}, isr=["r0"])
    assert steps_of(map_of([], [config], [worker_entry("w0", 7)])) == ()


def test_a_collection_becomes_active_with_its_last_shard() -> None:
    collection = collection_of("c", shards=2)
    ready = [shard_config(ShardId(collection.id, number), {f"r{number}": "w0"}, isr=[f"r{number}"], primary_reg=7) for number in (0, 1)]
    workers = [worker_entry("w0", 7)]
    assert steps_of(map_of([collection], ready, workers)) == (ActivateCollection(collection=collection),)
    assert not any(isinstance(step, ActivateCollection) for step in steps_of(map_of([collection], ready[:1], workers)))


def test_dropping_deletes_shards_that_nobody_holds_and_then_the_collection() -> None:
    collection = collection_of("c", shards=2, state=CollectionState.DROPPING)
    held = shard_config(ShardId(collection.id, 0), {"r0": "gone"}, isr=["r0"])
    free = shard_config(ShardId(collection.id, 1), {}, isr=["r1"])
    (step,) = steps_of(map_of([collection], [held, free], [worker_entry("w0", 7)]))
    assert isinstance(step, DeleteShard)
    assert step.entry.config == free
    assert steps_of(map_of([collection], [held])) == ()
    assert steps_of(map_of([collection], [])) == (DeleteCollection(collection=collection),)


def test_what_is_unavailable_comes_first_and_the_limit_holds() -> None:
    creating, active = collection_of("a", shards=8), collection_of("b", state=CollectionState.ACTIVE)
    config = shard_config(ShardId(active.id, 0), {"r0": "w0"}, isr=["r0"], primary_reg=3)
    cluster = map_of([creating, active], [config], [worker_entry("w0", 7)])
    steps = steps_of(cluster, limit=3)
    assert [type(step) for step in steps] == [ElectPrimary, CreateShard, CreateShard]
    assert steps == steps_of(cluster)[:3]


def test_a_step_planned_from_an_old_map_is_rejected_when_the_collection_was_dropped_meanwhile() -> None:
    world = World()
    world.register("w0")
    world.round()
    world.put_collection(collection_of("c", shards=1))
    seen = world.map
    world.drop(CollectionId("id-c"))
    world.round(seen)
    assert world.map.shards == {}


def test_a_coordinator_that_leads_no_more_commits_nothing() -> None:
    world = World()
    world.register("w0")
    world.put_collection(collection_of("c", shards=2))
    world.reign = Revision(world.reign + 1)
    before = world.state.revision
    assert len(world.round()) == 3
    assert world.state.revision == before


# --- whatever happens, it converges ---

actions = st.one_of(
    st.tuples(st.just("register"), st.sampled_from(WORKERS)),
    st.tuples(st.just("vanish"), st.sampled_from(WORKERS)),
    st.tuples(st.just("create"), st.sampled_from("abc"), st.integers(1, 7)),
    st.tuples(st.just("drop"), st.sampled_from("abc")),
    st.tuples(st.just("round"), st.integers(1, 5)),
    st.tuples(st.just("stale round"), st.integers(1, 12)),
    st.just(("look",)),
    st.just(("work",)),
)


@st.composite
def beginnings(draw: st.DrawFn) -> World:
    """A cluster in the middle of anything: half created, half dropped, workers gone, back, or never seen."""
    world = World()
    for worker in draw(st.sets(st.sampled_from(WORKERS))):
        world.register(worker)
    for name in draw(st.sets(st.sampled_from("xyz"))):
        state = draw(st.sampled_from(CollectionState))
        collection = collection_of(name, shards=draw(st.integers(1, 4)), state=state)
        world.put_collection(collection)
        for number in range(collection.spec.shards):
            if state is CollectionState.ACTIVE or draw(st.booleans()):
                _put_random_shard(draw, world, ShardId(collection.id, number), state)
    return world


def _put_random_shard(draw: st.DrawFn, world: World, shard: ShardId, state: CollectionState) -> None:
    count = draw(st.integers(1, 3))
    homes = {f"{shard}-r{at}": WORKERS[at] for at in draw(st.permutations(range(3)))[:count]}
    replicas = list(homes)
    in_sync = draw(st.integers(1, count))
    min_isr = draw(st.integers(1, 2))
    shard_state = ShardState.ACTIVE if state is CollectionState.ACTIVE else draw(st.sampled_from(ShardState))
    if shard_state is ShardState.CREATING:
        homes, replicas, in_sync = dict(list(homes.items())[:1]), replicas[:1], 1
    living = world.map.workers
    home = homes[replicas[0]]
    current = living[home].registration if home in living and draw(st.booleans()) else 1  # type: ignore[index]
    world.put_shard(
        shard_config(
            shard,
            {} if state is CollectionState.DROPPING and draw(st.booleans()) else homes,
            isr=replicas[:in_sync],
            elr=replicas[in_sync:] if in_sync < min_isr else (),
            primary_reg=current,
            min_isr=min_isr,
            state=shard_state,
        )
    )


@settings(deadline=None)
@given(world=beginnings(), script=st.lists(actions, max_size=25))
def test_from_anywhere_the_cluster_converges_and_then_nothing_is_wanted(world: World, script: list[tuple[str, ...]]) -> None:
    seen = world.map
    terms: dict[ShardId, int] = {}
    for action in script:
        seen = _play(world, seen, action)
        _terms_only_grow(world.map, terms)
    for worker in WORKERS:
        world.register(worker)
    world.settle()
    cluster = world.map
    _terms_only_grow(cluster, terms)
    assert world.decide(cluster) == ()
    assert cluster.cluster is not None
    _everything_is_as_it_should_be(cluster)


def _play(world: World, seen: ClusterMap, action: tuple[str, ...]) -> ClusterMap:
    match action:
        case ("register", worker):
            world.register(worker)
        case ("vanish", worker):
            world.vanish(worker)
        case ("create", name, shards) if f"id-{name}" not in world.map.collections:
            world.put_collection(collection_of(name, shards=int(shards)))
        case ("drop", name):
            world.drop(CollectionId(f"id-{name}"))
        case ("round", limit):
            world.round(limit=int(limit))
        case ("stale round", limit):
            world.round(seen, limit=int(limit))
        case ("look",):
            return world.map
        case ("work",):
            world.work()
    return seen


def _terms_only_grow(cluster: ClusterMap, terms: dict[ShardId, int]) -> None:
    for shard in [shard for shard in terms if shard not in cluster.shards]:
        del terms[shard]
    for shard, entry in cluster.shards.items():
        assert entry.config.term >= terms.get(shard, 0)
        terms[shard] = entry.config.term


def _everything_is_as_it_should_be(cluster: ClusterMap) -> None:
    assert set(cluster.shards_by_collection) == set(cluster.collections)
    for collection in cluster.collections.values():
        assert collection.state is CollectionState.ACTIVE
        entries = cluster.shards_of(collection.id)
        assert len(entries) == collection.spec.shards
        for entry in entries:
            home = entry.config.primary_worker
            assert entry.config.state is ShardState.ACTIVE
            assert home is not None
            assert entry.config.primary_reg == cluster.workers[home].registration


@settings(deadline=None)
@given(
    workers=st.sets(st.sampled_from("vwxyz"), min_size=1),
    sizes=st.lists(st.integers(1, 12), max_size=4),
    limit=st.integers(1, 9),
)
def test_new_collections_are_balanced_within_one_however_small_the_rounds(workers: set[str], sizes: list[int], limit: int) -> None:
    world = World()
    for worker in sorted(workers):
        world.register(worker)
    for number, shards in enumerate(sizes):
        world.put_collection(collection_of(f"c{number}", shards=shards))
    while world.round(limit=limit):
        world.work()
    cluster = world.map
    for collection, entries in cluster.shards_by_collection.items():
        counts = Counter(entry.config.primary_worker for entry in entries)
        assert max(counts.values()) - min(counts[worker] for worker in cluster.workers) <= 1, collection


@settings(deadline=None)
@given(world=beginnings())
def test_the_same_snapshot_gives_the_same_steps(world: World) -> None:
    snapshot = Snapshot(map=world.map, seed="s")
    again = Snapshot(map=world.map, seed="s")
    assert reconcile(snapshot, 1000) == reconcile(again, 1000)
