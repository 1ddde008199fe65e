"""How long workers that hold replicas have been missing, and shards without a primary. A coordinator knows that only
from what it saw itself since it leads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Self

from shoal.core.cluster_map import ClusterMap
from shoal.core.ids import ShardId, WorkerId


class Absences:
    """Since when each worker that a configuration names has been missing from the map.

    A value: `seen` gives the next one.
    """

    def __init__(self, since: Mapping[WorkerId, float] | None = None) -> None:
        self._since = dict(since or {})

    def seen(self, cluster: ClusterMap, now_s: float) -> Self:
        """What is known once this map was seen at that time. Who is back, or holds nothing any more, is forgotten."""
        named = {worker for entry in cluster.shards.values() for worker in entry.config.worker_of.values()}
        return type(self)({worker: self._since.get(worker, now_s) for worker in named if worker not in cluster.workers})

    def absent_s(self, now_s: float) -> Mapping[WorkerId, float]:
        """Seconds that each has been missing."""
        return {worker: now_s - since for worker, since in self._since.items()}

    def next_due_s(self, now_s: float, after_s: float) -> float | None:
        """Seconds until the next of them will have been missing for after_s; None when there is none."""
        left = [since + after_s - now_s for since in self._since.values()]
        return min((each for each in left if each > 0), default=None)


class Since:
    """Since when each shard has been in some state. A value: `seen` gives the next one."""

    def __init__(self, since: Mapping[ShardId, float] | None = None) -> None:
        self._since = dict(since or {})

    def seen(self, shards: Iterable[ShardId], now_s: float) -> Self:
        """What is known once these shards, and no others, were seen to be in it at that time."""
        return type(self)({shard: self._since.get(shard, now_s) for shard in shards})

    def seconds(self, now_s: float) -> Mapping[ShardId, float]:
        """Seconds that each has been in it."""
        return {shard: now_s - since for shard, since in self._since.items()}
