"""Searches of growing rows by codes have the hits of searches without codes, bit for bit."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shoal.core.metric import Metric
from shoal.core.scoring import prepared
from shoal.core.shard_calls import QueryGroup, RecallTarget
from shoal.shard_worker.index.growing import GrowingSegment
from shoal.shard_worker.index.native.threads import search_thread_init
from shoal.shard_worker.index.row_codes import GainSlot
from shoal.shard_worker.index.search.ask import SearchContext
from shoal.shard_worker.index.search.few_queries import search_few
from shoal.shard_worker.index.search.hot_filters import HotFilters
from shoal.shard_worker.index.search.lone_query import lone_query
from shoal.shard_worker.index.search.search import SearchedView, search_views
from shoal.shard_worker.index.view import IndexHits, IndexView
from shoal.shard_worker.logic import code_gain
from shoal.shard_worker.payload.matched import PayloadBounds
from tests.support.scope import LONG
from tests.support.worker.steady_paces import SteadyPaces
from tests.unit.shard_worker.index.filter_world import Ticks
from tests.unit.shard_worker.index.test_row_codes import DIMS, KINDS, made_rows

TARGET = RecallTarget(0.9)


@pytest.fixture(autouse=True)
def _few_rows_have_codes() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(code_gain, "LEAST_ROWS", 1)
        patch.setattr(code_gain, "LEAST_FLOATS", 1)
        patch.setattr(code_gain, "MORE", 4)
        yield


def _segment(key: int, vectors: np.ndarray, metric: Metric, dead: list[int], cut: int) -> GrowingSegment:
    segment = GrowingSegment(key=key, dim=vectors.shape[1], capacity=len(vectors), bounds=PayloadBounds())
    ready = np.ascontiguousarray(prepared(vectors, metric))
    for start, end in ((0, cut), (cut, len(vectors))):
        numbers = np.arange(start, end) + key * 10_000
        segment.append(numbers, numbers[::-1].copy(), ready[start:end], None)
    segment.kill(np.array(dead, dtype=np.int64), 1)
    return segment


def _plain(view: IndexView) -> IndexView:
    return IndexView(seq=view.seq, parts=tuple(replace(part, codes=None) for part in view.parts))


def _seen(view: IndexView) -> list[SearchedView]:
    context = SearchContext(hot=HotFilters(1 << 24), read_payloads=lambda rows: None, clock=Ticks(), paces=SteadyPaces())
    return [SearchedView(view=view, context=context)]


def _both(view: IndexView, query: np.ndarray, k: int, metric: Metric) -> list[IndexHits]:
    """Return the hits of the two ways to search a view."""
    seen = _seen(view)
    hits = [search_views(seen, query, (QueryGroup(k=k),), TARGET, None, metric).hits]
    lone = lone_query(seen, k, TARGET, metric)
    found = None if lone is None else lone.search(query, with_rows=True)
    return hits if found is None else [*hits, found.hits]


def _of_each(view: IndexView, queries: np.ndarray, k: int, metric: Metric) -> list[IndexHits] | None:
    """Return the hits of each query, searched for in one pass; None if each must be searched for alone."""
    lone = lone_query(_seen(view), k, TARGET, metric)
    found = None if lone is None else search_few(lone, queries)
    if found is None:
        return None
    hits, ends = found.hits, np.cumsum(found.hits.counts).tolist()
    return [
        IndexHits(counts=hits.counts[at : at + 1], ids=hits.ids[start:end], scores=hits.scores[start:end], rows=hits.rows[start:end])
        for at, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True))
    ]


def _same(found: IndexHits, twin: IndexHits) -> bool:
    return all(getattr(found, name).tobytes() == getattr(twin, name).tobytes() for name in ("counts", "ids", "scores", "rows"))


@settings(deadline=None, max_examples=600 if LONG else 150, suppress_health_check=[HealthCheck.too_slow])
@given(
    metric=st.sampled_from(list(Metric)),
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=3),
    dim=st.sampled_from(DIMS),
    rows=st.sampled_from([30, 300, 600]),
    dead=st.lists(st.integers(0, 29), max_size=8, unique=True),
    k=st.sampled_from([1, 3, 10, 60]),
    asked=st.sampled_from(["normal", "row", "near"]),
    seed=st.integers(0, 1 << 20),
)
def test_hits_are_those_without_codes(
    metric: Metric, kinds: list[str], dim: int, rows: int, dead: list[int], k: int, asked: str, seed: int
) -> None:
    random = np.random.default_rng(seed)
    kinds = ["normal" if metric is Metric.COSINE and kind == "zeros" else kind for kind in kinds]
    vectors = [made_rows(random, kind, rows, dim) for kind in kinds]
    parts = tuple(_segment(key, each, metric, dead, int(random.integers(1, rows))).part() for key, each in enumerate(vectors, 1))
    view = IndexView(seq=1, parts=parts)
    near = vectors[0][5]
    twins, queries = list[IndexHits](), list[np.ndarray]()
    for _ in range(3):
        query = {"normal": random.normal(size=dim), "row": near, "near": near * random.normal(1, 1e-3, size=dim)}[asked]
        query = np.ascontiguousarray(query.astype(np.float32)[None, :])
        query = query if query.any() else query + 1
        (twin, *_), found = _both(_plain(view), query, k, metric), _both(view, query, k, metric)
        assert all(_same(each, twin) for each in found)
        twins.append(twin)
        queries.append(query)
    together = _of_each(view, np.concatenate(queries), k, metric)
    assert together is None or all(_same(each, twin) for each, twin in zip(together, twins, strict=True))


def test_a_query_whose_squares_vanish_is_answered_as_without_codes() -> None:
    random = np.random.default_rng(0)
    view = IndexView(seq=1, parts=(_segment(1, random.normal(size=(300, 64)).astype(np.float32), Metric.IP, [], 9).part(),))
    queries = (random.normal(size=(5, 64)) * 1e-25).astype(np.float32)
    twins = []
    for query in queries:
        (twin, *_), found = _both(_plain(view), query[None, :], 1, Metric.IP), _both(view, query[None, :], 1, Metric.IP)
        assert all(_same(each, twin) for each in found)
        twins.append(twin)
    together = _of_each(view, queries, 1, Metric.IP)
    assert together is not None
    assert all(_same(each, twin) for each, twin in zip(together, twins, strict=True))


class _Watched(GainSlot):
    """Remembers what became of searches by codes."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: list[bool] = []

    def learn(self, *, enough: bool) -> None:
        self.outcomes.append(enough)
        super().learn(enough=enough)


