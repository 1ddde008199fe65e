"""Estimates the time of a search of one part, from the numbers of postings, before it is carried out.

The estimate is within a factor of three of the time that was measured on the machine of ADR 28, and tells whether to
search on an event loop.
"""

from __future__ import annotations

from shoal.core.text_query import QueryWord
from shoal.shard_worker.text.conditions import most_rows
from shoal.shard_worker.text.part import TextPart
from shoal.shard_worker.text.query import Occurrence, Phrase, TextQuery, Together

_PART_US, _WORD_US = 60.0, 25.0
_POSTING_US, _SUMMED_US, _PLACED_US, _LOOKED_UP_US = 2e-3, 8e-3, 0.15, 0.12
"""Microseconds for one posting of a word, of the words of a prefix, whose counts are added, for one row whose positions
are compared, and for one row that is looked up in a list.
"""


def estimated_us(part: TextPart, query: TextQuery, matching: int | None = None) -> float:
    """Return the estimated time of a search in one thread, in microseconds.

    matching: number of rows that match a filter; None without one.
    """
    words = [_occurrence_us(part, word) for word in query.boosts]
    postings_us = sum(words)
    if matching is not None:
        postings_us = min(postings_us, matching * len(words) * _LOOKED_UP_US)
    clauses = [each for clause in (*query.required, *query.excluded) for each in clause.any_of]
    return _PART_US + _WORD_US * (len(words) + len(clauses)) + postings_us + sum(_occurrence_us(part, each) for each in clauses)


def _occurrence_us(part: TextPart, occurrence: Occurrence) -> float:
    match occurrence:
        case QueryWord(prefix=prefix):
            return most_rows(part, occurrence) * (_SUMMED_US if prefix else _POSTING_US)
        case Phrase():
            return most_rows(part, occurrence) * _PLACED_US
        case Together(all_of):
            return sum(_occurrence_us(part, each) for clause in all_of for each in clause.any_of)
