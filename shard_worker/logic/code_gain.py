"""Decide whether bytes beside the vectors of a growing segment save time, and when to try them again. Pure.

A search compares one byte a dimension instead of four, and then the vectors of the few rows that may be the nearest.
It has to compare all vectors after all if the bytes cannot rule out the others.
"""

from __future__ import annotations

from dataclasses import dataclass

LEAST_ROWS, LEAST_FLOATS = 2_048, 1 << 19
"""Segments with fewer rows or floats are compared by their vectors: these lie in the cache of the processor."""

MORE = 64

MOST_WANTED = 128
"""With more hits wanted, keeping the nearest takes longer than the bytes save."""

_LONGEST_REST = 1_024


def may_pay(*, rows: int, dim: int, wanted: int) -> bool:
    """Return whether bytes can save time for a search of the `wanted` best of `rows` rows."""
    return wanted <= MOST_WANTED and rows >= max(LEAST_ROWS, 4 * looked_at(wanted, dim)) and rows * dim >= LEAST_FLOATS


def looked_at(wanted: int, dim: int) -> int:
    """Return how many of the nearest rows by their bytes are looked at: more in many dimensions, where bytes lose more.

    For 10 hits in real and random vectors, they leave 15 to 50 rows in 128 dimensions, 20 to 90 in 384, 60 to 170 in
    768, on average; one query in a hundred needs up to twice as many.
    """
    return 2 * wanted + MORE + dim // 4


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeGain:
    """What became of the last searches by bytes.

    rest: searches that do without them before they are tried again; next_rest: the rest after the next failure.
    """

    rest: int = 0
    next_rest: int = 1

    def after(self, *, enough: bool) -> CodeGain:
        """Return it after a search by bytes. enough: it did not have to compare all vectors."""
        return CodeGain() if enough else CodeGain(rest=self.next_rest, next_rest=min(2 * self.next_rest, _LONGEST_REST))

    def rested(self) -> CodeGain:
        """Return it after a search that did without bytes."""
        return CodeGain(rest=self.rest - 1, next_rest=self.next_rest)
