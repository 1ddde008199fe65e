"""Turns the words of a batch of texts into numbers, with no object for each token."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from shoal.shard_worker.text.analysis.characters import Codes, text_of
from shoal.shard_worker.text.analysis.lexicon import Lexicon, Numbers
from shoal.shard_worker.text.analysis.reading import Places
from shoal.shard_worker.text.analysis.text_words import TextWords
from shoal.shard_worker.text.indexing import CodedTexts
from shoal.shard_worker.text.vocabulary import Vocabulary, encoded, starts_of
from shoal.shard_worker.text.word_order import chosen, stable_order, united

_PIECE_WORDS = 4_096
"""So many written words are looked up at once: some 0.5 ms."""

_FEW = 16
"""Less than one number in so many is sorted; of more, each has its place in an array."""

_NONE: Numbers = np.zeros(0, dtype=np.int64)


class BatchCoding:
    """One batch. The lexicon may be shared with other batches. rest: called between pieces of work."""

    def __init__(self, lexicon: Lexicon, rest: Callable[[], None]) -> None:
        self._lexicon = lexicon
        self._rest = rest
        self._written: list[str] = []
        self._rows: list[int] = []
        self._counts: list[int] = []
        # Words, and of their tokens the codes among these, rows and positions.
        self._short: list[tuple[Vocabulary, Numbers, Numbers, Numbers]] = []
        # Of other tokens the numbers of words in the lexicon, rows and positions.
        self._tokens: list[tuple[Numbers, Numbers, Numbers]] = []

    def add_written(self, row: int, written: Sequence[str]) -> None:
        """Add a text of ASCII characters, as its written words, or pieces with them, in order."""
        self._written += written
        self._rows.append(row)
        self._counts.append(len(written))

    def add_reading(self, row_of: npt.NDArray[np.int64], words: TextWords, places: Places, written: Sequence[str]) -> None:
        """Add texts with characters beyond ASCII. Call it once.

        row_of: the row of each character, ascending; words: of these texts, but for those of `written`, written words
        of scripts with spaces or pieces with them, which begin at `places`.
        """
        numbers = self._numbers(written)
        units = np.zeros(len(row_of), dtype=np.int64)
        units[words.reading.unspaced] = 1
        units[places] = self._lexicon.written().advances[numbers]
        before = np.cumsum(units) - units
        # Positions begin with each text.
        begins = np.flatnonzero(np.diff(row_of, prepend=-1))
        before -= np.repeat(before[begins], np.diff(begins, append=len(row_of)))
        self._take(numbers, row_of[places], before[places])
        others = np.array(words.others.starts, dtype=np.int64)
        self._tokens.append((np.array(self._lexicon.numbers_of(words.others.words), dtype=np.int64), row_of[others], before[others]))
        self._rest()
        for found, codes, at in _short_words(words):
            self._short.append((found, codes, row_of[at], before[at]))
            self._rest()

    def coded(self, count: int, left_out: Collection[str]) -> CodedTexts:
        """Return all texts of `count` rows as numbers, without the words that are left out."""
        numbers = self._numbers(self._written)
        advances = self._lexicon.written().advances[numbers]
        counts = np.array(self._counts, dtype=np.int64)
        before = np.cumsum(advances) - advances
        firsts = starts_of(counts)[:-1][counts > 0]
        before -= np.repeat(before[firsts], counts[counts > 0])
        self._take(numbers, np.repeat(np.array(self._rows, dtype=np.int64), counts), before)
        self._rest()
        named, rows, positions = _joined(self._tokens)
        if len(self._tokens) > 1:
            order = stable_order(rows, count)
            named, rows, positions = named[order], rows[order], positions[order]
        used, named = _distinct(named, self._lexicon.words)
        short_words = [each[0] for each in self._short]
        words, (*ranks, others) = united([*short_words, self._lexicon.vocabulary(used)])
        self._rest()
        short = [(rank[codes], *places) for rank, (_, codes, *places) in zip(ranks, self._short, strict=True)]
        codes, rows, positions = _joined([*short, (others[named], rows, positions)])
        coded = CodedTexts(words=words, codes=codes, rows=rows, positions=positions, count=count)
        return _without(coded, left_out)

    def _numbers(self, written: Sequence[str]) -> Numbers:
        """Return the numbers of written words."""
        numbers = np.empty(len(written), dtype=np.int64)
        for start in range(0, len(written), _PIECE_WORDS):
            piece = written[start : start + _PIECE_WORDS]
            numbers[start : start + len(piece)] = self._lexicon.numbers(piece)
            self._rest()
        return numbers

    def _take(self, numbers: Numbers, rows: Numbers, positions: Numbers) -> None:
        """Add the words that written words stand for. rows, positions: where these are."""
        known = self._lexicon.written()
        starts = known.starts[numbers]
        sizes = known.starts[numbers + 1] - starts
        if (sizes == 1).all():
            self._tokens.append((known.words[starts], rows, positions + known.offsets[starts]))
            return
        at = np.arange(sizes.sum()) + np.repeat(starts - (np.cumsum(sizes) - sizes), sizes)
        self._tokens.append((known.words[at], np.repeat(rows, sizes), np.repeat(positions, sizes) + known.offsets[at]))


def _distinct(numbers: Numbers, most: int) -> tuple[Numbers, Numbers]:
    """Return the different ones of numbers below `most`, ascending, and for each number which of these it is."""
    if len(numbers) * _FEW < most:
        return np.unique(numbers, return_inverse=True)
    present = np.zeros(most, dtype=np.bool_)
    present[numbers] = True
    return np.flatnonzero(present), (np.cumsum(present, dtype=np.int64) - 1)[numbers]


def _joined(tokens: Sequence[Sequence[Numbers]]) -> tuple[Numbers, Numbers, Numbers]:
    """Return numbers, rows and positions of all tokens."""
    numbers, rows, positions = (np.concatenate((_NONE, *(each[at] for each in tokens))) for at in range(3))
    return numbers, rows, positions


def _short_words(words: TextWords) -> Iterator[tuple[Vocabulary, Numbers, Places]]:
    """Yield the different words of one, two and three characters without spaces, and for each token the code of its
    word and where it begins; those of a word ascend.
    """
    codes = words.reading.codes
    # Characters by their rank among those that occur: numbers of words get as small as can be, and are sorted sooner.
    present = np.zeros(int(codes.max()) + 1, dtype=np.bool_)
    present[codes] = True
    used = np.flatnonzero(present)
    rank = (np.cumsum(present, dtype=np.int64) - 1)[codes]
    doubled = words.seconds != 0
    for size, at in enumerate((words.firsts[~doubled], words.firsts[doubled], words.threes), start=1):
        at = np.sort(at, kind="stable")
        keys = rank[at]
        for further in range(1, size):
            keys = keys * len(used) + rank[at + further]
        order = stable_order(keys, len(used) ** size)
        keys, at = keys[order], at[order]
        new = np.ones(len(keys), dtype=np.bool_)
        new[1:] = keys[1:] != keys[:-1]
        yield _vocabulary(codes[at[new][:, None] + np.arange(size)]), np.cumsum(new) - 1, at


def _vocabulary(characters: Codes) -> Vocabulary:
    """Return the words with these characters (k, n), ascending."""
    sizes = 1 + (characters >= 0x80).astype(np.int64) + (characters >= 0x800) + (characters >= 0x10000)
    return Vocabulary(memoryview(encoded(text_of(characters.ravel()))), starts_of(sizes.sum(axis=1)))


def _without(coded: CodedTexts, left_out: Collection[str]) -> CodedTexts:
    """Return the texts without these words."""
    codes = np.array([code for word in left_out if (code := coded.words.find(word)) >= 0], dtype=np.int64)
    if not len(codes):
        return coded
    kept_words = np.ones(len(coded.words), dtype=np.bool_)
    kept_words[codes] = False
    kept = kept_words[coded.codes]
    rank = np.cumsum(kept_words) - 1
    return CodedTexts(
        words=chosen(coded.words, np.flatnonzero(kept_words)),
        codes=rank[coded.codes[kept]],
        rows=coded.rows[kept],
        positions=coded.positions[kept],
        count=coded.count,
    )
