"""A text as it is cut: its characters by number and kind, and the positions that begin at them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shoal.shard_worker.text.analysis.characters import HAN, MARK, PAIRED, Codes, Kinds, text_of
from shoal.shard_worker.text.analysis.pieces import piece_bytes
from shoal.shard_worker.text.analysis.word_cuts import Cut, WrittenPatterns

Places = npt.NDArray[np.int64]

_SPACE = np.uint32(ord(" "))
_ASCII = 128


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Reading:
    """A text of n characters.

    codes, kinds: (n + 1,), the last is 0; unspaced: which are without spaces; follows: whether another one is behind
    each of these; cuts: the words of scripts with spaces, each with the first character of the written word.
    """

    codes: Codes
    kinds: Kinds
    unspaced: Places
    follows: npt.NDArray[np.bool_]
    cuts: list[tuple[int, Cut]]

    @property
    def text(self) -> str:
        """Return the text, as its characters are compared."""
        return text_of(self.codes[:-1])

    def han_text(self) -> tuple[str, Places]:
        """Return the runs of Han characters, with a space behind each, and where these characters are in the text."""
        shown = self.kinds == HAN
        shown[1:] |= shown[:-1]
        at = np.flatnonzero(shown)
        return text_of(np.where(self.kinds[at] == HAN, self.codes[at], _SPACE)), at

    def lone(self) -> Places:
        """Return the characters without spaces that have no such neighbour."""
        # Before the first character is the last one, which is 0.
        return self.unspaced[~self.follows & (self.kinds[self.unspaced - 1] < PAIRED)]

    def positions(self) -> Places:
        """Return the position that begins at each character where one does."""
        units = np.zeros(len(self.codes), dtype=np.int64)
        units[self.unspaced] = 1
        if self.cuts:
            units[[start for start, _ in self.cuts]] = [cut.advance for _, cut in self.cuts]
        return np.cumsum(units) - units


def reading_of(codes: Codes, kinds: Kinds, patterns: WrittenPatterns, cut: Callable[[str], Cut]) -> Reading:
    """Return the reading of a text, given by codes and kinds that end with a 0."""
    places, written = written_in(codes, kinds, patterns)
    return reading_with(codes, kinds, list(zip(places.tolist(), map(cut, written), strict=True)))


def reading_with(codes: Codes, kinds: Kinds, cuts: list[tuple[int, Cut]]) -> Reading:
    """Return the reading of a text, given by codes and kinds that end with a 0, with these cuts."""
    without = kinds >= PAIRED
    unspaced = np.flatnonzero(without)
    return Reading(codes=codes, kinds=kinds, unspaced=unspaced, follows=without[unspaced + 1], cuts=cuts)


def written_in(codes: Codes, kinds: Kinds, patterns: WrittenPatterns) -> tuple[Places, list[str]]:
    """Return the written words of scripts with spaces, and where each begins."""
    at, shown = _shown(codes, kinds)
    found = [(match.start(), match.group()) for match in pattern_for(kinds, patterns).finditer(text_of(shown))]
    return at[np.array([start for start, _ in found], dtype=np.int64)], [written for _, written in found]


def pieces_in(codes: Codes, kinds: Kinds) -> tuple[Places, list[str]]:
    """Return pieces that hold the written words, as `pieces_of` does, and where each begins, in a fraction of the time
    of `written_in`.
    """
    at, shown = _shown(codes, kinds)
    ascii_only = np.where(shown < _ASCII, shown, _SPACE).astype(np.uint8)
    kept = np.frombuffer(piece_bytes(ascii_only.tobytes()), dtype=np.uint8).astype(np.uint32)
    beyond = np.flatnonzero(shown >= _ASCII)
    if len(beyond):
        numbers = shown[beyond]
        letters = np.zeros(int(numbers.max()) + 1, dtype=np.bool_)
        letters[[code for code in np.flatnonzero(np.bincount(numbers)).tolist() if chr(code).isalnum()]] = True
        kept[beyond] = np.where(letters[numbers] | (kinds[at[beyond]] == MARK), numbers, _SPACE)
    inside = kept != _SPACE
    begins = inside.copy()
    begins[1:] &= ~inside[:-1]
    return at[begins], text_of(kept).split()


def _shown(codes: Codes, kinds: Kinds) -> tuple[Places, Codes]:
    """Return the characters of scripts with spaces, and one space for each run of others, and where each is."""
    without = kinds >= PAIRED
    shown = ~without
    shown[1:] |= shown[:-1]
    at = np.flatnonzero(shown[:-1])
    return at, np.where(without[at], _SPACE, codes[at])


def pattern_for(kinds: Kinds, patterns: WrittenPatterns) -> re.Pattern[str]:
    """Return the pattern of written words for a text with characters of these kinds."""
    return patterns.marked if (kinds == MARK).any() else patterns.plain
