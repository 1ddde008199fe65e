from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.errors import Internal
from shoal.shard_worker.text.growing import MERGED_AT_ONCE, GrowingTexts
from shoal.shard_worker.text.indexing import NO_TEXT, table_of
from shoal.shard_worker.text.merging import MergeSource, merged_table
from tests.unit.shard_worker.text.letters import content, part_of, text


@given(st.lists(st.sampled_from((1, 2, 3, 9, 70)), max_size=60))
def test_tables_stay_few_and_cover_all_rows_in_order(batches: list[int]) -> None:
    growing = GrowingTexts(["body"], "")
    written = [text(f"w{number} all w{number % 7}") for number in range(sum(batches))]
    done, levels = 0, 1
    for count in batches:
        growing.append({"body": written[done : done + count]}, count)
        done += count
        while MERGED_AT_ONCE**levels <= done:
            levels += 1
        assert len(growing.part().field("body").tables) <= (MERGED_AT_ONCE - 1) * levels
    field = growing.part().field("body")
    whole = merged_table([MergeSource.whole(table, first) for first, table in zip(field.firsts, field.tables, strict=True)])
    assert content(whole) == content(table_of(written))
    assert len(growing) == done


def test_rows_are_merged_once_for_each_size() -> None:
    part = part_of(["a b"] * (MERGED_AT_ONCE**2 + 1), batch=1)
    assert [len(table) for table in part.field("body").tables] == [MERGED_AT_ONCE**2, 1]


def test_a_part_does_not_change_while_rows_are_appended() -> None:
    growing = GrowingTexts(["body"], "")
    growing.append({"body": [text("a")]}, 1)
    before = growing.part()
    assert growing.part() is before
    for _ in range(20):
        growing.append({"body": [text("a b")]}, 1)
    held = before.postings("body", "a")
    assert (len(before), before.postings("body", "b")) == (1, None)
    assert held is not None
    assert held.rows.tolist() == [0]
    assert len(growing.part()) == 21


def test_a_batch_with_too_few_texts_is_refused_as_a_whole() -> None:
    growing = GrowingTexts(["title", "body"], "")
    with pytest.raises(Internal, match="1 texts of field 'body' are given for 2 rows"):
        growing.append({"title": [NO_TEXT, NO_TEXT], "body": [NO_TEXT]}, 2)
    assert len(growing) == 0
    growing.append({"title": [], "body": []}, 0)
    assert growing.part().field("title").tables == ()


def test_memory_is_counted() -> None:
    growing = GrowingTexts(["body"], "")
    assert growing.memory_bytes() == 0
    growing.append({"body": [text("a b c")] * 100}, 100)
    assert growing.memory_bytes() > 100 * 3 * (4 + 2 + 2)
    assert growing.part().memory_bytes() == growing.memory_bytes()


def test_an_unknown_field_is_a_defect() -> None:
    with pytest.raises(Internal, match="no text field 'title', it has body"):
        part_of(["a"]).postings("title", "a")
