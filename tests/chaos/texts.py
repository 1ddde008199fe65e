"""Finds what is wrong with searches by the words of points (`written.text_of`)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import shoal
from shoal.core.points import PointId
from shoal.core.text_fields import text_fields_from_input
from shoal.core.text_query import TextAsk
from tests.chaos.book import Book
from tests.chaos.judge import Finding, Kind, Read, judge_points
from tests.support.worker.replica_texts import PointsWithTexts, Scored

TEXT: Mapping[str, str] = {"text": "auto"}
"""The text fields of a collection."""

_FIELDS = text_fields_from_input(TEXT)
_QUERIES = ("red", "green light blue", "rocks 数据", "blue 向量数据库 red", "数")
_K = 20
_PATIENCE_S = 30.0


def judge_word_hits(book: Book, read: Read, point: int, hits: Sequence[shoal.Hit]) -> list[Finding]:
    """Judge the hits, with vectors, of a search for the word of a point."""
    points = [shoal.Point(id=hit.id, payload=hit.payload, vector=hit.vector) for hit in hits]
    found = judge_points(book, read, [point], points)
    return found + [Finding(Kind.WRONG, f"point {hit.id} was found by the word of point {point}") for hit in hits if hit.id != point]


def judge_scores(client: shoal.Client, name: str) -> list[Finding]:
    """Compare hits and scores with those of brute force over all points, to the last bit. Nothing may write meanwhile,
    but for calls whose callers have left.

    Replicas that are behind get some time. Raises AssertionError if points change all the time.
    """
    found: list[Finding] = []
    for consistency in ("primary", "any"):
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            before = _payloads(client, name)
            hits = {query: _searched(client, name, query, consistency) for query in _QUERIES}
            same = _payloads(client, name) == before
            wrong = _wrong(before, hits) if same else []
            if same and (not wrong or consistency == "primary" or time.monotonic() > deadline):
                kind = Kind.WRONG if consistency == "primary" else Kind.DIFFERENT
                found += [Finding(kind, f"{name}, {consistency}: {told}") for told in wrong]
                break
            assert same or time.monotonic() < deadline, f"the points of {name} change though nothing writes"
    return found


def _payloads(client: shoal.Client, name: str) -> dict[PointId, Any]:
    return {point.id: point.payload for point in client.scroll(name, consistency="primary")}


def _searched(client: shoal.Client, name: str, query: str, consistency: str) -> Scored:
    hits = client.search(name, text=query, k=_K, with_payload=False, consistency=consistency)
    return [(hit.id, hit.legs["text"].score) for hit in hits]


def _wrong(payloads: Mapping[PointId, Any], hits: Mapping[str, Scored]) -> list[str]:
    points = PointsWithTexts(_FIELDS, payloads)
    expected = {query: points.search(TextAsk(text=query), _K) for query in hits}
    return [
        f"{query!r} found {found[:5]}, by brute force {expected[query][:5]}" for query, found in hits.items() if found != expected[query]
    ]
