"""What FAISS makes of bytes is what numpy computes, for every width that is used."""

from __future__ import annotations

import numpy as np
import pytest

from shoal.shard_worker.index.native.byte_rows import MIDDLE, ByteRows


@pytest.mark.parametrize("products", [False, True])
@pytest.mark.parametrize("width", [64, 128, 192, 448, 1_536])
@pytest.mark.parametrize("extreme", [False, True])
def test_the_nearest_rows_are_those_of_whole_numbers(width: int, products: bool, extreme: bool) -> None:
    random = np.random.default_rng(width)
    most = MIDDLE - 1
    numbers = random.choice([-most, most, 0], size=(500, width)) if extreme else random.integers(-most, most + 1, size=(500, width))
    query = random.choice([-most, most], size=width) if extreme else random.integers(-most, most + 1, size=width)
    held = ByteRows((numbers + MIDDLE).astype(np.uint8), products=products)
    far = -(numbers @ query) if products else np.square(numbers - query).sum(axis=1)
    for count in (1, 40, 500):
        positions, last = held.nearest(query.astype(np.float32), count)
        assert len(set(positions.tolist())) == count
        assert np.sort(far[positions]).tolist() == np.sort(far)[:count].tolist()
        assert last == np.float32(-far[positions].max() if products else far[positions].max())


def test_rows_behind_those_that_are_compared_may_be_written() -> None:
    array = np.full((10, 64), MIDDLE, dtype=np.uint8)
    held = ByteRows(array[:4], products=False)
    array[4:] = MIDDLE + 1
    positions, last = held.nearest(np.ones(64, dtype=np.float32), 4)
    assert sorted(positions.tolist()) == [0, 1, 2, 3]
    assert last == 64


def test_it_keeps_the_memory_that_it_reads() -> None:
    held = [ByteRows(np.full((5_000, 64), MIDDLE + number, dtype=np.uint8), products=False) for number in range(8)]
    for number, rows in enumerate(held):
        assert rows.nearest(np.full(64, number, dtype=np.float32), 1)[1] == 0
