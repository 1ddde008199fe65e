"""Conditions on points, as a small tree of nodes. `filter_truth` defines their truth, `filter_input` their spelling.

There are nine kinds of nodes. `$ne`, `$nin` and `$exists: false` are Not of their opposites; therefore a missing field
matches exactly these and `$not`. A test of a list passes if any element passes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from shoal.core.points import PointId

Scalar = str | int | float | bool | None
"""A value that a field is compared with. Integers have any size; floats are finite; True is not 1."""

Path = tuple[str, ...]
"""Keys from the payload's root to a field, at least one.

Where the value of a key on the way is a list of objects, the path goes on in each of them.
"""


@dataclass(frozen=True, slots=True)
class And:
    """Each term holds; true without terms."""

    terms: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one term holds; false without terms."""

    terms: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The term does not hold."""

    term: Filter


@dataclass(frozen=True, slots=True)
class In:
    """The field equals one of the values ($eq, $in): same type and value, but 3 equals 3.0."""

    path: Path
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """The field is a number within the bounds; or a string, if the bounds are strings (ordered by code points).

    None: no bound. At least one bound is given. All are numbers (compared exactly, also beyond 2^53) or all are
    strings.
    """

    path: Path
    gt: str | int | float | None = None
    gte: str | int | float | None = None
    lt: str | int | float | None = None
    lte: str | int | float | None = None


@dataclass(frozen=True, slots=True)
class Exists:
    """The field is present, whatever its value (null and the empty list included)."""

    path: Path


@dataclass(frozen=True, slots=True)
class Contains:
    """For a string value: the field is a string that contains it, or a list with such a string.

    For another value: the field is a list with an element that equals it.
    """

    path: Path
    value: Scalar


@dataclass(frozen=True, slots=True)
class Prefix:
    """The field is a string that begins with this text."""

    path: Path
    text: str


@dataclass(frozen=True, slots=True)
class HasId:
    """The point's id is one of these; 1 and "1" differ."""

    ids: tuple[PointId, ...]


Filter = And | Or | Not | In | Range | Exists | Contains | Prefix | HasId


_LONG_VALUES = 256
_VALUES_AT_ONCE = 4_096


def filter_key(filter: Filter) -> str:
    """Return a text that is the same for equal filters only.

    Filters themselves cannot be dictionary keys, because True equals 1 in Python. For long lists of values the text
    holds a hash of them, so it stays short and is built piece by piece.
    """
    return _long_key(filter) if is_long(filter) else repr(filter)


def _long_key(filter: Filter) -> str:
    match filter:
        case And(terms) | Or(terms):
            return f"{type(filter).__name__}({','.join(map(_long_key, terms))})"
        case Not(term):
            return f"Not({_long_key(term)})"
        case In(path, values):
            return f"In({path!r},{_values_key(values)})"
        case HasId(ids):
            return f"HasId({_values_key(ids)})"
        case _:
            return repr(filter)


def _values_key(values: Sequence[Scalar]) -> str:
    digest = hashlib.sha256()
    for start in range(0, len(values), _VALUES_AT_ONCE):
        digest.update(repr(values[start : start + _VALUES_AT_ONCE]).encode("utf-8", "surrogatepass"))
    return f"{len(values)} values {digest.hexdigest()}"


def is_long(filter: Filter) -> bool:
    """Return whether the filter holds so many values that even a walk over it takes a while."""
    return are_long([filter])


def are_long(filters: Sequence[Filter | None]) -> bool:
    """Return whether the filters together hold so many values; None stands for no filter."""
    left, waiting = _LONG_VALUES, [each for each in filters[:_LONG_VALUES] if each is not None]
    left -= len(waiting) - 1
    while waiting and left > 0:
        match waiting.pop():
            case And(terms) | Or(terms):
                left -= len(terms)
                waiting += terms[:_LONG_VALUES]
            case Not(term):
                waiting.append(term)
            case In(_, values):
                left -= len(values)
            case HasId(ids):
                left -= len(ids)
            case _:
                left -= 1
    return left <= 0
