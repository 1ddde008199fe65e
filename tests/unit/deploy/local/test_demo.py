"""Test that the demo can fail: the recall that it computes is compared with a case made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from shoal.core.errors import DataLoss
from shoal.deploy.local.demo import K, digits, expect, recall_of

LINE = np.arange(K + 5, dtype=np.float32)[:, None]


def test_recall_of_the_right_answer_is_one() -> None:
    assert recall_of([[(at, 0.0) for at in range(K)]], LINE, LINE[:1]) == 1.0


def test_wrong_and_missing_hits_lower_it() -> None:
    wrong = [(at, 0.0) for at in range(K - 1)] + [(K + 3, 0.0)]
    assert recall_of([wrong], LINE, LINE[:1]) == pytest.approx(0.9)
    assert recall_of([[(0, 0.0)]], LINE, LINE[:1]) == pytest.approx(0.1)


def test_a_tie_at_the_last_place_counts() -> None:
    tied = np.vstack([LINE[:K], LINE[K - 1 : K]])
    assert recall_of([[(at, 0.0) for at in range(K - 1)] + [(K, 0.0)]], tied, tied[:1]) == 1.0


def test_the_digits_are_those_that_the_demo_names() -> None:
    vectors, labels = digits()
    assert vectors.shape == (1797, 64)
    assert len(labels) == 1797


def test_a_wrong_result_ends_the_demo() -> None:
    with pytest.raises(DataLoss, match="points are missing"):
        expect(False, "points are missing")
