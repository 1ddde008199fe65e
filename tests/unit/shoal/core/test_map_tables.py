"""The indexes of the map's tables equal a full recount after any changes, and earlier tables stay as they were."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import Collection, CollectionState
from shoal.core.ids import CollectionId, ShardId, WorkerId
from shoal.core.map_changes import changed_shards, changed_shards_on
from shoal.core.map_tables import CollectionTable, ShardTable, differing
from shoal.core.shard_config import ShardEntry
from tests.support.examples.cluster_maps import COLLECTIONS, WORKERS, pairs_of_maps, shard_changes
from tests.twins.coordinator.world import collection_of


def recounted(plain: Mapping[ShardId, ShardEntry], worker: WorkerId) -> dict[ShardId, ShardEntry]:
    return {shard: entry for shard, entry in plain.items() if worker in entry.config.worker_of.values()}


def check_shards(table: ShardTable, plain: Mapping[ShardId, ShardEntry]) -> None:
    assert table == plain
    assert len(table) == len(plain)
    assert set(table) == set(plain)
    for shard in {*plain, ShardId(COLLECTIONS[0], 3), ShardId(CollectionId("none"), 0)}:
        assert table.get(shard) is plain.get(shard)
        assert (shard in table) == (shard in plain)
    for collection in (*COLLECTIONS, "none"):
        expected = tuple(plain[shard] for shard in sorted(plain) if shard.collection == collection)
        assert table.of_collection(CollectionId(collection)) == expected
    for worker in [*WORKERS, WorkerId("nobody")]:
        assert table.of_worker(worker) == recounted(plain, worker)
    assert set(table.workers) == {worker for worker in WORKERS if recounted(plain, worker)}


@given(st.lists(shard_changes(), max_size=12))
def test_shards_are_indexed_as_a_full_recount_would_and_earlier_tables_stay(history: list[Mapping[ShardId, ShardEntry | None]]) -> None:
    table, plain = ShardTable(), dict[ShardId, ShardEntry]()
    seen = [(table, dict(plain))]
    for changes in history:
        after = table.after(changes)
        plain = {shard: entry for shard, entry in {**plain, **changes}.items() if entry is not None}
        changed = {shard for shard, entry in changes.items() if table.get(shard) is not entry}
        assert set(after.changed_since(table)) == changed
        for worker in WORKERS:
            if not changed & {*table.of_worker(worker), *after.of_worker(worker)}:
                assert after.of_worker(worker) is table.of_worker(worker)
        table = after
        seen.append((table, dict(plain)))
    for kept, expected in seen:
        check_shards(kept, expected)
        check_shards(ShardTable(expected.values()), expected)


@st.composite
def collection_changes(draw: st.DrawFn) -> Mapping[CollectionId, Collection | None]:
    """A collection keeps its name for life, as the store's key of a name ensures."""
    changes: dict[CollectionId, Collection | None] = {}
    for name in draw(st.lists(st.sampled_from("xyz"), max_size=3, unique=True)):
        made = collection_of(name, state=draw(st.sampled_from(CollectionState)), revision=draw(st.integers(1, 9)))
        changes[made.id] = draw(st.sampled_from([None, made]))
    return changes


@given(st.lists(collection_changes(), max_size=12))
def test_collections_are_indexed_as_a_full_recount_would(history: list[Mapping[CollectionId, Collection | None]]) -> None:
    table, plain = CollectionTable(), dict[CollectionId, Collection]()
    for changes in history:
        before, table = table, table.after(changes)
        assert before == plain, "an earlier table stays"
        assert set(table.changed_since(before)) == {id for id, made in changes.items() if before.get(id) is not made}
        plain = {id: collection for id, collection in {**plain, **changes}.items() if collection is not None}
        assert table == plain
        assert (len(table), set(table)) == (len(plain), set(plain))
        alive = (each for each in plain.values() if each.state is not CollectionState.DROPPING)
        assert table.by_name == {each.spec.name: each for each in alive}
        for state in CollectionState:
            assert table.in_state(state) == {id: each for id, each in plain.items() if each.state is state}


def test_a_name_goes_to_the_next_collection_when_the_first_is_dropped_and_is_not_lost_when_that_is_deleted() -> None:
    old, new = collection_of("x"), dataclasses.replace(collection_of("x"), id=CollectionId("new"))
    dropping = dataclasses.replace(old, state=CollectionState.DROPPING)
    table = CollectionTable([old]).after({old.id: dropping})
    assert table.by_name == {}
    table = table.after({new.id: new})
    assert table.by_name == {"x": new}
    assert table.after({old.id: None}).by_name == {"x": new}


@given(st.dictionaries(st.integers(0, 5), st.sampled_from("ab")), st.dictionaries(st.integers(0, 5), st.sampled_from("ab")))
def test_differing_keys(before: dict[int, str], after: dict[int, str]) -> None:
    keys = list(differing(before, after))
    assert len(keys) == len(set(keys))
    assert set(keys) == {key for key in {*before, *after} if before.get(key) is not after.get(key)}


def on_which_a_decision_rests(cluster: ClusterMap, shard: ShardId) -> tuple[object, ...]:
    entry = cluster.shards.get(shard)
    homes = () if entry is None else tuple(cluster.workers.get(home) for home in entry.config.worker_of.values())
    return entry, None if entry is None else cluster.collections.get(shard.collection), homes


@given(pairs_of_maps())
@settings(max_examples=200)
def test_every_shard_that_may_be_decided_otherwise_is_among_the_changed_ones(pair: tuple[ClusterMap, ClusterMap]) -> None:
    before, after = pair
    otherwise = {
        shard
        for shard in {*before.shards, *after.shards}
        if on_which_a_decision_rests(before, shard) != on_which_a_decision_rests(after, shard)
    }
    changed = changed_shards(before, after)
    assert otherwise <= changed
    for worker in WORKERS:
        mine = {*before.shards.of_worker(worker), *after.shards.of_worker(worker)}
        assert otherwise & mine <= changed_shards_on(worker, before, after) <= changed & mine
    assert changed_shards(after, after) == set()
