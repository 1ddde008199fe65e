"""Keep the queries on which recall is measured: one sample of all queries, and one of each new kind. Queries that a
user gives are a kind, too.

A sample is bounded and uniform, and forgets slowly. It uses algorithm R (Vitter 1985) with skips like those of
algorithm L, so that most queries cost one comparison. The chance of a query to be taken never falls below 1 / HORIZON
(once the sample is full), so the sample follows users that change.

A kind begins when queries are found to be unlike those sampled before. The sample of all contains few of them for a
long time, and its mean says little about any one kind. Used on the event loop only.
"""

from __future__ import annotations

from collections import deque
from functools import cached_property

import numpy as np

from shoal.core.errors import DataLoss
from shoal.core.points import Matrix
from shoal.shard_worker.logic.tuning.plan import ENOUGH_QUERIES, Asked
from shoal.shard_worker.logic.tuning.query_variety import DIRECTIONS, different

MOST_QUERIES = 1_000
MOST_BYTES = 8 * 1024 * 1024
BATCH_DIVISOR = 4
"""A batch counts as its queries, but at most as a quarter of the room of a sample: it must not displace all others."""

MOST_ALIKE = 32
"""Queries that are alike count as so many at most, while a sample has room: it must not be full of them."""

HORIZON = 16
"""The sample forgets as if it were drawn from the latest queries, this many times its own size."""

_NUMBERS = np.dtype("<i8")
_FLOATS = np.dtype("<f4")


