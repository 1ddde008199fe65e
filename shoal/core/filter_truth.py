"""What a filter means: THE definition of truth, in the plainest form. Whatever is clever elsewhere has to agree with
this.

A path walks the keys of objects. A list on the way is entered: each of its elements that is an object is walked in
turn; a list directly in a list is not entered. What stands at the end is an occurrence of the field, of which there may
be several. The values of an occurrence are the scalar itself, or the scalars of a list; an object, a list in a list and
the empty list have no value and are only there ($exists). A test holds when some value of some occurrence passes it, so
a field that is missing passes none; only Not makes it match.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from shoal.core.filter import And, Contains, Exists, Filter, HasId, In, Not, Or, Path, Prefix, Range, Scalar
from shoal.core.points import PointId

_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}


def matches(filter: Filter, payload: Mapping[str, Any] | None, point_id: PointId) -> bool:
    """Whether a point matches. payload: as json.loads gives it; None is as good as {}."""
    match filter:
        case And(terms):
            return all(matches(term, payload, point_id) for term in terms)
        case Or(terms):
            return any(matches(term, payload, point_id) for term in terms)
        case Not(term):
            return not matches(term, payload, point_id)
        case HasId(ids):
            return point_id in ids
        case _:
            return any(_passes(filter, occurrence) for occurrence in occurrences(payload, filter.path))


def occurrences(payload: Mapping[str, Any] | None, path: Path) -> Iterator[Any]:
    """Whatever stands at the end of `path`, in the order of the payload."""
    if payload is None:
        return
    key, rest = path[0], path[1:]
    if key not in payload:
        return
    found = payload[key]
    if not rest:
        yield found
        return
    for inner in found if isinstance(found, list) else [found]:
        if isinstance(inner, Mapping):
            yield from occurrences(inner, rest)


def values_of(occurrence: Any) -> list[Scalar]:
    """The values of what stands at the end of a path: a scalar itself, the scalars of a list."""
    return [value for value in (occurrence if isinstance(occurrence, list) else [occurrence]) if is_scalar(value)]


def is_scalar(value: Any) -> bool:
    """Whether a value of a payload can be compared: neither an object nor a list."""
    return value is None or isinstance(value, (str, int, float))


def equal(value: Scalar, wanted: Scalar) -> bool:
    """Same type and value: 3 equals 3.0 (exactly, whatever their size), True is not 1, null equals only null."""
    return kind_of(value) == kind_of(wanted) and value == wanted


def _passes(test: In | Range | Exists | Contains | Prefix, occurrence: Any) -> bool:
    match test:
        case Exists():
            return True
        case In(_, wanted):
            return any(equal(value, each) for value in values_of(occurrence) for each in wanted)
        case Range():
            return any(_within(test, value) for value in values_of(occurrence))
        case Contains(_, str() as part):
            return any(isinstance(value, str) and part in value for value in values_of(occurrence))
        case Contains(_, wanted):
            return isinstance(occurrence, list) and any(equal(value, wanted) for value in values_of(occurrence))
        case Prefix(_, text):
            return any(isinstance(value, str) and value.startswith(text) for value in values_of(occurrence))


def _within(test: Range, value: Any) -> bool:
    """Whether one value holds every bound. Strings are ordered by code points; null and booleans have no order."""
    bounds = [(holds, getattr(test, name)) for name, holds in _ORDERS.items()]
    return kind_of(value) in ("text", "number") and all(
        bound is None or (kind_of(bound) == kind_of(value) and holds(value, bound)) for holds, bound in bounds
    )


def kind_of(value: Scalar) -> str:
    """null, boolean, text or number: only values of one kind are compared."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case str():
            return "text"
        case _:
            return "number"
