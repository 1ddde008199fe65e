"""Test recall targets on real vectors: what a target chooses is measured on other queries than those of the
calibration.

No clock: searching the index always counts as cheaper than an exact search. So each choice uses the index, and the test
does not depend on the machine.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import faiss
import numpy as np
import pytest

from shoal.core.index_spec import parse_index
from shoal.core.metric import Metric
from shoal.core.scoring import prepared
from shoal.shard_worker.index import tuning as tuning_module
from shoal.shard_worker.index.search.approximate import nearest
from shoal.shard_worker.index.search.ask import Ask
from shoal.shard_worker.index.tuning import Tuning
from shoal.shard_worker.index.view import SegmentView
from shoal.shard_worker.logic.segments.segment_form import SealedForm
from shoal.shard_worker.tuning.calibrate import calibrate
from shoal.shard_worker.tuning.truth import QuerySample
from tests.support.examples.data_sets import load
from tests.support.scope import LONG, cells
from tests.support.worker.made_segments import built, frozen

TARGETS = (0.8, 0.9, 0.95, 0.99)
KS = (1, 10, 100)
RANKS = (1, 3, 10, 30, 100)
SPLITS = {"sift": 4, "scifact": 3, "fashion": 1}
"""Number of random halves. With fewer queries there are more halves."""

FASHION_ROWS = 10_000
INDEXES = ("hnsw", "ivf")
CELLS = cells(
    [(name, index) for name in SPLITS for index in INDEXES],
    [("sift", "hnsw"), ("sift", "ivf"), ("scifact", "hnsw")],
)
"""The short tests use two of the data sets, one of them with both indexes."""


def data(name: str) -> tuple[np.ndarray, np.ndarray, Metric]:
    if name == "fashion":
        arrays = load("fashion-mnist-784-l2.npz")
        return arrays["base"][:FASHION_ROWS], arrays["queries"][:600], Metric.L2
    if name == "sift":
        arrays = load("sift5k-128-l2.npz")
        return arrays["base"], arrays["queries"], Metric.L2
    arrays = load("scifact-minilm384.npz")
    return arrays["doc_embeddings"], arrays["query_embeddings"], Metric.COSINE


@functools.cache
def prepared_data(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, Metric]:
    """Return the prepared vectors, the prepared queries, the true positions of the 100 nearest, and the metric."""
    vectors, queries, metric = data(name)
    vectors = prepared(np.ascontiguousarray(vectors, dtype=np.float32), metric)
    queries = prepared(np.ascontiguousarray(queries, dtype=np.float32), metric)
    flat = faiss.IndexFlat(vectors.shape[1], faiss.METRIC_L2 if metric is Metric.L2 else faiss.METRIC_INNER_PRODUCT)
    flat.add(vectors)
    return vectors, queries, flat.search(queries, max(KS))[1], metric


@pytest.fixture(scope="module")
def segment(tmp_path_factory) -> Callable[[str, str], SegmentView]:
    """Return a function that builds a segment as a replica does, once for each data set and index."""

    @functools.cache
    def make(name: str, index: str) -> SegmentView:
        vectors, _, _, metric = prepared_data(name)
        dim = vectors.shape[1]
        form = SealedForm(dim=dim, metric=metric, spec=parse_index(index, dim))
        return built(form, (frozen(vectors, metric),), tmp_path_factory.mktemp("segment")).part()

    return make


def calibrated(part: SegmentView, sample: QuerySample, metric: Metric) -> Tuning:
    ticks = iter(range(10**9))
    tuning = calibrate(part, sample, metric=metric, should_stop=bool, clock=lambda: next(ticks) * 1e-6, ranks=RANKS)
    assert tuning is not None
    return tuning


def recall_of(part: SegmentView, queries: np.ndarray, truth: np.ndarray, metric: Metric, choice: tuple[int, int], k: int) -> float:
    breadth, fetch = choice
    ask = Ask(queries=np.ascontiguousarray(queries), seq=1, k=k, metric=metric)
    positions = nearest(part, part.native, ask, fetch, breadth)[:, :k]
    return float(np.mean([len(set(a) & set(b)) / k for a, b in zip(positions.tolist(), truth[:, :k].tolist(), strict=True)]))


@pytest.mark.parametrize(("name", "index"), CELLS)
def test_half_of_the_queries_choose_for_the_other_half(name, index, segment):
    """The recall is the mean over several random halves. A hundred queries that were not calibrated on say too little
    about the first hit.
    """
    _, queries, truth, metric = prepared_data(name)
    part = segment(name, index)
    measured: dict[tuple[float, int], list[float]] = {}
    for split in range(SPLITS[name]):
        order = np.random.default_rng(split).permutation(len(queries))
        ours, others = order[: min(len(order) // 2, 200)], order[len(order) // 2 :]
        tuning = calibrated(part, QuerySample.asked(queries[ours], metric), metric)
        for target in TARGETS:
            for k in KS:
                choice = tuning.breadth_for(k, target)
                pair = (choice.breadth, choice.fetch)
                found = 1.0 if choice.exact else recall_of(part, queries[others], truth[others], metric, pair, k)
                measured.setdefault((target, k), []).append(found)
    missed = {key: np.mean(found) for key, found in measured.items() if np.mean(found) < key[0] - 0.01}
    assert missed == {}


@pytest.mark.parametrize(("name", "index"), CELLS)
def test_what_stands_in_chooses_for_real_queries(name, index, segment, monkeypatch):
    """Queries that stand in are used only where exact search is expensive. Elsewhere, searches are exact until real
    queries were measured.
    """
    _, queries, truth, metric = prepared_data(name)
    part = segment(name, index)
    tuning = calibrated(part, QuerySample.stand_ins(part, 64, np.random.default_rng(0), seq=1, metric=metric), metric)
    assert tuning.choice(10, 0.8).exact
    monkeypatch.setattr(tuning_module, "DEAR_US", -1.0)
    missed = {}
    for target in TARGETS:
        for k in KS:
            choice = tuning.choice(k, target)
            if not choice.exact:
                found = recall_of(part, queries, truth, metric, (choice.breadth, choice.fetch), k)
                if found < target - 0.01:
                    missed[target, k] = found
    assert missed == {}


@pytest.mark.parametrize(("name", "index"), CELLS)
def test_rows_with_their_margin_choose_for_the_first_real_queries(name, index, segment):
    _, queries, truth, metric = prepared_data(name)
    part = segment(name, index)
    tuning = calibrated(part, QuerySample.own_rows(part, 128, np.random.default_rng(0), seq=1), metric)
    assert tuning.provisional
    missed = {}
    for target in TARGETS:
        for k in KS:
            choice = tuning.choice(k, target)
            if not choice.exact:
                found = recall_of(part, queries, truth, metric, (choice.breadth, choice.fetch), k)
                if found < target - 0.01:
                    missed[target, k] = found
    assert missed == {}
    assert not tuning.choice(10, 0.9).exact


@pytest.mark.parametrize(("name", "index"), CELLS)
def test_before_anything_is_measured_every_search_is_exact(name, index, segment):
    tuning = segment(name, index).tuning.now
    assert not tuning.measured
    assert all(tuning.choice(k, target).exact for k in KS for target in TARGETS)


@pytest.mark.skipif(not LONG, reason="half a minute: make recall-targets")
def test_fashion_under_inner_products(tmp_path):
    """The vectors differ in length and are all positive. The graph reaches the target, and what some queries choose
    holds for the others.
    """
    arrays = load("fashion-mnist-784-l2.npz")
    vectors, queries = arrays["base"][:FASHION_ROWS].astype(np.float32), arrays["queries"][:600].astype(np.float32)
    form = SealedForm(dim=784, metric=Metric.IP, spec=parse_index("hnsw", 784))
    part = built(form, (frozen(vectors, Metric.IP),), tmp_path).part()
    flat = faiss.IndexFlatIP(784)
    flat.add(vectors)
    truth = flat.search(queries, max(KS))[1]
    tuning = calibrated(part, QuerySample.asked(queries[:256], Metric.IP), Metric.IP)
    for k in KS:
        choice = tuning.choice(k, 0.95)
        assert not choice.exact, "the graph reaches the target"
        found = recall_of(part, queries[256:], truth[256:], Metric.IP, (choice.breadth, choice.fetch), k)
        print(f"k={k}: ef {choice.breadth} recall {found:.4f}")
        assert found >= 0.94
