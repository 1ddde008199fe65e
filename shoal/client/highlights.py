"""Texts with the words of a query marked. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.filter_check import FilterPlace
from shoal.core.filter_input import path_from_text
from shoal.core.filter_truth import occurrences
from shoal.core.fused_search import Span
from shoal.core.limits import DEFAULT_LIMITS

JOINT = "\n"
"""Between the strings of a field that has several: spans are those of the strings, joined so."""


def highlighted(text: str, spans: Iterable[Span], before: str = "**", after: str = "**") -> str:
    """Return a text with `before` and `after` around each span.

    spans: begins and ends in characters, as `hit.highlights["body"]` has them for the text of its field. Raises
    InvalidArgument for spans that are not ascending, overlap or are not in the text.
    """
    return "".join(f"{before}{part}{after}" if marked else part for part, marked in parts(text, spans))


def parts(text: str, spans: Iterable[Span]) -> Iterator[tuple[str, bool]]:
    """Yield the parts of a text in order, none empty, each with whether a span covers it. Raises as `highlighted`."""
    end = 0
    for begin, stop in spans:
        if not end <= begin < stop <= len(text):
            raise InvalidArgument(
                f"span ({begin}, {stop}) is not in what is left of the text, characters {end} to {len(text)}", ErrorDetails(field="spans")
            )
        if end < begin:
            yield text[end:begin], False
        yield text[begin:stop], True
        end = stop
    if end < len(text):
        yield text[end:], False


def field_text(payload: Mapping[str, Any] | None, field: str) -> str:
    """Return the text of a text field of a payload, "" if it has none: its strings, joined by JOINT.

    field: a payload path, as in filters. Raises InvalidArgument if it is none.
    """
    strings: list[str] = []
    for found in occurrences(payload, path_from_text(field, FilterPlace(), DEFAULT_LIMITS)):
        strings += [each for each in (found if isinstance(found, list) else [found]) if isinstance(each, str)]
    return JOINT.join(strings)
