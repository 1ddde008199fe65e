"""Words of Han text, by the dictionary of rjieba. The only user of rjieba."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import rjieba

from shoal.shard_worker.text.analysis.pieces import do_not_rest

LIBRARY = f"rjieba {version('rjieba')}"

_MOST_KEPT = 16_384
"""Long words whose shorter words are remembered; when there are as many, all are forgotten."""

_PIECE_CHARS = 4_096
"""So many characters are cut at once. The library keeps the interpreter for that time, some 0.5 ms."""

_MOST_CHARS = 16
"""What the library joins beyond this length, such as an unknown text without pauses, is no word."""

Places = npt.NDArray[np.int64]


def _pieces(text: str) -> Iterator[str]:
    """Yield the text in pieces that end with a space, most of them of at least _PIECE_CHARS."""
    start = 0
    while start < len(text):
        end = text.find(" ", start + _PIECE_CHARS) + 1 or len(text)
        yield text[start:end]
        start = end


class HanCut(NamedTuple):
    """Words of a text by length. ones, twos, threes: where those of one, two and three characters begin, in any order;
    longer: the others; starts, ends: their spans.
    """

    ones: Places
    twos: Places
    threes: Places
    longer: list[str]
    starts: Places
    ends: Places


class HanWords:
    """Cuts Han text into words, and long words into the shorter ones that they hold."""

    def __init__(self) -> None:
        self._parts: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}

    def cut(self, text: str, rest: Callable[[], None] = do_not_rest, *, twos: bool = True) -> HanCut:
        """Return the words of a text of Han characters and spaces, and words of two and three characters within longer
        ones. A space may count as a word. rest: called between pieces of work. twos: False where words of two
        characters are of no use.
        """
        words: list[str] = []
        sizes = [np.zeros(0, dtype=np.int64)]
        for piece in _pieces(text):
            found = rjieba.cut(piece)
            sizes.append(np.fromiter(map(len, found), dtype=np.int64, count=len(found)))
            words += found
            rest()
        lengths = np.concatenate(sizes)
        ends = np.cumsum(lengths)
        begins = ends - lengths
        long = np.flatnonzero((lengths > 3) & (lengths <= _MOST_CHARS))
        three = begins[lengths == 3]
        longer, starts = list(map(words.__getitem__, long.tolist())), begins[long]
        held: list[int] = []
        inner: list[int] = []
        for start, word in zip(starts.tolist(), longer, strict=True):
            held_twos, held_threes = self._parts_of(word)
            inner += [start + at for at in held_twos]
            held += [start + at for at in held_threes]
        if twos:
            # Words of three characters hold words of two.
            for start in three.tolist():
                inner += [start + at for at in self._parts_of(text[start : start + 3])[0]]
        return HanCut(
            ones=begins[lengths == 1],
            twos=np.concatenate((begins[lengths == 2], np.array(inner, dtype=np.int64))) if twos else begins[:0],
            threes=np.concatenate((three, np.array(held, dtype=np.int64))),
            longer=longer,
            starts=starts,
            ends=ends[long],
        )

    def _parts_of(self, word: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return where the words of two and of three characters in a longer one begin."""
        parts = self._parts.get(word)
        if parts is None:
            if len(self._parts) >= _MOST_KEPT:
                self._parts.clear()
            twos, threes = (
                tuple(at for at in range(len(word) - size + 1) if size < len(word) and rjieba.has_word(word[at : at + size]))
                for size in (2, 3)
            )
            self._parts[word] = parts = twos, threes
        return parts
