"""Words of scripts that write spaces: stems, and identifiers as a whole and in parts. The only user of PyStemmer.

RocksDB         rocksdb, rock, db                     at one position: upper case does not move what follows
tidb_mem_quota  tidb_mem_quota, tidb | mem | quota    the parts at positions of their own, as if written apart
user's          user
don't           don't, don | t
v2.4.1          v2.4.1, 2.4.1
1,024.5         1,024.5
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from itertools import pairwise
from typing import NamedTuple

import Stemmer

from shoal.shard_worker.text.analysis.characters import JOINERS, marks
from shoal.shard_worker.text.analysis.tokens import MOST_WORD_CHARS, as_prefix

LIBRARY = f"PyStemmer {version('PyStemmer')}"

_MOST_KEPT = 65_536
"""Different written words that are remembered; when there are as many, all are forgotten."""

_STEMMED_AT_ONCE = 512
"""The interpreter is free between two of these pieces."""

_USUAL = re.compile(r"(?![vV][0-9])(?:[A-Za-z0-9][a-z0-9]*|[A-Z]+[0-9]*)")
"""Written words without parts: of ASCII letters and digits, no upper case begins a part, and not a version."""

_WRITTEN = r"[^\W_]{inner}*(?:'{inner}+|(?<=[0-9])[.,](?=[0-9]){inner}+)*"
_SEGMENT = re.compile(r"[^_']+")
_CASE_BORDER = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z](?!s(?![a-z]))[a-z])")
"""Where a part of an identifier begins: HTTP|Server, but GPUs."""
_VERSION = re.compile(r"[vV](?=[0-9])")
_JOINERS = str.maketrans("", "", JOINERS)


class Cut(NamedTuple):
    """What one written word stands for: k words.

    offsets: position of each, from that of the first; spans: of each in the written word; firm: whether each is there
    however the writer sets upper case and underscores, as phrases need; advance: positions that the written word takes.
    """

    words: tuple[str, ...]
    offsets: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    firm: tuple[bool, ...]
    advance: int


class _WordPart(NamedTuple):
    word: str
    offset: int
    span: tuple[int, int]
    firm: bool


class WrittenPatterns(NamedTuple):
    """Patterns of written words: letters, digits and underscores; apostrophes within; dots and commas between digits.

    ascii, plain: for texts of ASCII characters only, and without marks, which are searched in less time.
    """

    ascii: re.Pattern[str]
    plain: re.Pattern[str]
    marked: re.Pattern[str]

    @classmethod
    def of(cls, own_words: frozenset[str]) -> WrittenPatterns:
        """Return the patterns for these own words, which come first."""
        first = "".join(f"{_own_pattern(word)}|" for word in sorted(own_words, key=lambda word: (-len(word), word)))
        plain = first + _WRITTEN.format(inner=r"\w")
        return cls(re.compile(plain, re.ASCII), re.compile(plain), re.compile(first + _WRITTEN.format(inner=rf"[\w{marks()}]")))


def normal_word(written: str) -> str:
    """Return how a word is compared before it is stemmed: NFKC, lower case, one space for several."""
    if not written.isascii():
        written = unicodedata.normalize("NFKC", written.translate(_JOINERS))
    return " ".join(written.lower().split())


class WordCuts:
    """Words that written words stand for. Remembers those that it was asked for."""

    def __init__(self, *, language: str | None, stop_words: frozenset[str], own_words: frozenset[str]) -> None:
        """Take stop words and own words as `normal_word` gives them."""
        self._stemmer = Stemmer.Stemmer(language, 0) if language else None
        self._stop_words = stop_words
        self._own_words = own_words
        self._cuts: dict[str, Cut] = {}

    def listed(self, written: str) -> tuple[Sequence[str], Sequence[int], int]:
        """Return the words, their offsets and the positions they take, as `cut` does, without their spans."""
        cut = self.cut(written)
        return cut.words, cut.offsets, cut.advance

    def single_words(self, written: Sequence[str]) -> list[str | None]:
        """Return the word of each written word that stands for one word at one position, as `cut` does; None for others
        and where only `cut` can tell. Remembers nothing."""
        usual = _USUAL.fullmatch
        lowered = [each.lower() if usual(each) else "" for each in written]
        kept = [each for each in lowered if each and each not in self._stop_words and each not in self._own_words]
        stems = iter(self._stems(kept))
        if len(kept) == len(written):
            return list(stems)
        plain = set(kept)
        return [next(stems) if each in plain else None for each in lowered]

    def cut(self, written: str) -> Cut:
        """Return the words with their places."""
        cut = self._cuts.get(written)
        if cut is None:
            cut = self._made(written)
            if len(written) <= MOST_WORD_CHARS:
                if len(self._cuts) >= _MOST_KEPT:
                    self._cuts.clear()
                self._cuts[written] = cut
        return cut

    def prefix_words(self, written: str) -> list[str]:
        """Return the words that stand for all that begin so: a prefix, and the stem if it is shorter."""
        normal = normal_word(written)[:MOST_WORD_CHARS]
        stem = self._stem(normal)
        return [as_prefix(normal)] if stem.startswith(normal) or normal in self._own_words else [as_prefix(normal), stem]

    def _made(self, written: str) -> Cut:
        whole = normal_word(written)
        if whole in self._own_words:
            return _cut([_WordPart(whole, 0, (0, len(written)), True)], 1)
        if whole in self._stop_words:
            return _cut([], 1)
        # Nothing is left of a segment of joiners only.
        spans = [match.span() for match in _SEGMENT.finditer(written) if normal_word(match.group())]
        if len(spans) > 1 and whole.endswith("'s"):
            spans.pop()
            whole = whole[:-2]
        parts = [part for at, span in enumerate(spans) for part in self._segment(written, span, at)]
        if len(spans) > 1:
            parts.insert(0, _WordPart(whole[:MOST_WORD_CHARS], 0, (0, len(written)), False))
        elif len(parts) == 1:
            # A mark of the possessive belongs to its word.
            parts = [parts[0]._replace(span=(0, len(written)))]
        return _cut(parts, len(spans))

    def _segment(self, written: str, span: tuple[int, int], offset: int) -> Iterator[_WordPart]:
        """Yield a word without underscores and apostrophes, and its parts by upper case."""
        segment = written[span[0] : span[1]]
        whole = normal_word(segment)
        if whole in self._stop_words:
            return
        yield _WordPart(self._stem(whole), offset, span, True)
        if len(segment) <= MOST_WORD_CHARS:
            yield from self._case_parts(segment, span[0], offset)

    def _case_parts(self, segment: str, start: int, offset: int) -> Iterator[_WordPart]:
        borders = [match.start() for match in _CASE_BORDER.finditer(segment)]
        edges = [0, *borders, len(segment)]
        for first, last in pairwise(edges) if borders else ():
            yield _WordPart(self._stem(normal_word(segment[first:last])), offset, (start + first, start + last), False)
        if _VERSION.match(segment):
            yield _WordPart(normal_word(segment[1:]), offset, (start + 1, start + len(segment)), False)

    def _stems(self, words: list[str]) -> list[str]:
        """Return the stem of each of some words. The library keeps the interpreter for about 0.3 us a word."""
        words = [word[:MOST_WORD_CHARS] for word in words]
        if self._stemmer is None:
            return words
        stems: list[str] = []
        for start in range(0, len(words), _STEMMED_AT_ONCE):
            stems += self._stemmer.stemWords(words[start : start + _STEMMED_AT_ONCE])
        return [stem or word for stem, word in zip(stems, words, strict=True)]

    def _stem(self, word: str) -> str:
        word = word[:MOST_WORD_CHARS]
        return (self._stemmer.stemWord(word) or word) if self._stemmer else word


def _cut(parts: list[_WordPart], advance: int) -> Cut:
    first: dict[tuple[str, int], _WordPart] = {}
    for part in parts:
        first.setdefault((part.word, part.offset), part)
    words, offsets, spans, firm = zip(*first.values(), strict=True) if first else ((), (), (), ())
    return Cut(words=words, offsets=offsets, spans=spans, firm=firm, advance=advance)


def _own_pattern(word: str) -> str:
    """Return the pattern of an own word, in any case; where it begins or ends with a letter, no other letter may be
    beside it.
    """
    before = r"(?<!\w)" if word[0].isalnum() else ""
    after = r"(?!\w)" if word[-1].isalnum() else ""
    return before + "(?i:" + r"\s+".join(map(re.escape, word.split())) + ")" + after
