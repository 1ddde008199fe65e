"""Metadata filters of LlamaIndex as filters of Shoal. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.filter_input import path_to_text
from shoal.llamaindex.nodes import REF_DOC_KEY


def where(
    filters: MetadataFilters | None, node_ids: Sequence[str] | None = None, doc_ids: Sequence[str] | None = None
) -> dict[str, Any] | None:
    """Return the filter of points that match all that is given; None: every point. An empty list of ids matches
    none.
    """
    parts = [metadata_filter(filters)] if filters is not None else []
    if node_ids is not None:
        parts.append({"$id": list(node_ids)})
    if doc_ids is not None:
        parts.append({REF_DOC_KEY: {"$in": list(doc_ids)}})
    given = [part for part in parts if part is not None]
    return {"$and": given} if len(given) > 1 else next(iter(given), None)


def metadata_filter(filters: MetadataFilters) -> dict[str, Any] | None:
    """Return filters, which may have filters inside, as one of Shoal; None without any.

    NOT matches where none of its filters does. Raises InvalidArgument for what Shoal cannot evaluate.
    """
    parts = [part for each in filters.filters if (part := _part(each)) is not None]
    if not parts:
        return None
    match filters.condition or FilterCondition.AND:
        case FilterCondition.AND:
            return {"$and": parts}
        case FilterCondition.OR:
            return {"$or": parts}
        case FilterCondition.NOT:
            return {"$not": {"$or": parts}}


def _part(each: MetadataFilter | MetadataFilters) -> dict[str, Any] | None:
    if isinstance(each, MetadataFilters):
        return metadata_filter(each)
    make = _OPERATORS.get(each.operator)
    if make is None:
        _refuse(each, f"Shoal does not have it, it has {', '.join(known.value for known in _OPERATORS)}")
    # A key of metadata is one key, also if it has a dot.
    return make(path_to_text((each.key,)), each)


def _plain(operator: str) -> Callable[[str, MetadataFilter], dict[str, Any]]:
    def made(path: str, given: MetadataFilter) -> dict[str, Any]:
        if isinstance(given.value, list):
            _refuse(given, f"its value is {given.value!r}, it takes one value; in, any and all take lists")
        return {path: {operator: given.value}}

    return made


def _listed(operator: str) -> Callable[[str, MetadataFilter], dict[str, Any]]:
    return lambda path, given: {path: {operator: _values(given)}}


def _all(path: str, given: MetadataFilter) -> dict[str, Any]:
    values = _values(given)
    if not values:
        _refuse(given, "its list is empty, at least one value is needed")
    return {"$and": [{path: {"$eq": value}} for value in values]}


def _text_match(path: str, given: MetadataFilter) -> dict[str, Any]:
    if not isinstance(given.value, str):
        _refuse(given, f"its value is {given.value!r}, it must be a text")
    return {path: {"$contains": given.value}}


def _is_empty(path: str, given: MetadataFilter) -> dict[str, Any]:
    return {"$or": [{path: {"$exists": False}}, {path: {"$eq": None}}, {path: {"$eq": ""}}]}


def _values(given: MetadataFilter) -> list[Any]:
    if not isinstance(given.value, list):
        _refuse(given, f"its value is {given.value!r}, it must be a list")
    return list(given.value)


_OPERATORS: Mapping[FilterOperator, Callable[[str, MetadataFilter], dict[str, Any]]] = {
    FilterOperator.EQ: _plain("$eq"),
    FilterOperator.NE: _plain("$ne"),
    FilterOperator.GT: _plain("$gt"),
    FilterOperator.GTE: _plain("$gte"),
    FilterOperator.LT: _plain("$lt"),
    FilterOperator.LTE: _plain("$lte"),
    FilterOperator.IN: _listed("$in"),
    FilterOperator.NIN: _listed("$nin"),
    FilterOperator.ANY: _listed("$in"),
    FilterOperator.ALL: _all,
    FilterOperator.CONTAINS: _plain("$eq"),
    FilterOperator.TEXT_MATCH: _text_match,
    FilterOperator.IS_EMPTY: _is_empty,
}
"""Equality of Shoal is that of any element, if the value is a list."""


def _refuse(given: MetadataFilter, why: str) -> NoReturn:
    raise InvalidArgument(f"filter of {given.key!r} with operator {given.operator.value!r}: {why}", ErrorDetails(field="filters"))
