"""The text index of a segment that takes new rows: each batch becomes a table, and tables of like size are merged.

Owned by the writer thread. A part holds finished tables only, so readers need no lock and see no half of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

from shoal.core.errors import Internal
from shoal.shard_worker.text.indexing import BatchOfTexts, table_of
from shoal.shard_worker.text.merging import MergeSource, merged_table
from shoal.shard_worker.text.part import FieldPart, TextPart
from shoal.shard_worker.text.table import TextTable

MERGED_AT_ONCE = 8
"""This many tables of like size become one, so that there are at most one less of each size, and each row is merged
once for each size."""


class GrowingTexts:
    """Texts of rows, in the order of their arrival. fields: their names; fingerprint: see sealed.py."""

    def __init__(self, fields: Sequence[str], fingerprint: str) -> None:
        self._fingerprint = fingerprint
        self._tables: dict[str, tuple[TextTable, ...]] = dict.fromkeys(fields, ())
        self._rows = 0
        self._bytes = 0
        self._part: TextPart | None = None

    def __len__(self) -> int:
        return self._rows

    def append(self, texts: Mapping[str, BatchOfTexts], count: int) -> None:
        """Append `count` rows with their texts, by field; NO_TEXT for a row without one. Writer thread only.

        Raises Internal when there are not `count` texts of each field, and as table_of does; then nothing is appended.
        """
        for name in self._tables:
            if len(texts.get(name, ())) != count:
                raise Internal(f"{len(texts.get(name, ()))} texts of field {name!r} are given for {count} rows")
        if not count:
            return
        made = {name: table_of(texts[name]) for name in self._tables}
        for name, table in made.items():
            self._tables[name] = with_table(self._tables[name], table)
        self._rows += count
        self._bytes = sum(table.memory_bytes() for tables in self._tables.values() for table in tables)
        self._part = None

    def part(self) -> TextPart:
        """Return the rows so far as an immutable part. Writer thread only."""
        if self._part is None:
            fields = {name: FieldPart(tables) for name, tables in self._tables.items()}
            self._part = TextPart(rows=self._rows, fields=fields, fingerprint=self._fingerprint)
        return self._part

    def memory_bytes(self) -> int:
        """Return the memory it holds."""
        return self._bytes


def with_table(tables: tuple[TextTable, ...], table: TextTable) -> tuple[TextTable, ...]:
    """Return the tables with one more behind them. While the last ones, up to its level, are many, they become one."""
    joined = [*tables, table]
    while True:
        level = _level(joined[-1])
        last = len(joined)
        while last and _level(joined[last - 1]) <= level:
            last -= 1
        if len(joined) - last < MERGED_AT_ONCE:
            return tuple(joined)
        firsts = accumulate((len(each) for each in joined[last:]), initial=0)
        joined[last:] = [merged_table([MergeSource.whole(each, first) for each, first in zip(joined[last:], firsts, strict=False)])]


def _level(table: TextTable) -> int:
    """Return how many times its rows can be divided by MERGED_AT_ONCE."""
    level, rows = 0, len(table)
    while rows >= MERGED_AT_ONCE:
        level, rows = level + 1, rows // MERGED_AT_ONCE
    return level
