from __future__ import annotations

import dataclasses
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.coordinator.logic.balance_sizes import ShardSizes
from shoal.coordinator.logic.placement import Placement
from shoal.coordinator.logic.placement_loads import WorkerRoom
from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import CollectionState
from shoal.core.health import ReplicaRole
from shoal.core.ids import CollectionId, ReplicaId, Revision, Seq, ShardId, WorkerId
from shoal.core.rebalance import Drain
from shoal.core.shard_calls import ReplicaStatus, WorkerStatus
from shoal.core.shard_config import ShardConfig
from shoal.core.sizing import REPLICA_BASE_BYTES
from tests.twins.coordinator.plain_placement import PlainPlacement
from tests.twins.coordinator.world import collection_of, map_of, shard_config, worker_entry

ids = st.sampled_from([WorkerId(name) for name in "abcdefgh"])


def unsaid(*workers: WorkerId) -> dict[WorkerId, WorkerRoom]:
    """Return workers that do not say how much memory they may use."""
    return dict.fromkeys(workers, WorkerRoom())


def budgets(**bytes_of: int) -> dict[WorkerId, WorkerRoom]:
    """Return workers that may use so much memory."""
    return {WorkerId(worker): WorkerRoom(budget_bytes=number) for worker, number in bytes_of.items()}


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
    placement = Placement(budgets(a=REPLICA_BASE_BYTES - 1, b=2 * REPLICA_BASE_BYTES))
    assert [placement.rooms(WorkerId(name)) for name in "ab"] == [0, 2]
    assert filled(placement, collection, 2) == ["b", "b"]
    assert placement.choose(collection, taken=()) is None
    assert placement.rooms_in_all() == 0


def test_more_room_comes_first_among_workers_with_as_many_of_the_collection() -> None:
    one, two = CollectionId("one"), CollectionId("two")
    placement = Placement(budgets(a=3 * REPLICA_BASE_BYTES, b=9 * REPLICA_BASE_BYTES))
    assert filled(placement, one, 4) == ["b", "a", "b", "a"], "a collection is spread evenly, whatever the room"
    assert filled(placement, two, 1) == ["b"]
    assert placement.rooms_in_all() == 7


def test_workers_that_do_not_say_have_room_and_the_sum_is_unknown() -> None:
    placement = Placement(budgets(a=0, b=REPLICA_BASE_BYTES))
    assert placement.rooms_in_all() is None
    assert filled(placement, CollectionId("one"), 3) == ["a", "b", "a"]


def zoned(**zones: str) -> Placement:
    workers = {WorkerId(name): zone for name, zone in zones.items()}
    return Placement({worker: WorkerRoom(zone=zone) for worker, zone in workers.items()}, workers)


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
    placement, one = zoned(**zones), CollectionId("one")
    for _ in range(shards):
        homes = placement.choose_several(one, replicas, taken=(), beside=())
        assert len(homes) == len(set(homes)) == min(replicas, len(zones))
        assert len({zones[worker] for worker in homes}) == min(len(homes), len(set(zones.values())))


def test_rooms_in_all_count_so_many_on_each_at_most() -> None:
    placement = Placement(budgets(a=5 * REPLICA_BASE_BYTES, b=REPLICA_BASE_BYTES))
    assert (placement.rooms_in_all(), placement.rooms_in_all(most=3)) == (6, 4)


