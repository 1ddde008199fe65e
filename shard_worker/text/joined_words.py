"""Neighbouring words of a question, written as one: `mem quota` also as `mem_quota` and `memquota`.

Texts hold identifiers whole and in parts. Their parts are found by such a question anyway, in every text that has these
words; the whole says which of them has the identifier.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise

from shoal.shard_worker.text.analysis.analyzer import Analyzer, Token

MOST_JOINED = 12
"""Questions with more words are prose: their words are not joined."""

_JOINTS = ("_", "")


def joined_tokens(text: str, tokens: Sequence[Token], analyzer: Analyzer) -> list[Token]:
    """Return the words that neighbouring words of a question make together, if it has at most MOST_JOINED.

    tokens: of the question, as `analyzer.query_tokens` gives them. Words are joined that have at least two characters,
    ASCII letters and digits, the first of them a letter, and nothing but white space between them.
    """
    words = [(each[0].position, min(token.start for token in each), max(token.end for token in each)) for each in _by_position(tokens)]
    if len(words) > MOST_JOINED:
        return []
    return [
        Token(word, position, start, end)
        for (position, start, middle), (_, after, end) in pairwise(words)
        if text[middle:after].isspace()
        for word in _wholes(text[start:middle], text[after:end], analyzer)
    ]


def _by_position(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    for _, several in groupby(tokens, key=lambda token: token.position):
        yield list(several)


def _wholes(first: str, second: str, analyzer: Analyzer) -> Iterator[str]:
    """Yield each word that stands for both together."""
    if not (_may_be_part(first) and _may_be_part(second) and first[0].isalpha()):
        return
    for joint in _JOINTS:
        yield from analyzer.whole_words(f"{first}{joint}{second}".lower())


def _may_be_part(word: str) -> bool:
    return len(word) > 1 and word.isascii() and word.isalnum()
