from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import Collection, CollectionSpec, CollectionState
from shoal.core.errors import NotFound, Unavailable
from shoal.core.ids import CollectionId, Revision, ShardId, WorkerId
from shoal.core.shard_calls import Consistency
from shoal.core.shard_config import ShardConfig, ShardEntry
from shoal.router.logic.replica_choice import may_read
from shoal.router.logic.shard_groups import grouped
from shoal.router.logic.shard_places import places_of
from tests.unit.router.configs import configs

ID = CollectionId("c")
WORKERS = [WorkerId(f"w{name}") for name in "pqrst"]


def collection(shards: int) -> Collection:
    return Collection(id=ID, spec=CollectionSpec(name="a", dim=2, shards=shards), state=CollectionState.ACTIVE, request_id="r")


@given(
    placed=st.lists(st.none() | configs(), min_size=1, max_size=6),
    live=st.frozensets(st.sampled_from(WORKERS)),
    consistency=st.sampled_from(Consistency),
)
def test_each_shard_is_in_one_place(placed: list[ShardConfig | None], live: frozenset[WorkerId], consistency: Consistency) -> None:
    known = collection(len(placed))
    entries = {ShardId(ID, at): ShardEntry(config=each, epoch=Revision(1)) for at, each in enumerate(placed) if each is not None}
    places = places_of(ClusterMap(collections={ID: known}, shards=entries), known, consistency, live)
    assert sorted([*places.only, *places.several, *places.failed]) == list(range(len(placed)))
    for number, config in enumerate(placed):
        homes = [config.worker_of[each] for each in may_read(config, consistency)] if config is not None else []
        readable = sorted(home for home in homes if home in live)
        if len(readable) == 1:
            assert places.only[number].first.worker == readable[0]
        elif readable:
            assert sorted(home.worker for home in places.several[number].homes) == readable
            assert places.homes.issuperset(readable)
        else:
            assert isinstance(places.failed[number], Unavailable)
            assert places.failed[number].details.shard == f"a/{number}"
    assert places.groups == (None if places.several or places.failed else grouped(places.only[number] for number in range(len(placed))))


def test_a_collection_that_was_dropped_has_no_places() -> None:
    known = collection(2)
    places = places_of(ClusterMap(), known, Consistency.ANY, WORKERS)
    assert [type(error) for error in places.failed.values()] == [NotFound, NotFound]
