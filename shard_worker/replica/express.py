"""Express search at a worker: one search of the replicas of several shards, in the loop or in the pool.

The index finds the hits of all replicas and ranks them once. Then the store of each replica gives the payloads of the
final hits only. What the replicas keep about searches is kept as for a search of each: the tuner's sample, reads under
way, turns, and the term of a primary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from shoal.core.deadline import Deadline
from shoal.core.ids import Seq, Term
from shoal.core.metric import Metric
from shoal.core.points import Matrix, StoredColumns
from shoal.core.shard_calls import Breadth, Consistency, ShardsSearch
from shoal.core.topk import HitColumns, concat_hits, each_query
from shoal.core.turns import FREE, Asker, Turn
from shoal.shard_worker.index.search.ask import ViewOutdated
from shoal.shard_worker.index.search.few_queries import MOST_QUERIES, search_few
from shoal.shard_worker.index.search.lone_query import LoneQuery, lone_query
from shoal.shard_worker.index.search.search import FoundInViews, SearchedView, search_views
from shoal.shard_worker.logic.replication.primary_read import is_sure
from shoal.shard_worker.replica.reading import HIT_US, estimated_views_us, reads_store, stored_us
from shoal.shard_worker.replica.reads_under_way import read_several
from shoal.shard_worker.replica.replica import Replica
from shoal.shard_worker.replica.searched_vectors import SearchedVector

ESTIMATE_UP_TO_US = 50_000.0
"""The estimate of a search ends here: where it runs is decided far below."""

CUT_US = 400.0
"""Least estimated time of one piece of a batch that is cut for several threads."""

_ANY_SEQ = Seq(0)


def prepared_search(replicas: Sequence[Replica], call: ShardsSearch, queries: Matrix) -> ReplicasSearch | None:
    """Return the search in the replicas of the call's shards; None if one of them cannot answer now, or if its time
    cannot be estimated.

    queries: (n, dim) float32, to search for instead of those of the call.

    Raises nothing: a search that does not fit the replicas is left to each of them, which names what is wrong.
    """
    if call.explain or any(group.k < 1 for group in call.groups):
        return None
    stored, min_seqs = reads_store(call), call.min_seqs
    vectors: list[SearchedVector] = []
    views: list[SearchedView] = []
    for replica, shard in zip(replicas, call.shards, strict=True):
        vector = replica.vectors.get(call.vector)
        if vector is None or queries.shape[1] != vector.reading.dim:
            return None
        view = replica.searched_now(min_seqs.get(shard, _ANY_SEQ) if min_seqs else _ANY_SEQ, stored=stored, reading=vector.reading)
        if view is None:
            return None
        vectors.append(vector)
        views.append(view)
    terms = [replica.sure_term() for replica in replicas] if call.consistency is Consistency.PRIMARY else []
    if None in terms:
        return None
    metric = vectors[0].reading.metric
    lone = _lone(views, call, queries, metric)
    cost_us = _cost_us(replicas, views, call, queries, lone, metric)
    return None if cost_us == math.inf else ReplicasSearch(replicas, vectors, views, terms, call, queries, lone, cost_us)


def _lone(views: Sequence[SearchedView], call: ShardsSearch, queries: Matrix, metric: Metric) -> LoneQuery | None:
    if len(queries) != 1 or call.radius is not None or len(call.groups) != 1 or isinstance(call.accuracy, Breadth):
        return None
    (group,) = call.groups
    return None if group.filter is not None or group.queries is not None else lone_query(views, group.k, call.accuracy, metric)


def _cost_us(
    replicas: Sequence[Replica],
    views: Sequence[SearchedView],
    call: ShardsSearch,
    queries: Matrix,
    lone: LoneQuery | None,
    metric: Metric,
) -> float:
    stored = call.with_payload or call.with_vectors
    point_bytes = max([replica.point_bytes for replica in replicas]) if stored else 0.0
    if lone is None:
        return estimated_views_us(views, call, queries, metric, point_bytes, enough_us=ESTIMATE_UP_TO_US)
    return lone.cost_us + lone.k * HIT_US + (stored_us(lone.k, point_bytes) if stored else 0.0)


class ReplicasSearch:
    """A search of several replicas."""

    __slots__ = ("call", "cost_us", "lone", "queries", "replicas", "terms", "vectors", "views")

    def __init__(
        self,
        replicas: Sequence[Replica],
        vectors: Sequence[SearchedVector],
        views: Sequence[SearchedView],
        terms: Sequence[Term | None],
        call: ShardsSearch,
        queries: Matrix,
        lone: LoneQuery | None,
        cost_us: float,
    ) -> None:
        """vectors: the vector of each that it names; views: what it sees of each; terms: that each certainly leads,
        empty if the read has no condition on the term; call: what to search for, but for the queries (n, dim); lone:
        how one query is searched in the indexes of all parts, None for other searches.
        """
        self.replicas, self.vectors, self.views, self.terms, self.call = replicas, vectors, views, terms, call
        self.queries, self.lone, self.cost_us = queries, lone, cost_us

    @property
    def threads(self) -> int:
        """See PreparedSearch."""
        return self.replicas[0].pools.search_threads

    def run(self) -> HitColumns | None:
        """See PreparedSearch."""
        return self._answered(self._hits(self.queries, FREE))

    def run_for_each(self, queries: Matrix) -> list[HitColumns] | None:
        """See PreparedSearch."""
        found = None if self.lone is None or len(queries) > MOST_QUERIES else search_few(self.lone, queries)
        hits = None if found is None else self._with_stored(found, FREE)
        if hits is None or not self._are_sure():
            return None
        for vector in self.vectors:
            for number in range(len(queries)):
                vector.tuner.offer(queries[number : number + 1])
        return each_query(hits)

    async def run_in_pool(self, deadline: Deadline) -> HitColumns | None:
        """See PreparedSearch."""
        asker, pools = Asker(self.call.shards[0].collection, self.call.caller), self.replicas[0].pools
        works = [partial(pools.read, partial(self._hits, queries), asker, deadline) for queries in self._pieces(pools.search_threads)]
        found = await read_several([each.reads for each in self.replicas], works, deadline, stored=reads_store(self.call))
        hits = None if found is None else [each for each in found if each is not None]
        if found is None or hits is None or len(hits) < len(found):
            return None
        return self._answered(hits[0] if len(hits) == 1 else concat_hits(hits))

    def _answered(self, hits: HitColumns | None) -> HitColumns | None:
        """Return the hits if the replicas may answer with them, and let the tuners sample the queries."""
        if hits is None or not self._are_sure():
            return None
        for vector in self.vectors:
            vector.tuner.offer(self.queries)
        return hits

    def _are_sure(self) -> bool:
        """Return whether the replicas that had to lead when the search began still do."""
        return all(is_sure(term, each.sure_term()) for each, term in zip(self.replicas, self.terms, strict=False))

    def _pieces(self, threads: int) -> list[Matrix]:
        """Return the queries in pieces for several threads; in one piece if each group has queries of its own."""
        queries, groups = self.queries, self.call.groups
        if len(groups) > 1 or groups[0].queries is not None:
            return [queries]
        pieces = max(1, min(threads, len(queries), int(self.cost_us // CUT_US)))
        return np.array_split(queries, pieces)

    def _hits(self, queries: Matrix, turn: Turn) -> HitColumns | None:
        """Return the hits of some of the queries; None if a row that is needed from a store was replaced meanwhile."""
        call, stored = self.call, self.call.with_payload or self.call.with_vectors
        found = None if self.lone is None else self.lone.search(queries, with_rows=stored)
        if found is None:
            metric = self.vectors[0].reading.metric
            try:
                found = search_views(self.views, queries, call.groups, call.accuracy, call.radius, metric, turn)
            except ViewOutdated:
                return None
        return self._with_stored(found, turn)

    def _with_stored(self, found: FoundInViews, turn: Turn) -> HitColumns | None:
        """Return the hits with what is asked for from the stores; None as in _hits."""
        hits, call = found.hits, self.call
        if not (call.with_payload or call.with_vectors):
            return HitColumns(counts=hits.counts, ids=hits.ids, scores=hits.scores)
        columns = self._stored(found, turn)
        if columns is None:
            return None
        return HitColumns(counts=hits.counts, ids=hits.ids, scores=hits.scores, payloads=columns.payloads, vectors=columns.vectors)

    def _stored(self, found: FoundInViews, turn: Turn) -> StoredColumns | None:
        """Return the payloads and vectors of the hits, in their order, as asked for. None: see _hits."""
        call, rows, numbers = self.call, found.hits.rows, found.view_numbers()
        payloads: list[bytes | None] = [None] * len(rows)
        vectors: Matrix = np.empty((len(rows) if call.with_vectors else 0, self.vectors[0].reading.point_dim), dtype=np.float32)
        for number, replica in enumerate(self.replicas):
            places = np.flatnonzero(numbers == number)
            if not len(places):
                continue
            columns = replica.reading.stored(rows.take(places), call.with_vectors, call.with_payload, turn)
            if columns is None:
                return None
            if columns.payloads is not None:
                for place, text in zip(places.tolist(), columns.payloads, strict=True):
                    payloads[place] = text
            if columns.vectors is not None:
                vectors[places] = columns.vectors
        return StoredColumns(
            ids=found.hits.ids,
            payloads=tuple(payloads) if call.with_payload else None,
            vectors=vectors if call.with_vectors else None,
        )
