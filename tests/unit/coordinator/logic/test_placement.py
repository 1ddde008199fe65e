from __future__ import annotations

import dataclasses
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.coordinator.logic.placement import Placement
from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import CollectionState
from shoal.core.ids import CollectionId, ShardId, WorkerId
from shoal.core.sizing import REPLICA_BASE_BYTES
from tests.twins.coordinator.plain_placement import PlainPlacement
from tests.twins.coordinator.world import collection_of, map_of, shard_config, worker_entry

ids = st.sampled_from([WorkerId(name) for name in "abcdefgh"])


def unsaid(*workers: WorkerId) -> dict[WorkerId, int]:
    """Return budgets of workers that do not say how much memory they may use."""
    return dict.fromkeys(workers, 0)


def filled(placement: Placement, collection: CollectionId, shards: int) -> list[WorkerId]:
    chosen = []
    for _ in range(shards):
        worker = placement.choose(collection, taken=())
        assert worker is not None
        placement.add(collection, worker)
        chosen.append(worker)
    return chosen


def test_fewest_of_the_collection_then_fewest_in_all_then_smallest_id() -> None:
    one, two = CollectionId("one"), CollectionId("two")
    placement = Placement(unsaid(WorkerId("c"), WorkerId("a"), WorkerId("b")))
    assert placement.choose(one, taken=()) == "a"
    placement.add(one, WorkerId("a"))
    placement.add(two, WorkerId("b"))
    placement.add(two, WorkerId("b"))
    assert placement.choose(one, taken=()) == "c"
    placement.add(one, WorkerId("c"))
    assert placement.choose(one, taken=()) == "b", "none of this collection counts more than two of another"


def test_a_worker_that_holds_the_shard_is_not_chosen_and_no_candidate_gives_none() -> None:
    placement = Placement(unsaid(WorkerId("a"), WorkerId("b")))
    collection = CollectionId("one")
    assert placement.choose(collection, taken={WorkerId("a")}) == "b"
    assert placement.choose(collection, taken={WorkerId("a"), WorkerId("b")}) is None
    assert Placement({}).choose(collection, taken=()) is None


def test_replicas_of_a_collection_that_is_being_dropped_do_not_count() -> None:
    gone = collection_of("gone", shards=1, state=CollectionState.DROPPING)
    kept = collection_of("kept", shards=1, state=CollectionState.ACTIVE)
    workers = [worker_entry("a"), worker_entry("b")]
    dropping = shard_config(ShardId(gone.id, 0), {"r0": "a"}, isr=["r0"])
    active = shard_config(ShardId(kept.id, 0), {"r1": "a"}, isr=["r1"])
    assert Placement.of(map_of([gone], [dropping], workers)).choose(CollectionId("new"), taken=()) == "a"
    assert Placement.of(map_of([kept], [active], workers)).choose(CollectionId("new"), taken=()) == "b"


@given(workers=st.sets(ids, min_size=1), sizes=st.lists(st.integers(1, 20), min_size=1, max_size=6))
def test_every_collection_and_the_whole_are_balanced_within_one(workers: set[WorkerId], sizes: list[int]) -> None:
    placement = Placement(unsaid(*workers))
    total: Counter[WorkerId] = Counter()
    for number, shards in enumerate(sizes):
        counts = Counter(filled(placement, CollectionId(f"c{number}"), shards))
        assert max(counts.values()) - min(counts[worker] for worker in workers) <= 1
        total += counts
    assert max(total.values()) - min(total[worker] for worker in workers) <= 1


@given(workers=st.lists(ids, min_size=1, unique=True), shards=st.integers(1, 20), data=st.data())
def test_the_order_in_which_workers_are_known_does_not_matter(workers: list[WorkerId], shards: int, data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(workers))
    collection = CollectionId("one")
    assert filled(Placement(unsaid(*workers)), collection, shards) == filled(Placement(unsaid(*shuffled)), collection, shards)


def test_a_worker_without_memory_for_one_more_is_not_chosen() -> None:
    collection = CollectionId("one")
    placement = Placement({WorkerId("a"): REPLICA_BASE_BYTES - 1, WorkerId("b"): 2 * REPLICA_BASE_BYTES})
    assert [placement.rooms(WorkerId(name)) for name in "ab"] == [0, 2]
    assert filled(placement, collection, 2) == ["b", "b"]
    assert placement.choose(collection, taken=()) is None
    assert placement.rooms_in_all() == 0


def test_more_room_comes_first_among_workers_with_as_many_of_the_collection() -> None:
    one, two = CollectionId("one"), CollectionId("two")
    placement = Placement({WorkerId("a"): 3 * REPLICA_BASE_BYTES, WorkerId("b"): 9 * REPLICA_BASE_BYTES})
    assert filled(placement, one, 4) == ["b", "a", "b", "a"], "a collection is spread evenly, whatever the room"
    assert filled(placement, two, 1) == ["b"]
    assert placement.rooms_in_all() == 7


def test_workers_that_do_not_say_have_room_and_the_sum_is_unknown() -> None:
    placement = Placement({WorkerId("a"): 0, WorkerId("b"): REPLICA_BASE_BYTES})
    assert placement.rooms_in_all() is None
    assert filled(placement, CollectionId("one"), 3) == ["b", "a", "a"]


def zoned(**zones: str) -> Placement:
    workers = {WorkerId(name): zone for name, zone in zones.items()}
    return Placement(unsaid(*workers), workers)