class QueryReservoir:
    """A sample of queries (n, dim) float32, as asked. capacity: most that it holds, or fewer because of MOST_BYTES."""

    def __init__(self, *, dim: int, seed: int, capacity: int = MOST_QUERIES) -> None:
        self.capacity = max(1, min(capacity, MOST_BYTES // (4 * dim)))
        self.most_of_a_batch = max(1, self.capacity // BATCH_DIVISOR)
        """As how many queries a batch counts at most."""
        self.taken = 0
        """Number of queries ever taken into it. The difference between two times shows how much has changed."""
        self._seen = 0
        self._skip = 0
        self._held = 0
        self._dim, self._seed = dim, seed

    def __len__(self) -> int:
        return self._held

    def offer(self, queries: Matrix) -> int:
        """Take some of the queries (n, dim) float32 that users asked. Return how many."""
        count = min(len(queries), self.most_of_a_batch)
        if count <= self._skip:
            self._skip -= count
            self._seen += count
            return 0
        if count < len(queries):
            queries = queries[self._random.permutation(len(queries))[:count]]
        if count > MOST_ALIKE and self._held < self.capacity:
            count = max(MOST_ALIKE, different(queries, self._directions))
            queries = queries[self._random.permutation(len(queries))[:count]]
        at, took = self._skip, 0
        while at < count:
            self._take(queries[at])
            took += 1
            at += 1 + self._next_skip(self._seen + at + 1)
        self._skip = at - count
        self._seen += count
        return took

    def sample(self, most: int, random: np.random.Generator) -> Matrix:
        """Return a copy (m, dim) of at most `most` of the queries, each equally likely."""
        return self._queries[random.permutation(self._held)[:most]]

    def to_bytes(self) -> bytes:
        """Return the whole state, for restore."""
        head = np.array([self._dim, self._held, self.taken, self._seen], dtype=_NUMBERS)
        return head.tobytes() + self._queries[: self._held].astype(_FLOATS).tobytes()

    def restore(self, data: bytes) -> None:
        """Take over what another sample held, as far as there is room.

        Raises DataLoss unless to_bytes made the bytes at this dimension.
        """
        size = 4 * _NUMBERS.itemsize
        if len(data) < size:
            raise DataLoss(f"a query sample of {len(data)} bytes is too short")
        dim, held, taken, seen = np.frombuffer(data[:size], dtype=_NUMBERS).tolist()
        if dim != self._dim or not 0 <= held <= taken <= seen or len(data) != size + held * dim * _FLOATS.itemsize:
            raise DataLoss(f"a query sample of {len(data)} bytes says it holds {held} queries of dimension {dim}")
        queries = np.frombuffer(data[size:], dtype=_FLOATS).reshape(held, dim)
        if not np.isfinite(queries).all():
            raise DataLoss("a query sample holds NaN or infinity")
        self._held = min(held, self.capacity)
        self._queries[: self._held] = queries[: self._held]
        self.taken, self._seen, self._skip = taken, seen, self._next_skip(seen)

    # Made when the first query comes: most replicas of a worker may never be searched.

    @cached_property
    def _random(self) -> np.random.Generator:
        return np.random.default_rng(self._seed)

    @cached_property
    def _queries(self) -> Matrix:
        queries: Matrix = np.empty((self.capacity, self._dim), dtype=np.float32)
        return queries

    @cached_property
    def _directions(self) -> Matrix:
        directions: Matrix = np.random.default_rng(self._seed).standard_normal((self._dim, DIRECTIONS), dtype=np.float32)
        return directions

    def _take(self, query: Matrix) -> None:
        at = self._held if self._held < self.capacity else int(self._random.integers(self.capacity))
        self._held = min(self._held + 1, self.capacity)
        self._queries[at] = query
        self.taken += 1

    def _next_skip(self, seen: int) -> int:
        """Return how many queries to skip before the next is taken."""
        if self._held < self.capacity:
            return 0
        chance = self.capacity / min(max(seen, self.capacity), HORIZON * self.capacity)
        return int(self._random.geometric(chance)) - 1


MOST_KINDS = 3
"""Most kinds with a sample; the oldest is dropped for a new one."""

KIND_QUERIES = 256
LATEST = 64
"""Number of latest queries that are kept, of any kind."""


class QueryKinds:
    """The samples of one replica. heard: number of queries ever offered; calls: in how many calls since the start."""

    def __init__(self, *, dim: int, seed: int) -> None:
        self._dim, self._seed = dim, seed
        self._everything = QueryReservoir(dim=dim, seed=seed)
        self._kinds: list[QueryReservoir] = []
        self._given: QueryReservoir | None = None
        self._latest: deque[Matrix] = deque(maxlen=LATEST)
        self.heard = 0
        self.calls = 0

    @property
    def asked(self) -> Asked:
        """Return the counts of the samples."""
        every = self._everything
        newest = len(self._kinds[-1]) if self._kinds else 0
        return Asked(held=len(every), capacity=every.capacity, taken=every.taken, newest=newest, kinds=sum(map(len, self._known())))

    @property
    def asked_enough(self) -> bool:
        """Return whether there are enough real queries to use them instead of stand-ins."""
        return len(self._everything) >= min(ENOUGH_QUERIES, self._everything.capacity)

    def offer(self, queries: Matrix) -> None:
        """Sample queries (n, dim) float32 that users asked, as given."""
        self.heard += len(queries)
        self.calls += 1
        self._everything.offer(queries)
        if self._kinds and len(self._kinds[-1]) < self._kinds[-1].capacity:
            self._kinds[-1].offer(queries)
        self._latest.extend(queries[-LATEST:].copy())

    def give(self, queries: Matrix) -> None:
        """Take queries (n, dim) float32 that a user names as examples of what will be asked.

        At most KIND_QUERIES of them count as asked, and are a kind of their own until others are given.
        """
        self._given = self._new_kind()
        chosen = np.sort(np.random.default_rng(self._seed).permutation(len(queries))[: self._given.capacity])
        self.heard += len(chosen)
        self.calls += 1
        for query in queries[chosen]:
            # One by one: of a batch only a part is taken.
            self._given.offer(query[None, :])
            self._everything.offer(query[None, :])

    def begin_kind(self, *, with_latest: bool = False) -> None:
        """Begin a new kind: the queries from now on and, with with_latest, the latest queries, too."""
        self._kinds = [*self._kinds, self._new_kind()][-MOST_KINDS:]
        if with_latest:
            for query in self._latest:
                self._kinds[-1].offer(query[None, :])

    def clear(self) -> None:
        """Forget all queries, and free their memory."""
        self._everything = QueryReservoir(dim=self._dim, seed=self._seed, capacity=1)
        self._kinds, self._given = [], None
        self._latest.clear()

    def sample(self, most: int, random: np.random.Generator) -> list[Matrix]:
        """Return at most `most` of all queries, and of each kind that has enough queries, (m, dim) each."""
        return [self._everything.sample(most, random), *(kind.sample(most, random) for kind in self._known())]

    def latest(self) -> Matrix:
        """Return the latest queries (m, dim)."""
        return np.stack([*self._latest]) if self._latest else np.empty((0, self._dim), dtype=np.float32)

    def to_bytes(self) -> tuple[bytes, bytes, bytes | None]:
        """Return (sample of all, samples of kinds, given queries if there are any), for restore, restore_kinds and
        restore_given."""
        kinds = [kind.to_bytes() for kind in self._kinds]
        head = np.array([len(kinds), *map(len, kinds)], dtype=_NUMBERS)
        given = None if self._given is None else self._given.to_bytes()
        return self._everything.to_bytes(), head.tobytes() + b"".join(kinds), given

    def restore(self, data: bytes) -> None:
        """Take over the sample of all of another QueryKinds. Raises DataLoss for other bytes."""
        restored = QueryReservoir(dim=self._dim, seed=self._seed)
        restored.restore(data)
        self._everything = restored

    def restore_given(self, data: bytes) -> None:
        """Take over the given queries of another QueryKinds. Raises DataLoss for other bytes."""
        restored = self._new_kind()
        restored.restore(data)
        self._given = restored

    def join(self, later: QueryKinds) -> None:
        """Take the queries that were offered to a later QueryKinds."""
        self._given = later._given or self._given
        every = later._everything
        for query in every.sample(len(every), np.random.default_rng(self._seed)):
            # One by one: only some queries of a batch are taken.
            self.offer(query[None, :])

    def restore_kinds(self, data: bytes) -> None:
        """Take over the kinds of another QueryKinds. Raises DataLoss for other bytes."""
        size = _NUMBERS.itemsize
        count = int(np.frombuffer(data[:size], dtype=_NUMBERS)[0]) if len(data) >= size else -1
        lengths = np.frombuffer(data[size : size * (1 + count)], dtype=_NUMBERS).tolist() if 0 <= count <= MOST_KINDS else [-1]
        if min(lengths, default=0) < 0 or len(data) != size * (1 + count) + sum(lengths):
            raise DataLoss(f"query samples of kinds, {len(data)} bytes, are damaged: their head gives the number of kinds as {count}")
        kinds, at = [], size * (1 + count)
        for length in lengths:
            kinds.append(self._new_kind())
            kinds[-1].restore(data[at : at + length])
            at += length
        self._kinds = kinds

    def _known(self) -> list[QueryReservoir]:
        """Return the kinds with enough queries to be measured."""
        kinds = self._kinds if self._given is None else [*self._kinds, self._given]
        return [kind for kind in kinds if len(kind) >= min(ENOUGH_QUERIES, kind.capacity)]

    def _new_kind(self) -> QueryReservoir:
        return QueryReservoir(dim=self._dim, seed=self._seed, capacity=KIND_QUERIES)
