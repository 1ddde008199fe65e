r"""Convert filters between the dicts that users write, as in MongoDB, and trees.

    {"label": 3}                       the field equals 3; the same as {"label": {"$eq": 3}}
    {"a": {"$gte": 1, "$lt": 5}}       every operator holds
    {"a": 1, "b": {"$ne": 2}}          every field holds
    {"$or": [{"a": 1}, {"b": 2}]}      $and, $or over a list of filters, $not over one; {"a": {"$not": {"$gt": 3}}}
    {"author.name": "x"}               a dot separates nested keys; a dot in a key is written \., a backslash \\
    {r"\$price": 1}                    a key that begins with a dollar
    {"$id": [1, "x"]}                  the point's id: one, a list, or $eq, $ne, $in, $nin

Several operators on one field are separate conditions: in a list, a different element may satisfy each of them.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any

import numpy as np

from shoal.core.filter import And, Contains, Exists, Filter, HasId, In, Not, Or, Path, Prefix, Range, Scalar
from shoal.core.filter_check import (
    FilterPlace,
    check_depth,
    check_ids_here,
    check_key,
    check_path_length,
    check_scalar,
    check_scalars,
    check_size,
    kind_of_bound,
)
from shoal.core.limits import Limits
from shoal.core.moments import is_no_time
from shoal.core.payload import plain_value, stored_scalar

_CONNECTIVES = ("$and", "$or", "$not", "$id")
_RANGES = ("$gt", "$gte", "$lt", "$lte")
_FIELD_OPERATORS = ("$eq", "$ne", *_RANGES, "$in", "$nin", "$exists", "$contains", "$prefix", "$not")
_ID_OPERATORS = ("$eq", "$ne", "$in", "$nin")
_ESCAPED = (".", "\\", "$")
_PLAIN_KINDS = frozenset((bool, int, str, float, type(None)))


def filter_from_input(value: Any, limits: Limits) -> Filter:
    """Return the filter of a dict as described above.

    Values are those of payloads: numpy scalars count as Python values; dates, datetimes and UUIDs as the texts that are
    stored of them. $in takes any iterable of values. Raises InvalidArgument (field "filter") that names the place and
    what is allowed there.
    """
    found = _filter(value, FilterPlace(), limits)
    check_size(found, limits)
    return found


def filter_to_input(filter: Filter) -> dict[str, Any]:
    """Return a dict that `filter_from_input` converts back to the filter.

    There are two exceptions: an Or without terms becomes {"$not": {}}, and a Range of several bounds comes back as one
    Range for each.
    """
    match filter:
        case And(terms):
            return {"$and": [filter_to_input(term) for term in terms]} if terms else {}
        case Or(terms):
            return {"$or": [filter_to_input(term) for term in terms]} if terms else {"$not": {}}
        case Not(term):
            return {"$not": filter_to_input(term)}
        case HasId(ids):
            return {"$id": list(ids)}
        case In(path, (value,)):
            return {path_to_text(path): value}
        case In(path, values):
            return {path_to_text(path): {"$in": list(values)}}
        case Range(path, gt, gte, lt, lte):
            bounds = zip(_RANGES, (gt, gte, lt, lte), strict=True)
            return {path_to_text(path): {operator: bound for operator, bound in bounds if bound is not None}}
        case Exists(path):
            return {path_to_text(path): {"$exists": True}}
        case Contains(path, value):
            return {path_to_text(path): {"$contains": value}}
        case Prefix(path, text):
            return {path_to_text(path): {"$prefix": text}}


def path_from_text(text: str, place: FilterPlace, limits: Limits) -> Path:
    """Return the keys of a dotted path. Raises InvalidArgument for an empty key or an unknown escape."""
    keys, key, signs = [], "", iter(text)
    for sign in signs:
        if sign == ".":
            keys.append(key)
            key = ""
        elif sign != "\\":
            key += sign
        elif (escaped := next(signs, "")) in _ESCAPED:
            key += escaped
        else:
            raise place.error(rf"'\{escaped}' is no escape, known are '\.', '\\' and '\$'")
    keys.append(key)
    check_path_length(len(keys), place, limits)
    for each in keys:
        check_key(each, place, limits)
    return tuple(keys)


def path_to_text(path: Path) -> str:
    """Return the dotted path of keys."""
    text = ".".join(key.replace("\\", "\\\\").replace(".", "\\.") for key in path)
    return "\\" + text if text.startswith("$") else text


def _filter(value: Any, place: FilterPlace, limits: Limits) -> Filter:
    check_depth(place, limits)
    if not isinstance(value, Mapping):
        raise place.error(f"a filter is a dict such as {{'label': 3}}, not {_shown(value)}")
    terms = [term for key, operand in value.items() for term in _entry(key, operand, place, limits)]
    return terms[0] if len(terms) == 1 else And(tuple(terms))


def _entry(key: Any, operand: Any, place: FilterPlace, limits: Limits) -> list[Filter]:
    """Return the conditions of one key of a filter."""
    if not isinstance(key, str):
        raise place.error(f"a key must be a text: the path of a field, or an operator; not {_shown(key)}")
    here = place.within(key)
    match key:
        case "$and":
            return [And(_terms(operand, place, key, limits))]
        case "$or":
            return [Or(_terms(operand, place, key, limits))]
        case "$not":
            return [Not(_filter(operand, place.inside(key), limits))]
        case "$id":
            return _id_conditions(operand, here, limits)
    if key.startswith("$"):
        raise here.error(rf"unknown operator {_cut(key)!r}, allowed here are {_listed(_CONNECTIVES)}; a key is written '\{_cut(key)}'")
    return _field_conditions(path_from_text(key, here, limits), operand, here, limits)


def _terms(operand: Any, place: FilterPlace, operator: str, limits: Limits) -> tuple[Filter, ...]:
    here = place.within(operator)
    if not isinstance(operand, (list, tuple)):
        raise here.error(f"{operator} takes a list of filters, not {_shown(operand)}")
    if not operand:
        raise here.error(f"{operator} takes at least one filter")
    return tuple(_filter(each, place.inside(f"{operator}[{number}]"), limits) for number, each in enumerate(operand))


def _field_conditions(path: Path, operand: Any, place: FilterPlace, limits: Limits) -> list[Filter]:
    """Return the conditions on one field: one for a value, or one for each operator."""
    check_depth(place, limits)
    if not isinstance(operand, Mapping):
        return [In(path, (_scalar(operand, place, limits),))]
    _check_operators(operand, _FIELD_OPERATORS, place)
    kinds = {kind_of_bound(stored_scalar(_plain(operand[each])), place.within(each)) for each in _RANGES if each in operand}
    if len(kinds) > 1:
        raise place.error("a range is bounded by numbers or by texts, not by both")
    return [_condition(path, operator, each, place, limits) for operator, each in operand.items()]


def _condition(path: Path, operator: str, operand: Any, field: FilterPlace, limits: Limits) -> Filter:
    place = field.within(operator)
    match operator:
        case "$in":
            return In(path, _scalars(operand, place, limits))
        case "$nin":
            return Not(In(path, _scalars(operand, place, limits)))
        case "$exists":
            return Exists(path) if _flag(operand, place) else Not(Exists(path))
        case "$not":
            return Not(_negated(path, operand, field.inside(operator), limits))
    return _SCALAR_CONDITIONS[operator](path, _scalar(operand, place, limits), place)


def _negated(path: Path, operand: Any, place: FilterPlace, limits: Limits) -> Filter:
    if not isinstance(operand, Mapping):
        raise place.error(f"$not takes operators such as {{'$gt': 3}}, not {_shown(operand)}; use $ne for a value")
    terms = _field_conditions(path, operand, place, limits)
    return terms[0] if len(terms) == 1 else And(tuple(terms))


def _prefix(path: Path, value: Scalar, place: FilterPlace) -> Filter:
    if not isinstance(value, str):
        raise place.error(f"$prefix takes a text, not {_shown(value)}")
    return Prefix(path, value)


_SCALAR_CONDITIONS: Mapping[str, Callable[[Path, Any, FilterPlace], Filter]] = {
    "$eq": lambda path, value, _: In(path, (value,)),
    "$ne": lambda path, value, _: Not(In(path, (value,))),
    "$gt": lambda path, value, _: Range(path, gt=value),
    "$gte": lambda path, value, _: Range(path, gte=value),
    "$lt": lambda path, value, _: Range(path, lt=value),
    "$lte": lambda path, value, _: Range(path, lte=value),
    "$contains": lambda path, value, _: Contains(path, value),
    "$prefix": _prefix,
}


def _id_conditions(operand: Any, place: FilterPlace, limits: Limits) -> list[Filter]:
    if not isinstance(operand, Mapping):
        return [_has_id(operand, place, limits)]
    _check_operators(operand, _ID_OPERATORS, place)
    found: list[Filter] = []
    for operator, each in operand.items():
        here = place.within(operator)
        if operator in ("$in", "$nin"):
            each = _listed_values(each, f"{operator} takes a list of ids", here, limits)
        test = _has_id(each, here, limits)
        found.append(test if operator in ("$eq", "$in") else Not(test))
    return found


def _has_id(operand: Any, place: FilterPlace, limits: Limits) -> HasId:
    ids = tuple(_plain(each) for each in _elements(operand)) if _is_list(operand) else (_plain(operand),)
    check_ids_here(ids, place, limits)
    return HasId(_ordered(operand, ids))


def _check_operators(operand: Mapping[Any, Any], allowed: tuple[str, ...], place: FilterPlace) -> None:
    if not operand:
        raise place.error(f"no operator is given, allowed are {_listed(allowed)}")
    for key in operand:
        if isinstance(key, str) and not key.startswith("$"):
            raise place.error(f"{_cut(key)!r} is no operator; a field inside an object is written '{_cut(place.text)}.{_cut(key)}'")
        if key not in allowed:
            raise place.within(str(key)).error(f"unknown operator {_cut(str(key))!r}, allowed are {_listed(allowed)}")


def _scalars(operand: Any, place: FilterPlace, limits: Limits) -> tuple[Scalar, ...]:
    operand = _listed_values(operand, "a list of values is needed", place, limits)
    values = tuple(_elements(operand))
    if not set(map(type, values)) <= _PLAIN_KINDS:
        values = tuple(_scalar(each, place, limits) for each in values)
    check_scalars(values, place, limits)
    return _ordered(operand, values)


def _scalar(value: Any, place: FilterPlace, limits: Limits) -> Scalar:
    plain = stored_scalar(_plain(value))
    if _is_list(plain):
        raise place.error("one value is needed, not a list; use $in to allow several")
    if plain is not None and not isinstance(plain, (str, int, float)):
        raise place.error(f"a value is a string, number, bool or null, not {_shown(plain)}{_as_stored(plain)}")
    check_scalar(plain, place, limits)
    return plain


def _as_stored(value: Any) -> str:
    """Return advice for a date, time or duration, which payloads cannot hold either; "" for other values."""
    if is_no_time(value):
        return ": NaT is no time; $exists and null find what has none"
    dates = (np.datetime64, np.timedelta64, datetime.date, datetime.time, datetime.timedelta)
    return ": give it as it is stored, as a text or a number" if isinstance(value, dates) else ""


def _flag(operand: Any, place: FilterPlace) -> bool:
    plain = _plain(operand)
    if not isinstance(plain, bool):
        raise place.error(f"$exists takes true or false, not {_shown(operand)}")
    return plain


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple, set, frozenset)) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _listed_values(operand: Any, wanted: str, place: FilterPlace, limits: Limits) -> Any:
    """Return the operand of $in or $nin if it is a list, as a list if it is another iterable."""
    if _is_list(operand):
        return operand
    if isinstance(operand, (str, bytes, bytearray, Mapping)) or not isinstance(operand, Iterable) or getattr(operand, "ndim", 1) != 1:
        raise place.error(f"{wanted}, not {_shown(operand)}")
    # One more than is allowed is enough for the error that there are too many.
    return list(islice(operand, limits.filter_values + 1))


def _elements(listed: Any) -> list[Any]:
    if isinstance(listed, np.ndarray) and listed.dtype.kind not in "mM" and not isinstance(listed, np.ma.MaskedArray):
        return list(listed.tolist())
    return list(listed)


def _ordered(listed: Any, values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the values of a list as they are, those of a set sorted.

    A set has no order, but equal filters should have the same text.
    """
    if not isinstance(listed, (set, frozenset)):
        return values
    return tuple(sorted(values, key=lambda value: (type(value).__name__, 0 if value is None else value)))


def _plain(value: Any) -> Any:
    """Return the Python value of a numpy scalar, of a member of a text or number enumeration, or of another
    subclass; of a UUID its text.
    """
    if isinstance(value, (np.generic, np.ndarray)):
        return plain_value(value)
    if type(value) in _PLAIN_KINDS:
        return value
    match value:
        case str():
            return str.__str__(value)
        case int():
            return int.__int__(value)
        case float():
            return float.__float__(value)
        case uuid.UUID():
            return str(value)
        case _:
            return value


def _shown(value: Any) -> str:
    return type(value).__name__


def _cut(text: str) -> str:
    return text if len(text) <= 64 else text[:64] + "..."


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(words)
