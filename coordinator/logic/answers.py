"""What workers have said about replicas that are not open.

It holds until they say otherwise, or register anew: silence changes nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Self

from shoal.coordinator.logic.snapshot import Told
from shoal.core.cluster_map import ClusterMap
from shoal.core.ids import ReplicaId, Revision, ShardId, WorkerId
from shoal.core.shard_config import may_lead, replica_on


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Closed:
    """A replica that was not open when its worker, registered so, last answered."""

    shard: ShardId
    worker: WorkerId
    registration: Revision


class Answers:
    """The replicas that were not open when their worker last answered. A value: `heard` gives the next one."""

    def __init__(self, closed: Mapping[ReplicaId, Closed] | None = None) -> None:
        self._closed = dict(closed or {})

    def to_ask_again(self, cluster: ClusterMap) -> Mapping[WorkerId, tuple[ShardId, ...]]:
        """Return whom to ask again, and about what: else "not open", said as a worker began, would hold for as long as
        it runs.
        """
        asked: dict[WorkerId, list[ShardId]] = {}
        for replica, said in self._closed.items():
            entry = cluster.shards.get(said.shard)
            if entry is not None and may_lead(entry.config, replica) and _is_registered(cluster, said):
                asked.setdefault(said.worker, []).append(said.shard)
        return {worker: tuple(shards) for worker, shards in asked.items()}

    def heard(self, asked: Mapping[WorkerId, Sequence[ShardId]], told: Told, cluster: ClusterMap) -> Self:
        """Return what is known once these questions, made from this map, were answered so."""
        closed = {replica: said for replica, said in self._closed.items() if _holds(cluster, replica, said) and replica not in told.ends}
        for worker in told.answered & cluster.workers.keys():
            for shard in asked.get(worker, ()):
                entry = cluster.shards.get(shard)
                replica = None if entry is None else replica_on(entry.config, worker)
                if replica is not None and replica not in told.ends:
                    closed[replica] = Closed(shard=shard, worker=worker, registration=cluster.workers[worker].registration)
        return type(self)(closed)

    def added_to(self, told: Told) -> Told:
        """Return what was told now, with what was said before and still holds."""
        return dataclasses.replace(told, closed=self._closed.keys())


def _holds(cluster: ClusterMap, replica: ReplicaId, said: Closed) -> bool:
    entry = cluster.shards.get(said.shard)
    return entry is not None and replica in entry.config.worker_of and _is_registered(cluster, said)


def _is_registered(cluster: ClusterMap, said: Closed) -> bool:
    return said.worker in cluster.workers and cluster.workers[said.worker].registration == said.registration
