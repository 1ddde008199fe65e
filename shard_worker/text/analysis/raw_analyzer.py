"""A whole text as one word, such as a name, a tag or a path."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence

from shoal.shard_worker.text.analysis.pieces import do_not_rest
from shoal.shard_worker.text.analysis.tokens import MOST_WORD_CHARS, Token, as_prefix
from shoal.shard_worker.text.indexing import CodedTexts, IndexedText, coded_texts

_UNFIT = re.compile("[\0\ud800-\udfff]")
_HASH_BYTES = 8
_KEPT_CHARS = MOST_WORD_CHARS - 2 * _HASH_BYTES - 1


class RawAnalyzer:
    """Takes a text as one word, as it is. The end of a long one is replaced by its hash."""

    fingerprint = "raw 1"

    def tokens(self, text: str) -> list[Token]:
        """Return one token, none for an empty text."""
        return [Token(_word(text), 0, 0, len(text))] if text else []

    query_tokens = tokens
    phrase_tokens = tokens

    def prefix_tokens(self, text: str) -> list[Token]:
        """Return the text as a prefix. Long words are found by what is kept of them before the hash."""
        return [Token(as_prefix(_UNFIT.sub("\ufffd", text)[:_KEPT_CHARS]), 0, 0, len(text))] if text else []

    def whole_words(self, written: str) -> list[str]:
        """Return nothing: a text is one word here, whatever words it is written of."""
        return []

    def words(self, text: str) -> tuple[list[str], list[int]]:
        """Return the word and its position, 0."""
        return ([_word(text)], [0]) if text else ([], [])

    def coded(self, texts: Sequence[str], rest: Callable[[], None] = do_not_rest) -> CodedTexts:
        """Return the words of texts as numbers. rest: called between pieces of work."""
        rest()
        return coded_texts([IndexedText(*self.words(text)) for text in texts])


def _word(text: str) -> str:
    word = _UNFIT.sub("\ufffd", text)
    if len(word) <= MOST_WORD_CHARS:
        return word
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_HASH_BYTES).hexdigest()
    return f"{word[:_KEPT_CHARS]}#{digest}"
