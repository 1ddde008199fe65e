"""Test that bitmaps made from arrays, in each way, equal Python's sets."""

from __future__ import annotations

import numpy as np
import pytest
from pyroaring import BitMap

from shoal.shard_worker.payload.positions import bitmap, bitmap_bytes, moved, positions_of, ranges


@pytest.mark.parametrize("count", [0, 1, 4_095, 4_096, 50_000])
@pytest.mark.parametrize("rows", [60_000, 10_000_000])
def test_a_bitmap_holds_the_positions(count: int, rows: int) -> None:
    positions = np.random.default_rng(count).integers(0, rows, count).astype(np.uint32)
    for given in (positions, np.sort(positions)):
        assert bitmap(given) == BitMap(set(positions.tolist()))
    assert positions_of(bitmap(positions)).tolist() == sorted(set(positions.tolist()))


def test_moved_rows_have_their_new_positions() -> None:
    assert moved(BitMap([0, 2, 3]), np.array([5, 1, -1, 0])) == BitMap([5, 0])


def test_ranges_are_laid_one_after_the_other() -> None:
    assert ranges(np.array([3, 7, 0]), np.array([5, 7, 2])).tolist() == [3, 4, 0, 1]
    assert not len(ranges(np.empty(0, dtype=np.intp), np.empty(0, dtype=np.intp)))


def test_a_bitmap_weighs_what_it_holds() -> None:
    assert bitmap_bytes(BitMap()) < bitmap_bytes(BitMap([1])) < 1_000
    assert bitmap_bytes(BitMap(range(0, 1_000_000, 2))) > 125_000
