"""Search for one query without filter and radius, when every part is searched by its index: the most frequent search.

The answer is that of search_views, with fewer steps: one scoring and one ranking for the hits of all parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shoal.core.collection import Metric
from shoal.core.points import Matrix
from shoal.core.scoring import prepared, taken_scores
from shoal.core.shard_calls import RecallTarget
from shoal.core.topk import concat_ids, order_of_one
from shoal.shard_worker.index.likeness import remoteness_of_one
from shoal.shard_worker.index.native.index import NativeIndex
from shoal.shard_worker.index.search.approximate import nearest_positions
from shoal.shard_worker.index.search.ask import Ask, SearchContext
from shoal.shard_worker.index.search.explaining import Tally
from shoal.shard_worker.index.search.planner import careful_hits
from shoal.shard_worker.index.search.search import FoundInViews, SearchedView, found_among
from shoal.shard_worker.index.tuning import BreadthChoice, Tuning
from shoal.shard_worker.index.view import IndexHits, PartHits, SegmentView

Numbers = npt.NDArray[np.int64]

CALL_US, PART_US = 20.0, 12.0
"""Estimated time of a search without the searches of the indexes: of the call, and of each part."""

_NO_ROWS: Numbers = np.empty(0, dtype=np.int64)

_MOST_PLANS = 32
"""Plans that are kept of one view."""


class IndexedPart(NamedTuple):
    """A part, and what to ask of its index. tuning: that says so; us: estimated time; seq: of its view."""

    part: SegmentView
    native: NativeIndex
    tuning: Tuning
    choice: BreadthChoice
    us: float
    seq: int
    context: SearchContext


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LoneQuery:
    """A search for one query in parts of which each is searched by its index.

    ends: for each view, the number of parts of it and of the views before; cost_us: estimated time.
    """

    parts: tuple[IndexedPart, ...]
    ends: tuple[int, ...]
    k: int
    target: RecallTarget
    metric: Metric
    cost_us: float

    def search(self, queries: Matrix, *, with_rows: bool) -> FoundInViews | None:
        """Return the k best points; None if an index found fewer rows, so that search_views must look further.

        queries: (1, dim) float32 as given; with_rows: else the rows of the hits are left out.
        """
        k = self.k
        ready = np.ascontiguousarray(prepared(queries, self.metric), dtype=np.float32)
        found: list[Numbers] = []
        for each in self.parts:
            choice = each.choice
            positions = nearest_positions(each.part, each.native, ready, self.metric, max(k, choice.fetch), choice.breadth)[0, :k]
            if positions[-1] < 0:
                return None
            found.append(positions)
        taken: Matrix = np.empty((len(found) * k, ready.shape[1]), dtype=np.float32)
        for number, (each, positions) in enumerate(zip(self.parts, found, strict=True)):
            # Every position is one of a row, so none is cut. With this mode, numpy writes to `out` without a copy.
            each.part.vectors.take(positions, axis=0, out=taken[number * k : (number + 1) * k], mode="clip")
        scores = taken_scores(ready, taken, self.metric)
        unlike = self._unlike(ready, scores)
        if unlike:
            return self._with_care(ready, found, scores, unlike)
        ids = concat_ids([each.part.ids.take(positions) for each, positions in zip(self.parts, found, strict=True)])
        places = order_of_one(scores, ids, self.metric)[:k]
        rows = _NO_ROWS
        if with_rows:
            rows = np.concatenate([each.part.rows.take(positions) for each, positions in zip(self.parts, found, strict=True)]).take(places)
        hits = IndexHits(counts=np.array([len(places)], dtype=np.int64), ids=ids.take(places), scores=scores.take(places), rows=rows)
        return FoundInViews(hits=hits, places=places, ends=tuple([end * k for end in self.ends]), explain=())

    def _unlike(self, ready: Matrix, scores: npt.NDArray[np.float32]) -> list[int]:
        """Return the numbers of the parts whose measurement the query is unlike. Counts the query for each part."""
        unlike = []
        for number, each in enumerate(self.parts):
            tuning = each.tuning
            if tuning.trusted and tuning.likeness.is_unlike(remoteness_of_one(ready, scores.item(number * self.k), self.metric)):
                unlike.append(number)
        return unlike

    def _with_care(self, ready: Matrix, found: Sequence[Numbers], scores: npt.NDArray[np.float32], unlike: Sequence[int]) -> FoundInViews:
        """Return the k best points, without relying on measurements in the parts numbered `unlike`."""
        hits: list[PartHits] = []
        for number, (each, positions) in enumerate(zip(self.parts, found, strict=True)):
            part, first = each.part, number * self.k
            if number in unlike:
                ask = Ask(queries=ready, seq=each.seq, k=self.k, metric=self.metric, accuracy=self.target)
                tally = Tally(each.context.clock)
                hits.append(careful_hits(part, each.native, ask, np.zeros(1, dtype=np.int64), each.context, tally))
            else:
                own = scores[first : first + self.k]
                query = np.zeros(self.k, dtype=np.int64)
                hits.append(PartHits(query=query, ids=part.ids.take(positions), scores=own, rows=part.rows.take(positions)))
        sizes = np.cumsum([0, *map(len, hits)]).tolist()
        return found_among(hits, self.k, 1, None, self.metric, ends=tuple(sizes[end] for end in self.ends), explain=())


def lone_query(views: Sequence[SearchedView], k: int, target: RecallTarget, metric: Metric) -> LoneQuery | None:
    """Return the search of these views for one query; None if a part is not to be searched by its index, or has dead
    rows.
    """
    parts: tuple[IndexedPart, ...] = ()
    ends: list[int] = []
    for each in views:
        planned = _planned(each, k, target.recall)
        if planned is None:
            return None
        parts += planned
        ends.append(len(parts))
    if not parts:
        return None
    cost_us = CALL_US
    for indexed in parts:
        cost_us += PART_US + indexed.context.paces.index_us(indexed.part.key, queries=1, us=indexed.us)
    return LoneQuery(parts=parts, ends=tuple(ends), k=k, target=target, metric=metric, cost_us=cost_us)


def _planned(searched: SearchedView, k: int, recall: float) -> tuple[IndexedPart, ...] | None:
    """Return what to ask of the indexes of a view; None as in lone_query. It is kept while nothing changes."""
    view, context = searched
    key = (k, recall)
    kept: tuple[IndexedPart, ...] | None = view.plans.get(key)
    if kept is not None and _still_hold(kept, recall, context):
        return kept
    found: list[IndexedPart] = []
    for part in view.parts:
        native = part.native
        if not part.live:
            continue
        if native is None or part.dead or part.live <= k:
            return None
        tuning = part.tuning.now
        choice = tuning.choice(k, recall)
        if choice.exact:
            return None
        us = tuning.us_of(choice.breadth, max(k, choice.fetch))
        found.append(IndexedPart(part, native, tuning, choice, us, view.seq, context))
    planned = tuple(found)
    if _still_hold(planned, recall, context):
        if len(view.plans) >= _MOST_PLANS:
            view.plans.clear()
        view.plans[key] = planned
    return planned


def _still_hold(planned: Sequence[IndexedPart], recall: float, context: SearchContext) -> bool:
    """Return whether the choice of each part relies on its newest measurement, and may go on to do so."""
    for part, _, tuning, _, _, _, its_context in planned:
        if its_context is not context or part.tuning.now is not tuning or not tuning.relied_on(recall):
            return False
    return True
