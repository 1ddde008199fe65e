"""A build: rows of several segments become one sealed segment, in a thread of its own.

Owns the snapshot it reads: parts whose arrays no longer move. A large graph among the sources is copied and the copy
extended, dead rows included; else the segment is made afresh from live rows. Refuses to touch what is being searched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shard_worker.index.native import HnswSettings, NativeIndex
from shard_worker.index.sealed import SealedSegment
from shard_worker.index.view import Part
from shoal.core.collection import IndexKind, Metric
from shoal.core.points import Matrix
from shoal.core.topk import concat_ids

_BLOCK_FLOATS = 400_000
_BLOCK_ROWS = 4_096
"""Rows are added in blocks, so that a build can be told to stop: about a quarter of a second each in one thread."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SealedForm:
    """What sealed segments of a replica look like. flat_rows: with kind auto, smaller segments have no graph."""

    dim: int
    metric: Metric
    kind: IndexKind
    flat_rows: int
    hnsw: HnswSettings

    def empty(self, rows: int) -> NativeIndex:
        """An empty index that will take `rows` rows."""
        if self.kind is IndexKind.AUTO and rows < self.flat_rows:
            return NativeIndex.flat(self.dim, self.metric)
        return NativeIndex.hnsw(self.dim, self.metric, self.hnsw)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Source:
    """Rows of one segment that a build takes: those at `positions` (m,) of `part`."""

    key: int
    name: str
    part: Part
    positions: npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BuildJob:
    """One build, made by ReplicaIndex.begin_build and to be given to its swap or abandon.

    seq: sequence number that the snapshot was taken at; base: the source whose graph is extended, taken whole; others: the
    sources whose rows are inserted.
    """

    seq: int
    form: SealedForm
    base: Source | None
    others: tuple[Source, ...]

    @property
    def sources(self) -> tuple[Source, ...]:
        """All sources, in the order in which their rows lie in the result."""
        return (self.base, *self.others) if self.base else self.others

    @property
    def replaces(self) -> tuple[str, ...]:
        """Names of the sealed segments that the result replaces."""
        return tuple(source.name for source in self.sources if source.name)

    @property
    def inserts(self) -> int:
        """Rows that will be inserted: the work."""
        return sum(len(source.positions) for source in self.others)

    def run(self, should_stop: Callable[[], bool]) -> SealedSegment | None:
        """The sealed segment, or None as soon as should_stop() is true. In a build thread (see build_thread_init)."""
        native = self._start()
        for vectors in self._blocks():
            if should_stop():
                return None
            native.add(vectors)
        return SealedSegment(
            native=native,
            rows=np.concatenate([np.empty(0, dtype=np.int64), *(source.part.rows[source.positions] for source in self.sources)]),
            ids=concat_ids([source.part.ids[source.positions] for source in self.sources]),
            deaths=self.deaths(),
        )

    def deaths(self) -> npt.NDArray[np.int64]:
        """Deaths of the result's rows so far; final when the writer thread asks."""
        return np.concatenate([np.empty(0, dtype=np.int64), *(source.part.deaths[source.positions] for source in self.sources)])

    def _start(self) -> NativeIndex:
        if self.base is not None and self.base.part.graph is not None:
            return self.base.part.graph.clone()
        return self.form.empty(self.inserts)

    def _blocks(self) -> Iterator[Matrix]:
        step = min(_BLOCK_ROWS, max(1, _BLOCK_FLOATS // self.form.dim))
        for source in self.others:
            for start in range(0, len(source.positions), step):
                yield source.part.vectors[source.positions[start : start + step]]
