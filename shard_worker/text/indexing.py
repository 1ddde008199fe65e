"""Make the table of one batch of texts that an analyzer has cut into words.

Knows no analyzer: it takes words and their positions, as plain lists or as numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shoal.core.errors import Internal
from shoal.shard_worker.text.table import MOST_COUNT, MOST_POSITION, TextTable, TokenPositions, assembled
from shoal.shard_worker.text.vocabulary import Vocabulary, encoded
from shoal.shard_worker.text.word_order import stable_order, united

_NARROW = 2**16


class IndexedText(NamedTuple):
    """The words of one text, and the position of each. Several words may have one position, in any order."""

    words: Sequence[str]
    positions: Sequence[int]


NO_TEXT = IndexedText((), ())
"""Of a row without the field."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CodedTexts:
    """Texts as numbers, for n rows with t tokens, in any order.

    words: the different words, each with a token; codes: (t,) word of each token; rows: (t,) its row; positions: (t,)
    its position, 0 to 2^32 - 1; count: n.
    """

    words: Vocabulary
    codes: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    count: int

    def __len__(self) -> int:
        return self.count


BatchOfTexts = Sequence[IndexedText] | CodedTexts
"""The texts of one field of a batch of rows, one a row."""


def coded_texts(texts: Sequence[IndexedText]) -> CodedTexts:
    """Return the texts as numbers. Raises Internal when one has not one position, of 0 to 2^32 - 1, for each word."""
    lengths = np.fromiter((len(text.words) for text in texts), dtype=np.int64, count=len(texts))
    words = list(chain.from_iterable(text.words for text in texts))
    distinct = dict.fromkeys(words)
    numbers = dict(zip(distinct, range(len(distinct)), strict=True))
    given = np.fromiter(map(numbers.__getitem__, words), dtype=np.int64, count=len(words))
    united_words, (ranks,) = united([Vocabulary.of([encoded(word) for word in distinct])])
    positions = _positions(texts, lengths, len(words))
    rows = np.repeat(np.arange(len(texts), dtype=np.int64), lengths)
    return CodedTexts(words=united_words, codes=ranks[given], rows=rows, positions=positions, count=len(texts))


def table_of(texts: BatchOfTexts) -> TextTable:
    """Return the index of the texts, one a row. Raises Internal as `coded_texts` does."""
    coded = texts if isinstance(texts, CodedTexts) else coded_texts(texts)
    order = _order(coded)
    held, row, positions = coded.codes[order], coded.rows[order], coded.positions[order]
    firsts = _firsts(held, row)
    counts = np.diff(firsts, append=len(held))
    if len(counts) and int(counts.max()) > MOST_COUNT:
        positions = positions[np.arange(len(held)) - np.repeat(firsts, counts) < MOST_COUNT]
        counts = np.minimum(counts, MOST_COUNT)
    return assembled(
        lengths=np.bincount(coded.rows, minlength=len(coded)).astype(np.uint32),
        words=coded.words,
        row_counts=np.bincount(held[firsts], minlength=len(coded.words)),
        rows=row[firsts].astype(np.uint32),
        counts=counts.astype(np.uint16),
        positions=narrowed(positions),
    )


def narrowed(positions: npt.NDArray[np.int64]) -> TokenPositions:
    """Return token positions in two bytes each where they fit, else in four."""
    return positions.astype(np.uint16) if not len(positions) or int(positions.max()) < _NARROW else positions.astype(np.uint32)


def _positions(texts: Sequence[IndexedText], lengths: npt.NDArray[np.int64], total: int) -> npt.NDArray[np.int64]:
    for at, text in enumerate(texts):
        if len(text.positions) != lengths[at]:
            raise Internal(f"text {at} has {lengths[at]} words and {len(text.positions)} positions")
    positions = np.fromiter(chain.from_iterable(text.positions for text in texts), dtype=np.int64, count=total)
    if total and not 0 <= int(positions.min()) <= int(positions.max()) <= MOST_POSITION:
        raise Internal(f"a word is at position {positions.min()} or {positions.max()}, allowed are 0 to {MOST_POSITION}")
    return positions


def _order(coded: CodedTexts) -> npt.NDArray[np.intp]:
    """Return the order by (word, row, position)."""
    order = stable_order(coded.codes, max(0, len(coded.words) - 1))
    held, row, positions = coded.codes[order], coded.rows[order], coded.positions[order]
    same_word = held[1:] == held[:-1]
    behind = (row[1:] > row[:-1]) | ((row[1:] == row[:-1]) & (positions[1:] >= positions[:-1]))
    if (behind | ~same_word).all():
        return order
    # Tokens mostly come by row and position.
    order = stable_order(coded.positions, int(coded.positions.max()))
    order = order[stable_order(coded.rows[order], coded.count)]
    return order[stable_order(coded.codes[order], len(coded.words))]


def _firsts(held: npt.NDArray[np.int64], row: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return where each run of one word in one row begins."""
    begins = np.ones(len(held), dtype=bool)
    begins[1:] = (held[1:] != held[:-1]) | (row[1:] != row[:-1])
    return np.flatnonzero(begins)
