"""How the arrays of a growing segment grow: what is counted, and what is copied."""

from __future__ import annotations

import numpy as np
import pytest

from shoal.core.sizing import growing_row_bytes
from shoal.shard_worker.index.growing import OWN_MAPPING_BYTES, GrowingSegment
from shoal.shard_worker.payload.matched import PayloadBounds

CAPACITY = 10_000
WIDE = OWN_MAPPING_BYTES // (4 * CAPACITY) + 1
"""A dimension with which a full segment is worth a mapping of its own."""


def grown(dim: int, rows: int = 0, *, maps_unused: bool = True) -> GrowingSegment:
    segment = GrowingSegment(key=1, dim=dim, capacity=CAPACITY, bounds=PayloadBounds(), maps_unused=maps_unused)
    append(segment, rows)
    return segment


def append(segment: GrowingSegment, count: int) -> None:
    numbers = np.arange(len(segment), len(segment) + count)
    vectors = np.repeat(numbers[:, None], segment.part().vectors.shape[1], axis=1).astype(np.float32)
    segment.append(numbers, numbers, vectors, None)


@pytest.mark.parametrize("dim", [3, WIDE])
def test_every_view_keeps_its_rows_while_the_segment_fills(dim: int) -> None:
    segment = grown(dim)
    parts = []
    while segment.room:
        append(segment, min(segment.room, 700))
        parts.append(segment.part())
    for part in parts:
        assert (part.vectors == np.arange(len(part))[:, None]).all()
        assert part.vectors.shape[1] == dim


@pytest.mark.parametrize("dim", [3, WIDE])
def test_memory_is_counted_for_reserved_rows_only(dim: int) -> None:
    segment = grown(dim, 1)
    while segment.room:
        append(segment, min(segment.room, 900))
        size, other = segment.size(), segment.payload_bytes()
        assert len(segment) <= size.reserved <= max(256, 2 * len(segment))
        # A segment without payloads has a few objects beside its arrays.
        assert size.reserved * growing_row_bytes(dim) <= segment.memory_bytes() - other <= size.reserved * growing_row_bytes(dim) + 1_000


def test_wide_vectors_are_copied_only_while_they_are_few() -> None:
    segment = grown(WIDE, 2_000)
    before = segment.part().vectors
    append(segment, 7_000)
    assert np.shares_memory(before, segment.part().vectors)


@pytest.mark.parametrize(("dim", "maps_unused"), [(3, True), (WIDE, False)])
def test_other_vectors_take_no_more_than_what_is_reserved(dim: int, maps_unused: bool) -> None:
    segment = grown(dim, 2_000, maps_unused=maps_unused)
    base = segment.part().vectors.base
    assert base is not None
    assert len(base) == segment.size().reserved
