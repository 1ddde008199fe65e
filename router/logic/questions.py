"""What clients ask of a router and what it answers, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from shoal.core.collection import Collection
from shoal.core.filter import Filter
from shoal.core.ids import CollectionId, RequestId, Seq, ShardId
from shoal.core.points import IdArray, Matrix, PointColumns, PointId, StoredColumns
from shoal.core.shard_calls import Accuracy, Consistency, QueryGroup, ReadTerms, SegmentExplain
from shoal.core.topk import HitColumns

NO_SEQ = Seq(0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """How a client wants to read. min_seqs: what it has been acknowledged, by shard; counts unless consistency is any;
    caller: the client, as one of whom reads take turns."""

    with_payload: bool = True
    with_vectors: bool = False
    consistency: Consistency = Consistency.SESSION
    min_seqs: Mapping[ShardId, Seq] = field(default_factory=dict)
    caller: str = ""

    def terms(self, shard: ShardId) -> ReadTerms:
        """Conditions on the read of one shard."""
        ignored = self.consistency is Consistency.ANY
        min_seq = NO_SEQ if ignored else self.min_seqs.get(shard, NO_SEQ)
        return ReadTerms(consistency=self.consistency, min_seq=min_seq, caller=self.caller)


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchQuestion:
    """A batch of queries.

    queries: (n, dim) float32 as given; groups: every query stands in exactly one; accuracy: None for the recall of the
    collection; radius: only hits with a score at least as good; allow_partial: answer without shards that cannot.
    """

    collection: str
    queries: Matrix
    groups: tuple[QueryGroup, ...]
    accuracy: Accuracy | None = None
    radius: float | None = None
    explain: bool = False
    allow_partial: bool = False
    reading: Reading = Reading()


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchAnswer:
    """Hits of all queries. missing: shards left out, as "name/number"; explain: of all shards, when it was asked
    for.
    """

    hits: HitColumns
    missing: tuple[str, ...] = ()
    explain: tuple[SegmentExplain, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class GetQuestion:
    """Points by id. in_parts: what does not fit into a message may be left out, from some id on."""

    collection: str
    ids: IdArray
    reading: Reading = Reading()
    in_parts: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class GotPoints:
    """Points that exist among the first `answered` ids asked for, in that order."""

    points: StoredColumns
    answered: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CountQuestion:
    """The number of points, or of those that match."""

    collection: str
    filter: Filter | None = None
    reading: Reading = Reading()


@dataclass(frozen=True, kw_only=True, slots=True)
class ScrollQuestion:
    """A page of points, or of those that match, in id order behind `after`. limit: 0 for the usual size; collection_id:
    of the page before, "" for the first page and for callers that do not say."""

    collection: str
    after: PointId | None = None
    limit: int = 0
    filter: Filter | None = None
    reading: Reading = Reading()
    collection_id: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """Points in id order. more: whether there may be points behind the last one; collection: whose they are."""

    points: StoredColumns
    more: bool
    collection: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Upsert:
    """Points to be written. request_id: None when the client gave none."""

    collection: str
    points: PointColumns
    request_id: RequestId | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Delete:
    """Points to be removed by id."""

    collection: str
    ids: IdArray
    request_id: RequestId | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class DeleteMatching:
    """Points to be removed because they match."""

    collection: str
    filter: Filter
    request_id: RequestId | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """An acknowledged write. seqs: position in the log by shard number; affected: points written or removed."""

    collection: CollectionId
    seqs: Mapping[int, Seq]
    affected: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CollectionFigures:
    """What all shards of a collection hold together. bytes: on disk; memory_bytes: of vectors, graphs and their tables;
    waiting: in words, why builds that are due do not begin, else ""."""

    collection: Collection
    points: int = 0
    growing_rows: int = 0
    sealed_rows: int = 0
    segments: int = 0
    builds_pending: int = 0
    bytes: int = 0
    memory_bytes: int = 0
    waiting: str = ""


def without_repeats(ids: IdArray) -> IdArray:
    """The ids in the order of their first appearance, each once."""
    once = dict.fromkeys(ids.tolist())
    if len(once) == len(ids):
        return ids
    column = np.empty(len(once), dtype=ids.dtype)
    column[:] = list(once)
    return column
