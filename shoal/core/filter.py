"""Conditions on points, as a small tree. Owns its nodes; their truth is in `filter_truth`, their spelling in
`filter_input`.

Eight nodes say everything: `$ne`, `$nin` and `$exists: false` are Not of their opposites, so that a missing field
matches exactly these and `$not`. On a list, a test matches when any element passes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from shoal.core.points import PointId

Scalar = str | int | float | bool | None
"""A value a field is compared with. Integers have any size; floats are finite; True is not 1."""

Path = tuple[str, ...]
"""Keys from the payload's root to a field, at least one.

Lists of objects on the way are entered, each element in turn.
"""


@dataclass(frozen=True, slots=True)
class And:
    """Every term holds; without terms it always does."""

    terms: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Some term holds; without terms none does."""

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
    """The field is a number (or, with string bounds, a string, ordered by code points) within the bounds; None: no
    bound.

    At least one bound is given, all of them numbers (exact comparison, also beyond 2^53) or all strings.
    """

    path: Path
    gt: str | int | float | None = None
    gte: str | int | float | None = None
    lt: str | int | float | None = None
    lte: str | int | float | None = None


@dataclass(frozen=True, slots=True)
class Exists:
    """The field is there, whatever it holds (null and the empty list included)."""

    path: Path


@dataclass(frozen=True, slots=True)
class Contains:
    """A string value: the field is a string that has it as a part, or a list with such a string. Another value: the
    field is a list with an element that equals it."""

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
    """A text that equal filters share and others do not. (As dictionary keys filters are no use: to Python, True equals
    1.)

    Of long lists a hash stands in it: neither is the text as long as they are, nor is it made in one piece.
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
    """Whether it holds so many values that even looking at it takes a while."""
    return are_long([filter])


def are_long(filters: Sequence[Filter | None]) -> bool:
    """Whether they do together; None for no filter."""
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
