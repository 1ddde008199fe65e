"""Names of the keys, in one place. Every key of a cluster lies under `/shoal/<cluster name>/v1/`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from shoal.core.ids import CollectionId, ShardId, WorkerId


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys of the cluster of that name."""

    cluster_name: str

    @property
    def prefix(self) -> str:
        """What every key starts with."""
        return f"/shoal/{self.cluster_name}/v1/"

    @property
    def cluster(self) -> str:
        """Id of the cluster."""
        return self.prefix + "cluster"

    @property
    def leader(self) -> str:
        """Leading coordinator; under its lease."""
        return self.prefix + "leader"

    def worker(self, worker: WorkerId) -> str:
        """Registration of a worker; under its lease."""
        return f"{self.prefix}workers/{worker}"

    def name(self, name: str) -> str:
        """Makes the name of a collection unique; holds its id."""
        return f"{self.prefix}names/{name}"

    def collection(self, collection: CollectionId) -> str:
        """A collection."""
        return f"{self.prefix}collections/{collection}"

    def shard(self, shard: ShardId) -> str:
        """A shard configuration."""
        return f"{self.prefix}shards/{shard.collection}/{shard.number}"

    @property
    def audits(self) -> str:
        """What the keys of all audit entries start with."""
        return f"{self.prefix}audit/"

    def audit(self, time_ms: int, id: str) -> str:
        """What an operator did at that time; keys stand in the order of their times."""
        moment = datetime.fromtimestamp(time_ms // 1000, UTC)
        return f"{self.audits}{moment:%Y%m%dT%H%M%S}.{time_ms % 1000:03d}Z-{id}"
