"""What the SDK may ask of a router, and what comes back, as plain values.

One class per RPC; no message leaves the transport.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from shoal.core.filter import Filter
from shoal.core.ids import RequestId
from shoal.core.points import IdArray, Matrix, PointColumns, PointId, StoredColumns
from shoal.core.recovery import AuditEntry, RecoveryRequest
from shoal.core.shard_calls import Accuracy, Consistency, QueryGroup, SegmentExplain
from shoal.core.topk import HitColumns


@dataclass(frozen=True, slots=True)
class ShardToken:
    """A position in the log of one shard that this client was told of."""

    collection_id: str
    shard: int
    seq: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadAs:
    """How fresh an answer must be. tokens: writes that it must contain."""

    consistency: Consistency = Consistency.SESSION
    tokens: tuple[ShardToken, ...] = ()


class Request:
    """One call on a router.

    writes: it may change something, so that an unknown outcome must be told; patient: it may rightly take all the time
    it is given, so no part of that is kept for another router.
    """

    __slots__ = ()
    writes: ClassVar[bool] = False
    patient: ClassVar[bool] = False


@dataclass(frozen=True, kw_only=True, slots=True)
class CreateCollection(Request):
    """Answered by the collection's id. request_id: the same for each attempt, so that a retry finds its own
    collection.
    """

    writes: ClassVar[bool] = True
    name: str
    dim: int
    metric: str
    shards: int
    replicas: int
    index: str
    recall: float
    request_id: str
    min_isr: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class AlterCollection(Request):
    """Answered by None. What is None stays as it is; asked for twice, it is done once."""

    writes: ClassVar[bool] = True
    name: str
    index: str | None
    recall: float | None
    replicas: int | None = None
    min_isr: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class DropCollection(Request):
    """Answered by None, also when the collection with that id is gone already; another one of that name stays."""

    writes: ClassVar[bool] = True
    name: str
    collection_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ListCollections(Request):
    """Answered by a tuple of CollectionSummary."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DescribeCollection(Request):
    """Answered by CollectionInfo."""

    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizeCollection(Request):
    """Answered by None."""

    patient: ClassVar[bool] = True
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TuneCollection(Request):
    """Answered by a tuple of SegmentCurve."""

    patient: ClassVar[bool] = True
    name: str
    k: int


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasureRecall(Request):
    """Answered by a tuple of ShardRecall. sample: queries for each shard; recall: the target to search with, None for
    the collection's own."""

    patient: ClassVar[bool] = True
    name: str
    k: int
    sample: int
    recall: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RecoverShard(Request):
    """Answered by ShardRecovery."""

    writes: ClassVar[bool] = True
    asked: RecoveryRequest


@dataclass(frozen=True, kw_only=True, slots=True)
class ListAudit(Request):
    """Answered by AuditPage. before: `following` of the page before, "" for the first."""

    limit: int
    before: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Upsert(Request):
    """Answered by Written."""

    writes: ClassVar[bool] = True
    collection: str
    points: PointColumns
    request_id: RequestId


@dataclass(frozen=True, kw_only=True, slots=True)
class Delete(Request):
    """Answered by Written."""

    writes: ClassVar[bool] = True
    collection: str
    ids: IdArray
    request_id: RequestId


@dataclass(frozen=True, kw_only=True, slots=True)
class DeleteMatching(Request):
    """Answered by Written. Takes as long as there is something to delete."""

    writes: ClassVar[bool] = True
    patient: ClassVar[bool] = True
    collection: str
    filter: Filter
    request_id: RequestId


@dataclass(frozen=True, kw_only=True, slots=True)
class Get(Request):
    """Answered by Got."""

    collection: str
    ids: IdArray
    with_payload: bool
    with_vectors: bool
    read: ReadAs


@dataclass(frozen=True, kw_only=True, slots=True)
class Count(Request):
    """Answered by an int. filter: only points that match."""

    collection: str
    filter: Filter | None
    read: ReadAs


@dataclass(frozen=True, kw_only=True, slots=True)
class Scroll(Request):
    """Answered by Page. filter: only points that match; collection_id: of the page before, "" for the first."""

    collection: str
    after: PointId | None
    limit: int
    filter: Filter | None
    with_payload: bool
    with_vectors: bool
    read: ReadAs
    collection_id: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Search(Request):
    """Answered by Found. queries: (n, dim) float32; groups: every query stands in exactly one; accuracy: None for the
    collection's recall; radius: only hits with a score at least as good."""

    collection: str
    queries: Matrix
    groups: tuple[QueryGroup, ...]
    accuracy: Accuracy | None
    radius: float | None
    explain: bool
    with_payload: bool
    with_vectors: bool
    allow_partial: bool
    read: ReadAs


@dataclass(frozen=True, kw_only=True, slots=True)
class DescribeCluster(Request):
    """Answered by ClusterInfo."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """A write is durable and applied. tokens: per shard it touched; affected: points written or removed."""

    tokens: tuple[ShardToken, ...]
    affected: int


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditPage:
    """A page of the audit, newest first. following: what to ask for next, "" when there are no more."""

    entries: tuple[AuditEntry, ...]
    following: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Got:
    """Points that exist among the first `answered` ids that were asked for; 0: among all."""

    points: StoredColumns
    answered: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """A page of a scroll. more: whether there may be points behind the last one; collection_id: whose they are, "" when
    the router does not say."""

    points: StoredColumns
    more: bool
    collection_id: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """Answer of a search. missing_shards: as "name/number"; explain: how segments were searched, when that was
    asked.
    """

    hits: HitColumns
    missing_shards: tuple[str, ...]
    explain: tuple[SegmentExplain, ...] = ()
