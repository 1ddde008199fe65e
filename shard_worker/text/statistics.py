"""Counts what scores depend on (see shoal.core.text_statistics) in the living rows of a part."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from shoal.core.text_query import QueryWord
from shoal.core.text_statistics import NO_STATISTICS, FieldStatistics, TextStatistics
from shoal.core.turns import FREE, Turn
from shoal.shard_worker.text.eligible import Mask, held_at
from shoal.shard_worker.text.part import FieldPart, TextPart
from shoal.shard_worker.text.table import Rows

_LONG = 4_096
"""How many living rows hold a word is remembered when at least so many rows do, dead ones included."""

_REMEMBERED = 1_024

_AT_ONCE = 1_024
"""Words that are counted between two pauses."""

_LOOKED_UP = 24
"""To look one row up in a list costs about as much as to look at so many rows of the list."""


class LivingRows:
    """Which rows of one part live at one time, and what was counted of them.

    The owner keeps one for each part as long as no further row of it dies. Two threads that count the same at the same
    time count equal numbers.
    """

    def __init__(self, part: TextPart, alive: Mask | None = None) -> None:
        """Take the part and its mask (n,); None: all rows live."""
        self.part = part
        self.alive = None if alive is None or alive.all() else alive
        self._dead: Rows = np.empty(0, dtype=np.uint32) if self.alive is None else np.flatnonzero(~self.alive).astype(np.uint32)
        self._fields: dict[str, FieldStatistics] = {}
        self._holding: dict[QueryWord, int] = {}

    def statistics(self, words: Iterable[QueryWord], turn: Turn = FREE) -> TextStatistics:
        """Return the statistics of the living rows for these words and their fields. Raises Internal for an unknown
        field, and as the turn."""
        listed = tuple(words)
        holding: dict[QueryWord, int] = {}
        for at, word in enumerate(listed):
            if at % _AT_ONCE == 0:
                turn.pause()
            holding[word] = self._count(word)
        return TextStatistics(
            fields={name: self._field(name) for name in {word.field for word in listed}},
            holding=holding,
        )

    def _field(self, name: str) -> FieldStatistics:
        known = self._fields.get(name)
        if known is None:
            known = self._fields[name] = self._counted(self.part.field(name))
        return known

    def _counted(self, field: FieldPart) -> FieldStatistics:
        lengths = field.lengths.take(self._dead)
        return FieldStatistics(field.filled - int(np.count_nonzero(lengths)), field.tokens - int(lengths.sum(dtype=np.int64)))

    def _count(self, word: QueryWord) -> int:
        known = self._holding.get(word)
        if known is not None:
            return known
        found = self.part.postings(word.field, word.text, word.prefix)
        if found is None:
            return 0
        count = self._living(found.rows)
        if len(found.rows) >= _LONG:
            if len(self._holding) >= _REMEMBERED:
                self._holding.clear()
            self._holding[word] = count
        return count

    def _living(self, rows: Rows) -> int:
        """Count the living among `rows`, which are not empty."""
        if self.alive is None:
            return len(rows)
        if len(self._dead) * _LOOKED_UP < len(rows):
            return len(rows) - int(np.count_nonzero(held_at(rows, self._dead)[1]))
        return int(np.count_nonzero(self.alive.take(rows)))

    def memory_bytes(self) -> int:
        """Return the memory it holds, without the part."""
        return self._dead.nbytes + (0 if self.alive is None else self.alive.nbytes) + 200 * len(self._holding)


def statistics_of(parts: Iterable[LivingRows], words: Iterable[QueryWord]) -> TextStatistics:
    """Return the statistics of all parts together."""
    listed = tuple(words)
    total = NO_STATISTICS
    for living in parts:
        total += living.statistics(listed)
    return total
