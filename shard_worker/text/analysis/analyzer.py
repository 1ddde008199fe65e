"""An analyzer cuts the text of a field, and questions to it, into words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Protocol

from shoal.core.text_fields import AnalyzerKind, AnalyzerOptions
from shoal.shard_worker.text.analysis.pieces import do_not_rest
from shoal.shard_worker.text.analysis.raw_analyzer import RawAnalyzer
from shoal.shard_worker.text.analysis.script_analyzer import ScriptAnalyzer
from shoal.shard_worker.text.analysis.tokens import Token
from shoal.shard_worker.text.indexing import CodedTexts

__all__ = ["Analyzer", "Token", "analyzer_of"]

_MOST_ANALYZERS = 64
"""Analyzers that are kept, each with the words that it remembers."""


class Analyzer(Protocol):
    """Cuts texts into words. No method raises for any string; all may be called by several threads.

    Words can be encoded in UTF-8 and have at most MOST_WORD_CHARS characters, prefixes one more (shoal.shard_worker.
    text.analysis.tokens). Positions are 0, 1, ...: one for each word, or for each character of a script that is written
    without spaces. Several tokens may have one position, and positions may be missing where words are left out.
    """

    @property
    def fingerprint(self) -> str:
        """Return what the words depend on. Tables made with another fingerprint must be made anew."""

    def words(self, text: str) -> tuple[list[str], list[int]]:
        """Return the words of `tokens`, in their order, and their positions."""

    def coded(self, texts: Sequence[str], rest: Callable[[], None] = do_not_rest) -> CodedTexts:
        """Return the words of texts, one a row, and their positions as numbers: what an index takes.

        A text without words, such as an empty one, is a row without text. A batch takes a fraction of the time of its
        texts one by one. rest: called between pieces of work that keep the interpreter for at most some milliseconds.
        """

    def tokens(self, text: str) -> list[Token]:
        """Return all tokens of a text to index, positions ascending."""

    def query_tokens(self, text: str) -> list[Token]:
        """Return the tokens of a question, positions ascending.

        A word may come several times, and then counts as often. A word may stand for all words that begin with a text:
        see `tokens.prefix_of`. Tokens at one position are forms of one word of the question.
        """

    def whole_words(self, written: str) -> list[str]:
        """Return the words that stand for the whole of a written word of ASCII letters, digits and underscores, as
        `query_tokens` does: none for a stop word, and none if the field has no words of its own. Takes microseconds.
        """

    def phrase_tokens(self, text: str) -> list[Token]:
        """Return the tokens that a text must hold, at the same distances, to hold this phrase."""

    def prefix_tokens(self, text: str) -> list[Token]:
        """Return the tokens of which a text must hold one, if they have one position, to hold a word that begins so: a
        prefix (see `tokens.prefix_of`), and the stem of the text if it is shorter.

        Of several words, the last one is a prefix at a position of its own. Text of a script without spaces is a
        phrase: its tokens are those of `phrase_tokens`.
        """


@lru_cache(maxsize=_MOST_ANALYZERS)
def analyzer_of(options: AnalyzerOptions) -> Analyzer:
    """Return the analyzer with these options. The same options share one."""
    return RawAnalyzer() if options.kind is AnalyzerKind.RAW else ScriptAnalyzer(options)
