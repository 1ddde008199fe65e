"""Tests of the judge of named vectors: it must find a vector that was lost, kept or taken from another write."""

from __future__ import annotations

from typing import Any

import pytest

import shoal
from tests.chaos.book import Book
from tests.chaos.judge import Kind, Read, judge_hits, judge_points
from tests.chaos.named import ONE, OTHER, columns_of, other_of
from tests.chaos.written import payload_of, vector_of

NOW = Read(asked=10.0, answered=11.0)
ANY = Read(asked=10.0, answered=11.0, promised=False)
REST = Read(asked=10.0, answered=11.0, at_rest=True)


@pytest.fixture
def book() -> Book:
    """Return a book. Point 1: version 4, then the moves 5 and 6. Point 2: version 9, which lacks `other`. Point 3:
    version 7, the move 8, and then version 10. All acknowledged by 8.0.
    """
    book = Book(marks=Book(), moves=Book())
    assert book.moves is not None
    steps = ((book, 1, 4), (book.moves, 1, 5), (book.moves, 1, 6), (book, 2, 9), (book, 3, 7), (book.moves, 3, 8), (book, 3, 10))
    for began, (states, point, number) in enumerate(steps):
        states.acknowledge(states.begin([point], number, float(began)), began + 0.5)
    return book


def read(point: int, version: int, *, move: int | None = None, **changed: Any) -> shoal.Point:
    """Return a point as it is read. changed: other vectors, None for one that is not there."""
    columns = columns_of([point], version)
    row = {name: column[0] for name, column in columns.items()} | ({} if move is None else {OTHER: other_of(point, move)}) | changed
    return shoal.Point(
        id=point, payload=payload_of(point, version), vector={name: vector for name, vector in row.items() if vector is not None}
    )


@pytest.mark.parametrize(
    ("how", "point", "kinds"),
    [
        (NOW, read(1, 4, move=6), []),
        (NOW, read(1, 4, move=5), [Kind.STALE]),
        (REST, read(1, 4, move=5), [Kind.LOST]),
        (ANY, read(1, 4, move=5), []),
        (NOW, read(1, 4), [Kind.STALE]),
        (ANY, read(1, 4), []),
        (ANY, read(1, 4, move=7), [Kind.WRONG]),
        (ANY, read(1, 4, other=None), [Kind.WRONG]),
        (ANY, read(1, 4, one=None), [Kind.WRONG]),
        (ANY, read(1, 4, one=vector_of(1, 5)), [Kind.WRONG]),
        (ANY, read(1, 4, other=other_of(2, 4)), [Kind.WRONG]),
        (NOW, read(2, 9), []),
        (ANY, read(2, 9, move=9), [Kind.WRONG]),
        (NOW, read(3, 10), []),
        (NOW, read(3, 10, move=8), [Kind.STALE]),
        (ANY, shoal.Point(id=3, payload=payload_of(3, 10), vector=vector_of(3, 10)), [Kind.WRONG]),
    ],
)
def test_each_kind_of_fault_is_told_from_the_others(book: Book, how: Read, point: shoal.Point, kinds: list[Kind]) -> None:
    assert [finding.kind for finding in judge_points(book, how, [int(point.id)], [point])] == kinds


def test_a_hit_is_judged_by_the_vector_that_was_compared(book: Book) -> None:
    def hit(point: shoal.Point, score: float) -> shoal.Hit:
        return shoal.Hit(id=point.id, score=score, payload=point.payload, vector=point.vector)

    moved = read(1, 4, move=6)
    assert judge_hits(book, NOW, other_of(1, 6), [hit(moved, 0.0)], OTHER) == []
    assert judge_hits(book, NOW, vector_of(1, 4), [hit(moved, 0.0)], ONE) == []
    assert [finding.kind for finding in judge_hits(book, NOW, other_of(1, 6), [hit(moved, 1.0)], OTHER)] == [Kind.WRONG]
    # Point 2 lacks the vector, so no search by it may find the point.
    assert [finding.kind for finding in judge_hits(book, NOW, other_of(2, 9), [hit(read(2, 9), 0.0)], OTHER)] == [Kind.WRONG]
