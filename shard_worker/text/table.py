"""The inverted index of one field over n rows: for each word the rows that hold it, how often, and where.

Tables are immutable, in memory or mapped from a file. Owns what a table holds and how large it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from shoal.shard_worker.text.vocabulary import Starts, Vocabulary, starts_of

Rows = npt.NDArray[np.uint32]
"""Positions of rows in a part or a table, strictly ascending."""

Counts = npt.NDArray[np.unsignedinteger[Any]]
"""How often a word occurs in each of some rows: uint16, or uint32 where the words of a prefix are counted together."""

Lengths = npt.NDArray[np.uint32]
"""(n,): number of tokens of each row; 0: the row has no text in the field."""

TokenPositions = npt.NDArray[np.unsignedinteger[Any]]
"""uint16, or uint32 where a position of the table does not fit."""

MOST_COUNT = 65_535
"""A word that occurs more often in a row counts this often there, and only its first positions are kept."""

MOST_POSITION = 2**32 - 1

NO_ROWS: Rows = np.empty(0, dtype=np.uint32)


class Postings(NamedTuple):
    """The rows (m,) that hold a word, how often (m,), the largest of these counts, the least length of these rows."""

    rows: Rows
    counts: Counts
    most: int
    shortest: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TextTable:
    """Index over n rows with w different words, p postings and t kept positions.

    starts: postings of word i are at starts[i]:starts[i + 1] of rows (p,) and counts (p,). position_starts: so are its
    token positions in positions (t,): as many for each posting as its count, ascending, in the order of the postings.
    most: (w,) largest count of each word; shortest: (w,) least length of its rows. tokens: sum of lengths;
    filled: rows with a token.
    """

    lengths: Lengths
    words: Vocabulary
    starts: Starts
    rows: Rows
    counts: npt.NDArray[np.uint16]
    position_starts: Starts
    positions: TokenPositions
    most: npt.NDArray[np.uint16]
    shortest: npt.NDArray[np.uint32]
    tokens: int
    filled: int

    def __len__(self) -> int:
        return len(self.lengths)

    def bounds(self, code: int) -> tuple[int, int]:
        """Return where the postings of a word begin and end."""
        return int(self.starts[code]), int(self.starts[code + 1])

    def postings(self, code: int) -> Postings:
        """Return the rows that hold the word with this code."""
        start, end = self.bounds(code)
        return Postings(self.rows[start:end], self.counts[start:end], int(self.most[code]), int(self.shortest[code]))

    def memory_bytes(self) -> int:
        """Return the size of its arrays."""
        arrays = (self.lengths, self.starts, self.rows, self.counts, self.position_starts, self.positions, self.most, self.shortest)
        return _OBJECT_BYTES + self.words.memory_bytes() + sum(int(array.nbytes) for array in arrays)


_OBJECT_BYTES = 1_600
"""Size of the Python objects of one table."""


def assembled(
    *,
    lengths: Lengths,
    words: Vocabulary,
    row_counts: npt.NDArray[np.int64],
    rows: Rows,
    counts: npt.NDArray[np.uint16],
    positions: TokenPositions,
) -> TextTable:
    """Return the table of postings that are in order. row_counts: (w,) number of postings of each word, none is 0."""
    starts = starts_of(row_counts)
    before = starts_of(counts)
    return TextTable(
        lengths=lengths,
        words=words,
        starts=starts,
        rows=rows,
        counts=counts,
        position_starts=before[starts],
        positions=positions,
        most=np.maximum.reduceat(counts, starts[:-1]) if len(words) else np.empty(0, dtype=np.uint16),
        shortest=np.minimum.reduceat(lengths.take(rows), starts[:-1]) if len(words) else np.empty(0, dtype=np.uint32),
        tokens=int(lengths.sum(dtype=np.int64)),
        filled=int(np.count_nonzero(lengths)),
    )
