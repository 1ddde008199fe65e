"""THE definition of the truth of a filter, in the plainest form. All faster implementations must agree with it.

A path follows the keys of objects. Where a value on the way is a list, the path goes on in each element that is an
object; it does not enter a list inside a list. A value at the end of the path is an occurrence of the field; there may
be several. The values of an occurrence are the scalar itself, or the scalars of a list. An object, a list in a list and
the empty list have no values; only $exists matches them. A test holds if some value of some occurrence passes it, so a
missing field passes no test; only Not makes it match.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from shoal.core.filter import And, Contains, Exists, Filter, HasId, In, Not, Or, Path, Prefix, Range, Scalar
from shoal.core.points import PointId

_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}


def matches(filter: Filter, payload: Mapping[str, Any] | None, point_id: PointId) -> bool:
    """Return whether a point matches. payload: as json.loads gives it; None counts as {}."""
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
    """Yield the values at the end of `path`, in the order of the payload."""
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
    """Return the values of an occurrence: a scalar itself, or the scalars of a list."""
    return [value for value in (occurrence if isinstance(occurrence, list) else [occurrence]) if is_scalar(value)]


def is_scalar(value: Any) -> bool:
    """Return whether a value of a payload can be compared: it is neither an object nor a list."""
    return value is None or isinstance(value, (str, int, float))


def equal(value: Scalar, wanted: Scalar) -> bool:
    """Return whether kind and value are the same: 3 equals 3.0 (exactly, at any size), True is not 1, null equals only
    null.
    """
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
    """Return whether one value satisfies each bound.

    Strings are ordered by code points; null and booleans have no order.
    """
    bounds = [(holds, getattr(test, name)) for name, holds in _ORDERS.items()]
    return kind_of(value) in ("text", "number") and all(
        bound is None or (kind_of(bound) == kind_of(value) and holds(value, bound)) for holds, bound in bounds
    )


def kind_of(value: Scalar) -> str:
    """Return null, boolean, text or number. Only values of the same kind are compared."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case str():
            return "text"
        case _:
            return "number"
