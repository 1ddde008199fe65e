"""Words found in a text, brought into the order of their positions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, compress

import numpy as np
import numpy.typing as npt

from shoal.shard_worker.text.analysis.characters import Codes, ComposedText, words_of
from shoal.shard_worker.text.analysis.reading import Places, Reading
from shoal.shard_worker.text.analysis.tokens import Token


class FoundWords:
    """Words, each at the position of its first character, with the character behind it."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.starts: list[int] = []
        self.ends: list[int] = []

    def add(self, words: list[str], starts: list[int], ends: list[int]) -> None:
        """Add words."""
        self.words += words
        self.starts += starts
        self.ends += ends


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TextWords:
    """All words of a reading: those of its cuts, and those of scripts without spaces.

    firsts: (k,), the first characters of words of one or two; seconds: their second characters, 0 for none; threes:
    the first characters of words of three; others: all other words; firm: whether words of cuts count only if they do
    not
    depend on upper case and underscores.
    """

    reading: Reading
    firsts: Places
    seconds: Codes
    threes: Places
    others: FoundWords
    firm: bool = False

    def tokens(self, source: ComposedText) -> list[Token]:
        """Return the words with their spans in the given text, positions ascending."""
        words, positions, order = self._ordered(self.reading.positions())
        spans = np.array([(start + first, start + last) for start, cut in self.reading.cuts for first, last in cut.spans], dtype=np.int64)
        first, last = spans.reshape(-1, 2)[self._counted()].T
        starts = np.concatenate((self.firsts, _places(self.others.starts), self.threes, first))[order]
        ends = np.concatenate((self.firsts + 1 + (self.seconds != 0), _places(self.others.ends), self.threes + 3, last))[order]
        if source.starts is not None and source.ends is not None:
            starts, ends = source.starts[starts], source.ends[ends - 1]
        listed = map(words.__getitem__, order.tolist())
        return list(map(Token, listed, positions.tolist(), starts.tolist(), ends.tolist()))

    def _counted(self) -> npt.NDArray[np.bool_]:
        """Return which words of the cuts count."""
        firm = np.fromiter(chain.from_iterable(cut.firm for _, cut in self.reading.cuts), dtype=np.bool_)
        return firm if self.firm else np.ones(len(firm), dtype=np.bool_)

    def _ordered(self, places: Places) -> tuple[list[str], Places, Places]:
        """Return all words, their positions ascending, and which word is at each of these. places: by character."""
        reading = self.reading
        pairs = words_of(np.stack((reading.codes[self.firsts], self.seconds), axis=1))
        words = pairs + self.others.words + words_of(reading.codes[self.threes[:, None] + np.arange(3)])
        positions = places[np.concatenate((self.firsts, _places(self.others.starts), self.threes))]
        if reading.cuts:
            cut_words = list(chain.from_iterable(cut.words for _, cut in reading.cuts))
            sizes = [len(cut.words) for _, cut in reading.cuts]
            offsets = np.fromiter(chain.from_iterable(cut.offsets for _, cut in reading.cuts), dtype=np.int64, count=len(cut_words))
            own = np.repeat(places[[start for start, _ in reading.cuts]], sizes) + offsets
            if self.firm:
                counted = self._counted()
                cut_words, own = list(compress(cut_words, counted.tolist())), own[counted]
            words += cut_words
            positions = np.concatenate((positions, own))
        order = np.argsort(positions, kind="stable")
        return words, positions[order], order


def text_words_of(
    reading: Reading, *, ones: Places, pairs: Iterable[Places], threes: Places, others: FoundWords, firm: bool = False
) -> TextWords:
    """Return the words of a text. ones, pairs: where words of one and of two characters without
    spaces begin; threes: those of three."""
    doubles = np.concatenate((*pairs, _NO_PLACES))
    firsts = np.concatenate((doubles, ones))
    seconds = np.concatenate((reading.codes[doubles + 1], np.zeros(len(ones), dtype=np.uint32)))
    return TextWords(reading=reading, firsts=firsts, seconds=seconds, threes=threes, others=others, firm=firm)


def _places(listed: list[int]) -> Places:
    return np.array(listed, dtype=np.int64)


_NO_PLACES = np.zeros(0, dtype=np.int64)
