"""A line of a text around the words that were found in it. Pure.

Widths are columns of a terminal: a Chinese character takes two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shoal.cli.output import MarkedCell, beginning, columns_of
from shoal.client.highlights import field_text, parts
from shoal.core.errors import InvalidArgument
from shoal.core.fused_search import Span

_SHARE_BEFORE = 4
"""One column of so many is for the text before the first word that was found."""

_ENDS = "…"


def snippet(text: str, spans: Sequence[Span], columns: int) -> MarkedCell:
    """Return the part of a text around its first span, at most so many columns wide, with its spans marked.

    Raises InvalidArgument for spans that are not in the text.
    """
    marked = list(parts(text, spans))
    letters = [letter if letter.isprintable() else " " for letter in text]
    found = [each for part, is_found in marked for each in [is_found] * len(part)]
    first = spans[0][0] if spans else 0
    begin = _back(letters, first, columns // _SHARE_BEFORE)
    end = beginning(letters, columns - (begin > 0), begin)
    if end < len(letters):
        end = beginning(letters, columns - (begin > 0) - 1, begin)
    elif begin > 0:
        begin = _back(letters, end, columns - 1)
    shown = zip(letters[begin:end], found[begin:end], strict=True)
    return MarkedCell.of([*[(_ENDS, False)] * (begin > 0), *shown, *[(_ENDS, False)] * (end < len(letters))])


def found_in(payload: Any, highlights: Mapping[str, Sequence[Span]], columns: int) -> MarkedCell | None:
    """Return the line of the field in which most was found, with its name; None if no field has spans in its text."""
    for field in sorted(highlights, key=lambda name: -len(highlights[name])):
        head, text = f"{field}: ", field_text(payload, field)
        try:
            return MarkedCell.of([(head, False), *snippet(text, highlights[field], columns - columns_of(head)).parts])
        except InvalidArgument:
            # The spans are not in the text: the point was written anew after it was found.
            continue
    return None


def _back(letters: Sequence[str], at: int, columns: int) -> int:
    """Return where a text begins that ends before `at` and takes at most so many columns."""
    while at > 0 and columns_of(letters[at - 1]) <= columns:
        columns -= columns_of(letters[at - 1])
        at -= 1
    return at