def _watched(view: IndexView) -> _Watched:
    (part,) = view.parts
    assert part.codes is not None
    part.codes.gain = _Watched()
    return part.codes.gain


@pytest.mark.parametrize("metric", [Metric.L2, Metric.IP])
def test_codes_are_used_where_they_suffice_and_rest_where_they_do_not(metric: Metric) -> None:
    vectors = np.random.default_rng(2).normal(size=(2_000, 64)).astype(np.float32)
    view = IndexView(seq=1, parts=(_segment(1, vectors, metric, [], 300).part(),))
    watched = _watched(view)
    _both(view, vectors[:1] + np.float32(0.1), 3, metric)
    assert watched.outcomes == [True, True], "once by each way of searching"
    assert _of_each(view, vectors[:5] + np.float32(0.1), 3, metric) is not None
    assert watched.outcomes == [True, True, True], "once for several queries"
    blurred = vectors.copy()
    blurred[7] *= 1e6
    view = IndexView(seq=1, parts=(_segment(1, blurred, metric, [], 300).part(),))
    watched = _watched(view)
    for _ in range(3):
        search_views(_seen(view), vectors[:1] * np.float32(0.1), (QueryGroup(k=3),), TARGET, None, metric)
    assert watched.outcomes == [False, False], "one long row blurs all others; the second search does without codes"
    assert view.parts[0].codes is not None
    view.parts[0].codes.gain = watched = _Watched()
    together = _of_each(view, vectors[:4] * np.float32(0.1), 3, metric)
    assert watched.outcomes == [False]
    if together is None:
        assert metric is Metric.IP, "rounding in products with the long row leaves too many"
        return
    twins = [_both(_plain(view), query[None, :] * np.float32(0.1), 3, metric)[0] for query in vectors[:4]]
    assert all(_same(each, twin) for each, twin in zip(together, twins, strict=True))


def test_readers_beside_the_writer_find_what_their_view_holds() -> None:
    random = np.random.default_rng(3)
    vectors = random.normal(size=(4_000, 64)).astype(np.float32)
    # Later rows do not fit the scale of those before, so codes are made anew while they are read.
    vectors *= np.linspace(1, 6, 4_000, dtype=np.float32)[:, None]
    segment = GrowingSegment(key=1, dim=64, capacity=4_000, bounds=PayloadBounds())
    views: list[IndexView] = []
    wrong: list[str] = []
    answers = [0, 0]
    done = threading.Event()

    def read(number: int) -> None:
        search_thread_init()
        own = np.random.default_rng(number)
        while not done.is_set() or answers[number] < 20:
            if not views:
                continue
            view, query = views[-1], own.normal(size=(1, 64)).astype(np.float32)
            (twin, *_), found = _both(_plain(view), query, 5, Metric.L2), _both(view, query, 5, Metric.L2)
            answers[number] += 1
            if not all(_same(each, twin) for each in found):
                wrong.append(f"{len(view.parts[0])} rows: {[each.ids.tolist() for each in found]} instead of {twin.ids.tolist()}")
                return

    readers = [threading.Thread(target=read, args=(number,)) for number in range(2)]
    for reader in readers:
        reader.start()
    try:
        for start in range(0, 4_000, 40):
            numbers = np.arange(start, start + 40)
            segment.append(numbers, numbers, vectors[start : start + 40], None)
            if start:
                segment.kill(np.array([start - 40]), start)
            views.append(IndexView(seq=start, parts=(segment.part(),)))
            target = sum(answers) + 1
            while sum(answers) < target and not wrong:
                done.wait(0.001)
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert wrong == []
