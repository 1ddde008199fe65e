"""Bounds on filters, whatever their source. A filter within them can be shown, sent and evaluated at a bounded cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.filter import And, Contains, Exists, Filter, HasId, In, Not, Or, Path, Prefix, Range, Scalar
from shoal.core.limits import Limits
from shoal.core.points import ids_from_input
from shoal.core.shown import shown

_SHOWN_CHARACTERS = 64


@dataclass(frozen=True, slots=True)
class FilterPlace:
    """A place in a filter, for messages.

    text: the path to the place, "" for the root; depth: nodes above it.
    """

    text: str = ""
    depth: int = 0

    def within(self, step: str) -> FilterPlace:
        """Return the place one step further, in the same node."""
        shown = step if len(step) <= _SHOWN_CHARACTERS else step[:_SHOWN_CHARACTERS] + "..."
        return FilterPlace(f"{self.text}.{shown}" if self.text else shown, self.depth)

    def inside(self, step: str) -> FilterPlace:
        """Return the place one step further, in a node below."""
        return FilterPlace(self.within(step).text, self.depth + 1)

    def error(self, message: str, limit: str | None = None) -> InvalidArgument:
        """Return the error for a fault at this place. limit: the bound that was exceeded."""
        where = f"at {self.text}: " if self.text else ""
        return InvalidArgument(f"filter: {where}{message}", ErrorDetails(field="filter", limit=limit))


def check_filter(filter: Filter, limits: Limits) -> None:
    """Raise InvalidArgument that names the place and the bound, if a filter exceeds one.

    Also for floats that are not finite, ranges without bounds or with bounds of two kinds, and empty keys.
    """
    check_size(filter, limits)
    for node, place in _nodes(filter, FilterPlace()):
        match node:
            case In(path, values):
                _check_path(path, place, limits)
                check_scalars(values, place, limits)
            case Range(path):
                _check_path(path, place, limits)
                _check_bounds(node, place, limits)
            case Contains(path, value) | Prefix(path, value):
                _check_path(path, place, limits)
                check_scalar(value, place, limits)
            case Exists(path):
                _check_path(path, place, limits)
            case HasId(ids):
                check_ids_here(ids, place, limits)


def constant_truth(filter: Filter) -> bool | None:
    """Return whether a filter, by its form alone, matches every point (True) or none (False); None: it depends on the
    point.

    An empty list of values or ids matches nothing; And, Or and Not combine what is known about their terms. Conditions
    on fields are not compared with each other: a contradiction of two conditions counts as dependent.
    """
    match filter:
        case Not(term):
            truth = constant_truth(term)
            return None if truth is None else not truth
        case And(terms):
            truths = set(map(constant_truth, terms))
            return False if False in truths else None if None in truths else True
        case Or(terms):
            truths = set(map(constant_truth, terms))
            return True if True in truths else None if None in truths else False
        case In(_, ()) | HasId(()):
            return False
        case _:
            return None


def check_size(filter: Filter, limits: Limits) -> None:
    """Raise InvalidArgument when a filter is too deep or has too many conditions or values in all."""
    conditions = values = 0
    for node, place in _nodes(filter, FilterPlace()):
        check_depth(place, limits)
        match node:
            case In(_, listed) | HasId(listed):
                conditions, values = conditions + 1, values + len(listed)
            case Not() | And((_, *_)) | Or((_, *_)):
                pass
            case _:
                conditions += 1
        if conditions > limits.filter_conditions:
            raise FilterPlace().error(f"it has more than {limits.filter_conditions} conditions", "filter_conditions")
        if values > limits.filter_values:
            raise FilterPlace().error(f"it lists more than {limits.filter_values} values in all", "filter_values")


def check_depth(place: FilterPlace, limits: Limits) -> None:
    """Raise InvalidArgument if this place is too deep."""
    if place.depth >= limits.filter_depth:
        raise place.error(f"the filter is more than {limits.filter_depth} levels deep", "filter_depth")


def check_scalars(values: Sequence[Scalar], place: FilterPlace, limits: Limits) -> None:
    """Raise as `check_scalar` does for the first bad value. Long lists of one type are checked as a whole."""
    kinds = set(map(type, values))
    if kinds == {int}:
        values = (min(cast(Sequence[int], values)), max(cast(Sequence[int], values)))
    elif kinds == {str}:
        values = [text for text in cast(Sequence[str], values) if not text.isascii() or len(text) > limits.filter_text_bytes]
    for value in values:
        check_scalar(value, place, limits)


def check_scalar(value: Scalar, place: FilterPlace, limits: Limits) -> None:
    """Raise InvalidArgument for a float that is not finite, and for a text or integer that is too long."""
    match value:
        case None | bool():
            return
        case str():
            _check_text(value, "a text", place, limits)
        case int():
            if value.bit_length() > limits.filter_integer_bits:
                raise place.error(
                    f"an integer has {value.bit_length()} bits, at most {limits.filter_integer_bits} are allowed", "filter_integer_bits"
                )
        case float():
            if not math.isfinite(value):
                raise place.error(f"{value} is not a value that a field can have")


def check_key(key: str, place: FilterPlace, limits: Limits) -> None:
    """Raise InvalidArgument for a key of a path that is empty or too long."""
    if not key:
        raise place.error(r"a path must not have an empty key; a dot inside a key is written \.")
    _check_text(key, "a key", place, limits)


def check_ids_here(ids: Sequence[int | str], place: FilterPlace, limits: Limits) -> None:
    """Raise InvalidArgument for a value that is not an id."""
    try:
        ids_from_input(ids, limits)
    except InvalidArgument as error:
        raise place.error(error.message, error.details.limit) from None


def check_path_length(keys: int, place: FilterPlace, limits: Limits) -> None:
    """Raise InvalidArgument for a path with no keys or too many."""
    if not 1 <= keys <= limits.filter_path_keys:
        raise place.error(f"a path has {keys} keys, 1-{limits.filter_path_keys} are allowed", "filter_path_keys")


def kind_of_bound(value: Scalar, place: FilterPlace) -> type[str] | type[float]:
    """Return whether a bound is a text or a number. Raises InvalidArgument for a value without order."""
    if isinstance(value, str):
        return str
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float
    raise place.error(f"a range is bounded by a number or a text, not by {shown(value)}")


def _check_bounds(node: Range, place: FilterPlace, limits: Limits) -> None:
    bounds = [bound for bound in (node.gt, node.gte, node.lt, node.lte) if bound is not None]
    if len({kind_of_bound(bound, place) for bound in bounds}) != 1:
        raise place.error(f"a range needs bounds, all numbers or all texts, not {shown(bounds)}")
    for bound in bounds:
        check_scalar(bound, place, limits)


def _check_path(path: Path, place: FilterPlace, limits: Limits) -> None:
    check_path_length(len(path), place, limits)
    for key in path:
        check_key(key, place, limits)


def _check_text(text: str, what: str, place: FilterPlace, limits: Limits) -> None:
    if text.isascii() and len(text) <= limits.filter_text_bytes:
        return
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise place.error(f"{what} is not valid Unicode: {error.reason}") from None
    if size > limits.filter_text_bytes:
        raise place.error(f"{what} has {size} bytes, at most {limits.filter_text_bytes} are allowed", "filter_text_bytes")


def _nodes(filter: Filter, place: FilterPlace) -> Iterator[tuple[Filter, FilterPlace]]:
    """Yield each node with its place, before the nodes below it.

    Thus a caller that refuses a deep node ends the walk there.
    """
    open_nodes = [(filter, place)]
    while open_nodes:
        node, at = open_nodes.pop()
        yield node, at
        match node:
            case And(terms):
                open_nodes += [(term, at.inside(f"$and[{number}]")) for number, term in reversed(list(enumerate(terms)))]
            case Or(terms):
                open_nodes += [(term, at.inside(f"$or[{number}]")) for number, term in reversed(list(enumerate(terms)))]
            case Not(term):
                open_nodes.append((term, at.inside("$not")))
