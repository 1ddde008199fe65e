from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shoal.shard_worker.logic.read_pace import READ_BYTES, ReadPace


@given(st.lists(st.integers(0, 1 << 20), min_size=1, max_size=30))
def test_reads_of_payloads_of_about_one_size_stay_within_the_bound(sizes: list[int]) -> None:
    for size in sizes:
        pace = ReadPace()
        for _ in range(6):
            rows = pace.rows
            pace.saw(rows, rows * size)
        assert pace.rows * size <= max(READ_BYTES, 8 * size)
        assert pace.rows >= min(10_000, max(8, READ_BYTES // max(1, size)) // 4)


def test_a_first_read_is_small_and_an_empty_one_says_nothing() -> None:
    pace = ReadPace()
    assert pace.rows * (1 << 20) <= 64 << 20
    pace.saw(0, 0)
    assert pace.rows == 64
