"""Decodes and encodes many short JSON texts in one call of `json`, which takes most of its time to begin and to end.

Between two texts stands a mark: an integer whose digits occur in none of them. An integer is written in only one way,
so no text can give the mark. If every second element of the whole is the mark, and there are as many marks as gaps,
then no text reaches over a gap, and each text is one JSON value.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

MOST_BYTES = 128 * 1024
"""Most bytes of texts that are decoded in one call, so that few values are in memory. A longer text is alone."""

_FIRST_MARK, _MARKS = 1_000_003, 8


def groups_of(texts: Sequence[bytes], most_bytes: int = MOST_BYTES) -> Iterator[tuple[int, int]]:
    """Yield [start, end) of consecutive texts with at most most_bytes in all, or of one longer text."""
    start = size = 0
    for at, text in enumerate(texts):
        size += len(text)
        if size > most_bytes and at > start:
            yield start, at
            start, size = at, len(text)
    if start < len(texts):
        yield start, len(texts)


def decoded_together(texts: Sequence[bytes], decoder: json.JSONDecoder) -> list[Any] | None:
    """Return the values of texts (UTF-8), decoded as one.

    None if one of them may be no JSON value, or be more than one, or be refused by the decoder: decode each alone then.
    """
    plain = b",".join(texts)
    mark = next((mark for mark in range(_FIRST_MARK, _FIRST_MARK + _MARKS) if b"%d" % mark not in plain), None)
    if mark is None or not texts:
        return None
    try:
        values = decoder.decode(f"[{(b',%d,' % mark).join(texts).decode('utf-8')}]")
    except (ValueError, RecursionError):
        return None
    marks = values[1::2]
    if len(values) != 2 * len(texts) - 1 or marks.count(mark) != len(marks) or not set(map(type, marks)) <= {int}:
        return None
    wanted: list[Any] = values[::2]
    return wanted


def encoded_together(values: Sequence[Any], encode: Callable[[list[Any]], bytes | None]) -> list[bytes] | None:
    """Return the texts of values, encoded as one list. None if it cannot be encoded, or cannot be cut for certain.

    encode: returns the text (UTF-8) of a list, without spaces; None if it cannot.
    """
    if not values:
        return []
    gathered: list[Any] = [_FIRST_MARK] * (2 * len(values) - 1)
    gathered[::2] = values
    text = encode(gathered)
    pieces = [] if text is None else text[1:-1].split(b",%d," % _FIRST_MARK)
    # There are more pieces if a value holds the mark itself.
    return pieces if len(pieces) == len(values) else None
