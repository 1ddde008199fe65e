"""Search the index, then filter: approximate search of a part in which some rows do not count (dead, or no match).

The index is searched as if all its rows counted. Then the rows that do not count are dropped. If too few hits are left,
or if they lie deeper than the index is reliable, the search is repeated deeper. It ends when comparing every row that
counts is cheaper. So an answer is never short, and its recall is that of the index. Selectors inside the index's search
are not used: they break a graph's paths (docs/design/filters.md, "The filter contract").
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shoal.core.metric import Metric
from shoal.core.points import Matrix
from shoal.core.shard_calls import Breadth, RecallTarget
from shoal.shard_worker.index.likeness import remoteness
from shoal.shard_worker.index.native.distances import distances_at
from shoal.shard_worker.index.native.index import NativeIndex
from shoal.shard_worker.index.search.ask import Ask
from shoal.shard_worker.index.search.exact import scored
from shoal.shard_worker.index.search.explaining import Tally
from shoal.shard_worker.index.search.paces import Paces
from shoal.shard_worker.index.tuning import DEAR_US, EXACT, BreadthChoice, Tuning
from shoal.shard_worker.index.view import PartHits, SegmentView
from shoal.shard_worker.logic.filter_plan import SPREAD_SHARE, next_rank, required_recall

Numbers = npt.NDArray[np.int64]

_UNTOLD_FETCH = 16

NO_QUERIES: Numbers = np.empty(0, dtype=np.int64)

_PIECE_US = 30_000.0

_BLOCK_POSITIONS = 1 << 20
"""Most positions that are fetched at once. They and what is computed from them take about 50 MB."""


def choice_for(part: SegmentView, native: NativeIndex, ask: Ask, k: int, recall: float) -> BreadthChoice:
    """Return what to ask of this part's index so that its first k hits have the accuracy of `ask`.

    recall: the target when `ask` names none.
    """
    tuning = part.tuning.now
    match ask.accuracy:
        case RecallTarget(target):
            return tuning.choice(k, target, len(ask))
        case Breadth(ef=ef, nprobe=nprobe):
            given = {"ef": ef, "nprobe": nprobe}.get(native.breadth_name)
            usual = tuning.choice(k, recall, len(ask))
            if given is None:
                return usual
            # When the usual search is exact, it does not say how many rows to score.
            fetch = _UNTOLD_FETCH * k if usual.exact and native.quantised else usual.fetch
            return BreadthChoice(min(given, native.max_breadth), max(k, fetch))
        case _:
            return EXACT


def index_hits(part: SegmentView, native: NativeIndex, ask: Ask, choice: BreadthChoice, tally: Tally) -> tuple[PartHits, Numbers] | None:
    """Search the index when all rows count.

    Return the k best hits for each query, and the numbers (m,) of the queries that are unlike those measured: nothing
    is promised for them, and no hit is returned. Return None when the index found fewer than k hits for a query.
    """
    positions = nearest(part, native, ask, max(ask.k, choice.fetch), choice.breadth)[:, : ask.k]
    tally.searched()
    if positions.min() < 0:
        return None
    tally.breadth = max(tally.breadth, choice.breadth)
    tally.candidates += positions.size
    hits = scored(part, ask, np.arange(len(ask), dtype=np.int64).repeat(ask.k), positions.ravel())
    tally.scored()
    unlike = _unlike(part, ask, hits.scores[:: ask.k])
    if unlike is None:
        return hits, NO_QUERIES
    kept = np.flatnonzero(~unlike.repeat(ask.k))
    return hits.at(kept), np.flatnonzero(unlike)


def _unlike(part: SegmentView, ask: Ask, best: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_] | None:
    """Return which queries are unlike those by which the breadth was chosen, None when there are none.

    best: scores (nq,) of the first hits of an unfiltered search of the index. When the caller chose the breadth itself,
    all queries count as alike.
    """
    tuning = part.tuning.now
    if not tuning.trusted or not isinstance(ask.accuracy, RecallTarget):
        return None
    return tuning.likeness.unlike(remoteness(ask.queries, best, ask.metric))


def nearest(part: SegmentView, native: NativeIndex, ask: Ask, fetch: int, breadth: int) -> Numbers:
    """Return the positions of the first `fetch` hits of the index, best first by exact distance. (nq, fetch).

    Where the index found fewer hits, the rest is -1. Many queries are searched in pieces of about _PIECE_US, since
    FAISS cannot be stopped within a call.
    """
    step = max(1, int(_PIECE_US / max(1.0, part.tuning.now.us_of(breadth, fetch)))) if len(ask) > 1 else 1
    if step >= len(ask):
        return nearest_positions(part, native, ask.queries, ask.metric, fetch, breadth)
    found: Numbers = np.empty((len(ask), fetch), dtype=np.int64)
    for start in range(0, len(ask), step):
        ask.turn.pause()
        found[start : start + step] = nearest_positions(part, native, ask.queries[start : start + step], ask.metric, fetch, breadth)
    return found


def nearest_positions(part: SegmentView, native: NativeIndex, queries: Matrix, metric: Metric, fetch: int, breadth: int) -> Numbers:
    """Return the same as `nearest`, in one call of the index. queries: (nq, dim), contiguous, prepared."""
    positions: Numbers = native.search(queries, fetch, breadth)
    if not native.quantised:
        return positions
    order = distances_at(queries, part.vectors, positions, metric).argsort(axis=1, kind="stable")
    return positions[0].take(order) if len(queries) == 1 else np.take_along_axis(positions, order, axis=1)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Sieve:
    """Which rows count. mask: (n,) the rows that match, None for all; seq: of the view."""

    part: SegmentView
    mask: npt.NDArray[np.bool_] | None
    seq: int

    def passed(self, positions: Numbers) -> npt.NDArray[np.bool_]:
        """Return whether the rows at `positions` count, in the same shape; -1 does not count."""
        kept = positions >= 0
        if self.mask is not None:
            kept &= self.mask.take(positions, mode="clip")
        if self.part.dead:
            kept &= self.part.deaths.take(positions, mode="clip") > self.seq
        return kept


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Reliance:
    """How far a search may rely on an index.

    required: recall that the index must have down to the last wanted hit; least: smallest breadth that it is searched
    with.
    """

    native: NativeIndex
    tuning: Tuning
    required: float
    least: int

    @classmethod
    def on(cls, part: SegmentView, native: NativeIndex, k: int, unfiltered: BreadthChoice) -> Reliance:
        """Require the recall that the first k hits have in a search with the choice `unfiltered`, in which all rows
        count."""
        tuning = part.tuning.now
        breadth = max(unfiltered.breadth, k) if native.is_graph else unfiltered.breadth
        recall = tuning.recall_at(k, breadth, max(k, unfiltered.fetch))
        return cls(native=native, tuning=tuning, required=required_recall(recall), least=unfiltered.breadth)

    def choice(self, aim: int) -> BreadthChoice:
        """Return what to ask of the index to rely on its first `aim` hits; EXACT when it cannot be relied on."""
        wanted = self.tuning.breadth_expected(aim, self.required)
        if wanted.exact:
            return EXACT
        breadth = max(wanted.breadth, self.least)
        if not self.native.is_graph:
            return BreadthChoice(breadth, max(wanted.fetch, aim))
        # A graph search finds as many rows as its breadth anyway. Fetching all of them costs nothing and saves a second
        # search.
        breadth = max(breadth, aim)
        return BreadthChoice(breadth, max(wanted.fetch, aim if self.native.quantised else breadth))

    def reaches(self, choice: BreadthChoice, aim: int, closing: Numbers) -> npt.NDArray[np.bool_]:
        """Return which ranks `closing` (m,) are reached and reliable with the choice made for `aim`; 0 means not
        reached."""
        reliable = aim
        if (closing > aim).any():
            reliable = max(aim, self.tuning.rank_within(self.required, choice.breadth, choice.fetch))
        return (closing > 0) & (closing <= reliable)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Descent:
    """The result of an index-first search.

    hits: of the queries that it could finish; open: numbers of the queries that it could not finish, or that are unlike
    those the index was measured with; reached: the rank that was enough for SPREAD_SHARE of the finished queries, None
    when none was finished.
    """

    hits: list[PartHits]
    open: Numbers
    reached: int | None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Descender:
    """Searches one part by its index, deeper and deeper.

    exact_us: returns the estimated cost of finishing a number of queries exactly.
    """

    part: SegmentView
    reliance: Reliance
    ask: Ask
    sieve: Sieve
    exact_us: Callable[[int], float]
    paces: Paces
    tally: Tally

    def cost_us(self, choice: BreadthChoice, queries: int) -> float:
        """Estimate the cost of one round."""
        return self.paces.index_us(self.part.key, queries=queries, us=self.reliance.tuning.us_of(choice.breadth, choice.fetch))

    def run(self, aim: int) -> Descent:
        """Search, beginning with the first `aim` hits of the index."""
        rows = len(self.part)
        hits: list[PartHits] = []
        reached: list[Numbers] = []
        unlike: list[Numbers] = []
        pending: Numbers = np.arange(len(self.ask), dtype=np.int64)
        before = EXACT
        while len(pending):
            choice = self.reliance.choice(aim)
            if choice.exact or choice == before or choice.fetch >= rows:
                break
            if self.cost_us(choice, len(pending)) > self.exact_us(len(pending)):
                break
            left, seen, needed = [], aim, 0
            for block in _blocks(pending, choice.fetch):
                closing, found = self._round(block, choice)
                strange = self._strange(block, found[0]) if before.exact else NO_QUERIES
                if len(strange):
                    unlike.append(block.take(strange))
                    kept = np.delete(np.arange(len(block)), strange)
                    block, closing, found = block.take(kept), closing.take(kept), (found[0].take(kept, axis=0), found[1].take(kept, axis=0))
                closed = self.reliance.reaches(choice, aim, closing)
                hits.extend(self._kept(block, closing, closed, found))
                reached.append(closing[closed])
                left.append(block[~closed])
                needed = max(needed, int(closing[~closed].max(initial=0)))
                if not closing.all():
                    # A query wants more than all that was fetched. This may be much more than `aim`.
                    seen = choice.fetch
            pending, before = np.concatenate(left), choice
            aim = next_rank(seen=seen, needed=needed, rows=rows)
        ranks = np.concatenate(reached) if reached else np.empty(0, dtype=np.int64)
        depth = int(np.quantile(ranks, SPREAD_SHARE)) if len(ranks) else None
        return Descent(hits=hits, open=np.concatenate([pending, *unlike]), reached=depth)

    def _strange(self, block: Numbers, positions: Numbers) -> Numbers:
        """Return which of the queries numbered `block` (m,) are unlike those measured. positions: (m, fetch) of a first
        search.

        Where finishing them exactly is expensive, they are only counted, and none is returned.
        """
        first, ask = np.ascontiguousarray(positions[:, :1]), self.ask.only(block)
        best = distances_at(ask.queries, self.part.vectors, first, ask.metric)[:, 0]
        unlike = _unlike(self.part, ask, best if ask.metric is Metric.L2 else np.negative(best, out=best))
        return NO_QUERIES if unlike is None or self.exact_us(1) > DEAR_US else np.flatnonzero(unlike)

    def _round(self, block: Numbers, choice: BreadthChoice) -> tuple[Numbers, tuple[Numbers, npt.NDArray[np.bool_]]]:
        """Search once for the queries numbered `block` (m,). Return (closing, (positions, wanted)).

        closing: (m,) rank at which a query has all it wants, 0 where it has not; positions, wanted: (m, fetch) what the
        index found, and which of it is wanted.
        """
        ask = self.ask if len(block) == len(self.ask) else self.ask.only(block)
        positions = nearest(self.part, self.reliance.native, ask, choice.fetch, choice.breadth)
        self._learn(choice, len(block), positions)
        ranks = self.sieve.passed(positions).cumsum(axis=1)
        enough = ranks >= ask.k
        closing = np.where(enough[:, -1], enough.argmax(axis=1) + 1, 0)
        if ask.radius is not None:
            within = self._within_radius(ask, positions, ask.radius)
            beyond = (within < (positions >= 0).sum(axis=1)) & ((closing == 0) | (within < closing))
            closing = np.where(beyond, np.maximum(within, 1), closing)
        wanted = np.diff(ranks, axis=1, prepend=0).astype(bool) & (ranks <= ask.k)
        return closing, (positions, wanted)

    def _kept(
        self, block: Numbers, closing: Numbers, closed: npt.NDArray[np.bool_], found: tuple[Numbers, npt.NDArray[np.bool_]]
    ) -> list[PartHits]:
        """Return the hits of the closed queries."""
        if not closed.any():
            return []
        positions, wanted = found
        at, column = np.nonzero(wanted & closed[:, None] & (np.arange(positions.shape[1]) < closing[:, None]))
        hits = scored(self.part, self.ask, block.take(at), positions[at, column])
        self.tally.scored()
        return [hits]

    def _learn(self, choice: BreadthChoice, queries: int, positions: Numbers) -> None:
        tally = self.tally
        us = tally.searched()
        self.paces.learn_index(self.part.key, queries=queries, expected_us=self.reliance.tuning.us_of(choice.breadth, choice.fetch), us=us)
        tally.breadth = max(tally.breadth, choice.breadth)
        tally.candidates += positions.size

    def _within_radius(self, ask: Ask, positions: Numbers, radius: float) -> Numbers:
        """Return how many hits of each query are, or may be, within the radius. positions: (m, fetch). (m,)."""
        l2 = ask.metric is Metric.L2
        distances = distances_at(ask.queries, self.part.vectors, positions, ask.metric)
        lengths = np.sqrt(np.einsum("ij,ij->i", ask.queries, ask.queries, dtype=np.float64))
        reached = np.square(lengths + self.part.reach) if l2 else lengths * self.part.reach
        margin = (self.part.vectors.shape[1] + 32) * 2.0**-22 * reached
        limit = (radius if l2 else -radius) + margin
        return np.asarray(((positions >= 0) & ~(distances > limit[:, None])).sum(axis=1), dtype=np.int64)


def _blocks(pending: Numbers, fetch: int) -> Iterator[Numbers]:
    step = max(1, _BLOCK_POSITIONS // fetch)
    return (pending[start : start + step] for start in range(0, len(pending), step))
