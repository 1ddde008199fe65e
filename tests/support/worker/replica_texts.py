"""Searches the texts of one replica, and of a dictionary of payloads by brute force, for tests that compare both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal.core.filter import Filter
from shoal.core.points import PointId
from shoal.core.shard_calls import QueryGroup
from shoal.core.text_calls import TextSearchCall
from shoal.core.text_fields import TextField
from shoal.core.text_query import TextAsk
from shoal.shard_worker.index.search.text_search import TextView, count_words, search_texts
from shoal.shard_worker.replica.engine import Engine
from shoal.shard_worker.text.asking import asked_fields, query_of
from shoal.shard_worker.text.field_texts import ELEMENT_GAP, FieldTexts
from shoal.shard_worker.text.indexing import IndexedText
from tests.support.worker.replica_bench import SHARD
from tests.twins.texts import TextsTwin

Scored = list[tuple[PointId, float]]
"""Hits with their scores, best first."""


def found_texts(engine: Engine, ask: TextAsk, k: int, filter: Filter | None = None) -> Scored:
    """Return the hits of a replica. Raises PreconditionFailed while a field is still being indexed."""
    searched = engine.reading.searched()
    view = TextView(SHARD, searched.view, searched.context)
    call = TextSearchCall(shards=(SHARD,), asks=(ask,), groups=(QueryGroup(k=k, filter=filter),))
    hits = search_texts(view, call, count_words(view, call.asks)).hits
    return list(zip(hits.ids.tolist(), hits.scores.tolist(), strict=True))


def texts_twin(texts: FieldTexts, payloads: Mapping[PointId, Any]) -> TextsTwin:
    """Return the brute force over points with these payloads."""
    return TextsTwin({each: {name: _words(texts, name, payload) for name in texts.names} for each, payload in payloads.items()})


class PointsWithTexts:
    """Points with these payloads, searched by brute force."""

    def __init__(self, fields: tuple[TextField, ...], payloads: Mapping[PointId, Any]) -> None:
        self._texts = texts = FieldTexts(fields)
        self._twin = texts_twin(texts, payloads)

    def search(self, ask: TextAsk, k: int, allowed: set[PointId] | None = None) -> Scored:
        return self._twin.search(query_of(ask, asked_fields(ask, self._texts.analyzers)), k, allowed)


def _words(texts: FieldTexts, name: str, payload: Any) -> IndexedText:
    """Return the words of one field of a payload, string by string."""
    words: list[str] = []
    positions: list[int] = []
    first = 0
    for string in texts.strings(name, payload):
        found, at = texts.analyzers[name].words(string)
        words += found
        positions += [first + position for position in at]
        first += max(at) + 1 + ELEMENT_GAP if found else 0
    return IndexedText(words, positions)
