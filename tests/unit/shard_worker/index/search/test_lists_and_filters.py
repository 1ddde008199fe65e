"""Test inverted lists under a filter that goes with the clusters. The lists that a search does not read hold the very
points that this filter wants, so the plan is an exact search.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from shoal.core.filter import HasId
from shoal.core.metric import Metric
from shoal.core.shard_calls import Breadth, QueryGroup
from shoal.shard_worker.index.sealed import VECTORS_SUFFIX
from shoal.shard_worker.index.search.ask import SearchContext
from shoal.shard_worker.index.search.hot_filters import HotFilters
from shoal.shard_worker.index.search.search import search_view
from shoal.shard_worker.logic.segments.segment_plan import plan_build
from tests.unit.shard_worker.index.twin import Writer, by_query, new_index, sealed_by

DIM, CLUSTERS, ROWS = 16, 10, 4_000


@pytest.mark.parametrize("metric", [Metric.L2, Metric.COSINE])
def test_a_filter_that_excludes_the_clusters_of_the_queries_costs_no_recall(metric: Metric, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(CLUSTERS, DIM)) * 1.2
    cluster = rng.integers(0, CLUSTERS, ROWS)
    vectors = (centres[cluster] + rng.normal(size=(ROWS, DIM))).astype(np.float32)
    writer = Writer(new_index(metric, DIM, index="IVF64,Flat", growing_rows=ROWS))
    writer.upsert(dict(enumerate(vectors)))
    writer.index.freeze()
    job = writer.index.begin_build(plan_build(writer.index.summary(), everything=True))
    sealed = sealed_by(job)
    sealed.files()[VECTORS_SUFFIX](tmp_path / "vectors")
    sealed.map_vectors(tmp_path / "vectors")
    writer.index.swap(job, sealed, "one")
    view = writer.index.view()
    assert view.parts[0].index == "IVF64,Flat"
    wanted = HasId(tuple(np.flatnonzero(cluster < 5).tolist()))
    queries = (centres[rng.integers(5, CLUSTERS, 60)] + rng.normal(size=(60, DIM))).astype(np.float32)
    context = SearchContext(hot=HotFilters(), read_payloads=lambda rows: None, clock=time.perf_counter, explain=True)
    for k in (1, 10):
        group = QueryGroup(k=k, filter=wanted)
        found, explain = search_view(view, queries, (group,), Breadth(nprobe=2), None, metric, context)
        truth = {at: vectors[at] for at in wanted.ids}
        reference = Writer(new_index(metric, DIM, index="flat", growing_rows=ROWS))
        reference.upsert(truth)
        exact, _ = search_view(reference.index.view(), queries, (QueryGroup(k=k),), Breadth(ef=1), None, metric, context)
        assert by_query(found) == by_query(exact)
        assert explain[0].plan == "exact"
