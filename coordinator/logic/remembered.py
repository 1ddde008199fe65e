"""The memory of a coordinator between rounds: since when workers are missing, since when shards have no primary, and
which replicas were reported as not open. It holds only what the coordinator has seen itself since it leads.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

from shoal.coordinator.logic.snapshot import Told
from shoal.core.cluster_map import ClusterMap
from shoal.core.ids import ReplicaId, Revision, ShardId, WorkerId
from shoal.core.shard_config import may_lead, replica_on


class Absences:
    """Since when each worker of a configuration has been missing from the map. Immutable: `seen` returns the next."""

    def __init__(self, since: Mapping[WorkerId, float] | None = None) -> None:
        self._since = dict(since or {})

    def seen(self, cluster: ClusterMap, now_s: float) -> Self:
        """Return the absences after this map. A worker that is back or has no replica left is forgotten."""
        missing = (worker for worker in cluster.shards.workers if worker not in cluster.workers)
        return type(self)({worker: self._since.get(worker, now_s) for worker in missing})

    def absent_s(self, now_s: float) -> Mapping[WorkerId, float]:
        """Return the seconds for which each worker has been missing."""
        return {worker: now_s - since for worker, since in self._since.items()}

    def next_due_s(self, now_s: float, after_s: float) -> float | None:
        """Return the seconds until the next worker has been missing for after_s; None if there is none."""
        left = [since + after_s - now_s for since in self._since.values()]
        return min((each for each in left if each > 0), default=None)


class Since:
    """Since when each shard has been in a given state. Immutable: `seen` returns the next."""

    def __init__(self, since: Mapping[ShardId, float] | None = None) -> None:
        self._since = dict(since or {})

    def seen(self, shards: Iterable[ShardId], now_s: float) -> Self:
        """Return the next value: exactly these shards are in the state now."""
        return type(self)({shard: self._since.get(shard, now_s) for shard in shards})

    def seconds(self, now_s: float) -> Mapping[ShardId, float]:
        """Return the seconds for which each shard has been in the state."""
        return {shard: now_s - since for shard, since in self._since.items()}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Closed:
    """A replica that was not open when its worker, under this registration, last answered."""

    shard: ShardId
    worker: WorkerId
    registration: Revision


class Answers:
    """The replicas that were not open when their worker last answered. Immutable: `heard` returns the next.

    An answer holds until the worker answers otherwise or registers again. Silence changes nothing.
    """

    def __init__(self, closed: Mapping[ReplicaId, Closed] | None = None) -> None:
        self._closed = dict(closed or {})

    def to_ask_again(self, cluster: ClusterMap) -> Mapping[WorkerId, tuple[ShardId, ...]]:
        """Return which workers to ask again about which shards. Without this, the answer "not open" of a worker that
        has just started would hold for as long as the worker runs.
        """
        asked: dict[WorkerId, list[ShardId]] = {}
        for replica, said in self._closed.items():
            entry = cluster.shards.get(said.shard)
            if entry is not None and may_lead(entry.config, replica) and _is_registered(cluster, said):
                asked.setdefault(said.worker, []).append(said.shard)
        return {worker: tuple(shards) for worker, shards in asked.items()}

    def heard(self, asked: Mapping[WorkerId, Sequence[ShardId]], told: Told, cluster: ClusterMap) -> Self:
        """Return the answers that hold after this round. asked: the questions, made from `cluster`; told: the answers.

        A question without an answer changes nothing."""
        closed = {replica: said for replica, said in self._closed.items() if _holds(cluster, replica, said) and replica not in told.ends}
        for worker in told.answered & cluster.workers.keys():
            for shard in asked.get(worker, ()):
                entry = cluster.shards.get(shard)
                replica = None if entry is None else replica_on(entry.config, worker)
                if replica is not None and replica not in told.ends:
                    closed[replica] = Closed(shard=shard, worker=worker, registration=cluster.workers[worker].registration)
        return type(self)(closed)

    def added_to(self, told: Told) -> Told:
        """Return the answers of this round together with the earlier ones that still hold."""
        return dataclasses.replace(told, closed=self._closed.keys())


def _holds(cluster: ClusterMap, replica: ReplicaId, said: Closed) -> bool:
    entry = cluster.shards.get(said.shard)
    return entry is not None and replica in entry.config.worker_of and _is_registered(cluster, said)


def _is_registered(cluster: ClusterMap, said: Closed) -> bool:
    return said.worker in cluster.workers and cluster.workers[said.worker].registration == said.registration
