"""What becomes of a request to create or to alter a collection, given who holds the name."""

from __future__ import annotations

import dataclasses

from coordinator.logic.placement import Placement
from shoal.core.alteration import Alteration, altered_spec
from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import Collection, CollectionSpec, CollectionState
from shoal.core.errors import AlreadyExists, ErrorDetails, NotFound, ResourceExhausted, Unavailable
from shoal.core.sizing import MIB, REPLICA_BASE_BYTES


def admitted(holder: Collection | None, spec: CollectionSpec, request_id: str) -> Collection | None:
    """The collection that this very request has created already; None when the name is free.

    A collection that is being dropped has given its name up. Raises AlreadyExists when another request holds the name.
    """
    if holder is None or holder.state is CollectionState.DROPPING:
        return None
    if holder.request_id == request_id and holder.spec == spec:
        return holder
    raise AlreadyExists(f"collection {spec.name!r} already exists", ErrorDetails(field="name"))


def check_room(cluster: ClusterMap, spec: CollectionSpec) -> None:
    """Raise ResourceExhausted unless the live workers have memory for the replicas of a new collection, while they are empty."""
    rooms, wanted = Placement.of(cluster).rooms_in_all(), spec.shards * spec.replicas
    if rooms is None:
        return
    rooms = max(0, rooms - _unplaced(cluster))
    if wanted <= rooms:
        return
    raise ResourceExhausted(
        f"no memory for collection {spec.name!r}: its {wanted} replicas need {REPLICA_BASE_BYTES // MIB} MiB each to begin with, the "
        f"{len(cluster.workers)} live workers have room for {rooms} more; choose fewer shards, drop collections or add workers",
        ErrorDetails(field="shards", limit="memory"),
    )


def _unplaced(cluster: ClusterMap) -> int:
    """Shards of collections being created that no worker has been chosen for yet."""
    creating = [each for each in cluster.collections.values() if each.state is CollectionState.CREATING]
    return sum(each.spec.shards - len(cluster.shards_of(each.id)) for each in creating)


def altered(holder: Collection | None, name: str, alteration: Alteration) -> Collection:
    """The holder of the name as it shall be, which may be as it is.

    Raises NotFound when nobody has the name or its holder is being dropped, Unavailable while it is being created (its workers
    are being told what it is), InvalidArgument naming what is wrong with the alteration.
    """
    if holder is None or holder.state is CollectionState.DROPPING:
        raise NotFound(f"collection {name!r} does not exist", ErrorDetails(field="name"))
    if holder.state is CollectionState.CREATING:
        raise Unavailable(f"collection {name!r} is still being created", ErrorDetails(field="name"))
    return dataclasses.replace(holder, spec=altered_spec(holder.spec, alteration))
