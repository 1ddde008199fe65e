from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shoal.core.text_fields import AnalyzerKind, AnalyzerOptions, TextField
from shoal.shard_worker.text.field_texts import ELEMENT_GAP, FieldTexts
from shoal.shard_worker.text.indexing import IndexedText, table_of
from tests.unit.shard_worker.text.letters import content

TEXTS = FieldTexts(
    [TextField(name="body", analyzer=AnalyzerOptions()), TextField(name="a.tag", analyzer=AnalyzerOptions(kind=AnalyzerKind.RAW))]
)

texts = st.text(st.sampled_from("ab 数据_T，的"), max_size=12)
values = st.one_of(texts, st.lists(st.one_of(texts, st.integers(), st.none()), max_size=4), st.integers(), st.just({}))
tags = st.fixed_dictionaries({}, optional={"tag": values})
payloads = st.lists(st.one_of(st.none(), st.fixed_dictionaries({}, optional={"body": values, "a": tags})), max_size=6)


@given(payloads)
def test_strings_of_a_row_lie_apart(rows: list[Any]) -> None:
    """The words of a batch are those of its strings one by one, with a gap between two strings with words."""
    found = TEXTS.indexed(rows)
    for name in TEXTS.names:
        expected = [joined([TEXTS.analyzers[name].words(text) for text in TEXTS.strings(name, row)]) for row in rows]
        assert len(found[name]) == len(rows)
        assert content(table_of(found[name])) == content(table_of(expected))


def joined(strings: list[tuple[list[str], list[int]]]) -> IndexedText:
    words: list[str] = []
    positions: list[int] = []
    first = 0
    for found, at in strings:
        words += found
        positions += [first + position for position in at]
        first += max(at, default=-1) + 1 + ELEMENT_GAP if found else 0
    return IndexedText(words, positions)
