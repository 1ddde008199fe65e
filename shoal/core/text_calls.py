"""The calls of a router to a worker about text fields, as plain values.

All shards of a call belong to one collection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from shoal.core.errors import ShoalError
from shoal.core.ids import Seq, ShardId
from shoal.core.points import IdArray
from shoal.core.shard_calls import Consistency, QueryGroup, ReadTerms
from shoal.core.text_query import TextAsk
from shoal.core.text_statistics import TextStatistics


@dataclass(frozen=True, kw_only=True, slots=True)
class TextShards:
    """Shards that are asked, at least one, each once. consistency, min_seqs, caller: as in ShardsSearch."""

    shards: tuple[ShardId, ...]
    consistency: Consistency = Consistency.ANY
    min_seqs: Mapping[ShardId, Seq] = field(default_factory=dict)
    caller: str = ""

    def terms_of(self, shard: ShardId) -> ReadTerms:
        """Return the conditions of the read of one of the shards."""
        return ReadTerms(consistency=self.consistency, min_seq=self.min_seqs.get(shard, Seq(0)), caller=self.caller)


@dataclass(frozen=True, kw_only=True, slots=True)
class TextStatsCall(TextShards):
    """Count the words of these queries."""

    asks: tuple[TextAsk, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class TextStatsFound:
    """statistics: of the shards that answered, together, with every word of every query; failed: errors of the
    others."""

    statistics: TextStatistics
    failed: Mapping[ShardId, ShoalError] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class TextSearchCall(TextShards):
    """Find the best k points of each query.

    groups: k and filter, each query in exactly one; statistics: of the whole collection; None: the shards of this call
    are all of its shards, and the worker counts by itself; min_score: hits with a lower score are left out; shares:
    whether to tell what each word gave; explain: how each shard was searched.
    """

    asks: tuple[TextAsk, ...]
    groups: tuple[QueryGroup, ...]
    statistics: TextStatistics | None = None
    min_score: float | None = None
    shares: bool = False
    explain: bool = False


@dataclass(frozen=True, slots=True)
class WordShare:
    """What one word gave to the score of a hit. prefix: it stands for all words that begin so."""

    field: str
    word: str
    share: float
    prefix: bool = False


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TextHitColumns:
    """Hits of a batch of queries, flat: those of query 0 first, best first, the smaller id first where scores are
    equal.

    counts: (queries,) int64; ids: (hits,); scores: (hits,) float64; shares: for each hit, if asked for.
    """

    counts: npt.NDArray[np.int64]
    ids: IdArray
    scores: npt.NDArray[np.float64]
    shares: tuple[tuple[WordShare, ...], ...] | None = None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, kw_only=True, slots=True)
class TextExplain:
    """How one part (a segment) of one shard was searched for one query.

    shard: its number; segment, state: as in SegmentExplain; query: position; rows: living rows; words: number of words;
    postings: of them in this part; plan: "rows first" or "words first", or "empty"; eligible: rows that may be hits
    after the filter; scored: rows whose score was computed; us: microseconds.
    """

    shard: int
    segment: str
    state: str
    query: int
    rows: int
    words: int
    postings: int
    plan: str
    eligible: int
    scored: int
    us: float


@dataclass(frozen=True, kw_only=True, slots=True)
class TextFound:
    """hits: the best k of each query over the shards that answered; statistics: which the scores depend on, if asked
    to explain; failed: errors of the other shards; explain: by shard, segment and query, if asked for; wordless:
    positions, ascending, of the queries that hold no word to search for in any of these shards: they cannot have hits.
    """

    hits: TextHitColumns
    failed: Mapping[ShardId, ShoalError] = field(default_factory=dict)
    explain: tuple[TextExplain, ...] = ()
    statistics: TextStatistics | None = None
    wordless: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class TextMarksCall:
    """Tell where the words of a query are in the texts of these points of one shard."""

    shard: ShardId
    ids: IdArray
    ask: TextAsk
    terms: ReadTerms = ReadTerms()
