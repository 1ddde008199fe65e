"""Reads of one replica: the index finds points, the store gives their payloads and vectors, both of one moment.

A view of the index does not change while writing goes on. If the store has replaced the row of a hit meanwhile, the hit
cannot be completed. The result is None then, and the caller tries a newer view.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.filter import Filter, is_long
from shoal.core.ids import ShardId, Term
from shoal.core.metric import Metric
from shoal.core.point_change import PointUpdate
from shoal.core.points import IdArray, Matrix, StoredColumns, check_dim
from shoal.core.shard_calls import SegmentExplain, ShardFound, ShardGet, ShardScroll, ShardSearch, VectorSearch
from shoal.core.topk import HitColumns, concat_ids
from shoal.core.turns import FREE, Turn
from shoal.shard_worker.index.replica_index import ReplicaIndex
from shoal.shard_worker.index.search.ask import SearchContext, ViewOutdated
from shoal.shard_worker.index.search.filtered_reading import count_view, ids_page, rows_matching
from shoal.shard_worker.index.search.hot_filters import HotFilters
from shoal.shard_worker.index.search.search import SearchedView, estimated_search_us, search_view
from shoal.shard_worker.index.view import IndexHits, IndexView
from shoal.shard_worker.replica.foreseen import foreseen_bytes
from shoal.shard_worker.storage.store.mutation import Rows
from shoal.shard_worker.storage.store.points_store import PointsStore

LARGE_READ_POINTS, LARGE_READ_BYTES = 16, 256 * 1024

ROWS_AT_ONCE = 2_048
"""Points that are read from the store in one piece."""


ON_LOOP_US = 300.0
"""Searches estimated below this time run on the event loop: passing one to a pool costs as much."""

PAYLOAD_US = 6.0
"""Estimated time to read one hit's payload, without its bytes."""

BYTE_US = 2e-3
"""Estimated time for one byte of a stored point, including its check."""

HIT_US = 0.2
"""Estimated time to score, sort and return one hit."""

GROUPS_ON_LOOP = 8
"""Searches with more groups never run on the event loop: even estimating their time takes too long."""


def estimated_views_us(
    views: Sequence[SearchedView], call: VectorSearch, queries: Matrix, metric: Metric, point_bytes: float, *, enough_us: float
) -> float:
    """Return the estimated time of one search of several views, in microseconds.

    queries: (n, dim), to search for instead of those of the call; point_bytes: mean bytes of a stored point.

    Returns infinity if the estimate itself would take long, and only a part of the time once it exceeds enough_us.
    """
    if len(call.groups) > GROUPS_ON_LOOP or any(group.filter is not None and is_long(group.filter) for group in call.groups):
        return math.inf
    points = sum([each.view.points for each in views])
    hits = sum([min(group.k, points) * len(queries if group.queries is None else group.queries) for group in call.groups])
    cost = HIT_US * hits
    if call.with_payload or call.with_vectors:
        cost += stored_us(hits, point_bytes)
    for each in views:
        if cost > enough_us:
            break
        cost += estimated_search_us(each.view, queries, call.groups, call.accuracy, call.radius, metric, each.context)
    return cost


def reads_store(call: VectorSearch) -> bool:
    """Return whether a search may read the store: for payloads and vectors of hits, or for what a filter asks."""
    return call.with_payload or call.with_vectors or any(group.filter is not None for group in call.groups)


def stored_us(points: int, point_bytes: float) -> float:
    """Return the estimated time to read points from the store, in microseconds. point_bytes: their mean size."""
    return points * (PAYLOAD_US + point_bytes * BYTE_US)


def is_large_read(points: int, point_bytes: float) -> bool:
    """Return whether to read points by id in a thread. point_bytes: their mean size."""
    return points > LARGE_READ_POINTS or points * point_bytes > LARGE_READ_BYTES


class Matching(NamedTuple):
    """Points that match a filter. ids: (n,); rows: (n,) int64, their rows; more: whether there are further ones."""

    ids: IdArray
    rows: Rows
    more: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundRows:
    """The hits of a search, before their payloads and vectors are read.

    began: the term that the replica certainly led when the search began, if any.
    """

    hits: IndexHits
    explain: tuple[SegmentExplain, ...]
    began: Term | None


