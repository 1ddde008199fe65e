"""What the SDK hands to its user: frozen values, made once from the columns that travel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from shoal.core.collection import CollectionSpec
from shoal.core.health import MemberRole, ReplicaRole, ReplicationCondition, ShardCondition, WorkerCondition
from shoal.core.payload import payload_from_json
from shoal.core.points import Matrix, PointId, StoredColumns
from shoal.core.recovery import Recovery
from shoal.core.shard_calls import QueryGroup, SegmentExplain
from shoal.core.topk import HitColumns

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Hit:
    """A point that a search found.

    score: squared Euclidean distance (l2), inner product (ip) or cosine similarity; payload: the dict as given, None
    when there is none or it was not asked for; vector: (dim,) float32, read-only, when asked for; it takes no part in
    comparison.
    """

    id: PointId
    score: float
    payload: dict[str, Any] | None = field(default=None, hash=False)
    vector: Vector | None = field(default=None, compare=False)


class Hits(list[Hit]):
    """Hits of one query, best first.

    missing_shards: with allow_partial, the shards that did not answer, as "name/number"; more: with radius, whether k
    hits came, so that more points may lie within it; explain: when it was asked for, how each segment of each shard was
    searched for this query and those of the call that have its k and filter.
    """

    missing_shards: tuple[str, ...] = ()
    more: bool = False
    explain: tuple[SegmentExplain, ...] = ()


@dataclass(frozen=True, slots=True)
class Point:
    """A point that was read. payload and vector: as given, None when there is none or it was not asked for."""

    id: PointId
    payload: dict[str, Any] | None = field(default=None, hash=False)
    vector: Vector | None = field(default=None, compare=False)


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
    points: int
    growing_rows: int
    sealed_rows: int
    segments: int
    builds_pending: int
    bytes: int
    memory_bytes: int
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


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardRecovery:
    """done: whether it was carried out or, without accept_data_loss, only planned; recovery: which replica is believed,
    and which are given up.
    """

    done: bool
    recovery: Recovery


def hits_of(columns: HitColumns, missing_shards: tuple[str, ...]) -> list[Hits]:
    """Hits of each query, in the order of the queries."""
    made = list(map(Hit, columns.ids.tolist(), columns.scores.tolist(), _payloads(columns), _rows(columns)))
    answer, start = [], 0
    for count in columns.counts.tolist():
        hits = Hits(made[start : start + count])
        if missing_shards:
            hits.missing_shards = missing_shards
        answer.append(hits)
        start += count
    return answer


def mark_more(answer: Sequence[Hits], groups: Sequence[QueryGroup]) -> None:
    """Set `more` where k hits came."""
    for group in groups:
        for at in _positions(group, len(answer)):
            answer[at].more = len(answer[at]) >= group.k


def mark_explain(answer: Sequence[Hits], groups: Sequence[QueryGroup], explain: Sequence[SegmentExplain]) -> None:
    """Set `explain` of each query to what is told of its group."""
    for number, group in enumerate(groups):
        told = tuple(each for each in explain if each.group == number)
        for at in _positions(group, len(answer)):
            answer[at].explain = told


def _positions(group: QueryGroup, count: int) -> Sequence[int]:
    listed: Sequence[int] = range(count) if group.queries is None else group.queries.tolist()
    return listed


def points_of(columns: StoredColumns) -> list[Point]:
    """Points in the order of the columns."""
    return list(map(Point, columns.ids.tolist(), _payloads(columns), _rows(columns)))


def _payloads(columns: HitColumns | StoredColumns) -> Iterable[dict[str, Any] | None]:
    return [None] * len(columns) if columns.payloads is None else map(payload_from_json, columns.payloads)


def _rows(columns: HitColumns | StoredColumns) -> Matrix | list[None]:
    return [None] * len(columns) if columns.vectors is None else columns.vectors
