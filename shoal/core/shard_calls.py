"""The calls of a router to a worker, as plain values, and the interface that each transport implements.

The worker's host implements `ShardService` itself, so a router in the same process calls it directly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from shoal.core.errors import Internal, ShoalError
from shoal.core.filter import Filter
from shoal.core.health import ReplicaRole
from shoal.core.ids import ReplicaId, RequestId, Seq, ShardId, Term
from shoal.core.point_change import PointChange, PointUpdate
from shoal.core.points import IdArray, Matrix, PointColumns, PointId, StoredColumns
from shoal.core.topk import HitColumns
from shoal.core.tuning_calls import SegmentCurve, ShardMeasureRecall, ShardRecall, ShardTune

if TYPE_CHECKING:
    # These calls are made of the values below.
    from shoal.core.fused_search import FieldSpans
    from shoal.core.text_calls import TextFound, TextMarksCall, TextSearchCall, TextStatsCall, TextStatsFound


class Consistency(StrEnum):
    """any: what the replica has; session: at least the caller's own acknowledged writes; primary: all writes
    acknowledged before.
    """

    ANY = "any"
    SESSION = "session"
    PRIMARY = "primary"


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadTerms:
    """Conditions of a read.

    min_seq: answer only after this record is applied, 0 for no condition; caller: the client, which takes its turn
    among other clients, "" if unknown.
    """

    consistency: Consistency = Consistency.ANY
    min_seq: Seq = Seq(0)
    caller: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardUpsert:
    """Upsert of points that all belong to `shard`. The log stores the bytes of `points.encoded` if it is given."""

    shard: ShardId
    request_id: RequestId
    points: PointColumns


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardDelete:
    """Delete of ids that all belong to `shard`."""

    shard: ShardId
    request_id: RequestId
    ids: IdArray


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardDeleteMatching:
    """Delete of the points of `shard` that match at one moment between two writes.

    WriteAck.more says whether to call again.
    """

    shard: ShardId
    request_id: RequestId
    filter: Filter


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ShardUpdate:
    """Change those of `ids` that exist and match the filter when it is applied. encoded: the bytes it came in."""

    shard: ShardId
    request_id: RequestId
    ids: IdArray
    change: PointChange
    filter: Filter | None = None
    encoded: bytes | None = field(default=None, repr=False)

    @property
    def update(self) -> PointUpdate:
        """Return the update without its shard and its request."""
        return PointUpdate(ids=self.ids, change=self.change, filter=self.filter)


ShardWrite = ShardUpsert | ShardDelete | ShardDeleteMatching | ShardUpdate


@dataclass(frozen=True, kw_only=True, slots=True)
class WriteAck:
    """A write is durable and applied as record `seq`.

    affected: points written or removed; more: points that match the filter may be left, since one call removes a
    bounded number.
    """

    seq: Seq
    affected: int
    more: bool = False


@dataclass(frozen=True, slots=True)
class Exact:
    """Compare with every point."""


@dataclass(frozen=True, slots=True)
class RecallTarget:
    """Find at least this share of the exact answer, on average; 0 < recall <= 1."""

    recall: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Breadth:
    """Search graphs with this ef or inverted lists with this nprobe. Exactly one is given.

    Indexes of the other kind are searched for the default recall.
    """

    ef: int | None = None
    nprobe: int | None = None


Accuracy = Exact | RecallTarget | Breadth

DEFAULT_RECALL = 0.95


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class QueryGroup:
    """Queries of a batch with the same k and filter. queries: (m,) int64, ascending positions in the batch; None: all
    queries.
    """

    k: int
    filter: Filter | None = None
    queries: npt.NDArray[np.int64] | None = None


def k_of_queries(groups: Sequence[QueryGroup], queries: int) -> int | npt.NDArray[np.int64]:
    """Return how many hits each query asks for: one number if it is the same for all, else (queries,) int64."""
    if len({group.k for group in groups}) == 1:
        return groups[0].k
    wanted = np.zeros(queries, dtype=np.int64)
    for group in groups:
        wanted[slice(None) if group.queries is None else group.queries] = group.k
    return wanted


@dataclass(frozen=True, kw_only=True, slots=True)
class VectorSearch:
    """What to search for; the same for all shards of a collection.

    queries: (n, dim) float32 as given; groups: each query is in exactly one; radius: only hits with a score at least as
    good; vector: name of the vector that is compared, "" if it has none.
    """

    queries: Matrix
    groups: tuple[QueryGroup, ...]
    accuracy: Accuracy = RecallTarget(DEFAULT_RECALL)
    radius: float | None = None
    explain: bool = False
    with_payload: bool = True
    with_vectors: bool = False
    vector: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardSearch(VectorSearch):
    """Search of one shard."""

    shard: ShardId
    terms: ReadTerms = ReadTerms()


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentExplain:
    """How one segment was searched for one group of queries.

    shard: its number; segment: name of a sealed segment, else its state; state: growing, frozen or sealed; index: as in
    CollectionSpec.index; group: number of the group; queries: number in the group; rows: live rows; plan: "exact",
    "index", "index, then filter" or "empty"; estimated_selectivity, selectivity: share of the live rows that match,
    0-1; candidates: rows scored, over all queries; breadth: ef or nprobe reached, 0 for none; breadth_name: "ef",
    "nprobe" or ""; fallbacks: queries that began in the index and were finished exactly; *_us: microseconds to match
    the filter, to search and to compute exact scores; filter_cached: whether the matching rows were in the cache;
    vector: name of the vector that was compared, "" if it has none.
    """

    shard: int
    segment: str
    state: str
    index: str
    group: int
    queries: int
    rows: int
    plan: str
    estimated_selectivity: float
    selectivity: float
    candidates: int
    breadth: int
    breadth_name: str
    fallbacks: int
    filter_us: float
    search_us: float
    score_us: float
    filter_cached: bool
    vector: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardFound:
    """Answer of a search: hits, and how they were found if that was requested."""

    hits: HitColumns
    explain: tuple[SegmentExplain, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardsSearch(VectorSearch):
    """Search of several shards of one collection, all at one worker.

    shards: at least one, each once; consistency, caller: see ReadTerms; min_seqs: the record that a shard must have
    applied before it answers, for the shards that have such a condition.
    """

    shards: tuple[ShardId, ...]
    consistency: Consistency = Consistency.ANY
    min_seqs: Mapping[ShardId, Seq] = field(default_factory=dict)
    caller: str = ""

    def of(self, shard: ShardId) -> ShardSearch:
        """Return the search of one of the shards."""
        terms = ReadTerms(consistency=self.consistency, min_seq=self.min_seqs.get(shard, Seq(0)), caller=self.caller)
        return ShardSearch(shard=shard, terms=terms, **{name: getattr(self, name) for name in _SEARCHED})


_SEARCHED = tuple(each.name for each in fields(VectorSearch))


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardsFound:
    """Answer of a search of several shards.

    hits: the best k of each query over the shards that answered; failed: the errors of the other shards; explain: in
    the order of the shards, if that was requested.
    """

    hits: HitColumns
    failed: Mapping[ShardId, ShoalError] = field(default_factory=dict)
    explain: tuple[SegmentExplain, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardGet:
    """Points of one shard by id; ids that do not exist are left out of the answer."""

    shard: ShardId
    ids: IdArray
    with_payload: bool = True
    with_vectors: bool = True
    terms: ReadTerms = ReadTerms()


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardScroll:
    """The next `limit` points of one shard after id `after`, in the order of ids. filter: only points that match."""

    shard: ShardId
    after: PointId | None
    limit: int
    filter: Filter | None = None
    with_payload: bool = True
    with_vectors: bool = False
    terms: ReadTerms = ReadTerms()


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardCount:
    """Number of points in one shard. filter: only points that match."""

    shard: ShardId
    filter: Filter | None = None
    terms: ReadTerms = ReadTerms()


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardStats:
    """The contents of one replica.

    growing_rows, sealed_rows, segments, builds_pending: with named vectors, of the index of the points and of that of
    each vector together; bytes: on disk; memory_bytes: of vectors, indexes and their tables; waiting: why a due build
    does not begin, in words, else "".
    """

    shard: ShardId
    role: ReplicaRole
    term: Term
    applied_seq: Seq
    points: int
    growing_rows: int
    sealed_rows: int
    segments: int
    builds_pending: int
    bytes: int
    memory_bytes: int
    waiting: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class SnapshotProgress:
    """A snapshot that a replica fetches: done_bytes of total_bytes, at bytes_per_s."""

    done_bytes: int
    total_bytes: int
    bytes_per_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplicaStatus:
    """The state of an open replica.

    memory_bytes: that it takes in the long run, with its files open; disk_bytes: that it takes; builds_pending: index
    builds that run or are due; snapshot: that it fetches now, None for none.
    """

    replica: ReplicaId
    role: ReplicaRole
    applied_seq: Seq
    memory_bytes: int = 0
    disk_bytes: int = 0
    builds_pending: int = 0
    snapshot: SnapshotProgress | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class HandOverTime:
    """A hand-over that a worker made. seconds: for which writes waited; ended_ms: in ms since 1970."""

    seconds: float
    ended_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerStatus:
    """The report of a worker about itself.

    memory_bytes: resident size; failed: reason by "collection id/number" for replicas that failed; serving: "collection
    id/number" of each shard it serves as primary; disk: a sentence if its disk is full or nearly full, else "";
    memory_budget_bytes: bytes that replicas and builds may use; memory_used_bytes: bytes of the budget in use, with
    reservations; replica_bytes: memory of each replica, by "collection id/number"; replicas: open replicas, by the same
    key; file_limit: files that its process may have open, 0 if unknown; files_open: files that it has open; hand_overs:
    the last hand-over of each shard that it handed over, by the same key.
    """

    memory_bytes: int
    failed: Mapping[str, str]
    serving: frozenset[str] = frozenset()
    disk: str = ""
    memory_budget_bytes: int = 0
    memory_used_bytes: int = 0
    replica_bytes: Mapping[str, int] = field(default_factory=dict)
    replicas: Mapping[str, ReplicaStatus] = field(default_factory=dict)
    file_limit: int = 0
    files_open: int = 0
    hand_overs: Mapping[str, HandOverTime] = field(default_factory=dict)


class OlderWorker(Internal):
    """The worker does not know this call, because it is of an older version. Raised on the caller's side only."""