def test_a_worker_that_may_not_open_files_for_one_more_is_not_chosen() -> None:
    collection = CollectionId("one")
    memory = {"a": 9 * REPLICA_BASE_BYTES, "b": 9 * REPLICA_BASE_BYTES, "c": 0}
    most = {"a": 0, "b": 2, "c": 1}
    placement = Placement({WorkerId(each): WorkerRoom(budget_bytes=memory[each], most_replicas=most[each]) for each in "abc"})
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
def fleets(draw: st.DrawFn) -> tuple[ClusterMap, dict[WorkerId, WorkerStatus]]:
    """A cluster with workers of any room and zone, with collections that are being created, used and dropped, and what
    some of its workers report.
    """
    names = draw(st.sets(ids, min_size=1))
    workers = [
        dataclasses.replace(
            worker_entry(name, zone=draw(st.sampled_from(["", "x", "y"]))),
            memory_budget_bytes=draw(st.sampled_from([0, 2, 5, 50])) * REPLICA_BASE_BYTES,
            disk_bytes=draw(st.sampled_from([0, 1000])),
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
    cluster = map_of(collections, configs, workers)
    closed = draw(st.dictionaries(ids, st.booleans(), max_size=2))
    drains = {worker: Drain(primaries_only=primaries, asked_by="me", since_ms=1) for worker, primaries in closed.items()}
    return dataclasses.replace(cluster, drains=drains, forgotten=dict.fromkeys(draw(st.sets(ids, max_size=1)), Revision(1))), draw(
        st.dictionaries(st.sampled_from(sorted(names)), _reports_of(configs))
    )


def _reports_of(configs: list[ShardConfig]) -> st.SearchStrategy[WorkerStatus]:
    """Any sizes of some of the shards, and now and then a disk that is nearly full."""
    keys = [str(config.shard) for config in configs] or ["none"]
    sizes = st.tuples(st.integers(0, 3 * REPLICA_BASE_BYTES), st.integers(0, 400))
    told = st.dictionaries(st.sampled_from(keys), sizes)
    return st.builds(reported, told, st.sampled_from(["", "", "", "nearly full"]))


def reported(told: dict[str, tuple[int, int]], disk: str = "") -> WorkerStatus:
    """Return the status of a worker whose replicas take these bytes in memory and on disk."""
    replicas = {
        key: ReplicaStatus(replica=ReplicaId(key), role=ReplicaRole.BACKUP, applied_seq=Seq(1), memory_bytes=memory, disk_bytes=on_disk)
        for key, (memory, on_disk) in told.items()
    }
    return WorkerStatus(memory_bytes=1, failed={}, replicas=replicas, disk=disk)


placements = st.lists(
    st.tuples(st.sampled_from(["id-one", "id-two", "new", "id-one"]), st.integers(1, 4), st.sets(ids, max_size=3), st.integers(0, 2)),
    max_size=25,
)


@given(fleets(), placements)
@settings(max_examples=200)
def test_every_choice_is_the_one_that_a_look_at_all_workers_makes(
    fleet: tuple[ClusterMap, dict[WorkerId, WorkerStatus]], wanted: list[tuple[str, int, set[WorkerId], int]]
) -> None:
    placement, plain = Placement.of(*fleet), PlainPlacement.of(*fleet)
    for name, count, taken, times in wanted:
        collection, size = CollectionId(name), ShardSizes(memory_bytes=(1 + times) * REPLICA_BASE_BYTES, disk_bytes=100 * times)
        assert placement.choose(collection, taken, taken, size) == plain.choose(collection, taken, taken, size)
        homes = placement.choose_several(collection, count, taken, taken, size)
        assert homes == plain.choose_several(collection, count, taken, taken, size)
        if homes:
            assert placement.choose_primary(collection, homes) == plain.choose_primary(collection, homes)
    assert [placement.rooms(worker) for worker in placement.workers] == [plain.rooms(worker) for worker in placement.workers]


MIB, GIB = 2**20, 2**30


def sized_fleet(budgets_mib: dict[str, int], shards: list[tuple[str, int, list[str], int]], wanted: dict[str, int]) -> Placement:
    """Return the placement of a cluster. shards: collection, number, workers, MiB in memory. wanted: shards of further
    collections, which are being created.
    """
    workers = [dataclasses.replace(worker_entry(name, zone=""), memory_budget_bytes=mib * MIB) for name, mib in budgets_mib.items()]
    held = {name: sum(each == name for each, *_ in shards) for name, *_ in shards}
    collections = [collection_of(name, shards=count, state=CollectionState.ACTIVE) for name, count in held.items()]
    collections += [collection_of(name, shards=count) for name, count in wanted.items()]
    configs = []
    told: dict[WorkerId, dict[str, tuple[int, int]]] = {worker.id: {} for worker in workers}
    for name, number, homes, mib in shards:
        shard = ShardId(CollectionId(f"id-{name}"), number)
        replicas = {f"{shard}-{home}": home for home in homes}
        configs.append(shard_config(shard, replicas, isr=replicas))
        for home in homes:
            told[WorkerId(home)][str(shard)] = (mib * MIB, mib * MIB)
    return Placement.of(map_of(collections, configs, workers), {worker: reported(sizes) for worker, sizes in told.items()})


def test_a_collection_is_spread_by_the_room_that_workers_have_left() -> None:
    placement = sized_fleet({"a": 2048, "b": 1024, "c": 256}, [], {"six": 6})
    assert Counter(filled(placement, CollectionId("id-six"), 6)) == {"a": 4, "b": 2}
    fuller = sized_fleet({"a": 2048, "b": 2048}, [("big", 0, ["a"], 1536)], {"five": 5})
    assert Counter(filled(fuller, CollectionId("id-five"), 5)) == {"a": 1, "b": 4}


def test_small_collections_do_not_all_go_where_the_most_memory_is() -> None:
    names = {f"new{number}": 1 for number in range(9)}
    seen = [("big", 0, ["a"], 800), ("one", 0, ["a"], 20), ("two", 0, ["b"], 20), ("three", 0, ["a"], 20)]
    placement = sized_fleet({"a": 2048, "b": 1024, "c": 256}, seen, names)
    chosen = Counter(filled(placement, CollectionId(f"id-{name}"), 1)[0] for name in names)
    assert chosen == {"b": 7, "c": 2}, "by capacity; the big one fills the largest worker more than all of them do"


def test_a_worker_shares_its_shards_with_all_others() -> None:
    placement = sized_fleet(dict.fromkeys("abcdef", 1024), [], {"many": 24})
    pairs = Counter(tuple(sorted(placement.choose_several(CollectionId("id-many"), 2, (), ()))) for _ in range(24))
    assert len(pairs) == 15, "each pair that there is"
    assert max(pairs.values()) <= 4
    held = Counter(worker for pair, count in pairs.items() for worker in pair * count)
    assert max(held.values()) - min(held.values()) <= 1


def test_a_replica_of_a_shard_needs_as_much_room_as_the_others_take() -> None:
    placement = sized_fleet({"a": 1024, "b": 1024, "c": 600}, [("one", 0, ["a"], 700), ("two", 0, ["b"], 500)], {})
    large = ShardSizes(memory_bytes=700 * MIB, disk_bytes=700 * MIB, told=True)
    assert placement.choose(CollectionId("id-one"), taken={WorkerId("a")}, beside={WorkerId("a")}, size=large) is None
    assert placement.choose(CollectionId("id-one"), taken={WorkerId("a")}, beside={WorkerId("a")}) == "c", "an empty one would fit"


def test_nothing_is_placed_on_a_drained_or_forgotten_worker_or_on_a_full_disk() -> None:
    cluster = map_of([], [], [worker_entry(name) for name in "abcd"])
    drained = {WorkerId("a"): Drain(primaries_only=True, asked_by="me", since_ms=1)}
    cluster = dataclasses.replace(cluster, drains=drained, forgotten={WorkerId("b"): Revision(3)})
    placement = Placement.of(cluster, {WorkerId("c"): reported({}, disk="its disk is full")})
    assert filled(placement, CollectionId("one"), 2) == ["d", "d"]
    assert placement.choose(CollectionId("one"), taken={WorkerId("d")}) is None
    assert placement.zone(WorkerId("a")) == "z", "it may still hold replicas"