class ReplicaReading:
    """Reads of one open replica that use one of its indexes, from any thread."""

    def __init__(
        self,
        *,
        shard: ShardId,
        metric: Metric,
        recall: float,
        index: ReplicaIndex,
        store: PointsStore,
        hot: HotFilters,
        vector: str = "",
    ) -> None:
        """recall: target of searches that name none; vector: name of the vector that the index holds, "" if it has
        none."""
        self._shard, self.metric, self._index, self._store, self._vector = shard, metric, index, store, vector
        self._context = SearchContext(hot=hot, read_payloads=partial(_payloads, store), clock=time.perf_counter, recall=recall)
        self._explaining = replace(self._context, explain=True)

    @property
    def dim(self) -> int:
        """Return the dimension of the vectors that it searches."""
        return self._index.dim

    @property
    def point_dim(self) -> int:
        """Return the length of the vectors that it returns: of packed rows, with named vectors (ADR 36)."""
        return self._store.dim

    def check(self, call: VectorSearch) -> None:
        """Raise InvalidArgument unless the queries have its dimension and every k is at least 1."""
        check_dim(call.queries, self.dim, field="queries")
        if any(group.k < 1 for group in call.groups):
            raise InvalidArgument(f"k is {min(group.k for group in call.groups)}, it must be at least 1", ErrorDetails(field="k"))

    def aim(self, recall: float) -> None:
        """Set another target for searches that name none."""
        self._context = replace(self._context, recall=recall)
        self._explaining = replace(self._context, explain=True)

    def view(self) -> IndexView:
        """Return the view that a read beginning now sees."""
        return self._index.view()

    def searched(self) -> SearchedView:
        """Return what a search that begins now sees."""
        return SearchedView(view=self._index.view(), context=self._context)

    def estimated_us(self, view: IndexView, call: VectorSearch, point_bytes: float) -> float:
        """Return the estimated time of a search, in microseconds. See estimated_views_us."""
        searched = SearchedView(view=view, context=self._context)
        return estimated_views_us((searched,), call, call.queries, self.metric, point_bytes, enough_us=ON_LOOP_US)

    def search(self, view: IndexView, call: ShardSearch, turn: Turn = FREE) -> ShardFound | None:
        """Return the hits of the view; None if a row that it needs from the store was replaced meanwhile."""
        found = self.find(view, call, turn)
        if found is None:
            return None
        hits, explain = found
        if not (call.with_payload or call.with_vectors):
            return ShardFound(hits=HitColumns(counts=hits.counts, ids=hits.ids, scores=hits.scores), explain=explain)
        columns = self.stored(hits.rows, call.with_vectors, call.with_payload, turn)
        if columns is None:
            return None
        full = HitColumns(counts=hits.counts, ids=hits.ids, scores=hits.scores, payloads=columns.payloads, vectors=columns.vectors)
        return ShardFound(hits=full, explain=explain)

    def find(self, view: IndexView, call: ShardSearch, turn: Turn = FREE) -> tuple[IndexHits, tuple[SegmentExplain, ...]] | None:
        """Return the hits of the view with their rows, and how they were found if requested; None as in search."""
        check_dim(call.queries, self._index.dim, field="queries")
        context = self._explaining if call.explain else self._context
        try:
            hits, explains = search_view(view, call.queries, call.groups, call.accuracy, call.radius, self.metric, context, turn)
        except ViewOutdated:
            return None
        return hits, tuple(each.of_shard(self._shard.number, self._vector) for each in explains)

    def get(self, call: ShardGet, turn: Turn = FREE) -> StoredColumns:
        """Return points by id."""
        return self._store.get(call.ids, with_vectors=call.with_vectors, with_payloads=call.with_payload, check=turn.check)

    def foresee(self, update: PointUpdate, turn: Turn = FREE) -> int:
        """Return the bytes of the points that an update would write now. Raises as foreseen_bytes."""
        return foreseen_bytes(update, self.point_dim, lambda ids: self._store.get(ids, with_vectors=False, with_payloads=True), turn)

    def count(self) -> int:
        """Return the number of points."""
        return self._store.count()

    def count_matching(self, view: IndexView, filter: Filter, turn: Turn = FREE) -> int | None:
        """Return the number of points of the view that match; None as in search."""
        try:
            return count_view(view, filter, self._context, turn)
        except ViewOutdated:
            return None

    def scroll(self, call: ShardScroll, turn: Turn = FREE) -> StoredColumns:
        """Return points in id order."""
        return self._store.scroll(call.after, call.limit, with_vectors=call.with_vectors, with_payloads=call.with_payload, check=turn.check)

    def scroll_matching(self, view: IndexView, call: ShardScroll, filter: Filter, turn: Turn = FREE) -> StoredColumns | None:
        """Return points of the view that match, in id order; None as in search."""
        try:
            rows, _ = ids_page(view, filter, call.after, call.limit, self._context, turn)
        except ViewOutdated:
            return None
        return self.stored(rows, call.with_vectors, call.with_payload, turn)

    def matching(self, view: IndexView, filter: Filter, limit: int, turn: Turn = FREE) -> Matching | None:
        """Return at most `limit` points of the view that match; None as in search."""
        try:
            return Matching(*rows_matching(view, filter, limit, self._context, turn))
        except ViewOutdated:
            return None

    def stored(self, rows: Rows, with_vectors: bool, with_payloads: bool, turn: Turn) -> StoredColumns | None:
        """Return the content of these rows in the store, or None if one of them was replaced.

        Reading in pieces is safe: a row never changes, it is only deleted.
        """
        read: list[StoredColumns] = []
        for start in range(0, max(1, len(rows)), ROWS_AT_ONCE):
            turn.pause()
            stored = self._store.rows(rows[start : start + ROWS_AT_ONCE], with_vectors=with_vectors, with_payloads=with_payloads)
            if not stored.found.all():
                return None
            read.append(stored.columns)
        return read[0] if len(read) == 1 else _joined(read, with_vectors, with_payloads)


def _payloads(store: PointsStore, rows: Rows) -> tuple[bytes | None, ...] | None:
    stored = store.rows(rows, with_vectors=False, with_payloads=True)
    return stored.columns.payloads if stored.found.all() and stored.columns.payloads is not None else None


def _joined(pieces: Sequence[StoredColumns], with_vectors: bool, with_payloads: bool) -> StoredColumns:
    vectors = [piece.vectors for piece in pieces if piece.vectors is not None]
    payloads = [piece.payloads for piece in pieces if piece.payloads is not None]
    return StoredColumns(
        ids=concat_ids([piece.ids for piece in pieces]),
        vectors=np.concatenate(vectors) if with_vectors else None,
        payloads=tuple(text for texts in payloads for text in texts) if with_payloads else None,
    )
