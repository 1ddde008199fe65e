from __future__ import annotations

import numpy as np
import pytest

from shoal.core.errors import Internal
from shoal.core.text_query import QueryWord
from shoal.core.text_statistics import NO_STATISTICS, FieldStatistics
from shoal.shard_worker.text import statistics as statistics_module
from shoal.shard_worker.text.statistics import LivingRows, statistics_of
from tests.unit.shard_worker.text.letters import part_of

A, B, Z = QueryWord("body", "a"), QueryWord("body", "b"), QueryWord("body", "z")
EACH = QueryWord("body", "a", prefix=True)
TEXTS = ["a b", "", "a a ab", "b", "ab"]


def test_rows_tokens_and_holders_of_each_word_are_counted() -> None:
    found = statistics_of([LivingRows(part_of(TEXTS, batch=2))], [A, B, Z, EACH])
    assert found.fields == {"body": FieldStatistics(4, 7)}
    assert found.holding == {A: 2, B: 2, Z: 0, EACH: 3}
    assert found.fields["body"].mean_length == 7 / 4


@pytest.mark.parametrize("looked_up", [0, 1_000])
def test_dead_rows_count_nothing(looked_up: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However they are counted: dead rows looked up in a list, or its rows in the mask."""
    monkeypatch.setattr(statistics_module, "_LOOKED_UP", looked_up)
    living = LivingRows(part_of(TEXTS), np.array([True, True, False, True, False]))
    found = living.statistics([A, B, EACH])
    assert found.fields == {"body": FieldStatistics(2, 3)}
    assert found.holding == {A: 1, B: 2, EACH: 1}


def test_a_part_in_which_all_rows_live_needs_no_mask() -> None:
    part = part_of(TEXTS)
    assert LivingRows(part, np.ones(5, dtype=bool)).alive is None
    assert LivingRows(part).statistics([A]) == LivingRows(part, np.ones(5, dtype=bool)).statistics([A])


def test_statistics_add_up() -> None:
    whole, halves = LivingRows(part_of(TEXTS)), [LivingRows(part_of(TEXTS[:2])), LivingRows(part_of(TEXTS[2:]))]
    assert statistics_of(halves, [A, B, EACH]) == whole.statistics([A, B, EACH])
    first, second = halves[0].statistics([A]), halves[1].statistics([B])
    assert (first + second).holding == {A: 1, B: 1}
    assert first + NO_STATISTICS == first


def test_counts_of_frequent_words_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics_module, "_LONG", 2)
    monkeypatch.setattr(statistics_module, "_REMEMBERED", 1)
    part = part_of(TEXTS)
    living = LivingRows(part, np.array([True, True, True, True, False]))
    first = living.statistics([A, B, Z])
    before = living.memory_bytes()
    asked: list[str] = []
    monkeypatch.setattr(type(part), "postings", lambda _, field, text, prefix: asked.append(text))
    assert living.statistics([B]).holding == {B: first.holding[B]}
    assert asked == []
    living.statistics([A])
    assert asked == ["a"]
    assert living.memory_bytes() == before


def test_no_rows_have_a_mean_length_to_divide_by() -> None:
    assert LivingRows(part_of([])).statistics([A]).fields["body"].mean_length == 1.0
    assert LivingRows(part_of(["", ""])).statistics([A]).fields["body"] == FieldStatistics(0, 0)


def test_an_unknown_field_is_a_defect() -> None:
    with pytest.raises(Internal, match="no text field 'title'"):
        LivingRows(part_of(TEXTS)).statistics([QueryWord("title", "a")])
