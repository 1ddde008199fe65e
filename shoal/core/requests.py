"""Each public call as one value, which the SDK builds and the router answers.

There is one class for each RPC, except that Delete has two: by ids and by a filter. `shoal.wire` converts each to its
message and back. The answers are in `shoal.core.replies`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from shoal.core.alteration import Alteration
from shoal.core.collection import CollectionSpec, spec_from_input
from shoal.core.filter import Filter
from shoal.core.fusion_choice import SearchDefaults
from shoal.core.ids import CollectionId, RequestId, Seq, ShardId
from shoal.core.limits import Limits
from shoal.core.metric import Metric
from shoal.core.named_vectors import NamedVector
from shoal.core.point_change import PointChange
from shoal.core.points import IdArray, Matrix, PointColumns, PointId
from shoal.core.recovery import RecoveryRequest
from shoal.core.shard_calls import DEFAULT_RECALL, Accuracy, Consistency, QueryGroup
from shoal.core.text_fields import TextField

DEFAULT_K = 10
"""Neighbours at which recall is measured, if the caller gives none."""

DEFAULT_SAMPLE = 100
"""Queries for each shard on which recall is measured, if the caller gives none."""

DEFAULT_AUDIT_ENTRIES = 100
"""Entries of a page of the audit, if the caller gives no limit."""


@dataclass(frozen=True, slots=True)
class ShardToken:
    """A position in the log of one shard, as a client received it."""

    collection_id: str
    shard: int
    seq: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadAs:
    """How fresh an answer must be.

    tokens: writes that it must contain, unless consistency is ANY; caller: the client at the other end of the
    connection, which takes its turn among other clients; the router sets it, it is not part of the message.
    """

    consistency: Consistency = Consistency.SESSION
    tokens: tuple[ShardToken, ...] = ()
    caller: str = ""

    def min_seqs(self) -> dict[ShardId, Seq]:
        """Return the position that each shard must have applied before it answers; shards without such a position are
        missing.
        """
        if self.consistency is Consistency.ANY:
            return {}
        return {ShardId(CollectionId(token.collection_id), token.shard): Seq(token.seq) for token in self.tokens}


class Request:
    """One public call.

    writes: it may change data, so the client must report if its outcome is unknown; patient: it may use the whole
    timeout, so a client keeps no part of the timeout for another router.
    """

    __slots__ = ()
    writes: ClassVar[bool] = False
    patient: ClassVar[bool] = False


# Collections


@dataclass(frozen=True, kw_only=True, slots=True)
class CreateCollection(Request):
    """Answered by the id of the collection.

    request_id: the same for each attempt, so that a retry finds its own collection; "" for a call that is not repeated;
    min_isr: 0 for the default; vectors: named ones, then dim is 0; the others: see CollectionSpec.
    """

    writes: ClassVar[bool] = True
    name: str
    dim: int = 0
    metric: str = Metric.L2.value
    shards: int = 1
    replicas: int = 1
    index: str = "auto"
    recall: float = DEFAULT_RECALL
    request_id: str = ""
    min_isr: int = 0
    text: tuple[TextField, ...] = ()
    defaults: SearchDefaults = SearchDefaults()
    vectors: tuple[NamedVector, ...] = ()

    def spec(self, limits: Limits) -> CollectionSpec:
        """Return the validated specification. Raises InvalidArgument that names the field and the allowed values."""
        return spec_from_input(
            name=self.name,
            dim=self.dim,
            metric=self.metric,
            shards=self.shards,
            replicas=self.replicas,
            index=self.index,
            recall=self.recall,
            min_isr=self.min_isr,
            text=self.text,
            defaults=self.defaults,
            vectors=self.vectors,
            limits=limits,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class AlterCollection(Request):
    """Answered by None. A field that is None stays as it is. The same call again changes nothing more.

    text, defaults, indexes: see Alteration.
    """

    writes: ClassVar[bool] = True
    name: str
    index: str | None = None
    recall: float | None = None
    replicas: int | None = None
    min_isr: int | None = None
    text: tuple[TextField, ...] | None = None
    defaults: SearchDefaults | None = None
    indexes: Mapping[str, str] | None = None

    @property
    def alteration(self) -> Alteration:
        """Return the changes."""
        return Alteration(
            index=self.index,
            recall=self.recall,
            replicas=self.replicas,
            min_isr=self.min_isr,
            text=self.text,
            defaults=self.defaults,
            indexes=self.indexes,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class DropCollection(Request):
    """Answered by None.

    collection_id: drop only the collection with this id, and succeed if it is already gone; "": drop the collection
    that has the name now, and fail if there is none.
    """

    writes: ClassVar[bool] = True
    name: str
    collection_id: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ListCollections(Request):
    """Answered by a tuple of CollectionSummary."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DescribeCollection(Request):
    """Answered by CollectionInfo."""

    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizeCollection(Request):
    """Answered by None, when no row is growing and no build is pending."""

    patient: ClassVar[bool] = True
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TuneCollection(Request):
    """Answered by a tuple of SegmentCurve.

    k: neighbours that recall is measured at; queries: (n, dim) float32 to measure with, None for those that were asked;
    vector: its name; "" with named vectors: all of them, then without queries.
    """

    patient: ClassVar[bool] = True
    name: str
    k: int = DEFAULT_K
    queries: Matrix | None = None
    vector: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasureRecall(Request):
    """Answered by a tuple of ShardRecall.

    sample: queries for each shard; recall: the target to search with, None for the collection's own; vector: name of
    the vector that is compared, "" if it has none.
    """

    patient: ClassVar[bool] = True
    name: str
    k: int = DEFAULT_K
    sample: int = DEFAULT_SAMPLE
    recall: float | None = None
    vector: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class RecoverShard(Request):
    """Answered by ShardRecovery."""

    writes: ClassVar[bool] = True
    asked: RecoveryRequest


