"""Search one part for one group of queries: choose a plan by estimated cost, and carry it out.

Owns the filter contract within a part: exactly k hits where at least k rows match, and the recall of the same search
without a filter. Does not guess what a filter matches: `matching` finds the rows before a plan is made, and they are
cached.

Where the rows of a part have few different vectors, each different vector is scored once for all its rows. The cost for
a query is then small, however many rows tie, and the answer is that of `exact`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from shoal.core.scoring import pair_scores
from shoal.core.shard_calls import RecallTarget
from shoal.shard_worker.index.native.index import NativeIndex
from shoal.shard_worker.index.search.approximate import Descender, Descent, Reliance, Sieve, choice_for, index_hits, nearest
from shoal.shard_worker.index.search.ask import Ask, SearchContext
from shoal.shard_worker.index.search.exact import Stock, exact_hits, scored, visible_stock
from shoal.shard_worker.index.search.explaining import Tally
from shoal.shard_worker.index.search.hot_filters import Among, HotFilter, Mask
from shoal.shard_worker.index.search.matching import Sought, matching
from shoal.shard_worker.index.search.paces import TOGETHER_QUERIES, Layout
from shoal.shard_worker.index.ties import Kinds, first_by_rank
from shoal.shard_worker.index.tuning import BreadthChoice
from shoal.shard_worker.index.view import NO_HITS, PartHits, SegmentView, join_hits
from shoal.shard_worker.logic.filter_plan import FilterHistory, Plan, begin_in_index, expected_rank

Numbers = npt.NDArray[np.int64]

LISTS = "nprobe"
"""Inverted lists do not keep their recall under a filter: they miss the rows of lists that were not probed.

