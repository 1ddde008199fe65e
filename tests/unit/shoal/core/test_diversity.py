from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.diversity import cosines_to, diverse_picks, scaled, unit_rows


def cosine(left: list[float], right: list[float]) -> float:
    lengths = math.sqrt(math.fsum(each * each for each in left)) * math.sqrt(math.fsum(each * each for each in right))
    return math.fsum(a * b for a, b in zip(left, right, strict=True)) / lengths if lengths else 0.0


def picks_of_langchain(query: list[float], candidates: list[list[float]], lambda_mult: float, k: int) -> list[int]:
    """Return the picks of langchain_core.vectorstores.utils.maximal_marginal_relevance, from its algorithm.

    It picks the candidate that is most like the query; then, again and again, the first one with the largest
    lambda x similarity to the query - (1 - lambda) x largest similarity to a pick.
    """
    if min(k, len(candidates)) <= 0:
        return []
    to_query = [cosine(query, each) for each in candidates]
    picked = [max(range(len(candidates)), key=lambda at: (to_query[at], -at))]
    while len(picked) < min(k, len(candidates)):
        best_score, best = -math.inf, -1
        for at, relevance in enumerate(to_query):
            if at in picked:
                continue
            redundant = max(cosine(candidates[at], candidates[each]) for each in picked)
            score = lambda_mult * relevance - (1 - lambda_mult) * redundant
            if score > best_score:
                best_score, best = score, at
        picked.append(best)
    return picked


def test_picks_are_those_of_langchain_in_a_thousand_random_cases() -> None:
    rng = np.random.default_rng(14)
    for _ in range(1_000):
        count, dim = int(rng.integers(1, 25)), int(rng.integers(2, 9))
        vectors, query = rng.normal(size=(count, dim)).astype(np.float32), rng.normal(size=dim).astype(np.float32)
        lambda_mult, k = float(rng.choice([0.0, 0.25, 0.5, 0.7, 1.0, rng.random()])), int(rng.integers(1, count + 3))
        got = diverse_picks(cosines_to(query, vectors), vectors, 1.0 - lambda_mult, k)
        assert got.places.tolist() == picks_of_langchain(query.tolist(), vectors.tolist(), lambda_mult, k)


matrices = st.integers(1, 12).flatmap(
    lambda rows: st.lists(st.lists(st.integers(-3, 3).map(float), min_size=3, max_size=3), min_size=rows, max_size=rows)
)


@settings(deadline=None)
@given(matrices, st.floats(0, 1), st.integers(0, 14), st.data())
def test_fewer_picks_are_the_first_of_more(rows: list[list[float]], diversity: float, count: int, data: st.DataObject) -> None:
    vectors = np.array(rows, dtype=np.float32)
    relevance = np.sort(np.array(data.draw(st.lists(st.floats(0, 1), min_size=len(rows), max_size=len(rows)))))[::-1]
    most = diverse_picks(relevance, vectors, diversity, len(rows))
    some = diverse_picks(relevance, vectors, diversity, count)
    assert sorted(most.places.tolist()) == list(range(len(rows)))
    assert some.places.tolist() == most.places.tolist()[:count]
    assert some.penalties.tolist() == most.penalties.tolist()[:count]
    assert most.penalties[0] == 0.0
    for number, at in enumerate(most.places.tolist()[1:], 1):
        nearest = max(cosine(rows[at], rows[each]) for each in most.places.tolist()[:number])
        assert most.penalties[number] == pytest.approx(diversity * nearest, abs=1e-9)


def test_without_diversity_the_order_stays() -> None:
    vectors = np.ones((4, 2), np.float32)
    assert diverse_picks(np.array([0.9, 0.5, 0.5, 0.1]), vectors, 0.0, 4).places.tolist() == [0, 1, 2, 3]


def test_picks_of_before_count_as_picks() -> None:
    vectors = np.array([[1, 0], [0, 1]], np.float32)
    got = diverse_picks(np.array([1.0, 0.9]), vectors, 0.5, 2, before=np.array([[2, 0]], np.float32))
    assert got.places.tolist() == [1, 0]
    assert got.penalties.tolist() == [0.0, 0.5]


def test_all_of_it_pauses_between_picks() -> None:
    paused: list[int] = []
    diverse_picks(np.ones(3), np.ones((3, 2), np.float32), 0.5, 3, between=lambda: paused.append(1))
    assert len(paused) == 3


def test_a_zero_vector_is_like_nothing() -> None:
    assert unit_rows(np.array([[0, 0], [3, 4]], np.float32)).tolist() == [[0, 0], [0.6, 0.8]]
    assert cosines_to(np.array([0, 2], np.float32), np.array([[0, 0], [3, 4]], np.float32)).tolist() == [0.0, 0.8]


@pytest.mark.parametrize(
    ("scores", "smaller", "expected"),
    [
        ([3.0, 2.0, 1.0], False, [1.0, 0.5, 0.0]),
        ([1.0, 2.0, 3.0], True, [1.0, 0.5, 0.0]),
        ([2.0, 2.0], False, [1.0, 1.0]),
        ([math.inf, 0.0, math.nan], False, [1.0, 0.5, 0.0]),
        ([0.0, math.inf, math.nan], True, [1.0, 0.0, 0.0]),
        ([], False, []),
    ],
)
def test_relevance_is_from_zero_to_one(scores: list[float], smaller: bool, expected: list[float]) -> None:
    assert scaled(np.array(scores), smaller_is_better=smaller).tolist() == expected
