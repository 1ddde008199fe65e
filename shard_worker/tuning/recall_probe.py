"""The true recall of searches of a live replica: each query is answered as any search is, and exactly, over the same
view.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from shoal.core.collection import Metric
from shoal.core.deadline import Clock
from shoal.core.ids import ShardId
from shoal.core.points import IdArray, Matrix
from shoal.core.shard_calls import Accuracy, Exact, QueryGroup, RecallTarget, ShardFound, ShardMeasureRecall, ShardSearch
from shoal.core.topk import HitColumns
from shoal.shard_worker.index.view import IndexView

Scores = npt.NDArray[np.float32]


class ProbedReads(Protocol):
    """Reads of one replica, from any thread."""

    def view(self) -> IndexView:
        """What a read sees from now on."""
        ...

    def search(self, view: IndexView, call: ShardSearch) -> ShardFound | None:
        """Hits of the view; None when a newer one is to be taken."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ProbeQueries:
    """Queries (m, dim) float32; own: (m,) ids of the points that stand in for them and do not count as hits, None for
    real ones.
    """

    queries: Matrix
    own: IdArray | None

    def __len__(self) -> int:
        return len(self.queries)

    def slice(self, start: int, end: int) -> ProbeQueries:
        """Queries from `start` to `end`."""
        return ProbeQueries(queries=self.queries[start:end], own=None if self.own is None else self.own[start:end])


@dataclass(frozen=True, kw_only=True, slots=True)
class Probed:
    """One query. recall: 0-1; search_us, exact_us: microseconds."""

    recall: float
    search_us: float
    exact_us: float


def stand_ins(view: IndexView, most: int, random: np.random.Generator) -> ProbeQueries | None:
    """At most `most` points of the view in place of queries; None when it has no points."""
    alive = [np.flatnonzero(part.deaths > view.seq) for part in view.parts]
    owners = np.repeat(np.arange(len(alive)), [len(rows) for rows in alive])
    if not len(owners):
        return None
    chosen = np.sort(random.permutation(len(owners))[:most])
    begins = np.cumsum([0, *(len(rows) for rows in alive)])
    vectors, ids = [], []
    for number, part in enumerate(view.parts):
        positions = alive[number][chosen[owners[chosen] == number] - begins[number]]
        vectors.append(part.vectors.take(positions, axis=0))
        ids.extend(part.ids.take(positions).tolist())
    own = np.empty(len(ids), dtype=object)
    own[:] = ids
    return ProbeQueries(queries=np.concatenate(vectors), own=own)


def probe(
    reading: ProbedReads, shard: ShardId, queries: ProbeQueries, call: ShardMeasureRecall, metric: Metric, clock: Clock
) -> list[Probed]:
    """Search each query alone, twice.

    Queries whose view was outdated by the writer, or that nothing can be near to, are left out.
    """
    found = []
    for number in range(len(queries)):
        query = queries.queries[number : number + 1]
        own = None if queries.own is None else queries.own[number]
        view = reading.view()
        k = call.k + (own is not None)
        quick, search_us = _timed(reading, view, shard, query, k, RecallTarget(call.recall), clock)
        exact, exact_us = _timed(reading, view, shard, query, k, Exact(), clock)
        if quick is None or exact is None:
            continue
        truth = _without(exact, own)[: call.k]
        if len(truth):
            recall = _share(_without(quick, own)[: call.k], truth, metric)
            found.append(Probed(recall=recall, search_us=search_us, exact_us=exact_us))
    return found


def _timed(
    reading: ProbedReads, view: IndexView, shard: ShardId, query: Matrix, k: int, accuracy: Accuracy, clock: Clock
) -> tuple[HitColumns | None, float]:
    call = ShardSearch(shard=shard, queries=query, groups=(QueryGroup(k=k),), accuracy=accuracy, with_payload=False)
    began = clock()
    found = reading.search(view, call)
    return None if found is None else found.hits, (clock() - began) * 1e6


def _without(hits: HitColumns, own: object) -> Scores:
    """Scores of the hits, best first, but for the point `own`."""
    if own is None:
        return hits.scores
    kept = np.fromiter((point_id != own for point_id in hits.ids.tolist()), dtype=bool, count=len(hits.ids))
    others: Scores = hits.scores[kept]
    return others


def _share(scores: Scores, truth: Scores, metric: Metric) -> float:
    """Part of the exact hits that was found.

    One kernel scores both, so whatever is as good as the last of them is one of them or ties.
    """
    good = scores <= truth[-1] if metric.smaller_is_better else scores >= truth[-1]
    return min(1.0, float(np.count_nonzero(good)) / len(truth))
