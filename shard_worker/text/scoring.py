"""BM25: what a word adds to the score of a row.

    idf(word) = ln(1 + (N - df + 0.5) / (df + 0.5))
    score(row) = sum over the words of boost * idf * (k1 + 1) * tf / (tf + k1 * (1 - b + b * length / mean length))

This is the formula of Robertson and others (Okapi at TREC-3, 1994) with the idf of Lucene, which is above 0 for any df.
N, df and the mean length come from the statistics of the living rows of the whole collection, field by field. All
arithmetic is in float64, each operation rounds alone, and the words are added in the order of (field, code point). So a
score depends on the living rows only, to the last bit: not on shards, segments, merges, replicas.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shoal.core.text_query import QueryWord
from shoal.core.text_statistics import TextStatistics
from shoal.shard_worker.text.query import TextQuery
from shoal.shard_worker.text.table import Counts, Lengths

K1, B = 1.2, 0.75

Scores = npt.NDArray[np.float64]


def idf(rows: int, holding: int) -> float:
    """Return the weight of a word that `holding` of `rows` rows hold."""
    return math.log(1.0 + (rows - holding + 0.5) / (holding + 0.5))


@dataclass(frozen=True, slots=True)
class LengthNorm:
    """What the length of a row in one field counts: base + per_token * length."""

    base: float
    per_token: float

    @classmethod
    def of(cls, mean_length: float) -> LengthNorm:
        """Return the norm of a field; mean_length: of its rows with text, above 0."""
        return cls(K1 * (1.0 - B), K1 * B / mean_length)


@dataclass(frozen=True, slots=True)
class WeightedWord:
    """A word with its weight boost * idf * (k1 + 1) and the norm of its field."""

    word: QueryWord
    weight: float
    norm: LengthNorm

    def scores(self, counts: Counts, lengths: Lengths) -> Scores:
        """Return what the word adds in rows with these counts and lengths (m,). A count of 0 adds 0."""
        often = counts.astype(np.float64)
        return self.weight * often / (often + (self.norm.base + self.norm.per_token * lengths))

    def most(self, count: int, length: int) -> float:
        """Return a number that no row with at most this count and at least this length exceeds, but for rounding."""
        return self.weight * count / (count + (self.norm.base + self.norm.per_token * length))


def weighted(query: TextQuery, statistics: TextStatistics) -> tuple[WeightedWord, ...]:
    """Return the scored words of a query, ascending. Statistics: those of the collection, with each of these words."""
    norms: Mapping[str, LengthNorm] = {name: LengthNorm.of(found.mean_length) for name, found in statistics.fields.items()}
    return tuple(
        WeightedWord(
            word, query.boosts[word] * idf(statistics.fields[word.field].rows, statistics.holding[word]) * (K1 + 1.0), norms[word.field]
        )
        for word in sorted(query.boosts)
    )
