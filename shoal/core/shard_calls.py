"""What a router asks of a worker, as plain values, and the one small interface that any transport implements.

The worker's host implements `ShardService` itself, so a router in the same process calls it without a hop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from shoal.core.ids import RequestId, Revision, Seq, ShardId, Term
from shoal.core.points import IdArray, Matrix, PointColumns, PointId, StoredColumns
from shoal.core.topk import HitColumns

DEFAULT_EF = 64
"""Breadth of an approximate search when nothing else is asked for."""


class Consistency(StrEnum):
    """any: what the replica has; session: at least the caller's own acknowledged writes; primary: every write acknowledged before."""

    ANY = "any"
    SESSION = "session"
    PRIMARY = "primary"


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadTerms:
    """Conditions on a read. min_seq: answer only once this much is applied; 0 for no condition."""

    consistency: Consistency = Consistency.ANY
    min_seq: Seq = Seq(0)


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardUpsert:
    """Upsert of points that all belong to `shard`. epoch: of the shard configuration the sender believes in."""

    shard: ShardId
    epoch: Revision
    request_id: RequestId
    points: PointColumns


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardDelete:
    """Delete of ids that all belong to `shard`."""

    shard: ShardId
    epoch: Revision
    request_id: RequestId
    ids: IdArray


ShardWrite = ShardUpsert | ShardDelete


@dataclass(frozen=True, kw_only=True, slots=True)
class WriteAck:
    """A write is durable and applied as record `seq`. affected: points written or removed."""

    seq: Seq
    affected: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardSearch:
    """Search of one shard. queries: (n, dim) float32 as given; ef: breadth of the approximate search."""

    shard: ShardId
    queries: Matrix
    k: int
    exact: bool = False
    ef: int = DEFAULT_EF
    with_payload: bool = True
    with_vectors: bool = False
    terms: ReadTerms = ReadTerms()


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
    """The next `limit` points of one shard after id `after`, in id order."""

    shard: ShardId
    after: PointId | None
    limit: int
    with_payload: bool = True
    with_vectors: bool = False
    terms: ReadTerms = ReadTerms()


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardCount:
    """Number of points in one shard."""

    shard: ShardId
    terms: ReadTerms = ReadTerms()


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardStats:
    """What one replica holds. bytes: on disk; memory_bytes: of vectors, graphs and their tables."""

    shard: ShardId
    role: str
    term: Term
    applied_seq: Seq
    points: int
    growing_rows: int
    sealed_rows: int
    segments: int
    builds_pending: int
    bytes: int
    memory_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerStatus:
    """A worker about itself. memory_bytes: resident size; failed: reason by "collection id/number" for replicas that failed;
    serving: "collection id/number" of each shard it serves as primary; disk: in words, when its disk is full or nearly so, else ""."""

    memory_bytes: int
    failed: Mapping[str, str]
    serving: frozenset[str] = frozenset()
    disk: str = ""


class ShardService(Protocol):
    """Calls on one worker. Each raises a ShoalError: Unavailable when the replica is not here, not (yet) the primary or not
    ready; DataLoss when it has FAILED; DeadlineExceeded after timeout_s seconds."""

    async def write(self, call: ShardWrite, timeout_s: float) -> WriteAck:
        """Append, make durable, commit, apply; then answer."""
        ...

    async def search(self, call: ShardSearch, timeout_s: float) -> HitColumns:
        """The best k points for each query."""
        ...

    async def get(self, call: ShardGet, timeout_s: float) -> StoredColumns:
        """Points by id, in the order asked for."""
        ...

    async def scroll(self, call: ShardScroll, timeout_s: float) -> StoredColumns:
        """Points in id order."""
        ...

    async def count(self, call: ShardCount, timeout_s: float) -> int:
        """Number of points."""
        ...

    async def stats(self, shard: ShardId, timeout_s: float) -> ShardStats:
        """What the replica holds."""
        ...

    async def optimize(self, shard: ShardId, timeout_s: float) -> None:
        """Seal and merge everything; returns when no row that was there is growing and no build is pending."""
        ...

    async def status(self, timeout_s: float) -> WorkerStatus:
        """The worker about itself."""
        ...