def test_replicas_of_a_shard_go_to_zones_of_their_own_before_anything_else_counts() -> None:
    one, placement = CollectionId("one"), zoned(a="x", b="x", c="y")
    for _ in range(3):
        placement.add(one, WorkerId("c"))
    assert placement.choose_several(one, 2, taken=(), beside=()) == ("a", "c")
    assert placement.choose(one, taken={WorkerId("c")}, beside={WorkerId("c")}) == "b"
    assert placement.choose(one, taken={WorkerId("a"), WorkerId("c")}, beside={WorkerId("a"), WorkerId("c")}) == "b", "better than none"


def test_a_worker_that_is_gone_crowds_no_zone() -> None:
    placement = zoned(a="", b="")
    assert placement.choose(CollectionId("one"), taken={WorkerId("gone")}, beside={WorkerId("gone")}) == "a"


def test_primaries_are_spread_where_every_worker_holds_every_shard() -> None:
    one, placement = CollectionId("one"), zoned(a="x", b="y", c="z")
    chosen = []
    for _ in range(6):
        homes = placement.choose_several(one, 3, taken=(), beside=())
        assert sorted(homes) == ["a", "b", "c"]
        chosen.append(placement.choose_primary(one, homes))
    assert Counter(chosen) == {"a": 2, "b": 2, "c": 2}


@given(
    zones=st.dictionaries(ids, st.sampled_from("xyz"), min_size=1),
    shards=st.integers(1, 12),
    replicas=st.integers(1, 7),
)
def test_a_shard_has_distinct_workers_in_as_many_zones_as_there_can_be(zones: dict[WorkerId, str], shards: int, replicas: int) -> None:
    placement, one = Placement(unsaid(*zones), zones), CollectionId("one")
    for _ in range(shards):
        homes = placement.choose_several(one, replicas, taken=(), beside=())
        assert len(homes) == len(set(homes)) == min(replicas, len(zones))
        assert len({zones[worker] for worker in homes}) == min(len(homes), len(set(zones.values())))


def test_rooms_in_all_count_so_many_on_each_at_most() -> None:
    placement = Placement({WorkerId("a"): 5 * REPLICA_BASE_BYTES, WorkerId("b"): REPLICA_BASE_BYTES})
    assert (placement.rooms_in_all(), placement.rooms_in_all(most=3)) == (6, 4)


def test_a_worker_that_may_not_open_files_for_one_more_is_not_chosen() -> None:
    collection = CollectionId("one")
    budgets = {WorkerId("a"): 9 * REPLICA_BASE_BYTES, WorkerId("b"): 9 * REPLICA_BASE_BYTES, WorkerId("c"): 0}
    placement = Placement(budgets, file_rooms={WorkerId("a"): 0, WorkerId("b"): 2, WorkerId("c"): 1})
    assert filled(placement, collection, 3) == ["b", "c", "b"]
    assert placement.choose(collection, taken=()) is None
    assert [placement.rooms(WorkerId(name)) for name in "abc"] == [0, 0, 0]
    assert [placement.memory_rooms(WorkerId(name)) for name in "abc"] == [9, 7, None]
    assert placement.rooms_in_all() == 0


def test_the_map_tells_what_workers_may_open() -> None:
    worker = dataclasses.replace(worker_entry("a"), file_budget=30, replica_files=12)
    placement = Placement.of(map_of([], [], [worker, worker_entry("old")]))
    assert [placement.rooms(WorkerId(name)) for name in ("a", "old")] == [2, None]


@st.composite
def fleets(draw: st.DrawFn) -> ClusterMap:
    """A cluster with workers of any room and zone, with collections that are being created, used and dropped."""
    names = draw(st.sets(ids, min_size=1))
    workers = [
        dataclasses.replace(
            worker_entry(name, zone=draw(st.sampled_from(["", "x", "y"]))),
            memory_budget_bytes=draw(st.sampled_from([0, 2, 5, 50])) * REPLICA_BASE_BYTES,
            file_budget=draw(st.sampled_from([10, 40, 400])),
            replica_files=draw(st.sampled_from([0, 10])),
        )
        for name in sorted(names)
    ]
    collections = [collection_of(name, shards=4, state=draw(st.sampled_from(CollectionState))) for name in ("one", "two", "three")]
    configs = []
    for collection in collections:
        for number in range(draw(st.integers(0, 4))):
            homes = draw(st.lists(ids, min_size=1, max_size=3, unique=True))
            replicas = {f"{collection.id}-{number}-{home}": str(home) for home in homes}
            configs.append(shard_config(ShardId(collection.id, number), replicas, isr=replicas))
    return map_of(collections, configs, workers)


placements = st.lists(
    st.tuples(st.sampled_from(["id-one", "id-two", "new", "id-one"]), st.integers(1, 4), st.sets(ids, max_size=3)), max_size=25
)


@given(fleets(), placements)
@settings(max_examples=200)
def test_every_choice_is_the_one_that_a_look_at_all_workers_makes(
    cluster: ClusterMap, wanted: list[tuple[str, int, set[WorkerId]]]
) -> None:
    placement, plain = Placement.of(cluster), PlainPlacement.of(cluster)
    for name, count, taken in wanted:
        collection = CollectionId(name)
        assert placement.choose(collection, taken, taken) == plain.choose(collection, taken, taken)
        homes = placement.choose_several(collection, count, taken, taken)
        assert homes == plain.choose_several(collection, count, taken, taken)
        if homes:
            assert placement.choose_primary(collection, homes) == plain.choose_primary(collection, homes)
    assert [placement.rooms(worker) for worker in cluster.workers] == [plain.rooms(worker) for worker in cluster.workers]
