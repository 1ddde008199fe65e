"""Hold the dumb twin of ReplicaIndex, a dictionary that is sorted whole for every query, and a writer that
drives both.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

import numpy as np

from shoal.core.metric import Metric
from shoal.core.points import PointId, id_array, id_order
from shoal.core.scoring import prepared, scores
from shoal.core.shard_calls import Breadth, Exact, QueryGroup
from shoal.shard_worker.index.build import BuildJob
from shoal.shard_worker.index.replica_index import ReplicaIndex
from shoal.shard_worker.index.sealed import SealedSegment
from shoal.shard_worker.index.search.ask import SearchContext
from shoal.shard_worker.index.search.hot_filters import HotFilters
from shoal.shard_worker.index.search.search import search_view
from shoal.shard_worker.index.view import IndexHits, IndexView
from shoal.shard_worker.logic.segments.segment_plan import plan_build

NEVER: Callable[[], bool] = bool
"""A should_stop that always returns False."""

Hits = list[tuple[PointId, float]]


def brute_force(points: Mapping[PointId, np.ndarray], query: np.ndarray, k: int, metric: Metric) -> Hits:
    """Return the k best points by (score, id)."""
    if not points:
        return []
    rows = prepared(np.stack(list(points.values())), metric)
    found = scores(prepared(query[None, :], metric)[0], rows, metric).tolist()
    return sorted(zip(points, found, strict=True), key=lambda hit: _best_first(hit, metric))[:k]


def _best_first(hit: tuple[PointId, float], metric: Metric) -> tuple[bool, float, tuple[int, int, str]]:
    """Return a sort key: best score first, then by id. Scores that are NaN come last."""
    point_id, score = hit
    if math.isnan(score):
        return (True, 0.0, id_order(point_id))
    return (False, score if metric.smaller_is_better else -score, id_order(point_id))


def by_query(found: IndexHits) -> list[Hits]:
    """Split the hits by query."""
    ends = np.cumsum(found.counts)
    return [
        list(zip(found.ids[end - count : end].tolist(), found.scores[end - count : end].tolist(), strict=True))
        for end, count in zip(ends, found.counts, strict=True)
    ]


class Writer:
    """Does the part of the writer thread for one replica: keeps rows and points beside the index, as the store does."""

    def __init__(self, index: ReplicaIndex) -> None:
        self.index = index
        self.points: dict[PointId, np.ndarray] = {}
        self.row_of: dict[PointId, int] = {}
        self.seq = 0
        self._next_row = 1

    def upsert(self, points: Mapping[PointId, np.ndarray], *, publish: bool = True) -> None:
        self._apply(list(points), points)
        if publish:
            self.publish()

    def delete(self, ids: list[PointId], *, publish: bool = True) -> None:
        self._apply(ids, {})
        if publish:
            self.publish()

    def publish(self) -> None:
        self.index.publish(self.seq)

    def build(self, *, everything: bool = False) -> bool:
        """Do one build, from the plan to the swap. Return False when there is nothing to build."""
        plan = plan_build(self.index.summary(), everything=everything)
        if plan is None:
            return False
        job = self.index.begin_build(plan)
        self.index.swap(job, sealed_by(job), f"segment-{self.seq}")
        return True

    def optimize(self) -> None:
        self.index.freeze()
        while self.build(everything=True):
            pass

    def live(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the live rows, ascending, and their ids, as the store does."""
        ordered = sorted(self.row_of.items(), key=lambda item: item[1])
        return np.array([row for _, row in ordered], dtype=np.int64), id_array(point_id for point_id, _ in ordered)

    def _apply(self, gone: list[PointId], new: Mapping[PointId, np.ndarray]) -> None:
        killed = [self.row_of.pop(point_id) for point_id in gone if point_id in self.row_of]
        rows = np.arange(self._next_row, self._next_row + len(new))
        self._next_row += len(new)
        self.seq += 1
        vectors = np.stack(list(new.values())) if new else np.empty((0, self.index.dim), dtype=np.float32)
        self.index.apply(self.seq, np.array(killed, dtype=np.int64), rows, id_array(new), vectors, None)
        self.row_of.update(zip(new, rows.tolist(), strict=True))
        for point_id in gone:
            self.points.pop(point_id, None)
        self.points.update(new)


def sealed_by(job: BuildJob) -> SealedSegment:
    """Run a build to its end and return its segment."""
    sealed = job.run(NEVER)
    assert sealed is not None
    return sealed


INDEXES = ("auto", "flat", "HNSW16,Flat")


def new_index(metric: Metric, dim: int, *, index: str = "hnsw", growing_rows: int = 8, flat_rows: int = 6) -> ReplicaIndex:
    return ReplicaIndex(dim=dim, metric=metric, index=index, growing_rows=growing_rows, flat_rows=flat_rows)


def search(index: ReplicaIndex, view: IndexView, queries: np.ndarray, k: int, *, exact: bool, ef: int) -> IndexHits:
    """Search without a filter."""
    accuracy = Exact() if exact else Breadth(ef=ef)
    context = SearchContext(hot=HotFilters(), read_payloads=lambda rows: None, clock=time.perf_counter)
    return search_view(view, queries, (QueryGroup(k=k),), accuracy, None, index.metric, context)[0]


def random_points(seed: int, count: int, dim: int, first_id: int = 0) -> dict[PointId, np.ndarray]:
    vectors = np.random.default_rng(seed).random((count, dim)).astype(np.float32)
    return {first_id + at: vectors[at] for at in range(count)}


def exact(index: ReplicaIndex, view: IndexView, queries: np.ndarray, k: int) -> list[Hits]:
    return by_query(search(index, view, queries, k, exact=True, ef=64))


def approximate(index: ReplicaIndex, view: IndexView, queries: np.ndarray, k: int, ef: int = 64) -> list[Hits]:
    return by_query(search(index, view, queries, k, exact=False, ef=ef))


def recall(found: list[Hits], truth: list[Hits]) -> float:
    """Return the mean share of the true hits that were found."""
    shares = [len({i for i, _ in a} & {i for i, _ in b}) / len(b) for a, b in zip(found, truth, strict=True)]
    return float(np.mean(shares))
