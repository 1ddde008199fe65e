from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shoal.shard_worker.logic.bound_gain import LEAST_FLOATS, LEAST_RATIO, WIDTH, BoundGain, may_pay, most_left


def _after(shares: list[float], rows: int = 10_000, dim: int = 784) -> BoundGain:
    gain = BoundGain()
    for share in shares:
        gain = gain.after(left=int(share * rows), rows=rows, dim=dim)
    return gain


def test_few_rows_or_few_dimensions_are_not_worth_a_bound() -> None:
    assert may_pay(rows=10_000, dim=784)
    assert not may_pay(rows=10_000, dim=LEAST_RATIO * WIDTH - 1)
    assert not may_pay(rows=LEAST_FLOATS // 784, dim=784)
    assert may_pay(rows=LEAST_FLOATS // 784 + 1, dim=784)


def test_a_bound_that_leaves_little_pays_and_one_that_leaves_all_does_not() -> None:
    assert _after([0.01] * 100).pays
    assert not _after([1.0] * 100).pays
    assert not _after([0.3] * 100).pays


def test_a_few_bad_searches_do_not_tell() -> None:
    assert _after([1.0] * 7).pays
    assert not _after([1.0] * 8).pays
    assert _after([0.01] * 64 + [1.0] * 4).pays


def test_other_queries_are_noticed() -> None:
    assert not _after([0.01] * 1_000 + [1.0] * 200).pays


@given(shares=st.lists(st.floats(0, 1), min_size=1, max_size=80), rows=st.integers(1, 10**7), dim=st.integers(LEAST_RATIO * WIDTH, 4_096))
def test_the_mean_cost_lies_between_nothing_and_both_passes(shares: list[float], rows: int, dim: int) -> None:
    gain = _after(shares, rows, dim)
    assert WIDTH / dim - 1e-9 <= gain.cost <= WIDTH / dim + 1 + 1e-9
    assert most_left(rows) * 3 <= rows
