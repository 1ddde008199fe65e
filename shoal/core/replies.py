"""The answer to each public call, as one value that the router builds and the SDK returns.

The values about collections and the cluster are given to users of the SDK, so their names are public.
"""

from __future__ import annotations

from dataclasses import dataclass

from shoal.core.collection import CollectionSpec
from shoal.core.health import MemberRole, ReplicaRole, ReplicationCondition, ShardCondition, WorkerCondition
from shoal.core.notebook import html_of, html_of_one
from shoal.core.points import StoredColumns
from shoal.core.recovery import AuditEntry, Recovery
from shoal.core.requests import ShardToken
from shoal.core.shard_calls import SegmentExplain
from shoal.core.topk import HitColumns


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """A write is durable and applied.

    tokens: one for each shard that it changed; affected: points written or removed.
    """

    tokens: tuple[ShardToken, ...]
    affected: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Got:
    """Points that exist among the first `answered` ids that were requested; 0: among all."""

    points: StoredColumns
    answered: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """Points in the order of ids.

    more: whether there may be points after the last one; collection_id: of the collection that holds them, "" if the
    router does not say.
    """

    points: StoredColumns
    more: bool
    collection_id: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """Hits of all queries.

    missing_shards: shards left out, as "name/number"; explain: how segments were searched, if requested.
    """

    hits: HitColumns
    missing_shards: tuple[str, ...] = ()
    explain: tuple[SegmentExplain, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditPage:
    """A page of the audit, newest first. following: the `before` of the next page, "" if there is none."""

    entries: tuple[AuditEntry, ...]
    following: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardRecovery:
    """A recovery. done: whether it was carried out; without accept_data_loss it is only planned."""

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
        """Return its name."""
        return self.spec.name


@dataclass(frozen=True, kw_only=True, slots=True)
class CollectionInfo:
    """A collection and its contents.

    growing_rows: rows in exact, growing segments; sealed_rows: rows in built indexes (rows of replaced or deleted
    points count until a merge removes them), with named vectors a row of each vector counts beside that of the point;
    builds_pending: number of index builds that run or are due; bytes: on disk; memory_bytes: of vectors, graphs and
    their tables; waiting: why due builds do not begin, in words, else "".
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
        """Return its name."""
        return self.spec.name

    def _repr_html_(self) -> str:
        return html_of_one(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerInfo:
    """A worker.

    state: up, unreachable or down; memory: resident bytes of its process, 0 if it does not answer; disk: a sentence if
    its disk is full or nearly full, else ""; memory_budget: bytes that its replicas and builds may use, 0 if unknown;
    memory_used: bytes of the budget in use, with reservations of running builds; file_limit: files that its process may
    have open, 0 if unknown; files_open: files that it has open.
    """

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
    """A replica of a shard.

    role: by configuration: primary, isr (in sync), elr (may lead), learner (catches up) or leaving; state: what it
    does, as its worker reports: primary, starting, waiting, backup, learner, failed, or "" without a report;
    applied_seq: position in the log up to which it has applied the writes, 0 if unknown.
    """

    id: str
    worker: str
    role: MemberRole
    state: ReplicaRole
    applied_seq: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardInfo:
    """A shard.

    primary, isr, learners, elr, leaving: worker ids; state: ok (its primary answers), creating, opening, no primary or
    failed; replication: ok (the wanted number of replicas is in sync), creating, under-replicated (it serves, with
    fewer), read only (fewer than a write needs) or unavailable (no replica that may lead is on a live worker); detail:
    the reason, unless both are ok; memory: bytes that its primary holds in memory, 0 if unknown; rf: replicas wanted;
    min_isr: replicas in sync that a write needs.
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
    """The cluster as one router sees it. leader: address of the leading coordinator, None if there is none.

    What it tells of itself: insecure: it listens beyond loopback without TLS. certificate_not_after: when its
    certificate expires, in seconds since 1970; None without TLS.
    """

    cluster_id: str
    leader: str | None
    workers: tuple[WorkerInfo, ...]
    shards: tuple[ShardInfo, ...]
    insecure: bool = False
    certificate_not_after: int | None = None

    def _repr_html_(self) -> str:
        return f"{html_of(self.workers)}{html_of(self.shards)}"
