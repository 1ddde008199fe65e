"""A search of several legs, whose hits are fused into one order; and its answer.

A leg looks for points in one way: by a vector, or by a text. All legs have the same number of queries and the same
filters, and each finds `candidates` hits for each query. Pure.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shoal.core.fusion_choice import Fusion
from shoal.core.points import Matrix
from shoal.core.requests import ReadAs, Request
from shoal.core.shard_calls import Accuracy, QueryGroup, SegmentExplain
from shoal.core.text_calls import TextExplain, WordShare
from shoal.core.text_query import TextAsk
from shoal.core.topk import HitColumns

DEFAULT_CANDIDATES = 100
"""Hits that each leg finds for each query, unless the caller gives a number."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DenseLeg:
    """Queries (n, dim) float32 as given.

    weight: at least 0, only its share of the sum counts, a leg of 0 is not searched; None: the collection's default;
    min_score: hits with a worse score are left out of the leg; vector: name of the vector that is compared, "" if it
    has none.
    """

    queries: Matrix
    name: str = "dense"
    weight: float | None = None
    min_score: float | None = None
    vector: str = ""

    def __len__(self) -> int:
        return len(self.queries)

    def within(self, start: int, end: int) -> DenseLeg:
        """Return the leg with the queries [start, end) alone."""
        return dataclasses.replace(self, queries=self.queries[start:end])


@dataclass(frozen=True, kw_only=True, slots=True)
class TextLeg:
    """One ask for each query. weight, min_score: as in DenseLeg; scores are BM25."""

    asks: tuple[TextAsk, ...]
    name: str = "text"
    weight: float | None = None
    min_score: float | None = None

    def __len__(self) -> int:
        return len(self.asks)

    def within(self, start: int, end: int) -> TextLeg:
        """Return the leg with the asks [start, end) alone."""
        return dataclasses.replace(self, asks=self.asks[start:end])


Leg = DenseLeg | TextLeg


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupBy:
    """At most `size` hits with the same value at the payload path; k then counts groups. Points without a value are in
    no group and are left out.
    """

    path: str
    size: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class FusedSearch(Request):
    """Answered by FusedFound.

    legs: at least one, names differ; groups: k and filter of each query, each query in exactly one;
    fusion: None for the collection's default; offset: hits (or
    groups) left out at the beginning; offset + k <= candidates; threshold: only hits with at least this fused score (of
    a single leg: a score at least as good); diversity: 0 to 1, 0 for none, 1 - lambda of maximal marginal relevance
    (Carbonell and Goldstein, SIGIR 1998); accuracy: of dense legs; highlight: tell where the words of text legs are.
    """

    collection: str
    legs: tuple[Leg, ...]
    groups: tuple[QueryGroup, ...]
    fusion: Fusion | None = None
    candidates: int = DEFAULT_CANDIDATES
    offset: int = 0
    threshold: float | None = None
    diversity: float = 0.0
    group_by: GroupBy | None = None
    highlight: bool = False
    accuracy: Accuracy | None = None
    explain: bool = False
    with_payload: bool = True
    with_vectors: bool = False
    allow_partial: bool = False
    read: ReadAs = ReadAs()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LegColumns:
    """What one leg says of each hit. name: of the leg; ranks: (hits,) int64 from 1, 0 where the leg did not find it;
    scores: (hits,) float64 as the leg gave them, NaN where it did not find it; wordless: of a text leg, positions of
    the queries that hold no word to search for.
    """

    name: str
    ranks: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64]
    wordless: tuple[int, ...] = ()


Span = tuple[int, int]
"""Of a highlight: begin and end, in characters (code points) of the text."""


@dataclass(frozen=True, slots=True)
class FieldSpans:
    """Where the words of a query are in the text of one field, ascending."""

    field: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class LegExplain:
    """What fusion made of one leg for one query.

    query, leg: position and name; hits: found; padded: zeros that were added to them; lowest, highest, deviation: of
    their scores; us: microseconds until the leg had answered.
    """

    query: int
    leg: str
    hits: int
    padded: int
    lowest: float
    highest: float
    deviation: float
    us: float


@dataclass(frozen=True, kw_only=True, slots=True)
class HitExplain:
    """How one hit got its score. arithmetic: with numbers, as a text; words: what each word gave in the text legs;
    penalty: what diversity took from it when it was picked, 0 without diversity.
    """

    arithmetic: str
    words: tuple[WordShare, ...] = ()
    penalty: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class FusedExplain:
    """legs: in the order of (query, leg); hits: one for each hit; segments: of dense legs; texts: of text legs."""

    legs: tuple[LegExplain, ...]
    hits: tuple[HitExplain, ...]
    segments: tuple[SegmentExplain, ...] = ()
    texts: tuple[TextExplain, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class FusedFound:
    """Hits of all queries.

    hits: their scores are fused ones, 0 to 1 where 1 is best in all legs; of a single leg, its own; legs: in the order
    of the search; highlights: for each hit its fields with a word of the query, None unless asked for; group_values:
    for each hit its value as JSON text, None without group_by; complete: for each query, whether there are no more
    groups or hits than were looked at or k were found; missing_shards: left out, as "name/number"; explain: if asked
    for.
    """

    hits: HitColumns
    legs: tuple[LegColumns, ...]
    highlights: tuple[tuple[FieldSpans, ...], ...] | None = None
    group_values: tuple[str, ...] | None = None
    complete: tuple[bool, ...] = ()
    missing_shards: tuple[str, ...] = ()
    explain: FusedExplain | None = None
