"""Tests of the model: it must find the faults that it exists for."""

from __future__ import annotations

from tests.chaos.book import FORGET_AFTER_S, Book
from tests.chaos.written import judge_hit, payload_of, vector_of


def written(book: Book, version: int | None, began: float, ended: float, outcome: str = "yes") -> None:
    ops = book.begin([1], version, began)
    if outcome == "yes":
        book.acknowledge(ops, ended)
    else:
        book.fail(ops, ended, surely_not_applied=outcome == "no")


def test_before_any_write_a_point_does_not_exist():
    assert Book().possible(1, 0.0, 1.0) == {None}


def test_an_acknowledged_value_is_the_only_one_until_the_next_write_begins():
    book = Book()
    written(book, 1, 1.0, 2.0)
    assert book.possible(1, 2.0, 9.0) == {1}
    assert book.possible(1, 1.5, 9.0) == {None, 1}
    written(book, 2, 3.0, 4.0)
    assert book.possible(1, 2.0, 2.9) == {1}
    assert book.possible(1, 2.0, 3.5) == {1, 2}
    assert book.possible(1, 4.0, 5.0) == {2}


def test_a_surely_deleted_point_must_not_be_found():
    book = Book()
    written(book, 1, 1.0, 2.0)
    written(book, None, 3.0, 4.0)
    assert book.possible(1, 3.5, 5.0) == {None, 1}
    assert book.possible(1, 4.0, 5.0) == {None}


def test_a_failed_write_may_show_until_a_later_one_is_acknowledged_and_a_void_one_never():
    book = Book()
    written(book, 1, 1.0, 2.0)
    written(book, 2, 3.0, 4.0, "maybe")
    assert book.possible(1, 5.0, 6.0) == {1, 2}
    written(book, 3, 7.0, 8.0, "no")
    assert book.possible(1, 9.0, 9.5) == {1, 2}
    written(book, 4, 10.0, 11.0)
    assert book.possible(1, 12.0, 13.0) == {4}
    assert book.acknowledged() == 2


def test_a_write_under_way_may_show():
    book = Book()
    written(book, 1, 1.0, 2.0)
    book.begin([1], 2, 3.0)
    assert book.possible(1, 5.0, 6.0) == {1, 2}


def test_a_hit_is_judged_by_state_payload_vector_and_score():
    book = Book()
    written(book, 1, 1.0, 2.0)
    good, query = vector_of(1, 1), vector_of(1, 1)
    assert judge_hit(book, 1, payload_of(1, 1), good, 0.0, query, 3.0, 4.0) is None
    assert "version 2" in str(judge_hit(book, 1, payload_of(1, 2), vector_of(1, 2), 0.0, query, 3.0, 4.0))
    assert "payload" in str(judge_hit(book, 1, payload_of(2, 1), good, 0.0, query, 3.0, 4.0))
    assert "vector" in str(judge_hit(book, 1, payload_of(1, 1), vector_of(1, 3), 0.0, query, 3.0, 4.0))
    assert "score" in str(judge_hit(book, 1, payload_of(1, 1), good, 0.5, query, 3.0, 4.0))
    written(book, None, 5.0, 6.0)
    assert "version 1" in str(judge_hit(book, 1, payload_of(1, 1), good, 0.0, query, 7.0, 8.0))


def test_what_is_old_is_forgotten_and_nothing_that_a_read_may_see():
    book, story = Book(), []
    for number in range(1, 300):
        began = number * 10.0
        outcome = ("yes", "maybe", "no")[number % 3]
        written(book, number, began, began + 1.0, outcome)
        story.append((number, began, outcome))
        assert book.was_ever(1, number) == (outcome != "no")
    for moment in (3_000.0, 3_000.0 - FORGET_AFTER_S + 25.0, 3_000.0 - FORGET_AFTER_S + 50.0):
        last = max(number for number, began, outcome in story if outcome == "yes" and began + 1.0 <= moment)
        later = {number for number, began, outcome in story if number > last and began <= moment and outcome != "no"}
        assert book.possible(1, moment, moment) == {last} | later
    assert all(book.was_ever(1, number) for number, _, outcome in story if outcome == "yes")
    assert not book.was_ever(1, 301)
    assert book.acknowledged() == sum(outcome == "yes" for _, _, outcome in story)
    assert len(book._ops[1]) < 70
