"""Filters of LangChain users, and structured queries of models, as filters of Shoal."""

from __future__ import annotations

import pytest
from langchain_core.structured_query import Comparator, Comparison, Operation, Operator, StructuredQuery

from shoal.core.errors import InvalidArgument
from shoal.core.filter_input import filter_from_input
from shoal.core.filter_truth import matches
from shoal.core.limits import DEFAULT_LIMITS
from shoal.langchain import ShoalTranslator
from shoal.langchain.filters import both_filters, shoal_filter

PAYLOADS = (
    {"year": 1999, "name": "blue whale", "tags": ["sea", "big"]},
    {"year": 2005, "name": "bluebird", "tags": ["air"]},
    {"year": 2010, "name": "red fox", "tags": ["land", "air"]},
    {"name": "nobody", "at": "2024-02-29T12:30:00.000000Z", "day": "2024-02-29"},
)


def found(filter) -> list[int]:
    """Return the payloads that match, by number."""
    tree = filter_from_input({} if filter is None else filter, DEFAULT_LIMITS)
    return [number for number, payload in enumerate(PAYLOADS) if matches(tree, payload, number)]


@pytest.mark.parametrize(
    ("filter", "numbers"),
    [
        (None, [0, 1, 2, 3]),
        ({}, [0, 1, 2, 3]),
        ({"year": 2005}, [1]),
        ({"year": {"$between": [1999, 2005]}}, [0, 1]),
        ({"year": {"$between": (2000, 2010), "$ne": 2010}}, [1]),
        ({"$not": {"year": {"$between": [1999, 2005]}}}, [2, 3]),
        ({"$or": [{"year": {"$between": [1, 2]}}, {"tags": {"$in": ["big"]}}, {"year": {"$exists": False}}]}, [0, 3]),
        ({"$and": [{"tags": "air"}, {"year": {"$lt": 2010}}]}, [1]),
        ({"tags": {"$nin": ["air"]}}, [0, 3]),
    ],
)
def test_a_filter_means_what_it_says(filter, numbers):
    assert found(shoal_filter(filter)) == numbers


def test_two_filters_narrow_each_other():
    assert both_filters(None, {}) is None
    assert found(both_filters({"tags": "air"}, None)) == [1, 2]
    assert found(both_filters({"tags": "air"}, {"year": {"$gt": 2005}})) == [2]


@pytest.mark.parametrize(
    ("filter", "told"),
    [
        (print, "filter is a function"),
        ([{"a": 1}], "it must be a dict"),
        ({"a": {"$between": 3}}, r"\$between is 3"),
        ({"a": {"$between": [1, 2, 3]}}, r"\$between is \[1, 2, 3\]"),
        ({"a": {"$between": [1, 2], "$gte": 3}}, r"\$between and \$gte are given"),
    ],
)
def test_what_is_no_filter_is_refused(filter, told):
    with pytest.raises(InvalidArgument, match=told):
        shoal_filter(filter)


def comparison(comparator, attribute, value) -> Comparison:
    return Comparison(comparator=comparator, attribute=attribute, value=value)


@pytest.mark.parametrize(
    ("directive", "numbers"),
    [
        (comparison(Comparator.EQ, "year", 2005), [1]),
        (comparison(Comparator.NE, "year", 2005), [0, 2, 3]),
        (comparison(Comparator.GT, "year", 2005), [2]),
        (comparison(Comparator.GTE, "year", 2005), [1, 2]),
        (comparison(Comparator.LT, "year", 2005), [0]),
        (comparison(Comparator.LTE, "year", 2005), [0, 1]),
        (comparison(Comparator.IN, "tags", ["sea", "land"]), [0, 2]),
        (comparison(Comparator.IN, "tags", "sea"), [0]),
        (comparison(Comparator.NIN, "tags", ["sea", "land"]), [1, 3]),
        (comparison(Comparator.CONTAIN, "tags", "air"), [1, 2]),
        (comparison(Comparator.CONTAIN, "name", "bird"), [1]),
        (comparison(Comparator.LIKE, "name", "blue%"), [0, 1]),
        (comparison(Comparator.LIKE, "name", "%o%"), [2, 3]),
        (comparison(Comparator.LIKE, "name", "nobody"), [3]),
        (comparison(Comparator.EQ, "day", {"date": "2024-02-29", "type": "date"}), [3]),
        (comparison(Comparator.LTE, "at", {"datetime": "2024-02-29T12:30:00", "type": "datetime"}), [3]),
        (comparison(Comparator.LT, "at", {"datetime": "2024-02-29T13:30:00+01:00", "type": "datetime"}), []),
    ],
)
def test_a_comparison_is_translated(directive, numbers):
    query, searched = ShoalTranslator().visit_structured_query(StructuredQuery(query="q", filter=directive, limit=None))
    assert (query, found(searched["filter"])) == ("q", numbers)


def test_operations_are_translated():
    old, airy = comparison(Comparator.LT, "year", 2007), comparison(Comparator.EQ, "tags", "air")

    def of(operator, *arguments):
        return found(ShoalTranslator().visit_operation(Operation(operator=operator, arguments=list(arguments))))

    assert of(Operator.AND, old, airy) == [1]
    assert of(Operator.OR, old, airy) == [0, 1, 2]
    assert of(Operator.NOT, old) == [2, 3]
    assert of(Operator.NOT, Operation(operator=Operator.OR, arguments=[old, airy])) == [3]
    assert ShoalTranslator().visit_structured_query(StructuredQuery(query="q", filter=None, limit=3)) == ("q", {})
    with pytest.raises(InvalidArgument, match="not has 2 filters"):
        of(Operator.NOT, old, airy)


@pytest.mark.parametrize("pattern", ["a%b", "%ing", "a_c", "%a_%", 3])
def test_patterns_that_cannot_be_searched_are_refused(pattern):
    with pytest.raises(InvalidArgument, match="like is"):
        ShoalTranslator().visit_comparison(comparison(Comparator.LIKE, "name", pattern))


@pytest.mark.parametrize("value", [{"type": "date", "date": "soon"}, {"type": "datetime"}, {"type": "x", "x": 1}, {"a": 1}])
def test_values_that_are_no_values_are_refused(value):
    with pytest.raises(InvalidArgument, match="a value is"):
        ShoalTranslator().visit_comparison(comparison(Comparator.EQ, "day", value))
