"""Test the sample of real queries: it is uniform and bounded, it follows changes, and it is restored only from what it
wrote.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.errors import DataLoss
from shoal.shard_worker.tuning.query_kinds import BATCH_DIVISOR, HORIZON, MOST_BYTES, QueryReservoir


def numbered(start: int, count: int) -> np.ndarray:
    """Return queries whose first component is the order in which they were asked, shape (count, 2)."""
    return np.column_stack([np.arange(start, start + count), np.zeros(count)]).astype(np.float32)


def held(reservoir: QueryReservoir) -> list[int]:
    return sorted(reservoir.sample(10_000, np.random.default_rng(0))[:, 0].astype(int).tolist())


def fed(total: int, *, capacity: int = 20, seed: int = 1, batch: int = 1) -> QueryReservoir:
    reservoir = QueryReservoir(dim=2, seed=seed, capacity=capacity)
    for start in range(0, total, batch):
        reservoir.offer(numbered(start, min(batch, total - start)))
    return reservoir


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 30), max_size=60), st.integers(1, 10))
def test_it_holds_distinct_queries_that_were_asked_at_most_a_few_of_a_batch(batches, capacity):
    reservoir = QueryReservoir(dim=2, seed=3, capacity=capacity)
    asked = took = 0
    for count in batches:
        taken = reservoir.offer(numbered(asked, count))
        assert taken <= min(count, max(1, capacity // BATCH_DIVISOR))
        asked, took = asked + count, took + taken
    assert len(reservoir) == min(took, capacity)
    assert reservoir.taken == took
    assert len(set(held(reservoir))) == len(reservoir)
    assert all(0 <= number < asked for number in held(reservoir))


def test_the_first_queries_are_all_kept():
    assert held(fed(20)) == list(range(20))
    assert len(fed(19)) == 19


def test_a_batch_counts_as_its_queries_but_never_displaces_all_others():
    reservoir = QueryReservoir(dim=16, seed=1)
    reservoir.offer(np.random.default_rng(2).standard_normal((250, 16)).astype(np.float32))
    assert len(reservoir) == 250
    reservoir.offer(np.random.default_rng(3).standard_normal((600, 16)).astype(np.float32))
    assert len(reservoir) == 500, "a quarter of the room"
    full = fed(1_000, capacity=1_000)
    full.offer(numbered(1_000, 100_000))
    assert sum(number >= 1_000 for number in held(full)) <= 250
    for _ in range(3):
        full.offer(numbered(1_000, 100_000))
    assert sum(number < 1_000 for number in held(full)) > 400


def test_every_query_of_a_large_batch_has_the_same_chance():
    counts = np.zeros(100)
    for seed in range(600):
        counts[held(fed(100, capacity=40, seed=seed, batch=100))] += 1
    assert np.abs(counts.reshape(10, -1).sum(axis=1) / 600 - 1).max() < 0.15


def test_every_query_has_the_same_chance():
    total, capacity = 200, 20
    counts = np.zeros(total)
    for seed in range(600):
        counts[held(fed(total, capacity=capacity, seed=seed))] += 1
    expected = 600 * capacity / total
    assert np.abs(counts.reshape(10, -1).sum(axis=1) / (20 * expected) - 1).max() < 0.15


def test_it_forgets_slowly_and_follows_change():
    total = 20 * HORIZON * 20
    old = [np.mean(np.array(held(fed(total, seed=seed))) < total // 2) for seed in range(20)]
    assert np.mean(old) < 0.05, "after ten horizons of new queries nearly nothing old is left"
    recent = [np.mean(np.array(held(fed(20 * HORIZON * 3, seed=seed))) < 20 * HORIZON * 2) for seed in range(20)]
    assert 0.2 < np.mean(recent) < 0.55, "after one horizon about a third is still older"


def test_most_offers_take_nothing():
    reservoir = fed(20_000)
    taken = reservoir.taken
    assert sum(reservoir.offer(numbered(number, 1)) for number in range(3_200)) == reservoir.taken - taken
    assert 100 < reservoir.taken - taken < 320


def test_it_is_bounded_in_bytes_too():
    assert QueryReservoir(dim=65_536, seed=0).capacity == MOST_BYTES // (4 * 65_536) == 32
    assert QueryReservoir(dim=1, seed=0).capacity == 1_000


def test_a_sample_is_a_copy():
    reservoir = fed(5)
    reservoir.sample(3, np.random.default_rng(0))[:] = -1
    assert held(reservoir) == list(range(5))
    assert len(reservoir.sample(3, np.random.default_rng(0))) == 3


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 300), st.integers(1, 30))
def test_what_is_written_is_restored(total, capacity):
    reservoir = fed(total, capacity=20)
    restored = QueryReservoir(dim=2, seed=9, capacity=capacity)
    restored.restore(reservoir.to_bytes())
    assert (len(restored), restored.taken) == (min(len(reservoir), capacity), reservoir.taken)
    assert set(held(restored)) <= set(held(reservoir))
    restored.offer(numbered(total, 4))
    assert len(restored) <= capacity


def damaged(data: bytes) -> list[bytes]:
    other = bytearray(data)
    other[8] ^= 1
    infinite = bytearray(data)
    infinite[-4:] = np.float32(np.inf).tobytes()
    return [b"", data[:31], data[:-1], data + b"\0", bytes(other), bytes(infinite)]


def test_anything_else_is_refused_and_changes_nothing():
    data = fed(10).to_bytes()
    reservoir = fed(3)
    for bad in damaged(data):
        with pytest.raises(DataLoss, match="query sample"):
            reservoir.restore(bad)
    assert held(reservoir) == [0, 1, 2]
    with pytest.raises(DataLoss, match="dimension 2"):
        QueryReservoir(dim=3, seed=0).restore(data)