@dataclass(frozen=True, kw_only=True, slots=True)
class ListAudit(Request):
    """Answered by AuditPage. limit: most entries; before: `following` of the page before, "" for the first page."""

    limit: int
    before: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class DescribeCluster(Request):
    """Answered by ClusterInfo."""


# Writes


@dataclass(frozen=True, kw_only=True, slots=True)
class Upsert(Request):
    """Answered by Written. request_id: None if the caller gives none; a retry is then a new write."""

    writes: ClassVar[bool] = True
    collection: str
    points: PointColumns
    request_id: RequestId | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Delete(Request):
    """Answered by Written. Removes points by id."""

    writes: ClassVar[bool] = True
    collection: str
    ids: IdArray
    request_id: RequestId | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class DeleteMatching(Request):
    """Answered by Written. Removes the points that match; it runs until nothing is left to remove."""

    writes: ClassVar[bool] = True
    patient: ClassVar[bool] = True
    collection: str
    filter: Filter
    request_id: RequestId | None = None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Update(Request):
    """Answered by Written, with the points that were changed.

    ids: None for every point that matches `filter`; with both, those of the ids that match. One of them is given.
    """

    writes: ClassVar[bool] = True
    patient: ClassVar[bool] = True
    collection: str
    change: PointChange
    ids: IdArray | None = None
    filter: Filter | None = None
    request_id: RequestId | None = None


# Reads


@dataclass(frozen=True, kw_only=True, slots=True)
class Get(Request):
    """Answered by Got.

    in_parts: points that do not fit into one message may be left out, from some id on; without it the call then fails.
    """

    collection: str
    ids: IdArray
    with_payload: bool = True
    with_vectors: bool = False
    read: ReadAs = ReadAs()
    in_parts: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Count(Request):
    """Answered by an int. filter: count only points that match."""

    collection: str
    filter: Filter | None = None
    read: ReadAs = ReadAs()


@dataclass(frozen=True, kw_only=True, slots=True)
class Scroll(Request):
    """Answered by Page: points in the order of ids, after `after`.

    limit: of points, 0 for the default; filter: only points that match; collection_id: of the page before, "" for the
    first page and for callers that do not give it.
    """

    collection: str
    after: PointId | None = None
    limit: int = 0
    filter: Filter | None = None
    with_payload: bool = True
    with_vectors: bool = False
    read: ReadAs = ReadAs()
    collection_id: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Search(Request):
    """Answered by Found.

    queries: (n, dim) float32 as given; groups: each query is in exactly one; accuracy: None for the collection's
    recall; radius: only hits with a score at least as good; allow_partial: answer without the shards that cannot
    answer; vector: name of the vector that is compared, "" if it has none.
    """

    collection: str
    queries: Matrix
    groups: tuple[QueryGroup, ...]
    accuracy: Accuracy | None = None
    radius: float | None = None
    explain: bool = False
    with_payload: bool = True
    with_vectors: bool = False
    allow_partial: bool = False
    read: ReadAs = ReadAs()
    vector: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class SearchForm:
    """What searches have in common that differ only in their queries.

    search: one of them. Only the shape (n, dim) of its queries counts.
    """

    search: Search
