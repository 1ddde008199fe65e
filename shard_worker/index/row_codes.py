"""One byte a dimension beside the vectors of a growing segment, and what they certainly say of the distances.

A search reads a quarter of the memory. Bytes only leave rows out: `Shortlist.beyond` bounds the distances of those left
out, from the largest distance of a row from what its bytes show, which is measured when the row comes. (The triangle
inequality for distances, that of Cauchy and Schwarz for products.) All bytes have one scale, since new rows cannot be
known beforehand. When a row does not fit, all rows are coded anew, into another array.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shoal.core.metric import Metric
from shoal.core.points import Matrix
from shoal.core.sizing import growing_code_bytes
from shoal.shard_worker.index.native.byte_rows import MIDDLE, ByteRows
from shoal.shard_worker.logic.code_gain import CodeGain, looked_at, may_pay

Codes = npt.NDArray[np.uint8]

_MOST = 127
"""The largest number that a byte stands for."""

_ROOM = 1.125
"""The scale has so much room for later rows: all are coded anew when a value exceeds it."""

_SCALES, _LONGEST = (1e-15, 1e15), 1e18
"""Scales, and lengths of queries, with which no float32 overflows."""

_VANISHED = 2.0**-62
"""Smaller numbers may have the square 0 in float32."""

_BLOCK_FLOATS = 1 << 16


class Shortlist(NamedTuple):
    """positions: (m,) int64, ascending, of the rows that may be nearest; beyond: no other row is nearer. It is a
    squared distance for L2, else a negated product."""

    positions: npt.NDArray[np.int64]
    beyond: float


class Shortlists(NamedTuple):
    """The same for several queries: positions (nq, m), beyond (nq,) float64."""

    positions: npt.NDArray[np.int64]
    beyond: npt.NDArray[np.float64]


def relative_error(dim: int) -> float:
    """Return the relative error of a sum of `dim` products in float32, with room for the steps around it."""
    return (dim + 32) * 2.0**-23


class GainSlot:
    """What searches of one segment gain from codes. Any thread may use it: a lost count does no harm."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now = CodeGain()

    def try_now(self) -> bool:
        """Return whether to use codes in this search; count a search that does without."""
        gain = self.now
        if gain.rest:
            self.now = gain.rested()
        return not gain.rest

    def learn(self, *, enough: bool) -> None:
        """Learn what became of a search by codes."""
        if not enough or self.now.next_rest > 1:
            self.now = self.now.after(enough=enough)


class RowCodes:
    """The codes of the rows that a view sees. Immutable, but for what searches gain.

    codes: (n, width) uint8; scale: of one step; error: the largest distance between a row and what its codes show;
    reach: the largest length of a row.
    """

    __slots__ = ("_by_kind", "_codes", "_dim", "_error", "_reach", "_relative", "_scale", "gain")

    def __init__(self, codes: Codes, *, dim: int, scale: float, error: float, reach: float, gain: GainSlot) -> None:
        self._codes, self._dim, self._scale, self._error, self._reach = codes, dim, scale, error, reach
        self._relative = relative_error(codes.shape[1])
        self._by_kind: dict[bool, ByteRows] = {}
        self.gain = gain

    def may_pay(self, wanted: int) -> bool:
        """Return whether codes save time for a search of the `wanted` best rows."""
        return may_pay(rows=len(self._codes), dim=self._dim, wanted=wanted)

    def shortlist(self, query: npt.NDArray[np.float32], length: float, wanted: int, metric: Metric) -> Shortlist | None:
        """Return some more rows than the `wanted` nearest by their codes; None for a query too long for that.

        query: (dim,) prepared; length: its length.
        """
        if length > _LONGEST:
            return None
        products = metric is Metric.IP
        # A product may have a scale for the query; a distance has one for both.
        scale = _scale_of(query) if products else self._scale
        asked = np.zeros(self._codes.shape[1], dtype=np.float32)
        steps = np.divide(query, scale, out=asked[: self._dim])
        np.rint(steps, out=steps)
        if steps.max() > _MOST or steps.min() < -_MOST:
            np.clip(steps, -_MOST, _MOST, out=steps)
        lost = query - steps * np.float32(scale)
        asked_error = self._asked_error(float(np.dot(lost, lost)), length)
        positions, last = self._rows(products).nearest(asked, looked_at(wanted, self._dim))
        positions.sort()
        return Shortlist(positions, self._beyond(last, scale, length, asked_error, metric))

    def shortlists(self, queries: Matrix, lengths: Sequence[float], wanted: int, metric: Metric) -> Shortlists | None:
        """Return the same for each of several queries (nq, dim), in one pass of FAISS for each; None if one is too
        long.
        """
        if max(lengths) > _LONGEST:
            return None
        products = metric is Metric.IP
        scales = [_scale_of(query) if products else self._scale for query in queries]
        steps_of = np.array(scales, dtype=np.float32)[:, None]
        asked = np.zeros((len(queries), self._codes.shape[1]), dtype=np.float32)
        steps = np.divide(queries, steps_of, out=asked[:, : self._dim])
        np.rint(steps, out=steps)
        np.clip(steps, -_MOST, _MOST, out=steps)
        lost = queries - steps * steps_of
        squares = np.einsum("ij,ij->i", lost, lost).tolist()
        positions, lasts = self._rows(products).nearest_of_each(asked, looked_at(wanted, self._dim))
        positions.sort(axis=1)
        errors = [self._asked_error(square, length) for square, length in zip(squares, lengths, strict=True)]
        beyond = [self._beyond(*each, metric) for each in zip(lasts.tolist(), scales, lengths, errors, strict=True)]
        return Shortlists(positions, np.array(beyond))

    def _asked_error(self, square: float, length: float) -> float:
        """Return the largest distance of a query from what its codes show, from its computed square, and its length."""
        return math.sqrt(square) * (1 + self._relative) + 2.0**-22 * length + _VANISHED * math.sqrt(self._dim)

    def _beyond(self, last: float, scale: float, length: float, asked_error: float, metric: Metric) -> float:
        """Return what no row is nearer than that is left out, see Shortlist.

        last: distance or product of the farthest row by its codes; scale, length: of the query; asked_error: the
        distance of the query from what its codes show.
        """
        if metric is Metric.IP:
            return -self._largest_product(last, scale, length, asked_error)
        beyond = self._least_distance(last, asked_error) ** 2
        # The square of a distance is that of both lengths, without twice the product.
        return (beyond - length**2 - self._reach**2) / 2 if metric is Metric.COSINE else beyond

    def _rows(self, products: bool) -> ByteRows:
        found = self._by_kind.get(products)
        if found is None:
            found = self._by_kind[products] = ByteRows(self._codes, products=products)
        return found

    def _least_distance(self, square: float, asked_error: float) -> float:
        """Return the least distance of a row whose codes are not nearer than this computed square, in steps.

        asked_error: the distance of the query from what its codes show.
        """
        shown = math.sqrt(square * (1 - self._relative)) * self._scale
        return max(0.0, shown - self._error - asked_error)

    def _largest_product(self, product: float, scale: float, length: float, asked_error: float) -> float:
        """Return the largest product of a row whose codes have no larger one than this computed one, in steps.

        scale, length: of the query; asked_error: as above.
        """
        row_length = self._reach + self._error
        lost = self._relative * (length + asked_error) * row_length
        largest: float = product * scale * self._scale + lost + length * self._error + asked_error * row_length
        return largest


