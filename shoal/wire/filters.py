"""Converts filters between messages and trees.

It checks the shape and the depth of a message. `shoal.core.filter_check` checks the bounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, cast

from google.protobuf.message import DecodeError

from shoal.core.filter import And, Contains, Exists, Filter, HasId, In, Not, Or, Path, Prefix, Range, Scalar
from shoal.core.filter_check import FilterPlace
from shoal.core.points import INT64_MAX, INT64_MIN, id_array
from shoal.core.turns import FREE, Turn
from shoal.v1 import filter_pb2, worker_pb2
from shoal.wire.columns import ids_from_message, ids_to_message

DEEPEST_FILTER = 64
"""Deeper messages are not read at all. The bound on filters is lower, and can be set."""

_BIG_INTEGER_DIGITS = 4_000
"""Most digits that are read. Python itself refuses integers of more than 4,300 digits."""

_VALUES_AT_ONCE = 4_096

_LONG_BYTES, _ONE_BYTES = 4 * 1024, 64
"""Messages of more bytes take more than about a millisecond to read. Each message counts as its bytes and 64 more."""

_PLAIN_VALUES = ("integer", "text", "number", "boolean")
_BOUNDS: tuple[Literal["gt", "gte", "lt", "lte"], ...] = ("gt", "gte", "lt", "lte")


def filter_to_message(filter: Filter, turn: Turn = FREE) -> filter_pb2.Filter:
    """Return a filter as a message."""
    message = filter_pb2.Filter()
    _write_filter(message, filter, turn)
    return message


def optional_filter_to_message(filter: Filter | None, turn: Turn = FREE) -> filter_pb2.Filter | None:
    """Return a filter as a message, None for None."""
    return None if filter is None else filter_to_message(filter, turn)


def filter_from_message(message: filter_pb2.Filter, turn: Turn = FREE) -> Filter:
    """Return the filter of a message; an empty message matches every point.

    Raises InvalidArgument (field "filter") naming the place, for a message that is too deep, lacks a part or has
    something else in place of an integer. Also raises what the turn raises.
    """
    return _FilterReader(turn).filter(message, FilterPlace())


def has_long_filters(request: Any) -> bool:
    """Return whether the filters of a request's message take long to read: more than about a millisecond."""
    fields = request.DESCRIPTOR.fields_by_name
    if "update" in fields and len(request.update) > _LONG_BYTES:
        return _updates_long(request.update)
    filters = [getattr(request, name) for name in ("filter", "delete_matching") if name in fields]
    return are_long_messages([*filters, *(group.filter for group in request.groups)] if "groups" in fields else filters)


def _updates_long(update: bytes) -> bool:
    """Return whether the filter of an update takes long to read. Bytes that are no update are refused where they are
    read."""
    try:
        return are_long_messages([worker_pb2.PointUpdate.FromString(update).filter])
    except DecodeError:
        return False


def are_long_messages(messages: Iterable[filter_pb2.Filter]) -> bool:
    """Return whether the filters together take long to read: more than about a millisecond."""
    left = _LONG_BYTES
    for message in messages:
        left -= _ONE_BYTES + message.ByteSize()
        if left < 0:
            return True
    return False


def _write_filter(message: filter_pb2.Filter, filter: Filter, turn: Turn) -> None:
    """Write a filter into the given message. A separate message would be copied, which costs most of the time."""
    match filter:
        case And(terms):
            _write_list(message.all, terms, turn)
        case Or(terms):
            _write_list(message.any, terms, turn)
        case Not(term):
            # `not` and `in` are keywords of Python, so they cannot be written as attributes.
            _write_filter(getattr(message, "not"), term, turn)
        case HasId(ids):
            message.ids.CopyFrom(ids_to_message(id_array(ids)))
        case _:
            _write_test(message.field, filter, turn)


def _write_list(message: filter_pb2.FilterList, terms: tuple[Filter, ...], turn: Turn) -> None:
    message.SetInParent()
    for term in terms:
        turn.pause()
        _write_filter(message.filters.add(), term, turn)


