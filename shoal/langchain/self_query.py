"""Translates the structured queries of LangChain's SelfQueryRetriever into Shoal's filters. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.structured_query import Comparator, Comparison, FilterDirective, Operation, Operator, StructuredQuery, Visitor

from shoal.core.errors import ErrorDetails, InvalidArgument


class ShoalTranslator(Visitor):
    """Give it to SelfQueryRetriever as structured_query_translator.

    Attributes are paths of payloads: "author.name" is a key of an object. `contain` is $contains: a part of a text, or
    an element of a list. `like` takes % at the ends only: "a%" is $prefix, "%a%" $contains, "a" equality. Dates and
    datetimes are compared as they are stored in payloads.
    """

    allowed_comparators: Sequence[Comparator] | None = (
        Comparator.EQ,
        Comparator.NE,
        Comparator.GT,
        Comparator.GTE,
        Comparator.LT,
        Comparator.LTE,
        Comparator.CONTAIN,
        Comparator.LIKE,
        Comparator.IN,
        Comparator.NIN,
    )
    allowed_operators: Sequence[Operator] | None = (Operator.AND, Operator.OR, Operator.NOT)

    def visit_operation(self, operation: Operation) -> dict[str, Any]:
        """Return an operation as a filter. Raises InvalidArgument for `not` of several filters."""
        filters = [_visited(each, self) for each in operation.arguments]
        if operation.operator is not Operator.NOT:
            return {f"${operation.operator.value}": filters}
        if len(filters) != 1:
            raise _bad(f"not has {len(filters)} filters, it takes one")
        return {"$not": filters[0]}

    def visit_comparison(self, comparison: Comparison) -> dict[str, Any]:
        """Return a comparison as a filter. Raises InvalidArgument for a pattern that Shoal cannot evaluate."""
        make = _COMPARISONS.get(comparison.comparator)
        if make is None:
            raise _bad(f"{comparison.comparator.value!r} is no comparator of Shoal")
        return {comparison.attribute: make(_value(comparison.value))}

    def visit_structured_query(self, structured_query: StructuredQuery) -> tuple[str, dict[str, Any]]:
        """Return the query and the arguments of its search."""
        if structured_query.filter is None:
            return structured_query.query, {}
        return structured_query.query, {"filter": _visited(structured_query.filter, self)}


def _visited(directive: FilterDirective, visitor: ShoalTranslator) -> dict[str, Any]:
    found: dict[str, Any] = directive.accept(visitor)
    return found


def _value(value: Any) -> Any:
    """Return a value of a comparison. The parser gives dates and datetimes as dicts with their type and ISO text."""
    if not isinstance(value, Mapping):
        return value
    kinds: dict[Any, Callable[[str], Any]] = {"date": datetime.date.fromisoformat, "datetime": datetime.datetime.fromisoformat}
    kind = value.get("type")
    try:
        return kinds[kind](value[kind])
    except (KeyError, TypeError, ValueError):
        raise _bad(f"a value is {dict(value)!r}, it must be a plain one, a date or a datetime in ISO 8601") from None


def _like(pattern: Any) -> dict[str, Any]:
    if not isinstance(pattern, str):
        raise _bad(f"like is {pattern!r}, it must be a text")
    inner = pattern.strip("%")
    if "%" in inner or "_" in inner:
        raise _bad(f"like is {pattern!r}, a % is allowed at its ends only, and _ stands for no character")
    if pattern == inner:
        return {"$eq": inner}
    if not pattern.endswith("%"):
        raise _bad(f"like is {pattern!r}, an ending cannot be searched: use a% or %a%")
    return {"$contains" if pattern.startswith("%") else "$prefix": inner}


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple | set) else [value]


_COMPARISONS: Mapping[Comparator, Callable[[Any], dict[str, Any]]] = {
    Comparator.EQ: lambda value: {"$eq": value},
    Comparator.NE: lambda value: {"$ne": value},
    Comparator.GT: lambda value: {"$gt": value},
    Comparator.GTE: lambda value: {"$gte": value},
    Comparator.LT: lambda value: {"$lt": value},
    Comparator.LTE: lambda value: {"$lte": value},
    Comparator.CONTAIN: lambda value: {"$contains": value},
    Comparator.LIKE: _like,
    Comparator.IN: lambda value: {"$in": _several(value)},
    Comparator.NIN: lambda value: {"$nin": _several(value)},
}


def _bad(message: str) -> InvalidArgument:
    return InvalidArgument(message, ErrorDetails(field="filter"))