def _scale_of(query: npt.NDArray[np.float32]) -> float:
    """Return the scale in which bytes show a query (dim,)."""
    return max(float(query.max()) / _MOST, -float(query.min()) / _MOST, _SCALES[0])


class GrowingCodes:
    """The codes of a growing segment. Owned by the writer thread; what a view sees does not move."""

    def __init__(self, dim: int) -> None:
        self._dim = dim
        self._codes: Codes = np.empty((0, growing_code_bytes(dim)), dtype=np.uint8)
        self._largest = 0.0
        self._scale = 0.0
        self._error = 0.0
        self._gain = GainSlot()

    @property
    def nbytes(self) -> int:
        """Return the memory of the codes, that of reserved rows included."""
        return int(self._codes.nbytes)

    def extend(self, vectors: Matrix, start: int, end: int, *, reserved: int) -> None:
        """Code the rows vectors[start:end], which follow those that are coded. reserved: rows to have room for."""
        if start == end:
            return
        new = vectors[start:end]
        self._largest = max(self._largest, float(new.max()), -float(new.min()))
        if reserved > len(self._codes) or self._largest > _MOST * self._scale:
            self._codes = np.full((reserved, self._codes.shape[1]), MIDDLE, dtype=np.uint8)
            self._scale, self._error = _ROOM * self._largest / _MOST, 0.0
            start = 0
        if not self._usable():
            return
        step = max(1, _BLOCK_FLOATS // self._dim)
        for at in range(start, end, step):
            self._code(vectors, at, min(end, at + step))

    def _code(self, vectors: Matrix, start: int, end: int) -> None:
        rows = vectors[start:end]
        steps = rows / np.float32(self._scale)
        np.rint(steps, out=steps)
        np.add(steps, MIDDLE, out=self._codes[start:end, : self._dim], casting="unsafe")
        steps *= np.float32(self._scale)
        np.subtract(rows, steps, out=steps)
        square = float(np.einsum("ij,ij->i", steps, steps).max())
        # The second summand covers the rounding of the products with the scale, in each dimension.
        error = math.sqrt(square) * (1 + relative_error(self._dim)) + 2.0**-22 * self._largest * math.sqrt(self._dim)
        self._error = max(self._error, error)

    def _usable(self) -> bool:
        return _SCALES[0] <= self._scale <= _SCALES[1]

    def part(self, count: int, reach: float) -> RowCodes | None:
        """Return the codes of the first `count` rows; None where they would save nothing. reach: see RowCodes."""
        if not self._usable() or not may_pay(rows=count, dim=self._dim, wanted=1):
            return None
        return RowCodes(self._codes[:count], dim=self._dim, scale=self._scale, error=self._error, reach=reach, gain=self._gain)
