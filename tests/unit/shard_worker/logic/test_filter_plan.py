from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.shard_worker.logic.filter_plan import FilterHistory, begin_in_index, expected_rank, next_rank, required_recall


@given(k=st.integers(1, 500), rows=st.integers(1, 10**7), share=st.floats(1e-6, 1.0), spread=st.floats(0, 64))
def test_the_expected_rank_is_at_least_k_where_there_are_k_rows_and_never_more_than_all(
    k: int, rows: int, share: float, spread: float
) -> None:
    rank = expected_rank(k=k, matching=max(1, int(rows * share)), rows=rows, spread=spread)
    assert min(k, rows) <= rank <= rows


def test_a_filter_that_all_rows_pass_needs_no_more_than_k() -> None:
    assert expected_rank(k=10, matching=1_000, rows=1_000) == 10


@pytest.mark.parametrize(("k", "share"), [(1, 0.5), (10, 0.5), (10, 0.1), (100, 0.02)])
def test_nearly_every_query_finds_k_matches_by_the_expected_rank_when_the_filter_is_independent(k: int, share: float) -> None:
    rows = 20_000
    rank = expected_rank(k=k, matching=int(rows * share), rows=rows)
    matches = np.random.default_rng(k).random((2_000, rank)) < share
    enough = np.mean(matches.sum(axis=1) >= k)
    assert enough >= 0.9
    assert rank <= 5 * k / share


def test_what_was_learnt_replaces_the_assumption_of_independence() -> None:
    near, far = (expected_rank(k=10, matching=100, rows=1_000, spread=spread) for spread in (0.2, 5.0))
    assert near == 20
    assert far == pytest.approx(500, rel=0.05)


@given(rank=st.integers(1, 10**6), k=st.integers(1, 100))
def test_ranks_are_rounded_up_by_little_so_that_few_different_ones_are_asked_for(rank: int, k: int) -> None:
    found = expected_rank(k=k, matching=1, rows=10**8, spread=rank / (k * 10**8))
    assert max(k, rank) <= found + 1 <= max(k, rank) * 1.07 + 2


@given(seen=st.integers(1, 1_000), needed=st.integers(0, 10_000), rows=st.integers(1, 10_000))
def test_a_next_round_goes_at_least_twice_as_deep_or_to_the_end(seen: int, needed: int, rows: int) -> None:
    wanted = max(2 * seen, needed)
    assert min(rows, wanted) <= next_rank(seen=seen, needed=needed, rows=rows) <= min(rows, 1.07 * wanted + 1)


def test_the_index_is_tried_while_it_is_cheaper_with_the_fallbacks_it_will_take() -> None:
    assert begin_in_index(index_us=100, exact_us=1_000, fallback_share=0.05)
    assert begin_in_index(index_us=100, exact_us=1_000, fallback_share=0.4)
    assert not begin_in_index(index_us=100, exact_us=1_000, fallback_share=0.5)
    assert not begin_in_index(index_us=1_000, exact_us=999, fallback_share=0.0)


def test_a_filter_whose_queries_fall_back_soon_starts_exact() -> None:
    record = FilterHistory()
    assert begin_in_index(index_us=100, exact_us=1_000, fallback_share=record.fallback_share)
    for _ in range(6):
        record = record.after(queries=1, fallbacks=1, spread=None)
    assert not begin_in_index(index_us=100, exact_us=1_000, fallback_share=record.fallback_share)


def test_one_hard_query_does_not_condemn_a_filter() -> None:
    record = FilterHistory().after(queries=1, fallbacks=1, spread=None)
    assert begin_in_index(index_us=100, exact_us=1_000, fallback_share=record.fallback_share)


@given(st.lists(st.tuples(st.integers(1, 5_000), st.floats(0, 1), st.one_of(st.none(), st.floats(0, 1e6))), max_size=30))
def test_a_record_stays_within_bounds_whatever_happens(batches: list[tuple[int, float, float | None]]) -> None:
    record = FilterHistory()
    for queries, share, spread in batches:
        record = record.after(queries=queries, fallbacks=int(queries * share), spread=spread)
        assert 0 < record.fallback_share <= 1
        assert 0 <= record.spread <= 64
    assert record.queries <= 256 + max([queries for queries, _, _ in batches], default=0)


def test_old_queries_are_forgotten() -> None:
    record = FilterHistory().after(queries=1_000, fallbacks=1_000, spread=None)
    for _ in range(40):
        record = record.after(queries=50, fallbacks=0, spread=1.0)
    assert record.fallback_share < 0.05


def test_the_spread_follows_what_three_queries_in_four_need() -> None:
    record = FilterHistory()
    rng = np.random.default_rng(1)
    needed = rng.uniform(0.5, 2.0, size=2_000)
    for spread in needed:
        record = record.after(queries=1, fallbacks=0, spread=float(spread))
    assert np.quantile(needed, 0.6) < record.spread < np.quantile(needed, 0.9)


def test_a_few_queries_far_from_all_that_matches_do_not_make_the_others_look_as_deep() -> None:
    record = FilterHistory()
    for needed in np.random.default_rng(1).choice([1.0, 60.0], p=[0.9, 0.1], size=500):
        record = record.after(queries=1, fallbacks=0, spread=float(needed))
    assert record.spread < 2.5


@pytest.mark.parametrize("spread", [0.1, 20.0])
def test_a_batch_teaches_more_than_a_query(spread: float) -> None:
    one, many = (FilterHistory().after(queries=queries, fallbacks=0, spread=spread) for queries in (1, 100))
    assert abs(np.log(many.spread / spread)) < abs(np.log(one.spread / spread))


def test_little_recall_is_given_away() -> None:
    assert required_recall(0.95) == pytest.approx(0.948)
    assert required_recall(0.0) > 0
    assert 0.99 < required_recall(1.0) < 1
