from __future__ import annotations

import math

import pytest

from shoal.core.ranking_quality import ndcg, recall_at


def test_the_best_order_has_1() -> None:
    assert ndcg([1, 2, 3], {1: 2.0, 2: 1.0}) == 1.0


def test_a_late_hit_counts_by_its_rank() -> None:
    assert ndcg(["x", "y", "a"], {"a": 1.0}) == pytest.approx(1 / math.log2(4))


def test_grades_are_linear() -> None:
    assert ndcg([2, 1], {1: 2.0, 2: 1.0}) == pytest.approx((1 + 2 / math.log2(3)) / (2 + 1 / math.log2(3)))


def test_hits_behind_the_depth_count_nothing() -> None:
    assert ndcg([0, 1], {1: 1.0}, depth=1) == 0.0
    assert ndcg(range(20), {10: 1.0}) == 0.0
    assert ndcg(range(20), {9: 1.0}) > 0.0


def test_more_relevant_points_than_the_depth_can_still_be_perfect() -> None:
    assert ndcg(range(10), dict.fromkeys(range(30), 1.0)) == 1.0


def test_grades_of_0_and_below_count_nothing() -> None:
    assert ndcg([1, 2], {1: -3.0, 2: 1.0, 3: 0.0}) == pytest.approx(1 / math.log2(3))


def test_recall_counts_what_is_among_the_first() -> None:
    assert recall_at([1, 2, 3], {1: 1.0, 3: 2.0, 9: 1.0, 2: 0.0}, depth=2) == pytest.approx(1 / 3)
