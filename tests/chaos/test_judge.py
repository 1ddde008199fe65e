"""Tests of the judge: it must find the faults that it exists for."""

from __future__ import annotations

import pytest

import shoal
from tests.chaos.book import Book
from tests.chaos.judge import Kind, Read, judge_hits, judge_points
from tests.chaos.written import payload_of, vector_of

NOW = Read(asked=10.0, answered=11.0)
ANY = Read(asked=10.0, answered=11.0, promised=False)
REST = Read(asked=10.0, answered=11.0, at_rest=True)


@pytest.fixture
def book() -> Book:
    """Return a book. Point 1: version 1, then 2. Point 2: version 1, then deleted. Point 3: never written. All
    acknowledged by 6.0.
    """
    book = Book()
    for point, version, began in ((1, 1, 1.0), (1, 2, 3.0), (2, 1, 1.0), (2, None, 3.0)):
        book.acknowledge(book.begin([point], version, began), began + 1.0)
    return book


def read(point: int, version: int, vector_version: int | None = None) -> shoal.Point:
    return shoal.Point(id=point, payload=payload_of(point, version), vector=vector_of(point, vector_version or version))


@pytest.mark.parametrize(
    ("how", "points", "kinds"),
    [
        (NOW, [read(1, 2)], []),
        (NOW, [read(1, 1)], [Kind.STALE]),
        (REST, [read(1, 1)], [Kind.LOST]),
        (ANY, [read(1, 1)], []),
        (NOW, [], [Kind.STALE]),
        (REST, [], [Kind.LOST]),
        (ANY, [], []),
        (NOW, [read(1, 2), read(2, 1)], [Kind.RESURRECTED]),
        (ANY, [read(1, 2), read(2, 1)], []),
        (NOW, [read(1, 2), read(1, 2)], [Kind.DUPLICATED]),
        (ANY, [read(1, 3)], [Kind.WRONG]),
        (ANY, [read(1, 2, 1)], [Kind.WRONG]),
        (ANY, [shoal.Point(id=1, payload=payload_of(2, 1), vector=vector_of(2, 1))], [Kind.WRONG]),
    ],
)
def test_each_kind_of_fault_is_told_from_the_others(book: Book, how: Read, points: list[shoal.Point], kinds: list[Kind]) -> None:
    assert [finding.kind for finding in judge_points(book, how, [1, 2, 3], points)] == kinds


@pytest.mark.parametrize(
    ("how", "mark", "kinds"),
    [(NOW, 8, []), (NOW, 7, [Kind.STALE]), (REST, None, [Kind.LOST]), (ANY, 7, []), (ANY, None, []), (ANY, 9, [Kind.WRONG])],
)
def test_a_mark_is_judged_beside_the_version(how: Read, mark: int | None, kinds: list[Kind]) -> None:
    """Point 1 was written and got the marks 7 and 8. An update whose filter it did not match would have given it 9."""
    book = Book(marks=Book())
    book.acknowledge(book.begin([1], 2, 1.0), 2.0)
    assert book.marks is not None
    for given, began in ((7, 3.0), (8, 5.0)):
        book.acknowledge(book.marks.begin([1], given, began), began + 1.0)
    point = shoal.Point(id=1, payload=payload_of(1, 2) | ({} if mark is None else {"mark": mark}), vector=vector_of(1, 2))
    assert [finding.kind for finding in judge_points(book, how, [1], [point])] == kinds
    book.acknowledge(book.begin([1], 3, 7.0), 8.0)
    bare = shoal.Point(id=1, payload=payload_of(1, 3), vector=vector_of(1, 3))
    assert judge_points(book, NOW, [1], [bare]) == []
    marked = shoal.Point(id=1, payload=payload_of(1, 3) | {"mark": 8}, vector=vector_of(1, 3))
    assert [finding.kind for finding in judge_points(book, NOW, [1], [marked])] == [Kind.STALE]


def test_a_hit_is_judged_by_its_score_too(book: Book) -> None:
    query = vector_of(1, 2)
    good = shoal.Hit(id=1, score=0.0, payload=payload_of(1, 2), vector=vector_of(1, 2))
    bad = shoal.Hit(id=1, score=0.5, payload=payload_of(1, 2), vector=vector_of(1, 2))
    assert judge_hits(book, NOW, query, [good]) == []
    assert [finding.kind for finding in judge_hits(book, NOW, query, [bad])] == [Kind.WRONG]
    assert [finding.kind for finding in judge_hits(book, NOW, query, [good, good])] == [Kind.DUPLICATED]
