"""Hits of searches with legs, which the SDK builds from columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

from shoal.client.results import Hit, Hits, LegHit, SearchExplain, vectors_of
from shoal.core.errors import Internal
from shoal.core.fused_search import FieldSpans, FusedExplain, FusedFound, FusedSearch, LegColumns, Span, TextLeg
from shoal.core.payload import value_from_json
from shoal.core.shard_calls import QueryGroup
from shoal.core.text_calls import WordShare


@dataclass(frozen=True, slots=True)
class FusedHit(Hit):
    """A hit of a search with legs. score: the fused one, 0 to 1, where 1 is best in all legs; of a single leg its own.

    legs, highlights, group: see Hit.
    """

    legs: Mapping[str, LegHit] = field(default_factory=dict, hash=False)
    highlights: Mapping[str, tuple[Span, ...]] = field(default_factory=dict, hash=False)
    group: Any = field(default=None, hash=False)


def fused_hits_of(request: FusedSearch, found: FusedFound) -> list[Hits]:
    """Return the hits of each query, in the order of the queries. Raises Internal for an answer that does not fit."""
    hits, explain = found.hits, found.explain
    counts = hits.counts.tolist()
    _check_lengths(request, found)
    words = [each.words for each in explain.hits] if explain is not None else None
    made = [
        FusedHit(id=id, score=score, payload=payload, vector=vector, legs=legs, highlights=marks, group=group)
        for id, score, payload, vector, legs, marks, group in zip(
            hits.ids.tolist(),
            hits.scores.tolist(),
            repeat(None) if hits.payloads is None else hits.payloads,
            vectors_of(hits),
            _legs(request, found.legs, len(hits), words),
            repeat({}) if found.highlights is None else map(_marks, found.highlights),
            repeat(None) if found.group_values is None else map(_value, found.group_values),
            strict=False,
        )
    ]
    answer, start = [], 0
    for query, count in enumerate(counts):
        one = Hits(made[start : start + count])
        one.missing_shards = found.missing_shards
        one.complete = found.complete[query] if found.complete else True
        one.wordless = tuple(leg.name for leg in found.legs if query in leg.wordless)
        if explain is not None:
            one.explain = _explained(explain, request.groups, query, slice(start, start + count))
        answer.append(one)
        start += count
    return answer


def _check_lengths(request: FusedSearch, found: FusedFound) -> None:
    hits, queries = len(found.hits), len(request.legs[0])
    if len(found.hits.counts) != queries:
        raise Internal(f"the answer has the hits of {len(found.hits.counts)} queries, {queries} were asked for")
    if len(found.complete) not in (0, queries):
        raise Internal(f"the answer says of {len(found.complete)} queries whether they are complete, {queries} were asked for")
    if found.explain is not None and len(found.explain.hits) != hits:
        raise Internal(f"the answer explains {len(found.explain.hits)} hits, it has {hits}")


def _legs(
    request: FusedSearch, columns: Sequence[LegColumns], hits: int, words: Sequence[tuple[WordShare, ...]] | None
) -> list[dict[str, LegHit]]:
    """Return for each hit the legs that found it. Words belong to the only text leg: of several, nobody knows whose."""
    texts = {leg.name for leg in request.legs if isinstance(leg, TextLeg)}
    found: list[dict[str, LegHit]] = [{} for _ in range(hits)]
    for column in columns:
        own = words if words is not None and texts == {column.name} else None
        for at, (rank, score) in enumerate(zip(column.ranks.tolist(), column.scores.tolist(), strict=True)):
            if rank:
                found[at][column.name] = LegHit(rank, score, () if own is None else own[at])
    return found


def _marks(fields: Sequence[FieldSpans]) -> dict[str, tuple[Span, ...]]:
    return {each.field: each.spans for each in fields}


def _value(text: str) -> Any:
    try:
        return value_from_json(text)
    except ValueError as error:
        raise Internal(f"the value of a group is no JSON: {error}") from None


def _explained(explain: FusedExplain, groups: Sequence[QueryGroup], query: int, hits: slice) -> SearchExplain:
    (group,) = (at for at, each in enumerate(groups) if each.queries is None or query in each.queries)
    told = SearchExplain(each for each in explain.segments if each.group == group)
    told.legs = tuple(each for each in explain.legs if each.query == query)
    told.hits = explain.hits[hits]
    told.texts = tuple(each for each in explain.texts if each.query == query)
    return told
