"""Filters as LangChain users write them. Pure.

They are Shoal's own (see docs/guide/filters.md), and {"a": {"$between": [1, 5]}} as other stores have it, both ends
included.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from shoal.core.errors import ErrorDetails, InvalidArgument


def shoal_filter(filter: Any) -> dict[str, Any] | None:
    """Return Shoal's filter; None and an empty dict match every point.

    Raises InvalidArgument for what is no dict, such as a function, and for a bad $between. What else Shoal does not
    have, it refuses when it is asked.
    """
    if filter is None:
        return None
    if not isinstance(filter, Mapping):
        kind = "a function" if callable(filter) else repr(filter)
        _refuse(f"filter is {kind}, it must be a dict such as {{'lang': 'en'}}: it is evaluated in the cluster")
    return _plain(filter) or None


def both_filters(one: Any, other: Any) -> dict[str, Any] | None:
    """Return a filter that matches where both do."""
    given = [each for each in (shoal_filter(one), shoal_filter(other)) if each is not None]
    return {"$and": given} if len(given) > 1 else next(iter(given), None)


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if not isinstance(value, Mapping):
        return value
    made: dict[str, Any] = {}
    for key, operand in value.items():
        if key == "$between":
            made.update(_bounds(operand, value))
        else:
            made[key] = _plain(operand)
    return made


def _bounds(operand: Any, beside: Mapping[Any, Any]) -> dict[str, Any]:
    if not isinstance(operand, list | tuple) or len(operand) != 2:
        _refuse(f"$between is {operand!r}, it must be a list of the least and the largest value")
    taken = [key for key in ("$gte", "$lte") if key in beside]
    if taken:
        _refuse(f"$between and {taken[0]} are given for one field: give one of them")
    return {"$gte": operand[0], "$lte": operand[1]}


def _refuse(message: str) -> NoReturn:
    raise InvalidArgument(message, ErrorDetails(field="filter"))
