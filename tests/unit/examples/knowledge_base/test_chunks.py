from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.knowledge_base.chunks import Chunk, Document, chunks_of, title_of

PAGE = """---
title: "Back up"
summary: x
---

# Back up data

First paragraph.
Still the first.

Second one.

## With a tool

```bash
# no heading

backup --all
```

### Details

* one
* two

## Restore ##
"""


def cut(text: str, chars: int = 1_200) -> list[Chunk]:
    return chunks_of(Document(file="f.md", title="T", text=text), chars)


def test_a_page_is_cut_at_its_headings() -> None:
    assert [(each.heading, each.text) for each in cut(PAGE)] == [
        ("Back up data", "First paragraph.\nStill the first.\n\nSecond one."),
        ("Back up data > With a tool", "```bash\n# no heading\n\nbackup --all\n```"),
        ("Back up data > With a tool > Details", "* one\n* two"),
    ]


def test_a_citation_leads_to_the_text() -> None:
    for each in cut(PAGE, 20):
        assert PAGE[each.offset : each.offset + len(each.text)] == each.text


def test_the_name_of_a_chunk_says_no_heading_twice() -> None:
    chunk = Chunk(file="f", title="Back up", heading="Back up > Details", offset=0, text="x")
    assert chunk.name == "Back up > Details"


def test_paragraphs_stay_together_as_far_as_they_fit() -> None:
    assert [each.text for each in cut("aaaa\n\nbbbb\n\ncccc\n", 10)] == ["aaaa\n\nbbbb", "cccc"]


def test_a_long_paragraph_is_cut_at_lines_then_sentences_then_words() -> None:
    assert [each.text for each in cut("aaa aaa\nbbb bbb\n", 10)] == ["aaa aaa", "bbb bbb"]
    assert [each.text for each in cut("aaa aa. bbb bbb.", 10)] == ["aaa aa.", "bbb bbb."]
    assert [each.text for each in cut("第一句话。第二句话。", 6)] == ["第一句话。", "第二句话。"]
    assert [each.text for each in cut("aaaaaa bbbbbb", 9)] == ["aaaaaa", "bbbbbb"]
    assert [each.text for each in cut("a" * 25, 10)] == ["a" * 10, "a" * 10, "a" * 5]


def test_underlined_headings_and_their_levels() -> None:
    text = "Title\n=====\nabove\n\nPart\n----\nbelow\n\nOther\n=====\nmore"
    assert [(each.heading, each.text) for each in cut(text)] == [("Title", "above"), ("Title > Part", "below"), ("Other", "more")]


def test_rules_and_tables_are_no_headings() -> None:
    text = "a long line of words\n---\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n-----\n-----\n"
    assert [each.heading for each in cut(text)] == [""]


def test_a_longer_fence_holds_shorter_ones() -> None:
    text = "````\n```\n# no\n```\n````\n# Yes\nx"
    assert [each.heading for each in cut(text)] == ["", "Yes"]


def test_marks_of_headings_are_left_out() -> None:
    assert [each.heading for each in cut("## `tidb_mem_quota` **new** {#anchor}\nx\n### A<a id='b'></a>\ny\n# GRANT <privileges>\nz")] == [
        "tidb_mem_quota new",
        "tidb_mem_quota new > A",
        "GRANT <privileges>",
    ]


def test_a_text_without_words_has_no_chunk() -> None:
    assert cut("") == cut("\n \n") == cut("# Only a heading") == cut("---\ntitle: x\n---\n") == []


def test_a_size_below_1_is_refused() -> None:
    with pytest.raises(ValueError, match="0 characters"):
        cut("x", 0)


def test_titles() -> None:
    assert title_of(PAGE, "f") == "Back up"
    assert title_of("text\n\n# First\n\n## Second\n", "f") == "First"
    assert title_of("no heading", "f") == "f"
    assert title_of("---\ntitle:\n---\nx", "f") == "f"


LINES = st.sampled_from(
    [
        "",
        " ",
        "# A",
        "## B",
        "```",
        "~~~",
        "---",
        "===",
        "word",
        "two words. And more.",
        "中文。句子",
        "x" * 30,
        "\t",
        "- item",
        "a\x0bb\u2028c",
    ]
)


@given(st.lists(LINES), st.integers(1, 40), st.sampled_from(["\n", "\r\n", "\n\n"]))
def test_chunks_of_any_text(lines: list[str], chars: int, end: str) -> None:
    text = end.join(lines)
    chunks = cut(text, chars)
    covered = 0
    for each in chunks:
        assert 0 < len(each.text) <= chars
        assert each.text == each.text.strip()
        assert text[each.offset : each.offset + len(each.text)] == each.text
        assert each.offset >= covered
        covered = each.offset + len(each.text)
    if not text.startswith("---"):
        assert_only_headings_are_left_out(text, chunks)


def assert_only_headings_are_left_out(text: str, chunks: list[Chunk]) -> None:
    inside = {at for each in chunks for at in range(each.offset, each.offset + len(each.text))}
    lines, begin = re.findall(r"[^\n]*\n|[^\n]+", text), 0
    for line, following in zip(lines, [*lines[1:], ""], strict=False):
        outside = "".join(text[at] for at in range(begin, begin + len(line)) if at not in inside).strip()
        heading = line.startswith("#") or set(outside) <= set("-=") or following.startswith(("---", "==="))
        assert not outside or heading, line
        begin += len(line)