def _write_test(message: filter_pb2.FieldTest, test: In | Range | Exists | Contains | Prefix, turn: Turn) -> None:
    message.path.extend(test.path)
    match test:
        case In(_, values):
            listed = getattr(message, "in")
            listed.SetInParent()
            for start in range(0, len(values), _VALUES_AT_ONCE):
                turn.pause()
                for value in values[start : start + _VALUES_AT_ONCE]:
                    _write_scalar(listed.values.add(), value)
        case Range():
            for name in _BOUNDS:
                if (bound := getattr(test, name)) is not None:
                    _write_scalar(getattr(message.range, name), bound)
        case Exists():
            message.exists = True
        case Contains(_, value):
            _write_scalar(message.contains, value)
        case Prefix(_, text):
            message.prefix = text


def _write_scalar(message: filter_pb2.Scalar, value: Scalar) -> None:
    match value:
        case None:
            message.null = True
        case bool():
            message.boolean = value
        case str():
            message.text = value
        case float():
            message.number = value
        case _ if INT64_MIN <= value <= INT64_MAX:
            message.integer = value
        case _:
            message.big_integer = str(value)


class _FilterReader:
    """Reads a filter in bounded pieces, and pauses its turn between them."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn

    def filter(self, message: filter_pb2.Filter, place: FilterPlace) -> Filter:
        """Return the filter of a message. place: where it is in the whole filter."""
        self._turn.pause()
        if place.depth >= DEEPEST_FILTER:
            raise place.error(f"the filter is more than {DEEPEST_FILTER} levels deep", "filter_depth")
        match message.WhichOneof("condition"):
            case None:
                return And(())
            case "all":
                return And(self._list(message.all, place, "all"))
            case "any":
                return Or(self._list(message.any, place, "any"))
            case "not":
                return Not(self.filter(getattr(message, "not"), place.inside("not")))
            case "ids":
                return HasId(tuple(ids_from_message(message.ids).tolist()))
            case _:
                return self._test(message.field, place.within(".".join(message.field.path)))

    def _list(self, message: filter_pb2.FilterList, place: FilterPlace, name: str) -> tuple[Filter, ...]:
        return tuple([self.filter(each, place.inside(f"{name}[{number}]")) for number, each in enumerate(message.filters)])

    def _test(self, message: filter_pb2.FieldTest, place: FilterPlace) -> Filter:
        path: Path = tuple(message.path)
        if not path:
            raise place.error("a field test has no path")
        match message.WhichOneof("test"):
            case "in":
                return In(path, self._scalars(getattr(message, "in").values, place))
            case "range":
                return _range_from_message(path, message.range, place)
            case "exists":
                return Exists(path) if message.exists else Not(Exists(path))
            case "contains":
                return Contains(path, _scalar_from_message(message.contains, place))
            case "prefix":
                return Prefix(path, message.prefix)
            case _:
                raise place.error("a field test needs one of in, range, exists, contains, prefix")

    def _scalars(self, messages: Sequence[filter_pb2.Scalar], place: FilterPlace) -> tuple[Scalar, ...]:
        values: list[Scalar] = []
        for start in range(0, len(messages), _VALUES_AT_ONCE):
            self._turn.pause()
            values += [_scalar_from_message(value, place) for value in messages[start : start + _VALUES_AT_ONCE]]
        return tuple(values)


def _range_from_message(path: Path, message: filter_pb2.FieldRange, place: FilterPlace) -> Range:
    bounds = {name: _bound_from_message(getattr(message, name), place.within(name)) for name in _BOUNDS if message.HasField(name)}
    if not bounds:
        raise place.error("a range needs one of gt, gte, lt, lte")
    return Range(path, **bounds)


def _bound_from_message(message: filter_pb2.Scalar, place: FilterPlace) -> str | int | float:
    bound = _scalar_from_message(message, place)
    if bound is None or isinstance(bound, bool):
        raise place.error(f"a range is bounded by a number or a text, not by {bound!r}")
    return bound


def _scalar_from_message(message: filter_pb2.Scalar, place: FilterPlace) -> Scalar:
    kind = message.WhichOneof("value")
    if kind in _PLAIN_VALUES:
        return cast(Scalar, getattr(message, kind))
    if kind == "big_integer":
        return _big_integer(message.big_integer, place)
    if kind == "null":
        return None
    raise place.error("a value is missing; write null as null: true")


def _big_integer(text: str, place: FilterPlace) -> int:
    digits = text.removeprefix("-")
    if len(digits) > _BIG_INTEGER_DIGITS or not (digits.isascii() and digits.isdigit()):
        raise place.error(f"big_integer must be 1-{_BIG_INTEGER_DIGITS} decimal digits, with a sign before them if negative")
    return int(text)
