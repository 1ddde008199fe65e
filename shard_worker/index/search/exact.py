"""Exact search of one part: every row that counts is compared, and all ties at the k-th place are returned.

Fast distances (FAISS for one query at a time, BLAS for several) only preselect. Where a stock has short images of its
rows, lower bounds first leave out most rows (see pruning.py). A row is kept unless its fast distance exceeds the k-th
best by more than both roundings can explain. The bound is the usual worst case for a sum of dim products (Higham,
Accuracy and Stability of Numerical Algorithms, chapter 3). The kept rows are scored by the scoring kernel, so the
answer is exactly that of the kernel over all rows. Nothing here is approximate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shoal.core.metric import Metric
from shoal.core.points import Matrix
from shoal.core.scoring import pair_scores
from shoal.shard_worker.index.native.distances import SAFE_SQUARE, distances_at
from shoal.shard_worker.index.native.index import inner_products, squared_distances
from shoal.shard_worker.index.row_codes import RowCodes, Shortlist
from shoal.shard_worker.index.search.ask import Ask
from shoal.shard_worker.index.search.explaining import Tally
from shoal.shard_worker.index.search.paces import TOGETHER_QUERIES, Layout
from shoal.shard_worker.index.search.pruning import Pruner
from shoal.shard_worker.index.search.smallest import kth_smallest
from shoal.shard_worker.index.sketch import Sketch
from shoal.shard_worker.index.ties import first_by_rank
from shoal.shard_worker.index.view import NO_HITS, PartHits, SegmentView, join_hits

Numbers = npt.NDArray[np.int64]
Lengths = npt.NDArray[np.float64]
Near = tuple[Numbers, Numbers]
"""(query, position), both (candidates,): rows that may be among the best of a query."""

_BLOCK_QUERIES = 64
_BLOCK_DISTANCES = 1 << 23
_BLOCK_FLOATS = 1 << 22
_PIECE_FLOATS = 1 << 24
_PIECE_PRODUCTS = 1 << 29
"""Bound of one call, since a call cannot be stopped: about 20 ms each."""

_MANY_HITS = 512


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Stock:
    """Rows of a part to compare with.

    With layout CONTIGUOUS: all m rows of vectors (m, dim) and squares (m,); positions: (m,) int64 where they lie in the
    part, None: in the same place; counted: (m,) which of them count, None: all. With SCATTERED: the rows of `vectors`
    and `squares` at positions (m,), which all count. count: number of rows that count; sketch: short images of the
    first rows; codes: of all rows; both None for none, and only with CONTIGUOUS.
    """

    vectors: Matrix
    squares: npt.NDArray[np.float32]
    layout: Layout = Layout.CONTIGUOUS
    positions: Numbers | None = None
    counted: npt.NDArray[np.bool_] | None = None
    count: int
    sketch: Sketch | None = None
    codes: RowCodes | None = None

    def paced_as(self, queries: int) -> Layout:
        """Return the layout whose pace a search of this many queries has."""
        if queries >= TOGETHER_QUERIES:
            return self.layout
        return Layout.PRUNED if self.sketch is not None else Layout.CODED if self.codes is not None else self.layout

    @property
    def compared(self) -> int:
        """Return the number of rows that are compared, whether they count or not."""
        return len(self.vectors) if self.layout is Layout.CONTIGUOUS or self.positions is None else len(self.positions)

    def blocks(self) -> Iterator[Stock]:
        """Gather scattered rows into contiguous blocks of bounded size."""
        assert self.positions is not None
        step = max(1, _BLOCK_FLOATS // self.vectors.shape[1])
        for start in range(0, len(self.positions), step):
            at = self.positions[start : start + step]
            yield Stock(vectors=self.vectors.take(at, axis=0), squares=self.squares.take(at), positions=at, count=len(at))


def visible_stock(part: SegmentView, seq: int, wanted: int, sketch: Sketch | None = None) -> Stock:
    """Return all rows of a part that live at `seq`. wanted: hits of a query; sketch: of the part's first rows."""
    counted = part.deaths > seq if part.dead else None
    codes = part.codes if part.codes is not None and part.codes.may_pay(wanted) else None
    return Stock(vectors=part.vectors, squares=part.squares, counted=counted, count=part.live, sketch=sketch, codes=codes)