class ShardService(Protocol):
    """Calls to one worker.

    Each raises a ShoalError: Unavailable if the replica is not on this worker, not (yet) the primary or not ready;
    DataLoss if it has FAILED; DeadlineExceeded after timeout_s seconds.
    """

    async def write(self, call: ShardWrite, timeout_s: float) -> WriteAck:
        """Append the write to the log, make it durable, commit and apply it; return after that."""
        ...

    async def search(self, call: ShardSearch, timeout_s: float) -> ShardFound:
        """Return the best k points for each query: exactly min(k, points that match the filter of its group)."""
        ...

    async def search_shards(self, call: ShardsSearch, timeout_s: float) -> ShardsFound:
        """Return the best k points for each query over several shards. A shard that fails does not fail the others.

        Raises OlderWorker if the worker has to be asked for one shard at a time.
        """
        ...

    async def text_stats(self, call: TextStatsCall, timeout_s: float) -> TextStatsFound:
        """Count the words of text queries over several shards. A shard that fails does not fail the others.

        Raises OlderWorker if the worker knows no text fields, and InvalidArgument for a query that is not allowed.
        """
        ...

    async def text_search(self, call: TextSearchCall, timeout_s: float) -> TextFound:
        """Return the best k points for each text query over several shards. A shard that fails does not fail the
        others.

        Raises as text_stats.
        """
        ...

    async def text_marks(self, call: TextMarksCall, timeout_s: float) -> tuple[tuple[FieldSpans, ...], ...]:
        """Return, for each id asked for, where the words of a text query are in its texts; nothing for an id that does
        not exist.

        Raises as text_stats.
        """
        ...

    async def get(self, call: ShardGet, timeout_s: float) -> StoredColumns:
        """Return points by id, in the order asked for."""
        ...

    async def scroll(self, call: ShardScroll, timeout_s: float) -> StoredColumns:
        """Return points in the order of their ids."""
        ...

    async def count(self, call: ShardCount, timeout_s: float) -> int:
        """Return the number of points."""
        ...

    async def stats(self, shard: ShardId, timeout_s: float) -> ShardStats:
        """Return the contents of the replica."""
        ...

    async def optimize(self, shard: ShardId, timeout_s: float) -> None:
        """Seal and merge everything. Return when no row that existed at the call is growing and no build is pending."""
        ...

    async def tune(self, call: ShardTune, timeout_s: float) -> tuple[SegmentCurve, ...]:
        """Measure now. Return recall against cost of each sealed segment that has an index."""
        ...

    async def measure_recall(self, call: ShardMeasureRecall, timeout_s: float) -> ShardRecall:
        """Measure, at low priority, the recall that searches have now."""
        ...

    async def status(self, timeout_s: float) -> WorkerStatus:
        """Return the report of the worker about itself."""
        ...
