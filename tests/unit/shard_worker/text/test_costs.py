from __future__ import annotations

import pytest

from shoal.core.text_query import QueryWord
from shoal.shard_worker.text.costs import estimated_us
from shoal.shard_worker.text.query import Clause, Phrase, TextQuery, Together
from tests.unit.shard_worker.text.letters import any_of, part_of

PART = part_of(["a b"] * 4_000 + ["a c"] * 100)
WORD = QueryWord("body", "a")


def test_more_postings_take_longer_and_few_matching_rows_less() -> None:
    assert estimated_us(PART, any_of("c")) < estimated_us(PART, any_of("a")) < estimated_us(PART, any_of("a b"))
    assert estimated_us(PART, any_of("a b"), 1) < estimated_us(PART, any_of("a b"))
    assert estimated_us(PART, any_of("a b"), 4_100) == estimated_us(PART, any_of("a b"))
    assert estimated_us(PART, any_of("nothing")) > 0


@pytest.mark.parametrize(
    "occurrence",
    [QueryWord("body", "b"), QueryWord("body", "b", prefix=True), Phrase("body", ("a", "b"), (0, 1)), Together((Clause((WORD,)),))],
)
def test_conditions_count(occurrence: QueryWord | Phrase | Together) -> None:
    plain = TextQuery(boosts={WORD: 1.0})
    for query in (
        TextQuery(boosts={WORD: 1.0}, required=(Clause((occurrence,)),)),
        TextQuery(boosts={WORD: 1.0}, excluded=(Clause((occurrence,)),)),
    ):
        assert estimated_us(PART, query) > estimated_us(PART, plain)


def test_a_prefix_takes_longer_than_a_word() -> None:
    word, prefix = (TextQuery(boosts={QueryWord("body", "a", each): 1.0}) for each in (False, True))
    assert estimated_us(PART, prefix) > estimated_us(PART, word)