These may be all the rows that match (measured: recall 0.71 instead of the 0.94 without a filter; ten overlapping
clusters, five of them wanted). Graphs miss single rows here and there.
"""

_RADIUS_RANK = 64
"""Number of hits that a range search looks for first. k only bounds its answer: far fewer may lie within the radius."""


def part_hits(part: SegmentView, ask: Ask, sought: Sought | None, context: SearchContext, tally: Tally) -> PartHits:
    """Return hits of each query among the visible rows that match: at least the k best of the part by `ask.accuracy`.

    The hits are in no order. sought: None for no filter. Raises ViewOutdated as `matching` does.
    """
    if sought is None:
        return _unfiltered(part, ask, context, tally)
    hot, tally.cached = matching(part, sought, ask.seq, context, ask.turn)
    among = hot.among(part, ask.seq)
    tally.filtered()
    tally.estimated, tally.selectivity = hot.estimate, among.count / part.live
    if not among.count:
        return NO_HITS
    if len(hot.positions) == len(part):
        return _unfiltered(part, ask, context, tally)
    return _Filtered(part, ask, sought, context, tally, hot, among).hits()


def unfiltered_us(part: SegmentView, ask: Ask, context: SearchContext) -> tuple[BreadthChoice | None, float]:
    """Choose how a part is searched without a filter.

    Return (what to ask of its index, None for exact search; estimated microseconds).
    """
    k = _first_k(ask)
    if part.native is None or part.live <= k:
        return None, _whole_us(part, len(ask), context)
    choice = choice_for(part, part.native, ask, k, context.recall)
    if choice.exact:
        return None, _whole_us(part, len(ask), context)
    index_us = _index_us(part, ask, choice, context)
    if _is_cheapest(ask):
        return choice, index_us
    exact_us = _whole_us(part, len(ask), context)
    return (choice, index_us) if index_us < exact_us else (None, exact_us)


def _is_cheapest(ask: Ask) -> bool:
    """Return whether what its tuning chooses is known to cost less than exact search: the tuning has compared them."""
    return len(ask) < TOGETHER_QUERIES and isinstance(ask.accuracy, RecallTarget)


def _whole_us(part: SegmentView, queries: int, context: SearchContext) -> float:
    """Estimate the cost of comparing all rows of a part with `queries` queries."""
    unpruned = Layout.CONTIGUOUS if part.codes is None else Layout.CODED
    layout = unpruned if context.hot.sketches.peek(part) is None else Layout.PRUNED
    return context.paces.exact_us(queries=queries, rows=len(part), dim=part.vectors.shape[1], layout=layout)


def _whole_stock(part: SegmentView, ask: Ask, context: SearchContext) -> Stock:
    """Return all rows of a part that live, with their sketch where there is one."""
    sketch = context.hot.sketches.of(part) if len(ask) < TOGETHER_QUERIES else None
    return visible_stock(part, ask.seq, ask.k, sketch)


def _unfiltered_choice(part: SegmentView, ask: Ask, context: SearchContext) -> BreadthChoice | None:
    """Return the same choice as unfiltered_us.

    Few queries with a recall target are the hot path: their choice was already made by cost.
    """
    if part.native is None:
        return None
    if not _is_cheapest(ask):
        return unfiltered_us(part, ask, context)[0]
    k = _first_k(ask)
    if part.live <= k:
        return None
    choice = choice_for(part, part.native, ask, k, context.recall)
    return None if choice.exact else choice


def _unfiltered(part: SegmentView, ask: Ask, context: SearchContext, tally: Tally) -> PartHits:
    choice, native = _unfiltered_choice(part, ask, context), part.native
    if native is None or choice is None:
        return _exactly(part, ask, _whole_stock(part, ask, context), context, tally)
    if not part.dead and ask.radius is None:
        found = index_hits(part, native, ask, choice, tally)
        if found is not None:
            tally.plan = Plan.INDEX
            hits, unlike = found
            return hits if not len(unlike) else join_hits([hits, careful_hits(part, native, ask, unlike, context, tally)])

    def exact_us(queries: int) -> float:
        return _whole_us(part, queries, context)

    descent = Descender(
        part=part,
        reliance=Reliance.on(part, native, _first_k(ask), choice),
        ask=ask,
        sieve=Sieve(part=part, mask=None, seq=ask.seq),
        exact_us=exact_us,
        paces=context.paces,
        tally=tally,
    ).run(expected_rank(k=_first_k(ask), matching=part.live, rows=len(part)))
    return _finished(Plan.INDEX, descent, ask, lambda: _whole_stock(part, ask, context), part, context, tally)


def careful_hits(part: SegmentView, native: NativeIndex, ask: Ask, unlike: Numbers, context: SearchContext, tally: Tally) -> PartHits:
    """Return the hits of the queries numbered `unlike` (m,) without relying on measurements with other queries."""
    tally.fallbacks += len(unlike)
    asked = ask.only(unlike)
    choice = part.tuning.now.careful(ask.k, ask.accuracy.recall if isinstance(ask.accuracy, RecallTarget) else context.recall)
    positions = None if choice.exact else nearest(part, native, asked, max(ask.k, choice.fetch), choice.breadth)[:, : ask.k]
    if positions is None or positions.min() < 0:
        return _compared(part, asked, _whole_stock(part, asked, context), context, tally).of(unlike)
    tally.searched()
    tally.breadth = max(tally.breadth, choice.breadth)
    tally.candidates += positions.size
    hits = scored(part, asked, np.arange(len(asked), dtype=np.int64).repeat(ask.k), positions.ravel())
    tally.scored()
    return hits.of(unlike)


class _Filtered:
    """One filter on one part for one group of queries. among: rows that match and live, at least one."""

    def __init__(
        self, part: SegmentView, ask: Ask, sought: Sought, context: SearchContext, tally: Tally, hot: HotFilter, among: Among
    ) -> None:
        self._part, self._ask, self._sought, self._context, self._tally = part, ask, sought, context, tally
        self._hot, self._among = hot, among

    def hits(self) -> PartHits:
        """Return hits by the cheaper plan."""
        native = self._part.native
        if native is None or native.breadth_name == LISTS or self._among.count <= _first_k(self._ask):
            return self._exact()
        choice = choice_for(self._part, native, self._ask, _first_k(self._ask), self._context.recall)
        if choice.exact or self._exact_us(len(self._ask)) <= _index_us(self._part, self._ask, choice, self._context):
            return self._exact()
        return self._planned(native, choice)

    def _mask(self) -> Mask:
        """Return which rows of the part match. Computed once, and counted in the size of the cache."""
        known = self._hot.has_mask
        mask = self._hot.mask()
        if not known:
            self._context.hot.keep(self._part, self._sought.key, self._hot)
        return mask

    def _planned(self, native: NativeIndex, choice: BreadthChoice) -> PartHits:
        part, ask, context, record = self._part, self._ask, self._context, self._hot.record
        reliance = _as_unfiltered(part, native, _first_k(ask), choice)
        if reliance is None:
            return self._exact()
        descender = Descender(
            part=part,
            reliance=reliance,
            ask=ask,
            sieve=Sieve(part=part, mask=self._mask(), seq=ask.seq),
            exact_us=self._exact_us,
            paces=context.paces,
            tally=self._tally,
        )
        aim = expected_rank(k=_first_k(ask), matching=self._among.count, rows=len(part), spread=record.spread)
        first = reliance.choice(aim)
        if first.exact or not begin_in_index(
            index_us=descender.cost_us(first, len(ask)),
            exact_us=descender.exact_us(len(ask)),
            fallback_share=record.fallback_share,
        ):
            return self._exact()
        descent = descender.run(aim)
        self._learn(record, descent)
        self._tally.plan = Plan.INDEX_THEN_FILTER
        return _finished(Plan.INDEX_THEN_FILTER, descent, ask, self._stock, part, context, self._tally)

    def _learn(self, record: FilterHistory, descent: Descent) -> None:
        mean = _first_k(self._ask) * len(self._part) / self._among.count
        # A range search ends at its radius. So its depth does not show how deep the matches lie.
        spread = None if descent.reached is None or self._ask.radius is not None else descent.reached / mean
        self._hot.record = record.after(queries=len(self._ask), fallbacks=len(descent.open), spread=spread)
        self._context.hot.keep(self._part, self._sought.key, self._hot)

    def _exact(self) -> PartHits:
        return _exactly(self._part, self._ask, self._stock(), self._context, self._tally)

    def _exact_us(self, queries: int) -> float:
        """Estimate the cost of exact search with the layout of rows that `_stock` makes."""
        paces, dim = self._context.paces, self._part.vectors.shape[1]
        if self._hot.gathered is not None or self._context.hot.may_gather(self._hot, dim):
            layout = Layout.PRUNED if self._hot.layout is Layout.PRUNED else Layout.CONTIGUOUS
            return paces.exact_us(queries=queries, rows=len(self._hot.positions), dim=dim, layout=layout)
        return min(
            paces.exact_us(queries=queries, rows=self._among.count, dim=dim, layout=Layout.SCATTERED),
            paces.exact_us(queries=queries, rows=len(self._part), dim=dim, layout=Layout.CONTIGUOUS),
        )

    def _stock(self) -> Stock:
        """Return the matching rows in the layout that is cheapest to compare."""
        part, hot, among = self._part, self._hot, self._among
        dim, every = part.vectors.shape[1], among.count == len(part)
        if not every and (hot.gathered is not None or self._context.hot.may_gather(hot, dim)):
            gathered = self._context.hot.gather(part, self._sought.key, hot)
            alone = len(self._ask) < TOGETHER_QUERIES
            return Stock(
                vectors=gathered.vectors,
                squares=gathered.squares,
                positions=hot.positions,
                counted=among.alive,
                count=among.count,
                sketch=self._context.hot.sketch(part, self._sought.key, hot) if alone else None,
            )
        queries, paces = len(self._ask), self._context.paces
        scattered_us = paces.exact_us(queries=queries, rows=among.count, dim=dim, layout=Layout.SCATTERED)
        if every or paces.exact_us(queries=queries, rows=len(part), dim=dim, layout=Layout.CONTIGUOUS) < scattered_us:
            return Stock(vectors=part.vectors, squares=part.squares, counted=None if every else self._counted(), count=among.count)
        return Stock(vectors=part.vectors, squares=part.squares, layout=Layout.SCATTERED, positions=among.positions, count=among.count)

    def _counted(self) -> Mask:
        """Return which rows of the part match and live. (n,)."""
        counted = np.zeros(len(self._part), dtype=bool)
        counted[self._among.positions] = True
        return counted


def _index_us(part: SegmentView, ask: Ask, choice: BreadthChoice, context: SearchContext) -> float:
    """Estimate the cost of one search of the index for each query; a filter does not make it cheaper."""
    us = part.tuning.now.us_of(choice.breadth, max(_first_k(ask), choice.fetch))
    return context.paces.index_us(part.key, queries=len(ask), us=us)


def _first_k(ask: Ask) -> int:
    """Return the number of hits to look for first."""
    return ask.k if ask.radius is None else min(ask.k, _RADIUS_RANK)


def _as_unfiltered(part: SegmentView, native: NativeIndex, k: int, choice: BreadthChoice) -> Reliance | None:
    """Require of an index the recall that an unfiltered search has for its first k hits; None when that search is
    exact.

    choice: what the unfiltered search would ask of the index if no row were dead.
    """
    reliance = Reliance.on(part, native, k, choice)
    if not part.dead:
        return reliance
    # Dead rows make the unfiltered search look deeper, too. So it finds more than it must.
    deeper = reliance.choice(expected_rank(k=k, matching=part.live, rows=len(part)))
    return None if deeper.exact else Reliance.on(part, native, k, deeper)


def _finished(
    plan: Plan, descent: Descent, ask: Ask, stock: Callable[[], Stock], part: SegmentView, context: SearchContext, tally: Tally
) -> PartHits:
    """Return the hits of the descent, and exact hits for the queries that it left open.

    stock: returns the rows to compare with.
    """
    if not tally.breadth:
        # The index was not searched: the first round was more expensive than exact search, or no depth was reliable
        # enough.
        return _exactly(part, ask, stock(), context, tally)
    tally.plan = plan
    tally.fallbacks += len(descent.open)
    if not len(descent.open):
        return join_hits(descent.hits)
    exact = _compared(part, ask.only(descent.open), stock(), context, tally)
    return join_hits([*descent.hits, exact.of(descent.open)])


def _exactly(part: SegmentView, ask: Ask, stock: Stock, context: SearchContext, tally: Tally) -> PartHits:
    tally.plan = Plan.EXACT
    return _compared(part, ask, stock, context, tally)


def _compared(part: SegmentView, ask: Ask, stock: Stock, context: SearchContext, tally: Tally) -> PartHits:
    """Return exact hits, and learn their cost."""
    tally.searched()
    kinds = kinds_of(part, stock)
    if kinds is not None:
        # This search does not show the cost of comparing rows, so nothing is learnt from it.
        return kinds_hits(part, ask, stock, kinds, tally)
    before = tally.search_us + tally.score_us
    hits = exact_hits(part, ask, stock, tally)
    us = tally.search_us + tally.score_us - before
    layout = stock.paced_as(len(ask))
    context.paces.learn_exact(queries=len(ask), rows=stock.compared, dim=part.vectors.shape[1], layout=layout, us=us)
    return hits


def kinds_of(part: SegmentView, stock: Stock) -> Kinds | None:
    """Return the few different vectors of a part if they are known; None where the stock is only some of its rows."""
    whole = stock.layout is Layout.CONTIGUOUS and stock.positions is None
    return part.ties.kinds(part.ids) if whole else None


def kinds_hits(part: SegmentView, ask: Ask, stock: Stock, kinds: Kinds, tally: Tally) -> PartHits:
    """Return the same hits as exact_hits, for all rows of a part that count."""
    rows, starts = kinds.rows, kinds.starts
    if stock.counted is not None:
        counted = stock.counted.take(rows)
        starts = np.concatenate([[0], np.cumsum(counted)])[starts]
        rows = rows[counted]
    found = [_of_query(part, ask, kinds.first, rows, starts, number) for number in range(len(ask))]
    tally.searched()
    tally.candidates += len(ask) * len(kinds.first)
    return join_hits(found) if found else NO_HITS


def _of_query(part: SegmentView, ask: Ask, first: Numbers, rows: npt.NDArray[np.int32], starts: Numbers, number: int) -> PartHits:
    sizes = np.diff(starts)
    filled = np.flatnonzero(sizes)
    scores = pair_scores(ask.queries, part.vectors, np.full(len(filled), number, dtype=np.int64), first[filled], ask.metric)
    # Levels: 0 for the best score. NaN scores are equal and come last.
    levels = np.unique(scores if ask.metric.smaller_is_better else -scores, return_inverse=True)[1]
    order = np.argsort(levels, kind="stable")
    last = min(int(np.searchsorted(np.cumsum(sizes[filled[order]]), ask.k)), len(order) - 1)
    chosen = order[levels[order] <= levels[order[last]]]
    taken = np.minimum(sizes[filled[chosen]], ask.k)
    position = np.concatenate([rows[start : start + size] for start, size in zip(starts[filled[chosen]], taken, strict=True)])
    score = scores[chosen].repeat(taken)
    query = np.full(len(position), number, dtype=np.int64)
    if len(position) > ask.k:
        ranks = part.ties.ranks(part.ids).take(position)
        kept = first_by_rank(query, score, ranks, ask.k, smaller_is_better=ask.metric.smaller_is_better)
        query, score, position = query[kept], score[kept], position[kept]
    return PartHits(query=query, ids=part.ids.take(position), scores=score, rows=part.rows.take(position))
