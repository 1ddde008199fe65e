"""What workers have said about replicas that are not open. It holds until the worker registers anew: silence after it changes nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Self

from coordinator.logic.snapshot import Told
from shoal.core.cluster_map import ClusterMap
from shoal.core.ids import ReplicaId, Revision, ShardId, WorkerId
from shoal.core.shard_config import replica_on


class Answers:
    """The replicas that were not open when their worker last answered, each with the worker and its registration then.

    A value: `heard` gives the next one.
    """

    def __init__(self, closed: Mapping[ReplicaId, tuple[WorkerId, Revision]] | None = None) -> None:
        self._closed = dict(closed or {})

    def heard(self, asked: Mapping[WorkerId, Sequence[ShardId]], told: Told, cluster: ClusterMap) -> Self:
        """Return what is known once these questions, made from this map, were answered so."""
        closed = {replica: said for replica, said in self._closed.items() if _is_registered(cluster, *said) and replica not in told.ends}
        for worker in told.answered & cluster.workers.keys():
            for shard in asked.get(worker, ()):
                entry = cluster.shards.get(shard)
                replica = None if entry is None else replica_on(entry.config, worker)
                if replica is not None and replica not in told.ends:
                    closed[replica] = worker, cluster.workers[worker].registration
        return type(self)(closed)

    def added_to(self, told: Told) -> Told:
        """Return what was told now, with what was said before and still holds."""
        return dataclasses.replace(told, closed=self._closed.keys())


def _is_registered(cluster: ClusterMap, worker: WorkerId, registration: Revision) -> bool:
    return worker in cluster.workers and cluster.workers[worker].registration == registration
