"""Test the estimates of shoal.core.sizing against the memory that a real index takes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from shoal.core.metric import Metric
from shoal.core.points import IdArray, id_array
from shoal.core.sizing import growing_row_bytes, size_of
from shoal.core.text_fields import text_fields_from_input
from shoal.shard_worker.index.replica_index import ReplicaIndex
from shoal.shard_worker.logic.memory_ledger import INDEXED_TEXT_COPIES
from shoal.shard_worker.logic.segments.segment_plan import plan_build
from shoal.shard_worker.text.field_texts import texts_of

ROWS, DIM, TOLERANCE = 6_000, 32, 0.2


def test_rows_with_texts_that_are_not_sealed_hold_what_was_told() -> None:
    """The words are drawn as those of a language: few of them often."""
    rng = np.random.default_rng(7)
    words = [f"w{number:x}{'aeiou'[number % 5]}" for number in range(20_000)]
    texts = [" ".join(words[min(int(at), 19_999)] for at in rng.pareto(0.8, 60)) for _ in range(2_000)]
    payloads = [json.dumps({"body": text}).encode() for text in texts]
    made, bare = (
        ReplicaIndex(dim=DIM, metric=Metric.L2, index="flat", growing_rows=2_001, texts=fields)
        for fields in (texts_of(text_fields_from_input({"body": "auto"})), None)
    )
    numbers, vectors = np.arange(1, 2_001), np.zeros((2_000, DIM), dtype=np.float32)
    for index in (made, bare):
        for start in range(0, 2_000, 500):
            rows = numbers[start : start + 500]
            index.apply(1 + start, np.empty(0, dtype=np.int64), rows, rows, vectors[:500], payloads[start : start + 500])
    held = made.stats().memory_bytes - bare.stats().memory_bytes
    text_bytes = sum(map(len, texts)) / len(texts)
    told = [size_of(points=2_000, dim=DIM, text_bytes=size, growing_rows=2_000).replica.growing for size in (0, text_bytes)]
    assert 0.5 * (told[1] - told[0]) <= held <= 1.2 * (told[1] - told[0])
    assert held <= INDEXED_TEXT_COPIES * sum(map(len, payloads))


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
