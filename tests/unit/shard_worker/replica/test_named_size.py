"""Test the estimate of the size of a collection with named vectors against a real replica."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from shoal.core.collection import CollectionSpec
from shoal.core.named_vectors import NamedVector, VectorColumn, packed
from shoal.core.points import PointId
from shoal.core.shard_calls import ShardStats
from shoal.core.sizing import size_of
from tests.support.worker.replica_bench import opened

VECTORS = (NamedVector(name="image", dim=64, index="hnsw"), NamedVector(name="text", dim=32, index="flat"))
ROWS, AT_ONCE, TOLERANCE = 6_000, 2_000, 0.2
SPEC = CollectionSpec(name="c", dim=0, vectors=VECTORS)


async def sealed(folder: Path, *, strings: bool) -> ShardStats:
    """Return the figures of a replica whose points are all in built indexes. Payloads have 25 bytes, ids 16."""
    rng = np.random.default_rng(1)
    async with opened(folder, term=1, growing_rows=1_000, spec=SPEC) as bench:
        for start in range(0, ROWS, AT_ONCE):
            numbers = range(start, start + AT_ONCE)
            ids: list[PointId] = [f"document-{number:07d}" for number in numbers] if strings else list(numbers)
            columns = [VectorColumn(vectors=rng.random((AT_ONCE, each.dim), dtype=np.float32)) for each in VECTORS]
            payloads = tuple(b'{"label":%d,"bucket":%3d}' % (number % 10, number % 100) for number in numbers)
            await bench.upsert(ids, packed([each.dim for each in VECTORS], columns, AT_ONCE), payloads)
        await bench.replica.optimize(60.0)
        return await bench.replica.stats()


@pytest.mark.parametrize("strings", [False, True])
def test_a_replica_with_named_vectors_takes_what_was_told(tmp_path: Path, strings: bool) -> None:
    stats = asyncio.run(sealed(tmp_path, strings=strings))
    told = size_of(points=ROWS, vectors=VECTORS, payload_bytes=25, id_bytes=16 if strings else 0).replica
    assert stats.memory_bytes == pytest.approx(told.index + told.tables + told.ids + told.payloads, rel=TOLERANCE)
    assert stats.bytes == pytest.approx(told.disk, rel=TOLERANCE)
