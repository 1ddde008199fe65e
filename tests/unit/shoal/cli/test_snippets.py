"""The line around the words that were found."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.cli import output
from shoal.cli.output import MarkedCell, aligned, columns_of
from shoal.cli.snippets import found_in, snippet
from shoal.core.errors import InvalidArgument


def test_a_short_text_is_shown_whole_with_its_words_marked() -> None:
    cell = snippet("red fish", [(0, 3)], 20)
    assert (cell, cell.parts) == ("red fish", (("red", True), (" fish", False)))


def test_a_long_text_is_shown_around_its_first_word() -> None:
    text = "one two three four five six seven eight nine ten eleven"
    assert snippet(text, [(text.index("seven"), text.index("seven") + 5)], 30) == "…ve six seven eight nine ten …"
    cell = snippet(text, [(text.index("eleven"), len(text))], 20)
    assert cell.endswith("nine ten eleven")
    assert (columns_of(cell), cell[0]) == (20, "…")


def test_chinese_characters_take_two_columns() -> None:
    text = "在生产环境中如何扩容集群的副本数量"
    cell = snippet(text, [(8, 10)], 20)
    assert "扩容" in [part for part, marked in cell.parts if marked]
    assert columns_of(cell) <= 20
    assert columns_of("红a") == 3


texts = st.text(st.sampled_from(["a", " ", "\n", "红", "é", "\u0301", "\x1b", "😀"]), max_size=60)


@given(texts, st.data(), st.integers(4, 40))
def test_a_line_is_never_too_wide_and_shows_its_first_word(text: str, data: st.DataObject, columns: int) -> None:
    ends = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6)))
    spans = list(zip(ends[::2], ends[1::2], strict=False))
    cell = snippet(text, spans, columns)
    assert columns_of(cell) <= columns
    assert cell.isprintable()
    assert "".join(part for part, _ in cell.parts) == cell
    if spans and columns >= 20:
        shown = "".join(part for part, marked in cell.parts if marked)
        begin, end = spans[0]
        first = "".join(letter if letter.isprintable() else " " for letter in text[begin:end])
        assert shown
        assert first.startswith(shown[: len(first)]) or shown.startswith(first)


def test_the_field_in_which_most_was_found_is_shown() -> None:
    payload = {"title": "red", "body": ["blue red", "red"]}
    assert found_in(payload, {"title": [(0, 3)], "body": [(5, 8), (9, 12)]}, 40) == "body: blue red red"
    assert found_in(payload, {}, 40) is None


def test_spans_of_a_text_that_was_written_anew_meanwhile_are_left_out() -> None:
    payload = {"title": "x", "body": "red"}
    assert found_in(payload, {"title": [(5, 8), (9, 10)], "body": [(0, 3)]}, 40) == "body: red"
    assert found_in(None, {"title": [(5, 8)]}, 40) is None
    with pytest.raises(InvalidArgument):
        snippet("x", [(5, 8)], 40)


def test_a_table_is_aligned_by_columns_of_the_terminal() -> None:
    assert aligned(("a", "b"), [["红鱼", "1"], ["x", "22"]], [False, True]) == ["A      B", "红鱼   1", "x     22"]


@pytest.mark.parametrize(("terminal", "marked"), [(True, True), (False, False)])
def test_marks_are_colours_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch, terminal: bool, marked: bool) -> None:
    shown = io.StringIO()
    shown.isatty = lambda: terminal  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdout", shown)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    output.table(("found",), [[MarkedCell.of([("a ", False), ("red", True), (" fish", False)])]])
    assert ("\x1b[1;33mred\x1b[0m" in shown.getvalue()) == marked
    assert ("a red fish" in shown.getvalue()) != marked


def test_wide_cells_are_cut_by_their_columns() -> None:
    assert output._cell("红" * 60, 100) == "红" * 49 + "…"
    assert output._cell("x" * 101, 100) == "x" * 99 + "…"
    assert output._cell("红" * 50, 100) == "红" * 50
