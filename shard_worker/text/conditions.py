"""Rows that fulfil the clauses of a query: words, prefixes, and phrases by the positions of their words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from shoal.core.text_query import QueryWord
from shoal.core.turns import FREE, Turn
from shoal.shard_worker.text.eligible import Eligible, common, common_rows, held_at
from shoal.shard_worker.text.part import FieldPart, TextPart
from shoal.shard_worker.text.query import Clause, Occurrence, Phrase, TextQuery, Together
from shoal.shard_worker.text.table import NO_ROWS, Rows, TextTable
from shoal.shard_worker.text.vocabulary import starts_of

_BLOCK_ROWS = 16_384
"""Rows whose token positions are compared at once."""

_LOOKED_UP = 24
"""To look one row up in a list costs about as much as to look at so many rows of the list."""

_SPARSE = 16
"""Fewer than one row in this many are united by sorting them, more in a mask of all rows."""

_KEY_BITS = 33
"""Of a place in a row: a position less an offset, from -(2^32 - 1) on."""


Known = Mapping[QueryWord, Rows]
"""The rows of words that were looked up before."""


def restricted(part: TextPart, query: TextQuery, eligible: Eligible, turn: Turn = FREE, known: Known = MappingProxyType({})) -> Eligible:
    """Return those of the eligible rows that fulfil all required clauses and no excluded one. Rows without any scored
    word are no hits, so clauses that all scored words fulfil are left out.

    Raises Internal for a field that the part lacks, and the errors of the turn.
    """
    for clause in _rarest_first(part, [each for each in query.required if not query.boosts.keys() <= set(each.any_of)]):
        turn.pause()
        eligible = Eligible(len(part), among=_fulfilling(part, clause, eligible, turn, known))
    for clause in query.excluded:
        turn.pause()
        eligible = eligible.without(_fulfilling(part, clause, eligible, turn, known))
    return eligible


def _rarest_first(part: TextPart, clauses: Sequence[Clause]) -> Sequence[Clause]:
    """Return the clauses in an order in which few rows are left early."""
    return clauses if len(clauses) < 2 else sorted(clauses, key=lambda clause: sum(most_rows(part, each) for each in clause.any_of))


def most_rows(part: TextPart, occurrence: Occurrence) -> int:
    """Return a number that the rows with an occurrence do not exceed."""
    match occurrence:
        case QueryWord():
            return part.field(occurrence.field).posting_count(occurrence.text, occurrence.prefix)
        case Phrase():
            return min(part.field(occurrence.field).posting_count(word) for word in occurrence.words)
        case Together():
            return min(sum(most_rows(part, each) for each in clause.any_of) for clause in occurrence.all_of)


def _fulfilling(part: TextPart, clause: Clause, eligible: Eligible, turn: Turn, known: Known) -> Rows:
    """Return the eligible rows that fulfil the clause."""
    found = [rows for each in clause.any_of if len(rows := _occurring(part, each, eligible, turn, known))]
    if len(found) <= 1:
        return eligible.within(found[0]) if found else NO_ROWS
    total = sum(map(len, found))
    if total * _SPARSE < len(part) or (eligible.among is not None and len(eligible.among) * len(found) * _LOOKED_UP < total):
        found = [eligible.within(rows) for rows in found]
        return np.unique(np.concatenate(found))
    mask = np.zeros(len(part), dtype=bool)
    for rows in found:
        mask[rows.astype(np.intp)] = True
    return eligible.within_mask(mask)


def _occurring(part: TextPart, occurrence: Occurrence, eligible: Eligible, turn: Turn, known: Known) -> Rows:
    match occurrence:
        case QueryWord():
            if occurrence in known:
                return known[occurrence]
            postings = part.postings(occurrence.field, occurrence.text, occurrence.prefix)
            return NO_ROWS if postings is None else postings.rows
        case Phrase():
            return phrase_rows(part.field(occurrence.field), occurrence, eligible, turn)
        case Together():
            for clause in occurrence.all_of:
                eligible = Eligible(len(part), among=_fulfilling(part, clause, eligible, turn, known))
            rows = eligible.listed()
            return NO_ROWS if rows is None else rows


def phrase_rows(field: FieldPart, phrase: Phrase, eligible: Eligible, turn: Turn = FREE) -> Rows:
    """Return the eligible rows that hold the phrase. Raises the errors of the turn."""
    found = []
    for first, table in zip(field.firsts, field.tables, strict=True):
        codes = [table.words.find(word) for word in phrase.words]
        if min(codes) >= 0:
            rows = eligible.within(_holding_all(table, codes) + np.uint32(first)) - np.uint32(first)
            found.append(_in_place(table, codes, phrase.offsets, rows, turn) + np.uint32(first))
    return np.concatenate([NO_ROWS, *found])


def _holding_all(table: TextTable, codes: Sequence[int]) -> Rows:
    """Return the rows of a table that hold all words with these codes."""
    lists = sorted((table.postings(code).rows for code in set(codes)), key=len)
    rows = lists[0]
    for longer in lists[1:]:
        rows = common_rows(rows, longer, len(table))
    return rows


def _in_place(table: TextTable, codes: Sequence[int], offsets: Sequence[int], rows: Rows, turn: Turn) -> Rows:
    """Return those of `rows`, which hold all the words, where the words are at these offsets from some place."""
    if len(set(zip(codes, offsets, strict=True))) == 1:
        return rows
    # The word with the fewest postings first: few places are compared with the others.
    order = sorted(range(len(codes)), key=lambda at: int(np.diff(table.bounds(codes[at]))[0]))
    words = [_WordPlaces(table, codes[at], offsets[at]) for at in order]
    kept = [NO_ROWS]
    for start in range(0, len(rows), _BLOCK_ROWS):
        turn.pause()
        block = rows[start : start + _BLOCK_ROWS]
        places = words[0].of(block)
        for word in words[1:]:
            places = common(places, word.of(block))
        kept.append(block[np.unique(places >> _KEY_BITS)])
    return np.concatenate(kept)


class _WordPlaces:
    """Where in its rows a word occurs, less its offset in the phrase."""

    def __init__(self, table: TextTable, code: int, offset: int) -> None:
        start, end = table.bounds(code)
        self._rows = table.rows[start:end]
        self._begins = int(table.position_starts[code]) + starts_of(table.counts[start:end])
        self._positions = table.positions
        self._offset = offset

    def of(self, block: Rows) -> npt.NDArray[np.int64]:
        """Return a number for each occurrence in the rows of a block, ascending: (row in the block, place)."""
        at, _ = held_at(self._rows, block)
        starts, counts = self._begins[at], self._begins[at + 1] - self._begins[at]
        before = starts_of(counts)
        taken = np.repeat(starts - before[:-1], counts) + np.arange(before[-1])
        places = self._positions[taken].astype(np.int64) + (2**32 - self._offset)
        found: npt.NDArray[np.int64] = (np.repeat(np.arange(len(block)), counts) << _KEY_BITS) + places
        return found
