"""Random cluster maps over few workers and collections, and random changes of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from hypothesis import strategies as st

from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import CollectionState
from shoal.core.ids import CollectionId, ReplicaId, Revision, ShardId, WorkerId
from shoal.core.map_tables import CollectionTable, ShardTable
from shoal.core.shard_config import ShardEntry, ShardState
from tests.twins.coordinator.world import collection_of, shard_config, worker_entry

WORKERS = [WorkerId(name) for name in "abcd"]
COLLECTIONS = [CollectionId(name) for name in "xyz"]

shards = st.builds(ShardId, st.sampled_from(COLLECTIONS), st.integers(0, 4))


def replica_of(shard: ShardId, worker: WorkerId) -> ReplicaId:
    """Return the replica that random maps place on a worker."""
    return ReplicaId(f"{shard}-{worker}")


@st.composite
def entries(draw: st.DrawFn, shard: ShardId) -> ShardEntry:
    """Return a configuration of a shard on up to three workers, with its epoch."""
    homes = {replica_of(shard, worker): worker for worker in draw(st.lists(st.sampled_from(WORKERS), max_size=3, unique=True))}
    placed = list(homes) or [ReplicaId("dropped")]
    in_sync = draw(st.integers(1, len(placed)))
    config = shard_config(
        shard,
        {str(replica): str(worker) for replica, worker in homes.items()},
        isr=placed[:in_sync],
        learners=placed[in_sync:],
        state=draw(st.sampled_from(ShardState)),
        primary_reg=draw(st.sampled_from([0, 1, 1, 2])),
    )
    return ShardEntry(config=config, epoch=Revision(draw(st.integers(1, 3))))


@st.composite
def shard_changes(draw: st.DrawFn) -> Mapping[ShardId, ShardEntry | None]:
    """Return new entries of up to four shards; None for a shard that is deleted."""
    return {shard: draw(st.none() | entries(shard)) for shard in draw(st.lists(shards, max_size=4, unique=True))}


@st.composite
def pairs_of_maps(draw: st.DrawFn) -> tuple[ClusterMap, ClusterMap]:
    """Return two maps, the second some changes later."""
    drawn = {
        id: collection_of(id, shards=5, replicas=draw(st.integers(1, 2)), state=draw(st.sampled_from(CollectionState)))
        for id in COLLECTIONS
    }
    before = ClusterMap(
        workers={worker: worker_entry(worker) for worker in WORKERS},
        collections=CollectionTable(dataclasses.replace(each, id=id) for id, each in drawn.items()),
        shards=ShardTable().after(draw(shard_changes())).after(draw(shard_changes())),
    )
    gone, altered = draw(st.sets(st.sampled_from(WORKERS), max_size=1)), draw(st.sets(st.sampled_from(COLLECTIONS), max_size=1))
    return before, dataclasses.replace(
        before,
        workers={worker: each for worker, each in before.workers.items() if worker not in gone} if gone else before.workers,
        collections=before.collections.after({id: dataclasses.replace(before.collections[id], revision=Revision(77)) for id in altered}),
        shards=before.shards.after(draw(shard_changes())),
    )
