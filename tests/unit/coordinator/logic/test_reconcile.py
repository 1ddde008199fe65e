from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.coordinator.logic.reconcile import JOIN_WITHIN_S, reconcile
from shoal.coordinator.logic.steps import (
    ActivateCollection,
    CreateCluster,
    CreateShard,
    DeleteCollection,
    DeleteShard,
    ElectPrimary,
    ForgetReplicas,
    PlaceShardAnew,
    Step,
)
from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import CollectionState
from shoal.core.ids import CollectionId, Revision, ShardId, WorkerId
from shoal.core.shard_config import ShardState
from shoal.core.slots import SlotRange, split_evenly
from tests.twins.coordinator.plain_focus import snapshot_of
from tests.twins.coordinator.world import World, collection_of, map_of, shard_config, worker_entry

WORKERS = ("w0", "w1", "w2", "w3", "w4")


def steps_of(cluster: ClusterMap, limit: int = 1000) -> tuple[Step, ...]:
    return reconcile(snapshot_of(cluster), limit)


def test_an_empty_store_gets_a_cluster_id_and_nothing_else() -> None:
    (step,) = steps_of(ClusterMap())
    assert isinstance(step, CreateCluster)
    assert steps_of(map_of()) == ()


def test_shards_are_created_evenly_with_all_slots_and_the_registrations_of_their_workers() -> None:
    collection = collection_of("c", shards=5)
    steps = steps_of(map_of([collection], workers=[worker_entry(name, 7) for name in WORKERS[:3]]))
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


def test_a_shard_lost_before_it_is_active_begins_elsewhere_under_a_new_replica_and_term() -> None:
    collection = collection_of("c", shards=1)
    before = shard_config(ShardId(collection.id, 0), {"r0": "gone"}, isr=["r0"], state=ShardState.CREATING, term=4)
    (step,) = steps_of(map_of([collection], [before], [worker_entry("w0", 7)]))
    assert isinstance(step, PlaceShardAnew)
    assert step.before.config == before
    assert (step.config.term, step.config.primary_worker, step.config.state) == (5, "w0", ShardState.CREATING)
    assert step.config.primary != "r0"
    assert step.config.slots == (SlotRange(0, 16_384),)


def test_a_new_shard_whose_worker_came_back_is_elected_not_moved() -> None:
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


def test_a_shard_begins_with_its_primary_in_sync_and_the_others_as_learners() -> None:
    collection = collection_of("c", shards=3, replicas=3)
    workers = [worker_entry(name, at, zone) for at, (name, zone) in enumerate((("w0", "x"), ("w1", "x"), ("w2", "y"), ("w3", "z")), 7)]
    steps = steps_of(map_of([collection], workers=workers))
    configs = [step.config for step in steps if isinstance(step, CreateShard)]
    zone_of = {each.id: each.zone for each in workers}
    assert len(configs) == 3
    for config in configs:
        assert (config.isr, config.elr) == ((config.primary,), ())
        assert len(config.learners) == 2
        assert {zone_of[home] for home in config.worker_of.values()} == {"x", "y", "z"}
        assert (config.rf, config.min_isr) == (3, 2)
    assert len({config.primary_worker for config in configs}) == 3
    (step, *_) = steps
    assert isinstance(step, CreateShard)
    assert step.registrations == {home: {each.id: each.registration for each in workers}[home] for home in step.config.worker_of.values()}


def test_with_fewer_workers_than_replicas_a_shard_begins_with_those_there_are() -> None:
    (step,) = steps_of(map_of([collection_of("c", replicas=3)], workers=[worker_entry("w0", 7), worker_entry("w1", 8)]))
    assert isinstance(step, CreateShard)
    assert len(step.config.members) == 2
    assert (step.config.rf, step.config.min_isr) == (3, 2)


def test_a_shard_lost_before_it_is_active_leaves_tombstones_where_folders_may_be() -> None:
    collection = collection_of("c", replicas=2)
    homes = {"r0": "gone", "r1": "w1", "r2": "w2"}
    before = shard_config(ShardId(collection.id, 0), homes, isr=["r0"], learners=["r1", "r2"], state=ShardState.CREATING)
    (step,) = steps_of(map_of([collection], [before], [worker_entry("w1", 7), worker_entry("w2", 8), worker_entry("w3", 9)]))
    assert isinstance(step, PlaceShardAnew)
    new = {each: home for each, home in step.config.worker_of.items() if each in step.config.members}
    old = {each: home for each, home in step.config.worker_of.items() if each not in new}
    assert (len(new), set(new) & set(homes)) == (2, set())
    assert old == {each: home for each, home in homes.items() if home not in new.values()}
    assert set(step.config.leaving) == set(old)


def test_a_collection_is_not_active_before_all_replicas_that_can_be_are_in_sync_and_enough_of_them() -> None:
    collection = collection_of("c", replicas=3)
    homes = {"r0": "w0", "r1": "w1", "r2": "w2"}
    active = (ActivateCollection(collection=collection),)
    for in_sync, live, expected in ((1, 3, ()), (2, 3, ()), (3, 3, active), (2, 2, active), (1, 1, ())):
        members, workers = list(homes), [worker_entry(name, 7) for name in WORKERS[:live]]
        config = shard_config(ShardId(collection.id, 0), homes, isr=members[:in_sync], learners=members[in_sync:], primary_reg=7, min_isr=2)
        cluster = map_of([collection], [config], workers)
        assert steps_of(cluster) == expected
        waited = snapshot_of(cluster, joining_s={config.shard: JOIN_WITHIN_S})
        assert (reconcile(waited, 9) == active) == (in_sync >= 2)


def test_a_dropped_collection_does_not_wait_for_workers_that_are_gone_for_good() -> None:
    collection = collection_of("c", state=CollectionState.DROPPING)
    config = shard_config(ShardId(collection.id, 0), {"r0": "w0", "r1": "gone", "r2": "away"}, isr=["r0", "r1", "r2"])
    cluster = map_of([collection], [config], [worker_entry("w0", 7)])
    absent = {WorkerId("gone"): 600.0, WorkerId("away"): 599.0}
    (step,) = reconcile(snapshot_of(cluster, absent_s=absent), 10)
    assert isinstance(step, ForgetReplicas)
    assert step.homes == {"r1": "gone"}
    assert dict(step.config.worker_of) == {"r0": "w0", "r2": "away"}


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
    world.leadership = Revision(world.leadership + 1)
    before = world.state.revision
    assert len(world.round()) == 3
    assert world.state.revision == before


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
    for collection in cluster.collections:
        counts = Counter(entry.config.primary_worker for entry in cluster.shards_of(collection))
        assert max(counts.values()) - min(counts[worker] for worker in cluster.workers) <= 1, collection
