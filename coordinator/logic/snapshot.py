"""The input of one round of decisions."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from types import MappingProxyType

from shoal.core.cluster_map import ClusterMap
from shoal.core.ids import ClusterId, CollectionId, ReplicaId, ShardId, WorkerId
from shoal.core.recovery import LogEnd
from shoal.core.shard_calls import WorkerStatus


@dataclass(frozen=True, kw_only=True, slots=True)
class Focus:
    """What a round looks at, see Attention.

    shards: those that are not settled. unready: for each collection in creation, its placed shards that cannot be
    written yet. joining: those of collections in creation that can be written and wait for their last replicas.
    """

    shards: frozenset[ShardId] = frozenset()
    unready: Mapping[CollectionId, frozenset[ShardId]] = field(default_factory=lambda: MappingProxyType({}))
    joining: frozenset[ShardId] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """The reports of workers about the logs of their replicas.

    ends: ends of the logs of replicas that are open. answered: workers that answered in this round. closed: replicas
    that were not open when their worker last answered under its present registration.
    """

    ends: Mapping[ReplicaId, LogEnd] = field(default_factory=lambda: MappingProxyType({}))
    answered: Set[WorkerId] = frozenset()
    closed: Set[ReplicaId] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class MoveAge:
    """For how long, in seconds, a move or a hand-over has been as it is, as far as this coordinator has seen.

    stuck_s: without progress of the target; joined_s: since the target is in sync, 0 while it is not; asked_s: since
    the primary is asked to hand over to this successor, 0 while it is not asked.
    """

    stuck_s: float = 0.0
    joined_s: float = 0.0
    asked_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """The observed map, what the coordinator has seen and asked besides, and the round's seed.

    seed: new in every round, so that new ids are unique. told: reports about replicas that may be elected. joining_s:
    seconds for which shards of new collections have waited for their last replicas. unled_s: seconds for which shards
    have needed an election. absent_s: seconds for which workers that hold replicas have been missing from the map.
    replace_after_s: absence of a worker, in seconds, after which its replicas count as lost. focus: of this map; the
    steps are the same when it holds settled shards, too. reports: the newest status of each live worker that has
    answered in the last seconds. now_ms: the time in ms since 1970, for what is kept of plans. moving: the ages of what
    is under way. plan_idle_s: seconds for which a plan that runs has had nothing under way.
    """

    map: ClusterMap
    seed: str
    focus: Focus
    told: Told = field(default_factory=Told)
    joining_s: Mapping[ShardId, float] = field(default_factory=lambda: MappingProxyType({}))
    unled_s: Mapping[ShardId, float] = field(default_factory=lambda: MappingProxyType({}))
    absent_s: Mapping[WorkerId, float] = field(default_factory=lambda: MappingProxyType({}))
    replace_after_s: float = 600.0
    reports: Mapping[WorkerId, WorkerStatus] = field(default_factory=lambda: MappingProxyType({}))
    now_ms: int = 0
    moving: Mapping[ShardId, MoveAge] = field(default_factory=lambda: MappingProxyType({}))
    plan_idle_s: float = 0.0


def new_replica_id(seed: str, shard: ShardId, worker: WorkerId) -> ReplicaId:
    """Return the id of a new replica of `shard` on `worker`: the same for the same seed, different from all others.

    The id contains neither shard nor worker.
    """
    return ReplicaId(_uuid_of(f"{seed} replica {shard} {worker}"))


def new_cluster_id(seed: str) -> ClusterId:
    """Return the id of a new cluster."""
    return ClusterId(_uuid_of(f"{seed} cluster"))


def _uuid_of(text: str) -> str:
    return str(uuid.UUID(bytes=hashlib.blake2b(text.encode("utf-8"), digest_size=16).digest()))
