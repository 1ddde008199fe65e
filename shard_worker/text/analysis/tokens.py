"""Words of a text, with their places."""

from __future__ import annotations

from typing import NamedTuple

MOST_WORD_CHARS = 128
"""Longer words are cut off."""

_BEGINS = "\0"
"""Ends a word of a question that stands for all words that begin so. No other word holds it."""


class Token(NamedTuple):
    """A word of a text.

    position: number of the word, or of its Han character, from 0 on; several tokens may have one position. start, end:
    its span in the given text, in code points.
    """

    word: str
    position: int
    start: int
    end: int


def as_prefix(text: str) -> str:
    """Return the word that stands, in a question, for all words that begin with `text`."""
    return text + _BEGINS


def prefix_of(word: str) -> str | None:
    """Return what words must begin with if `word` stands for all that do; None for a usual word."""
    return word[: -len(_BEGINS)] if word.endswith(_BEGINS) else None
