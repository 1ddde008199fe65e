"""The text fields of the rows of one part, a segment of a view: for each field, tables that cover the rows in order.

A sealed segment has one table a field, a growing one a few. Searches see one list of rows for each word, whatever the
tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from shoal.core.errors import Internal
from shoal.shard_worker.text.table import NO_ROWS, Lengths, Postings, Rows, TextTable

_SPARSE = 16
"""Fewer than one posting in this many rows are counted by sorting them, more in an array with a place for each row."""

_BLOCK = 1 << 15
"""Postings of the words of a prefix that are added at once: their copies stay in the cache of a processor."""


class FieldPart:
    """The index of one field over the rows of a part: tables, and the first row of each. Immutable, for any thread."""

    def __init__(self, tables: Sequence[TextTable]) -> None:
        self.tables = tuple(tables)
        ends = list(accumulate((len(table) for table in self.tables), initial=0))
        self.firsts = tuple(ends[:-1])
        self.rows = ends[-1]
        self.tokens = sum(table.tokens for table in self.tables)
        self.filled = sum(table.filled for table in self.tables)
        # Joined when a search asks first. Two threads that join at the same time join equal arrays.
        self._lengths: Lengths | None = self.tables[0].lengths if len(self.tables) == 1 else None

    @property
    def lengths(self) -> Lengths:
        """Return the number of tokens of each row, (rows,)."""
        if self._lengths is None:
            self._lengths = np.concatenate([np.empty(0, dtype=np.uint32), *(table.lengths for table in self.tables)])
        return self._lengths

    def postings(self, text: str, prefix: bool = False) -> Postings | None:
        """Return the rows that hold the word `text`, or words that begin with it, counted together; None when there are
        none."""
        found = [
            (first, held)
            for first, table in zip(self.firsts, self.tables, strict=True)
            if (held := _beginning(table, text) if prefix else _holding(table, text)) is not None
        ]
        if len(found) == 1 and not found[0][0]:
            return found[0][1]
        return _joined(found) if found else None

    def posting_count(self, text: str, prefix: bool = False) -> int:
        """Return how many postings the word `text` has, or all words that begin with it, without a look at them."""
        return sum(_count(table, text, prefix) for table in self.tables)

    def memory_bytes(self) -> int:
        """Return the size of its arrays."""
        joined = 0 if self._lengths is None or len(self.tables) == 1 else int(self._lengths.nbytes)
        return joined + sum(table.memory_bytes() for table in self.tables)


class TextPart:
    """The text fields of `rows` rows, by name. Immutable, safe in any thread. fingerprint: see sealed.py."""

    def __init__(self, *, rows: int, fields: Mapping[str, FieldPart], fingerprint: str) -> None:
        for name, field in fields.items():
            if field.rows != rows:
                raise Internal(f"text field {name!r} has {field.rows} rows in a part of {rows}")
        self.rows = rows
        self.fields = fields
        self.fingerprint = fingerprint

    def __len__(self) -> int:
        return self.rows

    def postings(self, field: str, text: str, prefix: bool = False) -> Postings | None:
        """Return the rows with a word in a field, as FieldPart.postings does. Raises Internal for an unknown field."""
        return self.field(field).postings(text, prefix)

    def field(self, name: str) -> FieldPart:
        """Return the index of a field. Raises Internal when the part has none."""
        found = self.fields.get(name)
        if found is None:
            raise Internal(f"a part has no text field {name!r}, it has {', '.join(sorted(self.fields)) or 'none'}")
        return found

    def memory_bytes(self) -> int:
        """Return the size of its arrays, whether in memory or mapped."""
        return sum(field.memory_bytes() for field in self.fields.values())


def _count(table: TextTable, text: str, prefix: bool) -> int:
    if prefix:
        first, last = table.words.beginning(text)
        return int(table.starts[last]) - int(table.starts[first]) if last > first else 0
    code = table.words.find(text)
    return 0 if code < 0 else int(table.starts[code + 1]) - int(table.starts[code])


def _holding(table: TextTable, word: str) -> Postings | None:
    code = table.words.find(word)
    return None if code < 0 else table.postings(code)


def _beginning(table: TextTable, prefix: str) -> Postings | None:
    """Return the rows with words that begin with `prefix`. The postings of these words adjoin each other."""
    first, last = table.words.beginning(prefix)
    if last - first <= 1:
        return table.postings(first) if last > first else None
    start, end = int(table.starts[first]), int(table.starts[last])
    rows, counts = _summed(table.rows[start:end], table.counts[start:end], len(table))
    return Postings(rows, counts, int(counts.max()), int(table.shortest[first:last].min()))


def _summed(rows: Rows, counts: npt.NDArray[np.uint16], all_rows: int) -> tuple[Rows, npt.NDArray[np.uint32]]:
    """Return each row once, with the sum of its counts. In blocks: there may be as many postings as in the table."""
    if len(rows) * _SPARSE < all_rows:
        distinct, place = np.unique(rows, return_inverse=True)
        return distinct, np.bincount(place, weights=counts).astype(np.uint32)
    # A row has no more words than a length can tell, so sums fit. Where all types are those of the sums and of places,
    # numpy adds without a buffer.
    sums = np.zeros(all_rows, dtype=np.uint32)
    for start in range(0, len(rows), _BLOCK):
        end = start + _BLOCK
        np.add.at(sums, rows[start:end].astype(np.intp), counts[start:end].astype(np.uint32))
    held = np.flatnonzero(sums != 0)
    return held.astype(np.uint32), sums.take(held)


def _joined(found: Sequence[tuple[int, Postings]]) -> Postings:
    return Postings(
        np.concatenate([NO_ROWS, *(held.rows + np.uint32(first) for first, held in found)]),
        np.concatenate([held.counts for _, held in found]),
        max(held.most for _, held in found),
        min(held.shortest for _, held in found),
    )
