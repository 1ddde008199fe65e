"""Search for one query without filter and radius, when every part is searched by its index or is small: the most
frequent search.

The answer is that of search_views, with fewer steps: one scoring and one ranking for the hits of all parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shoal.core.metric import Metric
from shoal.core.points import Matrix
from shoal.core.scoring import prepared, taken_scores
from shoal.core.shard_calls import Exact, RecallTarget
from shoal.core.topk import concat_ids, order_of_one
from shoal.shard_worker.index.likeness import remoteness_of_one
from shoal.shard_worker.index.native.index import NativeIndex
from shoal.shard_worker.index.search.approximate import nearest_positions
from shoal.shard_worker.index.search.ask import Ask, SearchContext
from shoal.shard_worker.index.search.explaining import Tally
from shoal.shard_worker.index.search.paces import CALL_US as EXACT_CALL_US
from shoal.shard_worker.index.search.paces import Layout
from shoal.shard_worker.index.search.planner import careful_hits
from shoal.shard_worker.index.search.scan import ScannedPart, can_scan, is_small, nearest_rows
from shoal.shard_worker.index.search.search import FoundInViews, SearchedView, found_among
from shoal.shard_worker.index.tuning import EXACT, BreadthChoice, Tuning
from shoal.shard_worker.index.view import IndexHits, PartHits, SegmentView

Numbers = npt.NDArray[np.int64]

CALL_US, PART_US = 20.0, 12.0
"""Estimated time of a search without the searches of the indexes: of the call, and of each part."""

EVERYTHING = 2.0
"""Stands for a recall that no index reaches: every part is compared."""

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


Part = IndexedPart | ScannedPart


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LoneQuery:
    """A search for one query in parts of which each is searched by its index, or is small and compared as a whole.

    scanned: those parts that are compared; ends: for each view, the number of parts of it and of the views before;
    cost_us: estimated time.
    """

    parts: tuple[Part, ...]
    scanned: tuple[ScannedPart, ...]
    ends: tuple[int, ...]
    k: int
    target: RecallTarget | Exact
    metric: Metric
    cost_us: float

    def search(self, queries: Matrix, *, with_rows: bool) -> FoundInViews | None:
        """Return the k best points; None if an index found fewer rows, or a comparison left too many, so that
        search_views must look further.

        queries: (1, dim) float32 as given; with_rows: else the rows of the hits are left out.
        """
        ready = np.ascontiguousarray(prepared(queries, self.metric), dtype=np.float32)
        found = self._found(ready)
        if found is None:
            return None
        starts = [0]
        for positions in found:
            starts.append(starts[-1] + len(positions))
        taken: Matrix = np.empty((starts[-1], ready.shape[1]), dtype=np.float32)
        for each, positions, start in zip(self.parts, found, starts, strict=False):
            # Every position is one of a row, so none is cut. With this mode, numpy writes to `out` without a copy.
            each.part.vectors.take(positions, axis=0, out=taken[start : start + len(positions)], mode="clip")
        scores = taken_scores(ready, taken, self.metric)
        unlike = self._unlike(ready, scores, starts)
        if unlike:
            return self._with_care(ready, found, scores, starts, unlike)
        ids = concat_ids([each.part.ids.take(positions) for each, positions in zip(self.parts, found, strict=True)])
        places = order_of_one(scores, ids, self.metric)[: self.k]
        rows = _NO_ROWS
        if with_rows:
            rows = np.concatenate([each.part.rows.take(positions) for each, positions in zip(self.parts, found, strict=True)]).take(places)
        hits = IndexHits(counts=np.array([len(places)], dtype=np.int64), ids=ids.take(places), scores=scores.take(places), rows=rows)
        return FoundInViews(hits=hits, places=places, ends=tuple([starts[end] for end in self.ends]), explain=())

    def _found(self, ready: Matrix) -> list[Numbers] | None:
        """Return the positions of the rows of each part that may be among the best; None as in search."""
        k = self.k
        scanned = nearest_rows(self.scanned, ready, k, self.metric) if self.scanned else []
        if scanned is None:
            return None
        following, found = iter(scanned), list[Numbers]()
        for each in self.parts:
            if isinstance(each, ScannedPart):
                found.append(next(following))
                continue
            choice = each.choice
            positions = nearest_positions(each.part, each.native, ready, self.metric, max(k, choice.fetch), choice.breadth)[0, :k]
            if positions[-1] < 0:
                return None
            found.append(positions)
        return found

    def _unlike(self, ready: Matrix, scores: npt.NDArray[np.float32], starts: Sequence[int]) -> list[int]:
        """Return the numbers of the parts whose measurement the query is unlike. Counts the query for each part."""
        unlike = []
        for number, each in enumerate(self.parts):
            if isinstance(each, ScannedPart):
                continue
            tuning = each.tuning
            if tuning.trusted and tuning.likeness.is_unlike(remoteness_of_one(ready, scores.item(starts[number]), self.metric)):
                unlike.append(number)
        return unlike

    def _with_care(
        self, ready: Matrix, found: Sequence[Numbers], scores: npt.NDArray[np.float32], starts: Sequence[int], unlike: Sequence[int]
    ) -> FoundInViews:
        """Return the k best points, without relying on measurements in the parts numbered `unlike`."""
        hits: list[PartHits] = []
        for number, (each, positions) in enumerate(zip(self.parts, found, strict=True)):
            part = each.part
            if number in unlike and isinstance(each, IndexedPart):
                ask = Ask(queries=ready, seq=each.seq, k=self.k, metric=self.metric, accuracy=self.target)
                tally = Tally(each.context.clock)
                hits.append(careful_hits(part, each.native, ask, np.zeros(1, dtype=np.int64), each.context, tally))
            else:
                own = scores[starts[number] : starts[number + 1]]
                query = np.zeros(len(positions), dtype=np.int64)
                hits.append(PartHits(query=query, ids=part.ids.take(positions), scores=own, rows=part.rows.take(positions)))
        sizes = np.cumsum([0, *map(len, hits)]).tolist()
        return found_among(hits, self.k, 1, None, self.metric, ends=tuple(sizes[end] for end in self.ends), explain=())


def lone_query(views: Sequence[SearchedView], k: int, target: RecallTarget | Exact, metric: Metric) -> LoneQuery | None:
    """Return the search of these views for one query. Return None if a part has an index and dead rows, or if comparing
    all of its rows is neither short nor the fastest way.
    """
    parts: list[Part] = []
    ends: list[int] = []
    cost_us = CALL_US
    recall = target.recall if isinstance(target, RecallTarget) else EVERYTHING
    for each in views:
        planned = _planned(each, k, recall)
        if planned is None:
            return None
        parts += planned
        ends.append(len(parts))
        for part in planned:
            cost_us += PART_US + _us_of(part, each.context)
    scanned = tuple([each for each in parts if isinstance(each, ScannedPart)])
    if not parts or not can_scan(scanned):
        return None
    return LoneQuery(parts=tuple(parts), scanned=scanned, ends=tuple(ends), k=k, target=target, metric=metric, cost_us=cost_us)


def _us_of(planned: Part, context: SearchContext) -> float:
    if isinstance(planned, IndexedPart):
        return context.paces.index_us(planned.part.key, queries=1, us=planned.us)
    rows, dim = planned.part.vectors.shape
    layout = Layout.CONTIGUOUS if planned.part.codes is None else Layout.CODED
    return context.paces.exact_us(queries=1, rows=rows, dim=dim, layout=layout) - EXACT_CALL_US


def _planned(searched: SearchedView, k: int, recall: float) -> tuple[Part, ...] | None:
    """Return how the parts of a view are searched; None as in lone_query. It is kept while nothing changes."""
    view, context = searched
    key = (k, recall)
    kept: tuple[Part, ...] | None = view.plans.get(key)
    if kept is not None and _still_hold(kept, recall, context):
        return kept
    found: list[Part] = []
    for part in view.parts:
        if not part.live:
            continue
        planned = _part_planned(part, view.seq, k, recall, context)
        if planned is None:
            return None
        found.append(planned)
    planned_view = tuple(found)
    if _still_hold(planned_view, recall, context):
        if len(view.plans) >= _MOST_PLANS:
            view.plans.clear()
        view.plans[key] = planned_view
    return planned_view


def _part_planned(part: SegmentView, seq: int, k: int, recall: float, context: SearchContext) -> Part | None:
    native, tuning = part.native, part.tuning.now
    choice = EXACT if native is None or part.live <= k or recall >= EVERYTHING else tuning.choice(k, recall)
    if native is None or choice.exact:
        return ScannedPart(part, seq) if is_small(part) else None
    if part.dead:
        return None
    return IndexedPart(part, native, tuning, choice, tuning.us_of(choice.breadth, max(k, choice.fetch)), seq, context)


def _still_hold(planned: Sequence[Part], recall: float, context: SearchContext) -> bool:
    """Return whether the choice of each part relies on its newest measurement, and may go on to do so."""
    for each in planned:
        if isinstance(each, ScannedPart):
            if each.part.native is not None:
                return False
        elif each.context is not context or each.part.tuning.now is not each.tuning or not each.tuning.relied_on(recall):
            return False
    return True
