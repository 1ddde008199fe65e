"""What answers a public call, as one value that the router makes and the SDK hands on.

The values about collections and the cluster are what a user of the SDK gets, so their names are public.
"""

from __future__ import annotations

from dataclasses import dataclass

from shoal.core.collection import CollectionSpec
from shoal.core.health import MemberRole, ReplicaRole, ReplicationCondition, ShardCondition, WorkerCondition
from shoal.core.points import StoredColumns
from shoal.core.recovery import AuditEntry, Recovery
from shoal.core.requests import ShardToken
from shoal.core.shard_calls import SegmentExplain
from shoal.core.topk import HitColumns


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """A write is durable and applied. tokens: one for each shard that it touched; affected: points written or
    removed."""

    tokens: tuple[ShardToken, ...]
    affected: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Got:
    """Points that exist among the first `answered` ids that were asked for; 0: among all."""

    points: StoredColumns
    answered: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """Points in id order. more: whether there may be points behind the last one; collection_id: of the collection that
    holds them, "" when the router does not say."""

    points: StoredColumns
    more: bool
    collection_id: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """Hits of all queries. missing_shards: those left out, as "name/number"; explain: how segments were searched, when
    that was asked for."""

    hits: HitColumns
    missing_shards: tuple[str, ...] = ()
    explain: tuple[SegmentExplain, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditPage:
    """A page of the audit, newest first. following: what to ask for next, "" when there are no more."""

    entries: tuple[AuditEntry, ...]
    following: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardRecovery:
    """What a recovery does. done: whether it was carried out; without accept_data_loss it is only planned."""

    done: bool
    recovery: Recovery


@dataclass(frozen=True, kw_only=True, slots=True)
class CollectionSummary:
    """A collection as the cluster lists it. state: creating or active."""

    id: str
    spec: CollectionSpec
    state: str

    @property
    def name(self) -> str:
        """Its name."""
        return self.spec.name


@dataclass(frozen=True, kw_only=True, slots=True)
class CollectionInfo:
    """A collection and what it holds.

    growing_rows: rows in exact, growing segments; sealed_rows: rows in built indexes (rows of replaced or deleted
    points count until they are merged away); builds_pending: shards with an index build that runs or is due, each
    counted once; bytes: on disk; memory_bytes: of vectors, graphs and their tables; waiting: in words, why builds that
    are due do not begin, else "".
    """

    id: str
    spec: CollectionSpec
    state: str
    points: int = 0
    growing_rows: int = 0
    sealed_rows: int = 0
    segments: int = 0
    builds_pending: int = 0
    bytes: int = 0
    memory_bytes: int = 0
    waiting: str = ""

    @property
    def name(self) -> str:
        """Its name."""
        return self.spec.name


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerInfo:
    """A worker. state: up, unreachable or down; memory: resident bytes of its process, 0 when it does not answer; disk:
    in words, when its disk is full or nearly so, else ""; memory_budget: bytes that its replicas and builds may use, 0
    when not known; memory_used: of these, with what is reserved for running builds; file_limit: files that its process
    may have open, 0 when not known; files_open: those that it has."""

    id: str
    address: str
    pid: int
    node: str
    zone: str
    state: WorkerCondition
    memory: int
    disk: str = ""
    memory_budget: int = 0
    memory_used: int = 0
    file_limit: int = 0
    files_open: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplicaInfo:
    """A replica of a shard. role: by configuration: primary, isr (in sync), elr (may lead), learner (catches up) or
    leaving; state: what it does, as its worker says: primary, starting, waiting, backup, learner, failed, or "" when it
    does not say; applied_seq: position in the log up to which it has applied the writes, 0 when not known."""

    id: str
    worker: str
    role: MemberRole
    state: ReplicaRole
    applied_seq: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardInfo:
    """A shard.

    primary, isr, learners, elr, leaving: worker ids; state: ok (its primary answers), creating, opening, no primary or
    failed; replication: ok (as many replicas are in sync as are wanted), creating, under-replicated (it serves, with
    fewer), read only (fewer than a write needs) or unavailable (none that may lead is on a live worker); detail: why,
    unless both are ok; memory: bytes that its primary holds in memory, 0 when not known; rf: replicas wanted; min_isr:
    replicas in sync that a write needs.
    """

    collection: str
    shard: int
    term: int
    primary: str
    isr: tuple[str, ...]
    learners: tuple[str, ...]
    state: ShardCondition
    detail: str
    memory: int = 0
    replication: ReplicationCondition = ReplicationCondition.OK
    elr: tuple[str, ...] = ()
    leaving: tuple[str, ...] = ()
    rf: int = 1
    min_isr: int = 1
    replicas: tuple[ReplicaInfo, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterInfo:
    """The cluster as one router sees it. leader: address of the leading coordinator, None when there is none."""

    cluster_id: str
    leader: str | None
    workers: tuple[WorkerInfo, ...]
    shards: tuple[ShardInfo, ...]
