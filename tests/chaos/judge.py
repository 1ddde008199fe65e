"""Finds what is wrong with an answer, by the book. Each finding has a kind, so that a report can count them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

import shoal
from tests.chaos.book import Book, Version
from tests.chaos.named import move_in
from tests.chaos.written import Vector, vector_of


class Kind(StrEnum):
    """LOST: an acknowledged write is gone; STALE: a read that promised to show it did not; RESURRECTED: a point exists
    that was certainly deleted; DUPLICATED: a point came twice; DIFFERENT: replicas of a shard differ; WRONG: a value
    was never written.
    """

    LOST = "lost"
    STALE = "stale"
    RESURRECTED = "resurrected"
    DUPLICATED = "duplicated"
    DIFFERENT = "different"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault of the cluster, as text."""

    kind: Kind
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Read:
    """The times and the promise of a read.

    promised: it must show the newest acknowledged state of each point; else any state that the point ever had is right.
    at_rest: no writes were under way, so a missing point is lost.
    """

    asked: float
    answered: float
    promised: bool = True
    at_rest: bool = False


def judge_points(book: Book, read: Read, wanted: Iterable[int], points: Sequence[shoal.Point]) -> list[Finding]:
    """Judge a read by id. points: the answer, with vectors; wanted: the requested ids."""
    found = [finding for point in points if (finding := _judge(book, read, int(point.id), point.payload, point.vector)) is not None]
    found += _twice([int(point.id) for point in points])
    came = {point.id for point in points}
    return found + [finding for point in wanted if point not in came and (finding := _judge_absence(book, read, point)) is not None]


def judge_hits(book: Book, read: Read, query: Vector, hits: Sequence[shoal.Hit], using: str | None = None) -> list[Finding]:
    """Judge the hits of a search, with vectors. using: name of the vector that was compared, if points have several."""
    found = _twice([int(hit.id) for hit in hits])
    for hit in hits:
        finding = _judge(book, read, int(hit.id), hit.payload, hit.vector)
        vector = hit.vector if using is None or finding is not None else hit.vector.get(using)
        if finding is None and (vector is None or not np.isclose(hit.score, float(((vector - query) ** 2).sum()), rtol=1e-5, atol=1e-3)):
            finding = Finding(Kind.WRONG, f"point {hit.id} came with score {hit.score} for query {query}")
        found += [] if finding is None else [finding]
    return found


def _judge(book: Book, read: Read, point: int, payload: object, vector: object) -> Finding | None:
    if not isinstance(payload, dict) or payload.get("point") != point:
        return Finding(Kind.WRONG, f"point {point} came with payload {payload}")
    version = payload["version"]
    if not book.was_ever(point, version):
        return Finding(Kind.WRONG, f"point {point} came as version {version}, which was never written")
    move: Version = None
    if book.moves is not None and isinstance(vector, dict):
        try:
            move = move_in(point, version, vector)
        except ValueError as error:
            return Finding(Kind.WRONG, str(error))
    elif book.moves is not None or not np.array_equal(vector, vector_of(point, version)):
        return Finding(Kind.WRONG, f"point {point} of version {version} came with vector {vector}")
    return (
        _judge_beside(book.marks, read, point, "mark", payload.get("mark"))
        or _judge_beside(book.moves, read, point, "move", move)
        or _judge_version(book, read, point, version)
    )


def _judge_beside(book: Book | None, read: Read, point: int, what: str, came: Version) -> Finding | None:
    """Judge the mark or the move of a point. book: of its marks or moves, if it has some."""
    if book is None:
        return None
    if not book.was_ever(point, came):
        return Finding(Kind.WRONG, f"point {point} came with {what} {came}, which it was never given")
    possible = book.possible(point, read.asked, read.answered)
    if not read.promised or came in possible:
        return None
    story = f"point {point} came with {what} {came}, possible were {_listed(possible)}"
    return Finding(Kind.LOST if read.at_rest else Kind.STALE, story)


def _judge_version(book: Book, read: Read, point: int, version: int) -> Finding | None:
    if not read.promised:
        return None
    possible = book.possible(point, read.asked, read.answered)
    if version in possible:
        return None
    story = f"point {point} came as version {version}, possible were {_listed(possible)}"
    if possible == {None}:
        return Finding(Kind.RESURRECTED, story)
    return Finding(Kind.LOST if read.at_rest else Kind.STALE, story)


def _judge_absence(book: Book, read: Read, point: int) -> Finding | None:
    possible = book.possible(point, read.asked, read.answered)
    if None in possible or not read.promised:
        return None
    return Finding(Kind.LOST if read.at_rest else Kind.STALE, f"point {point} is missing, possible were {_listed(possible)}")


def _twice(ids: Sequence[int]) -> list[Finding]:
    return [Finding(Kind.DUPLICATED, f"point {point} came {count} times") for point, count in Counter(ids).items() if count > 1]


def _listed(possible: Iterable[int | None]) -> str:
    return ", ".join(sorted("none" if version is None else str(version) for version in possible))
