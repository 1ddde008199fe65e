"""Written words by number, and the words that each stands for as numbers, so that a batch is cut in few steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain, count, repeat
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from shoal.shard_worker.text.analysis.tokens import MOST_WORD_CHARS
from shoal.shard_worker.text.vocabulary import Vocabulary
from shoal.shard_worker.text.word_order import chosen

Numbers = npt.NDArray[np.int64]

MOST_WRITTEN = 65_536
"""Different written words that are remembered; when there are as many, all are forgotten."""

MOST_WORDS = 4 * MOST_WRITTEN
"""So with the words that they stand for."""

_FIRST_ROOM = 1_024


class WrittenWords(NamedTuple):
    """What w written words stand for, t words in all.

    starts: (w + 1,) the words of number i are at starts[i]:starts[i + 1] of words (t,), numbers of words, and offsets
    (t,), position of each from that of the first; advances: (w,) positions that each takes.
    """

    starts: Numbers
    words: Numbers
    offsets: Numbers
    advances: Numbers


class _Growing:
    """An array that grows at its end. What was shown of it does not move."""

    __slots__ = ("_array", "count")

    def __init__(self, dtype: npt.DTypeLike, first: Sequence[int] = ()) -> None:
        self._array: npt.NDArray[Any] = np.empty(_FIRST_ROOM, dtype=dtype)
        self.count = 0
        self.extend(first)

    def extend(self, more: npt.ArrayLike) -> None:
        """Append numbers (n,)."""
        added = np.asarray(more, dtype=self._array.dtype)
        end = self.count + len(added)
        if end > len(self._array):
            longer = np.empty(max(end, 2 * len(self._array)), dtype=self._array.dtype)
            longer[: self.count] = self.shown()
            self._array = longer
        self._array[self.count : end] = added
        self.count = end

    def shown(self) -> npt.NDArray[Any]:
        """Return all its numbers."""
        return self._array[: self.count]


class Lexicon:
    """Numbers of written words. Remembers those that it was asked for. For any thread.

    Numbers stay as long as the lexicon. So it is not emptied when it is full: its owner takes a new one.
    """

    def __init__(
        self,
        cut: Callable[[str], tuple[Sequence[str], Sequence[int], int]],
        single_words: Callable[[Sequence[str]], Sequence[str | None]],
    ) -> None:
        """Take two functions. cut: cuts a written word into words, their offsets, and the positions that it takes;
        single_words: gives the word of each written word that stands for one at one position, None for others."""
        self._cut = cut
        self._single_words = single_words
        self._written: dict[str, int] = {}
        self._numbers: dict[str, int] = {}
        self._bytes = _Growing(np.uint8)
        self._ends = _Growing(np.int64, [0])
        self._starts = _Growing(np.int64, [0])
        self._words = _Growing(np.int64)
        self._offsets = _Growing(np.int64)
        self._advances = _Growing(np.int64)
        self._lock = Lock()

    def __len__(self) -> int:
        """Return how many written words it finds again."""
        return len(self._written)

    def numbers(self, written: Sequence[str]) -> Numbers:
        """Return the number of each written word. (n,)"""
        numbers = np.fromiter(map(self._written.get, written, repeat(-1)), dtype=np.int64, count=len(written))
        unknown = np.flatnonzero(numbers < 0)
        if len(unknown):
            new = list(map(written.__getitem__, unknown.tolist()))
            numbers[unknown] = list(map(self._learned(list(dict.fromkeys(new))).__getitem__, new))
        return numbers

    def _learned(self, written: Sequence[str]) -> dict[str, int]:
        """Take in different written words, and return the number of each."""
        single = self._single_words(written)
        cuts = {each: self._cut(each) for each, word in zip(written, single, strict=True) if word is None}
        with self._lock:
            # Another thread may have learned some of them meanwhile.
            numbers = {each: self._written[each] for each in self._written.keys() & written}
            words = {each: word for each, word in zip(written, single, strict=True) if word is not None and each not in numbers}
            numbers |= self._learn_single(words)
            numbers |= self._learn_cut({each: cut for each, cut in cuts.items() if each not in numbers})
            self._written.update(numbers if max(map(len, written)) <= MOST_WORD_CHARS else _short(numbers))
        return numbers

    def _learn_single(self, words: Mapping[str, str]) -> dict[str, int]:
        """Take in written words that stand for one word each, and return the number of each."""
        more = np.ones(len(words), dtype=np.int64)
        return self._take(words, self._numbered(list(words.values())), more - 1, more, more)

    def _learn_cut(self, cuts: Mapping[str, tuple[Sequence[str], Sequence[int], int]]) -> dict[str, int]:
        """Take in written words with the words that they stand for, and return the number of each."""
        if not cuts:
            return {}
        words, offsets, advances = zip(*cuts.values(), strict=True)
        sizes = np.array(list(map(len, words)), dtype=np.int64)
        return self._take(cuts, self._numbered(list(chain(*words))), list(chain(*offsets)), sizes, advances)

    def _take(
        self, written: Mapping[str, object], words: Sequence[int], offsets: npt.ArrayLike, sizes: Numbers, advances: npt.ArrayLike
    ) -> dict[str, int]:
        first = self._advances.count
        self._starts.extend(self._words.count + np.cumsum(sizes))
        self._words.extend(words)
        self._offsets.extend(offsets)
        self._advances.extend(advances)
        return dict(zip(written, count(first), strict=False))

    @property
    def words(self) -> int:
        """Return how many different words the written words stand for."""
        return len(self._numbers)

    @property
    def full(self) -> bool:
        """Return whether it remembers as much as it should."""
        return self._advances.count >= MOST_WRITTEN or self._words.count >= MOST_WORDS or len(self._numbers) >= MOST_WORDS

    def numbers_of(self, words: Sequence[str]) -> list[int]:
        """Return the number of each word."""
        with self._lock:
            return self._numbered(words)

    def written(self) -> WrittenWords:
        """Return what all written words so far stand for."""
        with self._lock:
            return WrittenWords(self._starts.shown(), self._words.shown(), self._offsets.shown(), self._advances.shown())

    def vocabulary(self, numbers: Numbers) -> Vocabulary:
        """Return the words with these numbers, in their order."""
        with self._lock:
            known = Vocabulary(self._bytes.shown().data, self._ends.shown())
        return chosen(known, numbers)

    def _numbered(self, words: Sequence[str]) -> list[int]:
        """Return the number of each word. The lock is held."""
        new = [word for word in dict.fromkeys(words) if word not in self._numbers]
        if new:
            added = Vocabulary.of_texts(new)
            self._ends.extend(self._bytes.count + added.offsets[1:])
            self._bytes.extend(np.frombuffer(added.blob, dtype=np.uint8))
            self._numbers.update(zip(new, count(len(self._numbers)), strict=False))
        return list(map(self._numbers.__getitem__, words))


def _short(numbers: Mapping[str, int]) -> dict[str, int]:
    """Return those of the written words that are short enough to be remembered."""
    return {each: number for each, number in numbers.items() if len(each) <= MOST_WORD_CHARS}
