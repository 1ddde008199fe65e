"""The answer of a filter for the rows of one segment (match, no match, or read the payload), and the interface of every
payload index.

Owns the three-valued logic. Does not know how an index finds its answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pyroaring import BitMap

from shoal.core.filter import Filter
from shoal.core.points import IdArray
from shoal.core.turns import FREE, Turn


@dataclass(frozen=True, kw_only=True, slots=True)
class PayloadBounds:
    """Bounds of an index, per segment; beyond a bound it answers "read the payload".

    fields: fields with an index; distinct_values: different strings of a field; indexed_chars: longest string that is
    kept itself, longer ones are kept as a hash.
    """

    fields: int = 256
    distinct_values: int = 10_000
    indexed_chars: int = 128


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Matched:
    """Positions of rows: `sure` match; for `unsure` the payload must be read; all others do not match.

    The two sets are disjoint and belong to the receiver.
    """

    sure: BitMap
    unsure: BitMap


class PayloadPart(Protocol):
    """An immutable index over the payloads of n rows. Safe in any thread."""

    def match(self, filter: Filter, ids: IdArray, turn: Turn = FREE) -> Matched:
        """Return the positions 0..n-1 that match. ids: (n,) ids of the rows; extra ids are ignored. Raises the turn's
        errors."""

    def memory_bytes(self) -> int:
        """Return the memory it holds."""

    def __len__(self) -> int:
        """Return n, the number of its rows."""


def every_row(rows: int) -> BitMap:
    """Return the positions 0..rows-1."""
    every = BitMap()
    every.add_range(0, rows)
    return every


def all_of(terms: Sequence[Matched], rows: int) -> Matched:
    """Return the rows that match every term; all `rows` when there are no terms."""
    if not terms:
        return Matched(sure=every_row(rows), unsure=BitMap())
    sure = BitMap.intersection(*(term.sure for term in terms))
    if not any(term.unsure for term in terms):
        return Matched(sure=sure, unsure=BitMap())
    possible = BitMap.intersection(*(term.sure | term.unsure for term in terms))
    return Matched(sure=sure, unsure=possible - sure)


def any_of(terms: Sequence[Matched]) -> Matched:
    """Return the rows that match at least one term; none when there are no terms."""
    if not terms:
        return Matched(sure=BitMap(), unsure=BitMap())
    sure = BitMap.union(*(term.sure for term in terms))
    return Matched(sure=sure, unsure=BitMap.union(*(term.unsure for term in terms)) - sure)


def none_of(term: Matched, rows: int) -> Matched:
    """Return those of `rows` that do not match the term."""
    return Matched(sure=every_row(rows) - term.sure - term.unsure, unsure=term.unsure)
