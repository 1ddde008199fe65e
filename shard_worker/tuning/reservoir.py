"""A bounded, uniform sample of the queries that were asked, which slowly forgets: what recall is measured on.

Algorithm R (Vitter 1985) with the skips of algorithm L's kind: most queries cost one comparison. The chance to be taken
never falls below one in HORIZON fillings, so that the sample follows users who change. Used on the event loop only.
"""

from __future__ import annotations

import numpy as np

from shoal.core.errors import DataLoss
from shoal.core.points import Matrix

MOST_QUERIES = 1_000
MOST_BYTES = 8 * 1024 * 1024
MOST_OF_A_BATCH = 32
"""Queries of one batch are often alike, and a batch must not push out all others."""

HORIZON = 16
"""The sample forgets as if it were drawn from this many times its size of latest queries."""

_NUMBERS = np.dtype("<i8")
_FLOATS = np.dtype("<f4")


class QueryReservoir:
    """Queries (n, dim) float32 as asked. capacity: most of them, fewer where MOST_BYTES says so."""

    def __init__(self, *, dim: int, seed: int, capacity: int = MOST_QUERIES) -> None:
        self.capacity = max(1, min(capacity, MOST_BYTES // (4 * dim)))
        self.taken = 0
        """Queries ever taken into it: its difference between two moments says how much has changed."""
        self._seen = 0
        self._skip = 0
        self._held = 0
        self._random = np.random.default_rng(seed)
        self._queries: Matrix = np.empty((self.capacity, dim), dtype=np.float32)

    def __len__(self) -> int:
        return self._held

    def offer(self, queries: Matrix) -> int:
        """Queries (n, dim) float32 were asked. Returns how many were taken."""
        count = len(queries)
        if count <= self._skip:
            self._skip -= count
            self._seen += count
            return 0
        at, took = self._skip, 0
        while at < count and took < MOST_OF_A_BATCH:
            self._take(queries[at])
            took += 1
            at += 1 + self._next_skip(self._seen + at + 1)
        self._skip = max(0, at - count)
        self._seen += count
        return took

    def sample(self, most: int, random: np.random.Generator) -> Matrix:
        """A copy of at most `most` of the queries, each equally likely. (m, dim)."""
        return self._queries[random.permutation(self._held)[:most]]

    def to_bytes(self) -> bytes:
        """Everything, for from_bytes."""
        head = np.array([self._queries.shape[1], self._held, self.taken, self._seen], dtype=_NUMBERS)
        return head.tobytes() + self._queries[: self._held].astype(_FLOATS).tobytes()

    def restore(self, data: bytes) -> None:
        """Hold what another one had, as far as there is room.

        Raises DataLoss for bytes that are none of to_bytes at this dimension.
        """
        size = 4 * _NUMBERS.itemsize
        if len(data) < size:
            raise DataLoss(f"a query sample of {len(data)} bytes is too short")
        dim, held, taken, seen = np.frombuffer(data[:size], dtype=_NUMBERS).tolist()
        if dim != self._queries.shape[1] or not 0 <= held <= taken <= seen or len(data) != size + held * dim * _FLOATS.itemsize:
            raise DataLoss(f"a query sample of {len(data)} bytes says it holds {held} queries of dimension {dim}")
        queries = np.frombuffer(data[size:], dtype=_FLOATS).reshape(held, dim)
        if not np.isfinite(queries).all():
            raise DataLoss("a query sample holds NaN or infinity")
        self._held = min(held, self.capacity)
        self._queries[: self._held] = queries[: self._held]
        self.taken, self._seen, self._skip = taken, seen, self._next_skip(seen)

    def _take(self, query: Matrix) -> None:
        at = self._held if self._held < self.capacity else int(self._random.integers(self.capacity))
        self._held = min(self._held + 1, self.capacity)
        self._queries[at] = query
        self.taken += 1

    def _next_skip(self, seen: int) -> int:
        """Queries to pass over before the next is taken."""
        if self._held < self.capacity:
            return 0
        chance = self.capacity / min(max(seen, self.capacity), HORIZON * self.capacity)
        return int(self._random.geometric(chance)) - 1
