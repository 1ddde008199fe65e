"""What text scores depend on: how many living rows have a text in a field, its tokens, how many rows hold each word.

Statistics of parts and shards are whole numbers, so their sum does not depend on how rows are distributed. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shoal.core.text_query import QueryWord


@dataclass(frozen=True, slots=True)
class FieldStatistics:
    """rows: those with at least one token; tokens: of all of them."""

    rows: int
    tokens: int

    @property
    def mean_length(self) -> float:
        """Return the mean number of tokens; 1.0 when there are none, so that it can be divided by."""
        return self.tokens / self.rows if self.tokens else 1.0

    def __add__(self, other: FieldStatistics) -> FieldStatistics:
        return FieldStatistics(self.rows + other.rows, self.tokens + other.tokens)


@dataclass(frozen=True, kw_only=True, slots=True)
class TextStatistics:
    """fields: by name; holding: rows that hold each word."""

    fields: Mapping[str, FieldStatistics]
    holding: Mapping[QueryWord, int]

    def __add__(self, other: TextStatistics) -> TextStatistics:
        """Return the statistics of two sets of rows together. What one of them lacks counts nothing there."""
        fields = {**self.fields, **other.fields}
        holding = {**self.holding, **other.holding}
        return TextStatistics(
            fields={name: self.fields.get(name, NOTHING_COUNTED) + other.fields.get(name, NOTHING_COUNTED) for name in fields},
            holding={word: self.holding.get(word, 0) + other.holding.get(word, 0) for word in holding},
        )


NOTHING_COUNTED = FieldStatistics(0, 0)
"""Of a field in which no row has text."""

NO_STATISTICS = TextStatistics(fields={}, holding={})
