"""Measure the true recall of searches of a live replica: answer each query as usual and exactly, over the same view."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt

from shoal.core.deadline import Clock
from shoal.core.errors import DeadlineExceeded, ErrorDetails, InvalidArgument, Unavailable
from shoal.core.ids import ShardId
from shoal.core.metric import Metric
from shoal.core.points import IdArray, Matrix
from shoal.core.shard_calls import Accuracy, Exact, QueryGroup, RecallTarget, ShardFound, ShardSearch
from shoal.core.topk import HitColumns
from shoal.core.tuning_calls import ShardMeasureRecall, ShardRecall
from shoal.runtime.clock import boot_s
from shoal.shard_worker.index.view import IndexView
from shoal.shard_worker.resources.pools import Pools

Scores = npt.NDArray[np.float32]

MOST_PROBED = 10_000
_PROBED_AT_ONCE = 4


class ProbedReads(Protocol):
    """Reads of one replica, from any thread."""

    def view(self) -> IndexView:
        """Return the current view, for reads."""
        ...

    def search(self, view: IndexView, call: ShardSearch) -> ShardFound | None:
        """Return the hits of the view; None when a newer view must be taken."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ProbeQueries:
    """Queries (m, dim) float32.

    own: (m,) ids of the points that stand in for the queries and do not count as hits, None for real queries.
    """

    queries: Matrix
    own: IdArray | None

    def __len__(self) -> int:
        return len(self.queries)

    def slices(self) -> Iterator[ProbeQueries]:
        """Yield the queries a few at a time."""
        for start in range(0, len(self), _PROBED_AT_ONCE):
            few = slice(start, start + _PROBED_AT_ONCE)
            yield ProbeQueries(queries=self.queries[few], own=None if self.own is None else self.own[few])


@dataclass(frozen=True, kw_only=True, slots=True)
class Probed:
    """The result of one query. recall: 0-1; search_us, exact_us: microseconds."""

    recall: float
    search_us: float
    exact_us: float


class Prober:
    """Measures the recall of one replica's searches in the worker's threads, a few queries at a time.

    stop: set when the replica closes.
    """

    def __init__(self, *, shard: ShardId, reading: ProbedReads, pools: Pools, metric: Metric, stop: asyncio.Event) -> None:
        self._shard, self._reading, self._pools, self._metric, self._stop = shard, reading, pools, metric, stop

    async def measure(self, call: ShardMeasureRecall, real: Matrix | None, seed: int, timeout_s: float) -> ShardRecall:
        """Answer the real queries, or as many points as `call` says if there are none, as usual and exactly.

        Raises DeadlineExceeded, Unavailable when the replica closes.
        """
        withdrawn = threading.Event()
        probed: list[Probed] = []
        try:
            async with asyncio.timeout(timeout_s):
                queries = await self._stand_ins(call.sample, seed, withdrawn) if real is None else ProbeQueries(queries=real, own=None)
                for few in () if queries is None else queries.slices():
                    probed += await self._probe(few, call, withdrawn)
        except TimeoutError:
            late = f"shard {self._shard} answered {len(probed)} of {call.sample} queries within {timeout_s:.0f} s; give it longer"
            raise DeadlineExceeded(late, ErrorDetails(shard=str(self._shard))) from None
        finally:
            withdrawn.set()
        if queries is None and self._stop.is_set():
            raise self._closing()
        return summary(self._shard.number, probed, real=real is not None)

    async def check(self, queries: Matrix, k: int, recall: float) -> list[Probed]:
        """Answer each query as usual, with this recall, and exactly: beside builds, at low priority."""
        call = ShardMeasureRecall(shard=self._shard, k=k, sample=len(queries), recall=recall)
        probed: list[Probed] = []
        for few in ProbeQueries(queries=queries, own=None).slices():
            probed += await self._pools.measure(partial(self._probe_now, few, call), self._stop) or []
        return probed

    def _probe_now(self, queries: ProbeQueries, call: ShardMeasureRecall) -> list[Probed]:
        return probe(self._reading, self._shard, queries, call, self._metric, boot_s)

    async def _stand_ins(self, most: int, seed: int, withdrawn: threading.Event) -> ProbeQueries | None:
        random = np.random.default_rng(seed)
        return await self._pools.build(lambda: None if withdrawn.is_set() else stand_ins(self._reading.view(), most, random), self._stop)

    async def _probe(self, queries: ProbeQueries, call: ShardMeasureRecall, withdrawn: threading.Event) -> list[Probed]:
        """Answer a slice of the queries. Between two slices, builds and slices of other calls can run."""
        found = await self._pools.build(lambda: [] if withdrawn.is_set() else self._probe_now(queries, call), self._stop)
        if found is None or self._stop.is_set():
            raise self._closing()
        return found

    def _closing(self) -> Unavailable:
        return Unavailable(f"shard {self._shard} is closing", ErrorDetails(shard=str(self._shard)))


def check_call(call: ShardMeasureRecall) -> None:
    """Check the arguments of the call. Raises InvalidArgument."""
    if call.k < 1:
        raise InvalidArgument(f"k is {call.k}, it must be at least 1", ErrorDetails(field="k"))
    if not 1 <= call.sample <= MOST_PROBED:
        raise InvalidArgument(f"sample is {call.sample}, it must be 1-{MOST_PROBED}", ErrorDetails(field="sample"))
    if not 0 < call.recall <= 1:
        raise InvalidArgument(f"recall is {call.recall}, it must be above 0 and at most 1", ErrorDetails(field="recall"))


def summary(shard: int, probed: Sequence[Probed], *, real: bool) -> ShardRecall:
    """Return the means of the results. Without any query the recall is 1, since nothing was missed."""
    count = max(1, len(probed))
    return ShardRecall(
        shard=shard,
        queries=len(probed),
        real_queries=real,
        recall=sum(each.recall for each in probed) / count if probed else 1.0,
        lowest=min((each.recall for each in probed), default=1.0),
        search_us=sum(each.search_us for each in probed) / count,
        exact_us=sum(each.exact_us for each in probed) / count,
    )


def stand_ins(view: IndexView, most: int, random: np.random.Generator) -> ProbeQueries | None:
    """Return at most `most` points of the view to stand in for queries; None when it has no points."""
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

    A query is left out when the writer outdated its view, or when there are no points to find.
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
    """Return the scores of the hits, best first, without the point `own`."""
    if own is None:
        return hits.scores
    kept = np.fromiter((point_id != own for point_id in hits.ids.tolist()), dtype=bool, count=len(hits.ids))
    others: Scores = hits.scores[kept]
    return others


def _share(scores: Scores, truth: Scores, metric: Metric) -> float:
    """Return the share of the exact hits that was found.

    One kernel scores both, so a hit that is as good as the last exact hit is an exact hit, or ties with one.
    """
    good = scores <= truth[-1] if metric.smaller_is_better else scores >= truth[-1]
    return min(1.0, float(np.count_nonzero(good)) / len(truth))
