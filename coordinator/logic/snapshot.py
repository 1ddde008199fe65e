"""What one round of decisions is made from."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from types import MappingProxyType

from shoal.core.cluster_map import ClusterMap
from shoal.core.ids import ClusterId, ReplicaId, ShardId, WorkerId
from shoal.core.recovery import LogEnd


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What workers told of the logs of their replicas.

    ends: of those that are open; answered: the workers that answered this time; closed: replicas that were not open
    when their worker last answered under its present registration.
    """

    ends: Mapping[ReplicaId, LogEnd] = field(default_factory=lambda: MappingProxyType({}))
    answered: Set[WorkerId] = frozenset()
    closed: Set[ReplicaId] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """The map as observed, what was seen besides, and the round's share of randomness.

    seed: never the same twice, so that new ids are new; told: of replicas that may be elected; joining_s: how long
    shards of new collections have waited for the last of their replicas; unled_s: how long shards have needed an
    election; absent_s: how long workers that hold replicas have been missing from the map; replace_after_s: after which
    a replica counts as lost.
    """

    map: ClusterMap
    seed: str
    told: Told = field(default_factory=Told)
    joining_s: Mapping[ShardId, float] = field(default_factory=lambda: MappingProxyType({}))
    unled_s: Mapping[ShardId, float] = field(default_factory=lambda: MappingProxyType({}))
    absent_s: Mapping[WorkerId, float] = field(default_factory=lambda: MappingProxyType({}))
    replace_after_s: float = 600.0


def new_replica_id(seed: str, shard: ShardId, worker: WorkerId) -> ReplicaId:
    """Id of a new replica of `shard` on `worker`: the same for the same seed, unlike any other.

    It tells nothing of either.
    """
    return ReplicaId(_uuid_of(f"{seed} replica {shard} {worker}"))


def new_cluster_id(seed: str) -> ClusterId:
    """Id of a cluster that has none yet."""
    return ClusterId(_uuid_of(f"{seed} cluster"))


def _uuid_of(text: str) -> str:
    return str(uuid.UUID(bytes=hashlib.blake2b(text.encode("utf-8"), digest_size=16).digest()))
