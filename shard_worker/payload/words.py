"""Strings of a field: the distinct strings with the rows that hold each, and hashes of strings that are too long or too
many.

Strings are ordered by code point, as in Python. A hash only means "perhaps": rows found by it must be read.
"""

from __future__ import annotations

import hashlib
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shoal.core.filter import Range
from shoal.shard_worker.payload.columns import ARRAY_BYTES, NO_HASHES, Column, merge_columns, sorted_column
from shoal.shard_worker.payload.matched import PayloadBounds
from shoal.shard_worker.payload.positions import NO_POSITIONS, Mapping, Positions, ranges

_MANY_TEXTS = 64
"""From this many texts on, one lookup builds a dictionary of all words."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Words:
    """d distinct strings and their rows.

    texts: strictly ascending; offsets: (d + 1,) int64; positions: (m,), rows of texts[i] at offsets[i]:offsets[i + 1].
    """

    texts: tuple[str, ...]
    offsets: npt.NDArray[np.int64]
    positions: Positions

    def equal(self, texts: Sequence[str]) -> Positions:
        """Return the rows with one of `texts`."""
        if not self.texts:
            return NO_POSITIONS
        return self._rows(self._find_many(texts) if len(texts) >= _MANY_TEXTS else self._find(texts))

    def within(self, bounds: Range) -> Positions:
        """Return the rows with a string within all the bounds, which are strings."""
        start, end = 0, len(self.texts)
        if isinstance(bounds.gt, str):
            start = max(start, bisect_right(self.texts, bounds.gt))
        if isinstance(bounds.gte, str):
            start = max(start, bisect_left(self.texts, bounds.gte))
        if isinstance(bounds.lt, str):
            end = min(end, bisect_left(self.texts, bounds.lt))
        if isinstance(bounds.lte, str):
            end = min(end, bisect_right(self.texts, bounds.lte))
        return self._between(start, end)

    def beginning(self, text: str) -> Positions:
        """Return the rows with a string that begins with `text`."""
        length = len(text)
        return self._between(bisect_left(self.texts, text), bisect_right(self.texts, text, key=lambda word: word[:length]))

    def holding(self, text: str) -> Positions:
        """Return the rows with a string that contains `text`."""
        return self._rows([code for code, word in enumerate(self.texts) if text in word])

    def memory_bytes(self) -> int:
        """Return the memory it holds."""
        texts = sys.getsizeof(self.texts) + sum(map(sys.getsizeof, self.texts))
        return texts + self.offsets.nbytes + self.positions.nbytes + 2 * ARRAY_BYTES

    def _find(self, texts: Sequence[str]) -> list[int]:
        """Return the codes of those of `texts` that are here."""
        places = [(bisect_left(self.texts, text), text) for text in texts]
        return [code for code, text in places if code < len(self.texts) and self.texts[code] == text]

    def _find_many(self, texts: Sequence[str]) -> list[int]:
        codes = {word: code for code, word in enumerate(self.texts)}
        return [codes[text] for text in texts if text in codes]

    def _rows(self, codes: Sequence[int]) -> Positions:
        if len(codes) <= 1:
            return self._between(codes[0], codes[0] + 1) if codes else NO_POSITIONS
        wanted = np.array(codes, dtype=np.int64)
        return self.positions[ranges(self.offsets[wanted], self.offsets[wanted + 1])]

    def _between(self, start: int, end: int) -> Positions:
        return self.positions[self.offsets[start] : self.offsets[max(start, end)]]


NO_WORDS = Words(texts=(), offsets=np.zeros(1, dtype=np.int64), positions=NO_POSITIONS)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Strings:
    """All strings of a field: `words`, and `hashes` (uint64) of the strings that are not kept."""

    words: Words
    hashes: Column

    def hashed(self, texts: Sequence[str]) -> Positions:
        """Return the rows that perhaps hold one of `texts`, as a string that is not kept."""
        if not len(self.hashes):
            return NO_POSITIONS
        return self.hashes.equal(text_hashes(texts))


NO_STRINGS = Strings(words=NO_WORDS, hashes=NO_HASHES)


def strings_of(texts: Sequence[str], positions: Sequence[int], bounds: PayloadBounds) -> Strings:
    """Return the index of the strings (m,) of rows `positions` (m,)."""
    at = np.array(positions, dtype=np.uint32)
    short = np.fromiter((len(text) <= bounds.indexed_chars for text in texts), dtype=np.bool_, count=len(texts))
    if short.all():
        return _bounded(texts, at, NO_HASHES, bounds)
    long = [text for text in texts if len(text) > bounds.indexed_chars]
    hashes = sorted_column(text_hashes(long), at[~short])
    return _bounded([text for text in texts if len(text) <= bounds.indexed_chars], at[short], hashes, bounds)


def merge_strings(pieces: Sequence[tuple[Strings, Mapping]], bounds: PayloadBounds) -> Strings:
    """Merge the strings of several pieces, each with the new positions of its rows."""
    hashes = merge_columns([(piece.hashes, mapping) for piece, mapping in pieces], NO_HASHES)
    listed = [(piece.words, mapping) for piece, mapping in pieces if piece.words.texts]
    if not listed:
        return NO_STRINGS if hashes is NO_HASHES else Strings(words=NO_WORDS, hashes=hashes)
    texts = sorted(set().union(*(words.texts for words, _ in listed)))
    codes = {text: code for code, text in enumerate(texts)}
    numbers = np.concatenate([_codes_of_rows(words, codes) for words, _ in listed])
    positions = np.concatenate([mapping[words.positions] for words, mapping in listed])
    stays = positions >= 0
    return _limited(_grouped(texts, numbers[stays], positions[stays].astype(np.uint32)), hashes, bounds)


def text_hashes(texts: Iterable[str]) -> npt.NDArray[np.uint64]:
    """Return 64-bit hashes of strings (m,); lone surrogates are allowed."""
    digests = [hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest() for text in texts]
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64, copy=False)


def _bounded(texts: Sequence[str], positions: Positions, hashes: Column, bounds: PayloadBounds) -> Strings:
    if not len(texts):
        return Strings(words=NO_WORDS, hashes=hashes)
    distinct = sorted(set(texts))
    codes = {text: code for code, text in enumerate(distinct)}
    numbers = np.fromiter(map(codes.__getitem__, texts), dtype=np.int64, count=len(texts))
    return _limited(_grouped(distinct, numbers, positions), hashes, bounds)


def _grouped(texts: Sequence[str], numbers: npt.NDArray[np.int64], positions: Positions) -> Words:
    """Group the rows by text. numbers (m,): for each of `positions` (m,), the number of its text. Texts without rows
    are left out."""
    counts = np.bincount(numbers, minlength=len(texts))
    order = np.argsort(numbers, kind="stable")
    used = np.flatnonzero(counts)
    return Words(
        texts=tuple(texts) if len(used) == len(texts) else tuple(texts[code] for code in used.tolist()),
        offsets=np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts[used], dtype=np.int64)]),
        positions=positions[order],
    )


def _limited(words: Words, hashes: Column, bounds: PayloadBounds) -> Strings:
    """Return words and hashes; when there are too many words, all of them become hashes."""
    if len(words.texts) <= bounds.distinct_values:
        return Strings(words=words if words.texts else NO_WORDS, hashes=hashes)
    values = np.repeat(text_hashes(words.texts), np.diff(words.offsets))
    joined = sorted_column(np.concatenate([values, hashes.values]), np.concatenate([words.positions, hashes.positions]))
    return Strings(words=NO_WORDS, hashes=joined)


def _codes_of_rows(words: Words, codes: dict[str, int]) -> npt.NDArray[np.int64]:
    """Return, for each of the words' positions (m,), the code of its text in `codes`."""
    own = np.fromiter(map(codes.__getitem__, words.texts), dtype=np.int64, count=len(words.texts))
    return np.repeat(own, np.diff(words.offsets))
