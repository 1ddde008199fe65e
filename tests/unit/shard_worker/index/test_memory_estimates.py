"""Test the estimates of shoal.core.sizing against the memory that a real index takes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from shoal.core.collection import Metric
from shoal.core.points import IdArray, id_array
from shoal.core.sizing import growing_row_bytes, size_of
from shoal.shard_worker.index.replica_index import ReplicaIndex
from shoal.shard_worker.logic.segments.segment_plan import plan_build

ROWS, DIM, TOLERANCE = 6_000, 32, 0.2


def filled(index: str, *, strings: bool = False, rows: int = ROWS) -> ReplicaIndex:
    """Return an index with `rows` rows in one growing segment. Their payloads have 26 bytes on average."""
    made = ReplicaIndex(dim=DIM, metric=Metric.L2, index=index, growing_rows=rows + 1)
    numbers = np.arange(1, rows + 1)
    ids: IdArray = id_array([f"document-{number:07d}" for number in numbers]) if strings else numbers
    payloads = [json.dumps({"label": int(number) % 10, "bucket": int(number) % 100}).encode() for number in numbers]
    vectors = np.random.default_rng(5).random((rows, DIM), dtype=np.float32)
    made.apply(1, np.empty(0, dtype=np.int64), numbers, ids, vectors, payloads)
    made.publish(1)
    return made


def sealed(index: ReplicaIndex) -> ReplicaIndex:
    index.freeze()
    plan = plan_build(index.summary(), everything=True)
    assert plan is not None
    job = index.begin_build(plan)
    result = job.run(bool)
    assert result is not None
    index.swap(job, result, "s")
    return index


@pytest.mark.parametrize("strings", [False, True])
@pytest.mark.parametrize("kind", ["flat", "HNSW16,Flat"])
def test_a_sealed_index_holds_what_was_told(kind: str, strings: bool) -> None:
    held = sealed(filled(kind, strings=strings)).stats().memory_bytes
    told = size_of(points=ROWS, dim=DIM, index=kind, payload_bytes=26, id_bytes=16 if strings else 0).replica
    assert held == pytest.approx(told.index + told.tables + told.ids + told.payloads, rel=TOLERANCE)


def test_a_growing_segment_holds_what_was_told() -> None:
    index = filled("flat", rows=3_000)
    assert index.cost().growing.row_bytes == growing_row_bytes(DIM)
    held = index.stats().memory_bytes
    told = size_of(points=3_000, dim=DIM, payload_bytes=26, growing_rows=3_000).replica
    assert held == pytest.approx(told.growing + told.payloads, rel=TOLERANCE)
