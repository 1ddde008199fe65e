"""The queries that recall is measured on: a sample of all, and of each kind that came up since, some of its own.

A kind begins when queries are found to be unlike those sampled before. The sample of all would hold few of them for
long, and a mean over it says little about any of them. Used on the event loop only.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from shoal.core.errors import DataLoss
from shoal.core.points import Matrix
from shoal.shard_worker.logic.tuning.tuning_plan import ENOUGH_QUERIES, Asked
from shoal.shard_worker.tuning.reservoir import QueryReservoir

MOST_KINDS = 3
"""Of which samples are kept; the oldest makes way."""

KIND_QUERIES = 256
LATEST = 64
"""Latest queries that are kept, whatever their kind."""

_NUMBERS = np.dtype("<i8")


class QueryKinds:
    """Of one replica. heard: queries ever offered."""

    def __init__(self, *, dim: int, seed: int) -> None:
        self._dim, self._seed = dim, seed
        self._everything = QueryReservoir(dim=dim, seed=seed)
        self._kinds: list[QueryReservoir] = []
        self._latest: deque[Matrix] = deque(maxlen=LATEST)
        self.heard = 0

    @property
    def asked(self) -> Asked:
        """All of it in numbers."""
        every = self._everything
        newest = len(self._kinds[-1]) if self._kinds else 0
        return Asked(held=len(every), capacity=every.capacity, taken=every.taken, newest=newest, kinds=sum(map(len, self._known())))

    @property
    def asked_enough(self) -> bool:
        """Whether real queries say more than what stands in for them."""
        return len(self._everything) >= min(ENOUGH_QUERIES, self._everything.capacity)

    def offer(self, queries: Matrix) -> None:
        """Queries (n, dim) float32 were asked, as given."""
        self.heard += len(queries)
        self._everything.offer(queries)
        if self._kinds and len(self._kinds[-1]) < self._kinds[-1].capacity:
            self._kinds[-1].offer(queries)
        self._latest.extend(queries[-LATEST:].copy())

    def begin_kind(self, *, with_latest: bool = False) -> None:
        """From now on queries are of another kind. with_latest: the latest ones were already."""
        self._kinds = [*self._kinds, self._new_kind()][-MOST_KINDS:]
        if with_latest:
            for query in self._latest:
                self._kinds[-1].offer(query[None, :])

    def sample(self, most: int, random: np.random.Generator) -> list[Matrix]:
        """At most `most` of all queries, and of each kind of which there are enough, (m, dim) each."""
        return [self._everything.sample(most, random), *(kind.sample(most, random) for kind in self._known())]

    def latest(self) -> Matrix:
        """The latest queries (m, dim)."""
        return np.stack([*self._latest]) if self._latest else np.empty((0, self._dim), dtype=np.float32)

    def to_bytes(self) -> tuple[bytes, bytes]:
        """(the sample of all, those of kinds), for restore."""
        kinds = [kind.to_bytes() for kind in self._kinds]
        head = np.array([len(kinds), *map(len, kinds)], dtype=_NUMBERS)
        return self._everything.to_bytes(), head.tobytes() + b"".join(kinds)

    def restore(self, data: bytes) -> None:
        """Hold the sample of all that another one had. Raises DataLoss for other bytes."""
        restored = QueryReservoir(dim=self._dim, seed=self._seed)
        restored.restore(data)
        self._everything = restored

    def join(self, later: QueryKinds) -> None:
        """Take in what was offered to another one since."""
        every = later._everything
        for query in every.sample(len(every), np.random.default_rng(self._seed)):
            # One by one: of a batch only some are taken.
            self.offer(query[None, :])

    def restore_kinds(self, data: bytes) -> None:
        """Hold the kinds that another one had. Raises DataLoss for other bytes."""
        size = _NUMBERS.itemsize
        count = int(np.frombuffer(data[:size], dtype=_NUMBERS)[0]) if len(data) >= size else -1
        lengths = np.frombuffer(data[size : size * (1 + count)], dtype=_NUMBERS).tolist() if 0 <= count <= MOST_KINDS else [-1]
        if min(lengths, default=0) < 0 or len(data) != size * (1 + count) + sum(lengths):
            raise DataLoss(f"samples of kinds of queries, {len(data)} bytes, say there are {count}")
        kinds, at = [], size * (1 + count)
        for length in lengths:
            kinds.append(self._new_kind())
            kinds[-1].restore(data[at : at + length])
            at += length
        self._kinds = kinds

    def _known(self) -> list[QueryReservoir]:
        """Kinds of which there are enough to say something."""
        return [kind for kind in self._kinds if len(kind) >= min(ENOUGH_QUERIES, kind.capacity)]

    def _new_kind(self) -> QueryReservoir:
        return QueryReservoir(dim=self._dim, seed=self._seed, capacity=KIND_QUERIES)
