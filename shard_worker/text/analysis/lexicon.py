"""Written words by number, and the words that each stands for as numbers, so that a batch is cut in few steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import repeat
from threading import Lock
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shoal.shard_worker.text.analysis.tokens import MOST_WORD_CHARS
from shoal.shard_worker.text.vocabulary import Vocabulary, encoded

Numbers = npt.NDArray[np.int64]

MOST_WRITTEN = 65_536
"""Different written words that are remembered; when there are as many, all are forgotten."""

MOST_WORDS = 4 * MOST_WRITTEN
"""So with the words that they stand for."""


class WrittenWords(NamedTuple):
    """What w written words stand for, t words in all.

    starts: (w + 1,) the words of number i are at starts[i]:starts[i + 1] of words (t,), numbers of words, and offsets
    (t,), position of each from that of the first; advances: (w,) positions that each takes.
    """

    starts: Numbers
    words: Numbers
    offsets: Numbers
    advances: Numbers


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
        self._encoded: list[bytes] = []
        self._starts: list[int] = [0]
        self._words: list[int] = []
        self._offsets: list[int] = []
        self._advances: list[int] = []
        self._known = WrittenWords(*(np.array(each, dtype=np.int64) for each in ([0], [], [], [])))
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
        numbers: dict[str, int] = {}
        with self._lock:
            for each, word in zip(written, single, strict=True):
                # Another thread may have learned it meanwhile.
                number = self._written.get(each)
                if number is None:
                    number = len(self._advances)
                    if word is None:
                        words, offsets, advance = cuts[each]
                        self._words += map(self._number, words)
                        self._offsets += offsets
                    else:
                        advance = 1
                        self._words.append(self._number(word))
                        self._offsets.append(0)
                    self._advances.append(advance)
                    self._starts.append(len(self._words))
                    if len(each) <= MOST_WORD_CHARS:
                        self._written[each] = number
                numbers[each] = number
        return numbers

    @property
    def words(self) -> int:
        """Return how many different words the written words stand for."""
        return len(self._encoded)

    @property
    def full(self) -> bool:
        """Return whether it remembers as much as it should."""
        return len(self._advances) >= MOST_WRITTEN or len(self._words) >= MOST_WORDS or len(self._encoded) >= MOST_WORDS

    def numbers_of(self, words: Sequence[str]) -> list[int]:
        """Return the number of each word."""
        with self._lock:
            return list(map(self._number, words))

    def written(self) -> WrittenWords:
        """Return what all written words so far stand for."""
        with self._lock:
            known = self._known
            lists = (self._starts, self._words, self._offsets, self._advances)
            if len(known.advances) < len(self._advances):
                grown = [
                    np.concatenate((each, np.array(all_[len(each) :], dtype=np.int64))) for each, all_ in zip(known, lists, strict=True)
                ]
                self._known = known = WrittenWords(*grown)
            return known

    def vocabulary(self, numbers: Numbers) -> Vocabulary:
        """Return the words with these numbers, in their order."""
        return Vocabulary.of(list(map(self._encoded.__getitem__, numbers.tolist())))

    def _number(self, word: str) -> int:
        number = self._numbers.get(word)
        if number is None:
            number = self._numbers[word] = len(self._encoded)
            self._encoded.append(encoded(word))
        return number
