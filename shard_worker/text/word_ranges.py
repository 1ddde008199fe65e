"""Decide into which ranges of words a merge of tables is cut, so that each range takes bounded memory.

Pure: sizes in, codes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from shoal.shard_worker.text.table import TextTable

Cut = tuple[int, ...]
"""For each table, the number of its words that lie before the cut."""

_WORD_BYTES, _POSTING_BYTES, _POSITION_BYTES = 256, 48, 32
"""What a merge takes at most for each word, posting and token position of a range, over all its arrays."""


def range_bytes(tables: Sequence[TextTable], start: Cut, end: Cut) -> int:
    """Estimate the memory that merging the words between two cuts takes."""
    return sum(_before(table, last) - _before(table, first) for table, first, last in zip(tables, start, end, strict=True))


def cuts_of(tables: Sequence[TextTable], most_bytes: int) -> list[Cut]:
    """Return the cuts between the ranges, ascending, with the beginning and the end.

    Each range takes at most `most_bytes`, or has a single word.
    """
    begin, end = tuple(0 for _ in tables), tuple(len(table.words) for table in tables)
    if range_bytes(tables, begin, end) <= most_bytes:
        return [begin, end]
    # Between two of these words, each table has at most its share or a single word. So all tables have at most half of
    # most_bytes, or it is the range of a single large word.
    share = max(1, most_bytes // (2 * len(tables)))
    words = sorted(set().union(*(_cut_words(table, share) for table in tables)))
    cuts = [begin, *(tuple(table.words.before(word) for table in tables) for word in words), end]
    return _joined(tables, cuts, most_bytes)


def _before(table: TextTable, code: int) -> int:
    """Return the estimate for all words below a code."""
    return _WORD_BYTES * code + _POSTING_BYTES * int(table.starts[code]) + _POSITION_BYTES * int(table.position_starts[code])


def _cut_words(table: TextTable, share: int) -> set[bytes]:
    """Return words before which to cut, so that at most `share`, or a single word, lies between two cuts."""
    spent = _WORD_BYTES * np.arange(len(table.words) + 1) + _POSTING_BYTES * table.starts + _POSITION_BYTES * table.position_starts
    # With these words the next share is full. The cuts are before each and after it.
    crossing = np.unique(spent.searchsorted(np.arange(share, int(spent[-1]), share), "left") - 1)
    large = crossing[spent[crossing + 1] - spent[crossing] > share]
    after = crossing[crossing + 1 < len(table.words)] + 1
    words = {table.words[code] for code in np.union1d(crossing, after).tolist()}
    # No word lies between a word and itself with a zero byte: a large word has a range of its own.
    return words | {table.words[code] + b"\0" for code in large.tolist()}


def _joined(tables: Sequence[TextTable], cuts: Sequence[Cut], most_bytes: int) -> list[Cut]:
    """Leave out cuts while the range between those that are kept takes at most `most_bytes`."""
    kept = [cuts[0]]
    for cut, following in pairwise(cuts[1:]):
        if cut != kept[-1] and range_bytes(tables, kept[-1], following) > most_bytes:
            kept.append(cut)
    return [*kept, cuts[-1]]
