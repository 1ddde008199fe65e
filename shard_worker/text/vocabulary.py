"""The sorted words of a table: one blob of UTF-8 and where each word begins.

Words are ordered by code point, which is the order of their bytes. Lone surrogates are kept (`surrogatepass`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Starts = npt.NDArray[np.int64]
"""(words + 1,): where what belongs to each word begins, and the end of the last."""

_AFTER_ANY = b"\xff"
"""Greater than each byte of UTF-8."""


def encoded(word: str) -> bytes:
    """Return the bytes of a word, as vocabularies hold them."""
    return word.encode("utf-8", "surrogatepass")


def starts_of(lengths: npt.ArrayLike) -> Starts:
    """Return where each of adjoining pieces with these lengths (n,) begins, and the end of the last. (n + 1,)."""
    ends: Starts = np.cumsum(lengths, dtype=np.int64)
    return np.concatenate([np.zeros(1, dtype=np.int64), ends])


class Vocabulary(Sequence[bytes]):
    """Different words, strictly ascending. A word's code is its place here. Immutable.

    blob: the words, one after the other; offsets: where each begins in the blob. Both may be mapped from a file.
    """

    __slots__ = ("_begins", "blob", "offsets")

    def __init__(self, blob: memoryview, offsets: Starts) -> None:
        self.blob = blob
        self.offsets = offsets
        # An element of a memoryview is a plain integer, several times sooner than an element of an array.
        self._begins = offsets.data

    @classmethod
    def of_texts(cls, words: Sequence[str]) -> Vocabulary:
        """Return the vocabulary of words that are strictly ascending."""
        joined = "".join(words)
        if not joined.isascii():
            return cls.of([word.encode("utf-8", "surrogatepass") for word in words])
        return cls(memoryview(joined.encode()), starts_of(np.fromiter(map(len, words), dtype=np.int64, count=len(words))))

    @classmethod
    def joined(cls, parts: Sequence[Vocabulary]) -> Vocabulary:
        """Return the words of all parts, one part after the other."""
        lengths = [np.zeros(0, dtype=np.int64), *(np.diff(part.offsets) for part in parts)]
        return cls(memoryview(b"".join(part.blob for part in parts)), starts_of(np.concatenate(lengths)))

    @classmethod
    def of(cls, words: Sequence[bytes]) -> Vocabulary:
        """Return the vocabulary of words that are strictly ascending."""
        return cls(memoryview(b"".join(words)), starts_of(np.fromiter(map(len, words), dtype=np.int64, count=len(words))))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, code: int) -> bytes:  # type: ignore[override]
        return bytes(self.blob[self._begins[code] : self._begins[code + 1]])

    def find(self, word: str) -> int:
        """Return the code of a word, -1 when it is not here."""
        wanted = encoded(word)
        code = bisect_left(self, wanted)
        return code if code < len(self) and self[code] == wanted else -1

    def before(self, word: bytes) -> int:
        """Return the number of words below `word`."""
        return bisect_left(self, word)

    def beginning(self, prefix: str) -> tuple[int, int]:
        """Return the first code of the words that begin with `prefix`, and the code after the last."""
        wanted = encoded(prefix)
        start = bisect_left(self, wanted)
        return start, bisect_left(self, wanted + _AFTER_ANY, start)

    def part(self, start: int, end: int) -> Vocabulary:
        """Return the words with the codes start:end, without a copy of them."""
        first, last = self._begins[start], self._begins[end]
        return Vocabulary(self.blob[first:last], self.offsets[start : end + 1] - first)

    def between(self, start: int, end: int) -> list[bytes]:
        """Return the words with the codes start:end."""
        first, last = self._begins[start], self._begins[end]
        text = bytes(self.blob[first:last])
        begins = (self.offsets[start : end + 1] - first).tolist()
        return [text[begin:after] for begin, after in pairwise(begins)]

    def memory_bytes(self) -> int:
        """Return the size of its arrays."""
        return len(self.blob) + int(self.offsets.nbytes)
