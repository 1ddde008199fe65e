"""Documents are easy to read in an editor, and each is found from the first page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.house.source_tree import ROOT, pages

LONGEST_LINE = 120
START = ROOT / "docs/README.md"


def long_lines(text: str) -> list[int]:
    """Numbers of the lines that are too long; rows of tables and blocks of code cannot be wrapped."""
    found, in_block = [], False
    for number, line in enumerate(text.splitlines(), start=1):
        in_block ^= line.lstrip().startswith("```")
        if len(line) > LONGEST_LINE and not in_block and not line.lstrip().startswith("|"):
            found.append(number)
    return found


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_lines_of_a_page_are_short(page: Path) -> None:
    assert long_lines(page.read_text(encoding="utf-8")) == []


def test_a_long_line_is_noticed_where_it_can_be_wrapped() -> None:
    long = "x" * (LONGEST_LINE + 1)
    assert long_lines(f"{long}\n| {long} |\n```\n{long}\n```\n* {long}\n") == [1, 6]


def test_every_page_is_found_from_the_first_one() -> None:
    linked = {
        (START.parent / link.partition("#")[0]).resolve() for link in re.findall(r"\]\(([^)\s]+)\)", START.read_text(encoding="utf-8"))
    }
    decisions = set((ROOT / "docs/adr").glob("[0-9]*.md"))
    assert {page for page in pages() if page.is_relative_to(ROOT / "docs")} - linked - decisions == {START}


def test_the_glossary_explains_each_word_once() -> None:
    glossary = START.read_text(encoding="utf-8").partition("## Glossary")[2].partition("Words that are used no more")[0]
    words = re.findall(r"^\| \*\*(.+?)\*\*", glossary, flags=re.MULTILINE)
    assert len(words) > 50
    assert words == sorted(set(words), key=str.lower)


def test_the_changelog_says_nothing_twice() -> None:
    """A union of two branches may have kept one line in two wrappings."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    items = [" ".join(item.split()) for item in re.findall(r"^- (.*(?:\n  .*)*)", text, flags=re.MULTILINE)]
    assert len(items) > 20
    assert sorted(item for item in set(items) if items.count(item) > 1) == []