def exact_hits(part: SegmentView, ask: Ask, stock: Stock | None = None, tally: Tally | None = None) -> PartHits:
    """Return at least the k best rows of the stock for each query by (score, id), in no order, and often some more.

    stock: None for all visible rows. A stock of fewer than k rows gives fewer than k hits.
    """
    stock = visible_stock(part, ask.seq, ask.k) if stock is None else stock
    if stock.count == 0:
        return NO_HITS
    found: list[PartHits] = []
    for query, position in _candidates(part, ask, stock):
        ask.turn.pause()
        if tally is not None:
            tally.searched()
        found.append(_best_of(part, ask, query, position))
        if tally is not None:
            tally.scored()
    if tally is not None:
        tally.candidates += len(ask) * stock.compared
    return join_hits(found)


def _best_of(part: SegmentView, ask: Ask, query: Numbers, position: Numbers) -> PartHits:
    """Return the hits of candidates, without those that many others beat. query: (candidates,) ascending.

    Without this cut, memory and time would grow with rows times queries where nearly all rows tie, or where one long
    vector blurs all distances.
    """
    count = len(query)
    if count <= _MANY_HITS or count <= 4 * ask.k * (1 + int(query[-1]) - int(query[0])):
        return scored(part, ask, query, position)
    scores = _scores_of(part, ask, query, position)
    ranks = part.ties.ranks(part.ids).take(position)
    kept = first_by_rank(query, scores, ranks, ask.k, smaller_is_better=ask.metric.smaller_is_better)
    position = position.take(kept)
    return PartHits(query=query.take(kept), ids=part.ids.take(position), scores=scores.take(kept), rows=part.rows.take(position))


