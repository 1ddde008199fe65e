"""Places the shards of a new collection: the primary in the isr, the others as learners, each on another worker."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from shoal.coordinator.logic.failover import candidates_of
from shoal.coordinator.logic.placement import Placement
from shoal.coordinator.logic.snapshot import Snapshot, new_replica_id
from shoal.coordinator.logic.steps import CreateShard, PlaceShardAnew
from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import Collection
from shoal.core.ids import ReplicaId, ShardId, Term, WorkerId
from shoal.core.shard_config import ShardConfig, ShardEntry, ShardState
from shoal.core.slots import SlotRange, split_evenly


def beginnings(
    snapshot: Snapshot, collection: Collection, placement: Placement, unsettled: Iterable[ShardId]
) -> Iterator[CreateShard | PlaceShardAnew]:
    """Yield the first configurations of a collection's shards that are missing, or were lost before they were ACTIVE.

    unsettled: the collection's shards that are not settled. Ends when no worker has room for a primary.
    """
    cluster, spec = snapshot.map, collection.spec
    wanted = sorted(
        {*_missing(cluster, collection), *(shard for shard in unsettled if _is_lost_before_it_was_active(cluster.shards[shard], cluster))}
    )
    if not wanted:
        return
    slots_of = split_evenly(spec.shards)
    for shard in wanted:
        before, slots = cluster.shards.get(shard), slots_of[shard.number]
        homes = placement.choose_several(collection.id, spec.replicas, taken=(), beside=())
        if not homes:
            return
        primary = placement.choose_primary(collection.id, homes)
        config = _first_config(snapshot, collection, shard, slots, homes, primary)
        registrations = {worker: cluster.workers[worker].registration for worker in homes}
        if before is None:
            yield CreateShard(collection=collection, config=config, registrations=registrations)
        else:
            anew = _in_place_of(before.config, config)
            yield PlaceShardAnew(collection=collection, before=before, config=anew, registrations=registrations)


def _missing(cluster: ClusterMap, collection: Collection) -> Iterable[ShardId]:
    if cluster.shards.size_of(collection.id) == collection.spec.shards:
        return ()
    shards = (ShardId(collection.id, number) for number in range(collection.spec.shards))
    return (shard for shard in shards if shard not in cluster.shards)


def _is_lost_before_it_was_active(entry: ShardEntry, cluster: ClusterMap) -> bool:
    """Return whether a shard never became ACTIVE and no replica can lead.

    No write was acknowledged, so the shard may be placed again.
    """
    return entry.config.state is ShardState.CREATING and not candidates_of(entry.config, cluster.workers)


def _first_config(
    snapshot: Snapshot, collection: Collection, shard: ShardId, slots: SlotRange, homes: tuple[WorkerId, ...], primary: WorkerId
) -> ShardConfig:
    replica_on = {worker: new_replica_id(snapshot.seed, shard, worker) for worker in homes}
    return ShardConfig(
        shard=shard,
        term=Term(1),
        primary=replica_on[primary],
        primary_reg=snapshot.map.workers[primary].registration,
        isr=(replica_on[primary],),
        elr=(),
        learners=tuple(replica for worker, replica in replica_on.items() if worker != primary),
        worker_of={replica: worker for worker, replica in replica_on.items()},
        min_isr=collection.spec.min_isr,
        rf=collection.spec.replicas,
        state=ShardState.CREATING,
        slots=(slots,),
    )


def _in_place_of(old: ShardConfig, first: ShardConfig) -> ShardConfig:
    """Return the first configuration, in a later term. Old replicas get a tombstone, except on workers that also get a
    new replica: an empty folder may stay there."""
    homes = set(first.worker_of.values())
    going: dict[ReplicaId, WorkerId] = {replica: worker for replica, worker in old.worker_of.items() if worker not in homes}
    return replace(first, term=Term(old.term + 1), leaving=tuple(going), worker_of={**first.worker_of, **going})
