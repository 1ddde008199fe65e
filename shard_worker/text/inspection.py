"""Check everything that a text index says about itself: for fsck and tests, which have the time to read all of it.

Opening a file checks only what leads from one section into another (see text_file.py).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from shoal.core.errors import DataLoss
from shoal.shard_worker.text.part import TextPart
from shoal.shard_worker.text.table import MOST_COUNT, TextTable
from shoal.shard_worker.text.vocabulary import starts_of


def inspect_texts(part: TextPart) -> None:
    """Raise DataLoss, with the field at fault, when an index contradicts itself. Takes memory for the whole of it."""
    for name, field in part.fields.items():
        for table in field.tables:
            reason = _fault(table)
            if reason:
                raise DataLoss(f"text field {name!r}: {reason}")


def _fault(table: TextTable) -> str:
    """Return what is wrong with a table, "" for nothing."""
    row_counts = np.diff(table.starts)
    if not all(first < second for first, second in pairwise(table.words.between(0, len(table.words)))):
        return "words are out of order"
    if (row_counts < 1).any() or len(table.rows) != table.starts[-1] or len(table.counts) != len(table.rows):
        return "a word has no rows"
    if len(table.rows) and int(table.rows.max()) >= len(table):
        return f"row {table.rows.max()} of {len(table)} is named"
    word = np.repeat(np.arange(len(table.words)), row_counts)
    if ((np.diff(table.rows.astype(np.int64)) <= 0) & (word[1:] == word[:-1])).any():
        return "the rows of a word are out of order"
    if (table.counts < 1).any():
        return "a word occurs 0 times in one of its rows"
    return _fault_of_positions(table) or _fault_of_lengths(table)


def _fault_of_positions(table: TextTable) -> str:
    begins = starts_of(table.counts)
    if not np.array_equal(table.position_starts, begins[table.starts]) or len(table.positions) != begins[-1]:
        return "a word has not one position for each time it occurs"
    posting = np.repeat(np.arange(len(table.counts)), table.counts)
    if ((np.diff(table.positions.astype(np.int64)) < 0) & (posting[1:] == posting[:-1])).any():
        return "the positions of a word in a row are out of order"
    return ""


def _fault_of_lengths(table: TextTable) -> str:
    summed = np.bincount(table.rows, weights=table.counts, minlength=len(table)).astype(np.int64)
    full = np.bincount(table.rows[table.counts == MOST_COUNT], minlength=len(table)) > 0
    if ((table.lengths < summed) | ((table.lengths > summed) & ~full)).any():
        return "a row has another length than its words"
    if table.tokens != int(table.lengths.sum(dtype=np.int64)) or table.filled != np.count_nonzero(table.lengths):
        return "the sum of the lengths is wrong"
    starts = table.starts[:-1]
    if len(starts) and not np.array_equal(table.most, np.maximum.reduceat(table.counts, starts)):
        return "a word has another largest count than its rows"
    if len(starts) and not np.array_equal(table.shortest, np.minimum.reduceat(table.lengths.take(table.rows), starts)):
        return "a word has another shortest row than its rows"
    return ""