def _scores_of(part: SegmentView, ask: Ask, query: Numbers, position: Numbers) -> npt.NDArray[np.float32]:
    """Score many candidates. Among candidates with equal vectors only one is scored, for all of them."""
    firsts = part.ties.firsts(part.vectors)
    if firsts is None:
        return pair_scores(ask.queries, part.vectors, query, position, ask.metric)
    rows, first_query = len(part), int(query[0])
    pairs = (query - first_query) * rows + firsts.take(position)
    asked = np.zeros((int(query[-1]) - first_query + 1) * rows, dtype=bool)
    asked[pairs] = True
    distinct = np.flatnonzero(asked)
    scores: npt.NDArray[np.float32] = np.empty(len(asked), dtype=np.float32)
    scores[distinct] = pair_scores(ask.queries, part.vectors, distinct // rows + first_query, distinct % rows, ask.metric)
    return scores.take(pairs)


def scored(part: SegmentView, ask: Ask, query: Numbers, position: Numbers) -> PartHits:
    """Return hits at `position` (hits,) of the part for the queries numbered `query` (hits,), with final scores."""
    return PartHits(
        query=query,
        ids=part.ids.take(position),
        scores=pair_scores(ask.queries, part.vectors, query, position, ask.metric),
        rows=part.rows.take(position),
    )


def _candidates(part: SegmentView, ask: Ask, stock: Stock) -> Iterator[Near]:
    """Yield rows that may be among the best, by position in the part."""
    if len(ask) < TOGETHER_QUERIES:
        yield from _one_by_one(_Hunt(part, ask, stock), len(ask))
        return
    for block in stock.blocks() if stock.layout is Layout.SCATTERED else [stock]:
        hunt = _Hunt(part, ask, block)
        together = min(_BLOCK_QUERIES, _BLOCK_DISTANCES // block.compared)
        if together < TOGETHER_QUERIES:
            yield from _one_by_one(hunt, len(ask))
            continue
        for start in range(0, len(ask), together):
            for near in hunt.together(start, start + together):
                yield hunt.placed(near)


def _one_by_one(hunt: _Hunt, count: int) -> Iterator[Near]:
    return (hunt.placed(hunt.alone(number)) for number in range(count))


class _Hunt:
    """Preselection in one stock for one batch. Positions are those in the stock until `placed`."""

    def __init__(self, part: SegmentView, ask: Ask, stock: Stock) -> None:
        self._part = part
        self._stock, self._turn = stock, ask.turn
        self._queries = ask.queries
        self._metric = ask.metric
        self._l2 = ask.metric is Metric.L2
        self._reach = part.reach
        self._wanted = min(ask.k, stock.count)
        self._counted = stock.counted
        self._lengths = np.sqrt(np.einsum("ij,ij->i", ask.queries, ask.queries, dtype=np.float64))
        dim = part.vectors.shape[1]
        # Each bound covers two float32 sums of dim products in different order together, with room for the steps around
        # them.
        self._relative = (dim + 32) * 2.0**-23
        self._underflow = dim * float(np.finfo(np.float32).tiny)
        self._pruner = None if stock.sketch is None else self._pruner_of(stock.sketch)

    def _pruner_of(self, sketch: Sketch) -> Pruner:
        return Pruner(
            sketch=sketch,
            vectors=self._stock.vectors,
            counted=self._counted,
            wanted=self._wanted,
            metric=self._metric,
            turn=self._turn,
            relative=self._relative,
            underflow=self._underflow,
        )

    def placed(self, near: Near) -> Near:
        """Return the candidates by their positions in the part."""
        query, position = near
        return near if self._stock.positions is None else (query, self._stock.positions.take(position))

    def alone(self, number: int) -> Near:
        """Return the candidates of one query, by one pass over the rows."""
        query, length = self._queries[number], float(self._lengths[number])
        left = None if self._pruner is None else self._pruner.left(query, length, self._reach)
        shortlist, codes = self._shortlist(query, length) if left is None else None, self._stock.codes
        if shortlist is not None and codes is not None:
            position, limit = self._among(number, shortlist.positions)
            enough = shortlist.beyond > limit
            codes.gain.learn(enough=enough)
            if enough:
                return np.full(len(position), number, dtype=np.int64), position
        position, _ = self._among(number, left)
        return np.full(len(position), number, dtype=np.int64), position

    def _shortlist(self, query: npt.NDArray[np.float32], length: float) -> Shortlist | None:
        """Return the rows to compare by their codes; None where codes are not used."""
        codes = self._stock.codes
        return None if codes is None or not codes.gain.try_now() else codes.shortlist(query, length, self._wanted, self._metric)

    def _among(self, number: int, left: Numbers | None) -> tuple[Numbers, float]:
        """Return the candidates of one query among the rows `left`, None for all, and the largest distance of one."""
        query, lengths = self._queries[number], self._lengths[number : number + 1]
        if left is None:
            distances, counted = self._pass(query), self._counted
        else:
            distances = distances_at(query[None, :], self._stock.vectors, left[None, :], self._metric)
            counted = None if self._counted is None else self._counted.take(left)
        if self._l2:
            reached = np.square(lengths + self._reach)
            relative, absolute = self._relative, np.where(reached > SAFE_SQUARE, np.inf, self._underflow)
        else:
            relative, absolute = 0.0, self._margin(lengths * self._reach)
        limit = self._limits(distances, relative, absolute, counted)
        _, position = _within(distances, limit, counted)
        return position if left is None else left.take(position), float(limit[0])

    def together(self, start: int, end: int) -> list[Near]:
        """Return the candidates of queries[start:end], by one matrix product."""
        lengths = self._lengths[start:end]
        distances = self._products(start, end)
        if not self._l2:
            limits = self._limits(distances, 0.0, self._margin(lengths * self._reach), self._counted)
            query, position = _within(distances, limits, self._counted)
            return [(query + start, position)]
        with np.errstate(over="ignore", invalid="ignore"):
            distances *= 2
            distances += self._stock.squares
            distances += np.square(lengths).astype(np.float32)[:, None]
        limits = self._limits(distances, 0.0, self._margin(np.square(lengths + self._reach)), self._counted)
        query, position = _within(distances, limits, self._counted)
        return self._narrowed(query, position, start, len(lengths))

    def _pass(self, query: npt.NDArray[np.float32]) -> Matrix:
        """Return the distances of one query (dim,); inner products are negated. (1, m)."""
        rows = self._stock.compared
        step = max(1, _PIECE_FLOATS // len(query))
        if rows <= step:
            return self._piece(query, 0, rows)
        distances: Matrix = np.empty((1, rows), dtype=np.float32)
        for start in range(0, rows, step):
            self._turn.pause()
            distances[:, start : start + step] = self._piece(query, start, start + step)
        return distances

    def _piece(self, query: npt.NDArray[np.float32], start: int, end: int) -> Matrix:
        """Return the same as _pass, for rows[start:end] of the stock."""
        stock = self._stock
        if stock.layout is Layout.SCATTERED and stock.positions is not None:
            return distances_at(query[None, :], stock.vectors, stock.positions[None, start:end], self._metric)
        if self._l2:
            return squared_distances(query, stock.vectors[start:end])[None, :]
        products = inner_products(query, stock.vectors[start:end])
        return np.negative(products, out=products)[None, :]

    def _products(self, start: int, end: int) -> Matrix:
        """Return the negated inner products of queries[start:end] and all rows."""
        queries, vectors = self._queries[start:end], self._stock.vectors
        products: Matrix = np.empty((len(queries), len(vectors)), dtype=np.float32)
        step = max(1, _PIECE_PRODUCTS // queries.size)
        for at in range(0, len(vectors), step):
            self._turn.pause()
            with np.errstate(over="ignore", invalid="ignore"):
                np.matmul(queries, vectors[at : at + step].T, out=products[:, at : at + step])
        np.negative(products, out=products)
        return products

    def _narrowed(self, query: Numbers, position: Numbers, start: int, count: int) -> list[Near]:
        """Return the candidates of queries[start : start + count].

        A query with very many candidates that differ is searched again alone: far from the origin, rounding in the
        matrix product hides the distance behind the lengths. Subtracting first does not.
        """
        most = 4 * self._wanted + 256
        loose = np.flatnonzero(np.bincount(query, minlength=count) > most)
        if len(loose):
            loose = loose[self._distinct(query, position, loose) > most]
        if not len(loose):
            return [(query + start, position)]
        tight = ~np.isin(query, loose)
        return [(query[tight] + start, position[tight]), *(self.alone(number + start) for number in loose.tolist())]

    def _distinct(self, query: Numbers, position: Numbers, loose: Numbers) -> Numbers:
        """Return at most how many different vectors each of the queries `loose` has as candidates. (loose,)."""
        firsts, stock = self._part.ties.firsts(self._part.vectors), self._stock
        ends = np.searchsorted(query, loose, side="right")
        begins = np.searchsorted(query, loose, side="left")
        if firsts is None:
            return ends - begins
        counts = []
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
            at = position[begin:end]
            seen = np.zeros(len(firsts), dtype=bool)
            seen[firsts.take(at if stock.positions is None else stock.positions.take(at))] = True
            counts.append(np.count_nonzero(seen))
        return np.array(counts, dtype=np.int64)

    def _margin(self, reached: Lengths) -> Lengths:
        """Return the absolute error of a fast distance and a score together; infinite where they may overflow. (nq,).

        reached: (nq,) bound on the sum of the magnitudes of the summands.
        """
        return np.where(reached > SAFE_SQUARE, np.inf, self._relative * reached + self._underflow)

    def _limits(
        self, distances: Matrix, relative: float, absolute: Lengths, counted: npt.NDArray[np.bool_] | None
    ) -> npt.NDArray[np.float32]:
        """Return the largest distance of each query that is not certainly beyond its `wanted`-th best. (nq,).

        distances: (nq, n), those of rows that do not count are overwritten; relative, absolute (nq,): error of a
        distance; counted: (n,) which rows count, None for all.
        """
        if counted is not None:
            distances[:, ~counted] = np.inf
        if len(distances) == 1:
            last = np.array([kth_smallest(distances[0], self._wanted)])
        else:
            last = np.partition(distances, self._wanted - 1, axis=1)[:, self._wanted - 1].astype(np.float64)
        # Two errors: the wanted-th may be too small by one error and another row too large by one. A third covers their
        # product.
        with np.errstate(over="ignore", invalid="ignore"):
            limit = (last * (1.0 + 3 * relative) + 2 * absolute).astype(np.float32)
        found: npt.NDArray[np.float32] = np.nextafter(limit, np.float32(np.inf))
        return found


def _within(distances: Matrix, limits: npt.NDArray[np.float32], counted: npt.NDArray[np.bool_] | None) -> Near:
    """Return the rows that count and whose distance is not beyond the limit of its query. distances: (nq, n)."""
    # Do not write this as "at most the limit": a row whose distance is NaN must be kept.
    if len(distances) == 1:
        position = np.flatnonzero(~(distances[0] > limits[0]))
        query = np.zeros(len(position), dtype=np.int64)
    else:
        query, position = np.nonzero(~(distances > limits[:, None]))
    if counted is None:
        return query, position
    kept = counted[position]
    return query[kept], position[kept]
