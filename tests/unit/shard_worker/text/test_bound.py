from __future__ import annotations

from decimal import Decimal, localcontext
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.text_query import QueryWord
from shoal.shard_worker.text.bound import BoundedList, Bounds, kth_best
from shoal.shard_worker.text.query import LEAST_BOOST, MOST_BOOST
from shoal.shard_worker.text.scoring import K1, LengthNorm, WeightedWord, idf
from shoal.shard_worker.text.table import MOST_COUNT, Postings

REAL = st.sampled_from((0.0, 0.25, 0.5, 1.0)) | st.floats(0, 1, width=32)


def drawn(random: Random, rows: int) -> list[BoundedList]:
    """Return words in all rows, with counts, lengths, boosts and statistics as far apart as they may be."""
    lengths = np.array([int(random.paretovariate(0.2)) % (2**32 - 1) + 1 for _ in range(rows)], dtype=np.uint32)
    norm = LengthNorm.of(random.choice((1.0, 60.0, 1e6)))
    lists = []
    for number in range(random.choice((1, 2, 6, 300))):
        counts = np.array([min(MOST_COUNT, int(random.paretovariate(0.5))) for _ in range(rows)], dtype=np.uint16)
        everyone = random.choice((1, 1_000, 2**40))
        weight = random.choice((LEAST_BOOST, 1.0, MOST_BOOST)) * idf(everyone, random.randint(1, everyone)) * (K1 + 1.0)
        held = Postings(np.arange(rows, dtype=np.uint32), counts, int(counts.max()), int(lengths.min()))
        lists.append(BoundedList(WeightedWord(QueryWord("body", f"w{number}"), weight, norm), held, lengths))
    return lists


def true_scores(each: BoundedList) -> list[Decimal]:
    """Return what a word adds, to 50 digits."""
    norm = each.word.norm
    return [
        Decimal(each.word.weight) * count / (count + Decimal(norm.base) + Decimal(norm.per_token) * length)
        for count, length in zip(each.counts.tolist(), each.lengths.tolist(), strict=True)
    ]


@given(st.integers(0, 2**32))
def test_sums_are_within_the_slack_of_true_scores(seed: int) -> None:
    with localcontext(prec=50):
        bounds = Bounds(drawn(Random(seed), rows=2))
        total, slack = Decimal(sum(each.bound for each in bounds.lists)), Decimal(bounds.slack)
        truth = [[score / total for score in true_scores(each)] for each in bounds.lists]
        sums, seen, coming = np.zeros(2, dtype=np.float32), [Decimal(0)] * 2, [sum(scores) for scores in zip(*truth, strict=True)]
        for done, (each, added) in enumerate(zip(bounds.lists, truth, strict=True), start=1):
            shares = each.shares(np.arange(2), each.counts)
            assert (shares > 0.0).all()
            sums += shares
            for row in range(2):
                seen[row] += added[row]
                coming[row] -= added[row]
                assert abs(Decimal(float(sums[row])) - seen[row]) < slack / 2
                assert coming[row] <= Decimal(bounds.rest(done)) + slack / 2


@given(seed=st.integers(0, 2**32))
def test_no_row_beyond_reach_is_among_the_best(seed: int) -> None:
    """Rows that may be left out after some words have, in the end, less than k rows."""
    random = Random(seed)
    rows, k = 12, random.choice((1, 3))
    lists = [*drawn(random, rows)]
    bounds = Bounds(lists)
    sums = np.zeros(rows, dtype=np.float32)
    final = sum((each.word.scores(each.counts, each.lengths) for each in sorted(lists, key=lambda each: each.word.word)), np.zeros(rows))
    least = np.sort(final)[rows - k]
    for done, each in enumerate(bounds.lists, start=1):
        sums += each.shares(np.arange(rows), each.counts)
        left_out = sums < bounds.least(kth_best(sums, k), done)
        assert (final[left_out] < least).all()


@given(values=st.lists(REAL, max_size=400), k=st.integers(1, 5), double=st.booleans())
def test_the_kth_best_is_that_of_sorting(values: list[float], k: int, double: bool) -> None:
    shares = np.array(values, dtype=np.float64 if double else np.float32)
    assert kth_best(shares, k) == (sorted(shares.tolist(), reverse=True)[k - 1] if len(values) >= k else 0.0)


@pytest.mark.parametrize("k", [1, 10])
def test_the_kth_best_of_many(k: int) -> None:
    random = np.random.default_rng(1)
    for shares in (np.full(5_000, 0.5), random.integers(0, 3, 5_000) / 4, np.sort(random.random(5_000)), random.random(4_999)):
        assert kth_best(shares, k) == np.sort(shares)[len(shares) - k]
