"""The names of all keys in the store. Every key of a cluster starts with `/shoal/<cluster name>/v1/`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from shoal.core.ids import CollectionId, ShardId, WorkerId


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of the cluster with this name."""

    cluster_name: str

    @property
    def prefix(self) -> str:
        """Prefix of every key of the cluster."""
        return f"/shoal/{self.cluster_name}/v1/"

    @property
    def cluster(self) -> str:
        """Key of the cluster's id."""
        return self.prefix + "cluster"

    @property
    def leader(self) -> str:
        """Key of the leading coordinator; it is under that coordinator's lease."""
        return self.prefix + "leader"

    def worker(self, worker: WorkerId) -> str:
        """Return the key of a worker's registration; it is under the worker's lease."""
        return f"{self.prefix}workers/{worker}"

    def name(self, name: str) -> str:
        """Return the key that makes a collection's name unique. Its value is the collection's id."""
        return f"{self.prefix}names/{name}"

    def collection(self, collection: CollectionId) -> str:
        """Return the key of a collection."""
        return f"{self.prefix}collections/{collection}"

    def shard(self, shard: ShardId) -> str:
        """Return the key of a shard configuration."""
        return f"{self.prefix}shards/{shard.collection}/{shard.number}"

    def drain(self, worker: WorkerId) -> str:
        """Return the key that says that a worker is drained."""
        return f"{self.prefix}drain/{worker}"

    def forgotten(self, worker: WorkerId) -> str:
        """Return the key that says that a worker will not return."""
        return f"{self.prefix}forgotten/{worker}"

    @property
    def drain_turn(self) -> str:
        """Key that every change of drains and forgotten workers writes, so that two at once are noticed."""
        return f"{self.prefix}ops/drains"

    @property
    def rebalance(self) -> str:
        """Key of the newest applied plan."""
        return f"{self.prefix}ops/rebalance"

    @property
    def balance(self) -> str:
        """Key of the settings of balancing."""
        return f"{self.prefix}ops/balance"

    @property
    def plans(self) -> str:
        """Prefix of the keys of the plans that ended."""
        return f"{self.prefix}history/"

    def ended_plan(self, time_ms: int, plan: str) -> str:
        """Return the key of a plan that began at that time, in ms since 1970. The keys sort by time."""
        return f"{self.plans}{_moment(time_ms)}-{plan}"

    @property
    def audits(self) -> str:
        """Prefix of the keys of all audit entries."""
        return f"{self.prefix}audit/"

    def audit(self, time_ms: int, id: str) -> str:
        """Return the key of an operator's action at that time, in ms since 1970. The keys sort by time."""
        return f"{self.audits}{_moment(time_ms)}-{id}"

    @property
    def api_keys(self) -> str:
        """Prefix of the keys of all API keys."""
        return f"{self.prefix}auth/keys/"

    def api_key(self, id: str) -> str:
        """Return the key of an API key."""
        return self.api_keys + id


def _moment(time_ms: int) -> str:
    moment = datetime.fromtimestamp(time_ms // 1000, UTC)
    return f"{moment:%Y%m%dT%H%M%S}.{time_ms % 1000:03d}Z"
