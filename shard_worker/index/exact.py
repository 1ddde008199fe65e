"""Exact search of one part: every visible row is compared, ties at the k-th place come back whole.

Fast distances (FAISS one query at a time, BLAS for several) only preselect: a row is kept unless its fast distance exceeds
the k-th best by more than both roundings can explain, with the usual worst-case bound for a sum of dim products (Higham,
Accuracy and Stability of Numerical Algorithms, chapter 3). What is kept gets its score from the scoring kernel, so the
answer is exactly that of the kernel over all rows. Refuses approximation.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shard_worker.index.ask import Ask
from shard_worker.index.native import inner_products, squared_distances
from shard_worker.index.view import NO_HITS, Part, PartHits, join_hits
from shoal.core.collection import Metric
from shoal.core.points import Matrix
from shoal.core.scoring import pair_scores

Numbers = npt.NDArray[np.int64]
Lengths = npt.NDArray[np.float64]
Near = tuple[Numbers, Numbers]
"""(query, position), both (candidates,): rows that may be among the best of a query."""

TOGETHER_QUERIES = 8
"""From this many queries on, one matrix product is faster than one pass a query (measured at dimensions 16, 128 and 784)."""

_BLOCK_QUERIES = 64
_BLOCK_DISTANCES = 1 << 23

_SAFE_SQUARE = 1e37
"""Beyond this, sums in float32 may overflow, and fast distances say nothing."""


def exact_hits(part: Part, ask: Ask) -> PartHits:
    """The k best visible rows of each query and all that tie with the k-th, in no order; fewer than k when fewer are visible."""
    if part.live == 0:
        return NO_HITS
    hunt = _Hunt(part, ask)
    together = min(_BLOCK_QUERIES, _BLOCK_DISTANCES // len(part))
    if min(together, len(ask)) < TOGETHER_QUERIES:
        found = [hunt.alone(number) for number in range(len(ask))]
    else:
        found = [near for start in range(0, len(ask), together) for near in hunt.together(start, start + together)]
    return join_hits([scored(part, ask, query, position) for query, position in found])


def scored(part: Part, ask: Ask, query: Numbers, position: Numbers) -> PartHits:
    """Hits at `position` (hits,) of the part for the queries numbered `query` (hits,), with their final scores."""
    return PartHits(
        query=query,
        ids=part.ids.take(position),
        scores=pair_scores(ask.queries, part.vectors, query, position, ask.metric),
        rows=part.rows.take(position),
    )


class _Hunt:
    """Preselection in one part for one batch."""

    def __init__(self, part: Part, ask: Ask) -> None:
        self._part = part
        self._queries = ask.queries
        self._l2 = ask.metric is Metric.L2
        self._wanted = min(ask.k, part.live)
        self._alive = part.deaths > ask.seq if part.dead else None
        self._lengths = np.sqrt(np.einsum("ij,ij->i", ask.queries, ask.queries, dtype=np.float64))
        dim = part.vectors.shape[1]
        # Both bounds hold for two float32 sums of dim products in different order, together, with room for the steps around them.
        self._relative = (dim + 32) * 2.0**-23
        self._underflow = dim * float(np.finfo(np.float32).tiny)

    def alone(self, number: int) -> Near:
        """Candidates of one query, by one pass over the rows."""
        query, lengths = self._queries[number], self._lengths[number : number + 1]
        if self._l2:
            distances = squared_distances(query, self._part.vectors)
            reached = np.square(lengths + self._part.reach)
            absolute = np.where(reached > _SAFE_SQUARE, np.inf, self._underflow)
            _, position = self._within(distances[None, :], self._relative, absolute)
        else:
            distances = -inner_products(query, self._part.vectors)
            _, position = self._within(distances[None, :], 0.0, self._margin(lengths * self._part.reach))
        return np.full(len(position), number, dtype=np.int64), position

    def together(self, start: int, end: int) -> list[Near]:
        """Candidates of queries[start:end], by one matrix product."""
        lengths = self._lengths[start:end]
        distances = self._products(start, end)
        if not self._l2:
            query, position = self._within(distances, 0.0, self._margin(lengths * self._part.reach))
            return [(query + start, position)]
        with np.errstate(over="ignore", invalid="ignore"):
            distances *= 2
            distances += self._part.squares
            distances += np.square(lengths).astype(np.float32)[:, None]
        query, position = self._within(distances, 0.0, self._margin(np.square(lengths + self._part.reach)))
        return self._narrowed(query, position, start, len(lengths))

    def _products(self, start: int, end: int) -> Matrix:
        """Negated inner products of queries[start:end] and all rows."""
        with np.errstate(over="ignore", invalid="ignore"):
            products: Matrix = self._queries[start:end] @ self._part.vectors.T
        np.negative(products, out=products)
        return products

    def _narrowed(self, query: Numbers, position: Numbers, start: int, count: int) -> list[Near]:
        """Candidates of queries[start : start + count], those of queries with very many found again one by one.

        Far from the origin the matrix product loses the distance in the lengths; subtracting first does not.
        """
        loose = np.flatnonzero(np.bincount(query, minlength=count) > 4 * self._wanted + 256)
        if not len(loose):
            return [(query + start, position)]
        tight = ~np.isin(query, loose)
        return [(query[tight] + start, position[tight]), *(self.alone(number + start) for number in loose.tolist())]

    def _margin(self, reached: Lengths) -> Lengths:
        """Absolute error of a fast distance and a score, together; infinite where they may overflow. (nq,).

        reached: (nq,) bound on the sum of the magnitudes of what is summed.
        """
        return np.where(reached > _SAFE_SQUARE, np.inf, self._relative * reached + self._underflow)

    def _within(self, distances: Matrix, relative: float, absolute: Lengths) -> Near:
        """Alive rows whose distance (nq, n; overwritten) is not surely beyond the `wanted`-th best of its query.

        relative, absolute (nq,): error of a distance.
        """
        if self._alive is not None:
            distances[:, ~self._alive] = np.inf
        last = np.partition(distances, self._wanted - 1, axis=1)[:, self._wanted - 1].astype(np.float64)
        # Twice: the wanted-th may be too small by one error and another row too large by one; a third covers their product.
        with np.errstate(over="ignore", invalid="ignore"):
            limit = (last * (1.0 + 3 * relative) + 2 * absolute).astype(np.float32)
        limit = np.nextafter(limit, np.float32(np.inf))
        # Not "at most the limit": a distance that is NaN says nothing, so its row is kept.
        query, position = np.nonzero(~(distances > limit[:, None]))
        if self._alive is None:
            return query, position
        kept = self._alive[position]
        return query[kept], position[kept]
