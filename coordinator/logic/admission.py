"""Decides about requests to create or to alter a collection, from the collection that holds the name."""

from __future__ import annotations

import dataclasses

from shoal.coordinator.logic.placement import Placement, Rooms
from shoal.core.alteration import Alteration, altered_spec
from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import Collection, CollectionSpec, CollectionState
from shoal.core.errors import AlreadyExists, ErrorDetails, NotFound, PreconditionFailed, ResourceExhausted, Unavailable
from shoal.core.file_budget import OPEN_FILES_LIMIT
from shoal.core.sizing import KIB, REPLICA_BASE_BYTES


def admitted(holder: Collection | None, spec: CollectionSpec, request_id: str) -> Collection | None:
    """Return the collection that this request has created already; None if the name is free.

    A collection that is being dropped does not hold its name. Raises AlreadyExists if another request's collection
    holds the name.
    """
    if holder is None or holder.state is CollectionState.DROPPING:
        return None
    if holder.request_id == request_id and holder.spec == spec:
        return holder
    raise AlreadyExists(f"collection {spec.name!r} already exists", ErrorDetails(field="name"))


def check_replicas(cluster: ClusterMap, before: CollectionSpec | None, spec: CollectionSpec) -> None:
    """Check that the live workers can take the replicas of a collection. before: its present spec; None if it is new.

    Raises PreconditionFailed if there are fewer workers than replicas, since a worker holds at most one replica of a
    shard. Raises ResourceExhausted if they lack memory or open files for the replicas, counted as empty ones.
    """
    more = spec.replicas - (0 if before is None else before.replicas)
    if more <= 0:
        return
    open_to = Placement.of(cluster).workers
    if len(open_to) < spec.replicas:
        closed = len(cluster.workers) - len(open_to)
        raise PreconditionFailed(
            f"collection {spec.name!r} cannot have {spec.replicas} replicas of each shard: they need as many workers, "
            f"{len(cluster.workers)} {'is' if len(cluster.workers) == 1 else 'are'} live"
            + (f", {closed} of them {'is' if closed == 1 else 'are'} drained or forgotten" if closed else ""),
            ErrorDetails(field="replicas"),
        )
    _check_room(cluster, spec, more)


def _check_room(cluster: ClusterMap, spec: CollectionSpec, more: int) -> None:
    placement, wanted = Placement.of(cluster), spec.shards * more
    room = _room(cluster, placement, spec, placement.rooms)
    if room is None or wanted <= room:
        return
    in_memory = _room(cluster, placement, spec, placement.memory_rooms)
    there_is = f"the {len(cluster.workers)} live workers have room for {room} more; choose fewer shards or replicas, drop collections"
    if in_memory is None or wanted <= in_memory:
        raise ResourceExhausted(
            f"no open files for collection {spec.name!r}: its {wanted} replicas need {_most_files(cluster)} each, {there_is}, add workers "
            "or raise the limit of files that theirs may have open (`ulimit -n`)",
            ErrorDetails(field="shards", limit=OPEN_FILES_LIMIT),
        )
    raise ResourceExhausted(
        f"no memory for collection {spec.name!r}: its {wanted} replicas need {REPLICA_BASE_BYTES // KIB} KiB each to begin with, "
        f"{there_is} or add workers",
        ErrorDetails(field="shards", limit="memory"),
    )


def _room(cluster: ClusterMap, placement: Placement, spec: CollectionSpec, rooms: Rooms) -> int | None:
    """Return how many more replicas of a collection can be placed; None if a worker does not report its room."""
    whole, apart = placement.rooms_in_all(rooms=rooms), placement.rooms_in_all(most=spec.shards, rooms=rooms)
    return None if whole is None or apart is None else min(max(0, whole - _unplaced(cluster)), apart)


def _most_files(cluster: ClusterMap) -> int:
    return max(entry.replica_files for entry in cluster.workers.values())


def _unplaced(cluster: ClusterMap) -> int:
    """Return the number of replicas of collections in creation for which no worker has been chosen yet."""
    creating = [each for each in cluster.collections.values() if each.state is CollectionState.CREATING]
    return sum(each.spec.shards * each.spec.replicas - _placed(cluster, each) for each in creating)


def _placed(cluster: ClusterMap, collection: Collection) -> int:
    return sum(min(collection.spec.replicas, len(entry.config.worker_of)) for entry in cluster.shards_of(collection.id))


def altered(holder: Collection | None, name: str, alteration: Alteration) -> Collection:
    """Return the collection after the alteration, which may be the same as before. holder: holds the name.

    Raises NotFound if no collection has the name or it is being dropped; Unavailable while it is being created, because
    its workers are receiving its spec; InvalidArgument naming what is wrong with the alteration.
    """
    if holder is None or holder.state is CollectionState.DROPPING:
        raise NotFound(f"collection {name!r} does not exist", ErrorDetails(field="name"))
    if holder.state is CollectionState.CREATING:
        raise Unavailable(f"collection {name!r} is still being created", ErrorDetails(field="name"))
    return dataclasses.replace(holder, spec=altered_spec(holder.spec, alteration))
