"""The newest rows of a growing segment: payloads split by field into Python lists, and indexed only when a search asks.

Owns the rule of what the fields of a payload are. One writer appends. A reader sees only the rows below the position it
was given, and these are complete: every list is in the order of the rows and only grows, so what lies before the first
entry of a later row never changes. No locks are needed.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import numpy as np
from pyroaring import BitMap

from shoal.core.filter import Path
from shoal.shard_worker.payload.columns import NO_FLOATS, NO_INTS, Column, sorted_column
from shoal.shard_worker.payload.field_index import NO_ROWS, FieldIndex
from shoal.shard_worker.payload.matched import PayloadBounds
from shoal.shard_worker.payload.positions import bitmap_of
from shoal.shard_worker.payload.table import PayloadTable
from shoal.shard_worker.payload.words import NO_STRINGS, strings_of

MAX_DEPTH = 32
"""Most keys in the path of an indexed field; deeper fields have no index."""

MAX_PATH_CHARS = 1_024
"""Most characters in the path of an indexed field."""

_ENTRIES_BYTES = 1_000
"""Size of the objects that hold one field's values, when empty."""


class Entries:
    """What the rows hold in one field, in the order of the rows.

    positions, values: each single value or element of a list, scalars only; lists, objects: rows with a list, an object
    there; singles: rows with a single value below an element of a list; children: the fields below, by key.
    """

    __slots__ = ("_measured", "chars", "children", "depth", "lists", "objects", "path", "positions", "singles", "values")

    def __init__(self, path: Path, chars: int) -> None:
        self.path = path
        self.depth = len(path)
        self.chars = chars
        self.positions: list[int] = []
        self.values: list[Any] = []
        self.lists: list[int] = []
        self.objects: list[int] = []
        self.singles: list[int] = []
        self.children: dict[str, Entries] = {}
        self._measured = (0, 0)

    def index(self, end: int, bounds: PayloadBounds) -> FieldIndex:
        """Return the index over the rows below position `end`."""
        positions = _before(self.positions, end)
        return _field_index(
            positions=positions,
            values=self.values[: len(positions)],
            lists=_before(self.lists, end),
            objects=_before(self.objects, end),
            singles=_before(self.singles, end),
            bounds=bounds,
        )

    def memory_bytes(self) -> int:
        """Return the memory it holds, without its children. Each value is measured once."""
        count, size = self._measured
        fresh = self.values[count:]
        # One tuple, so that two threads that measure at the same time agree.
        self._measured = (count + len(fresh), size + sum(map(_value_bytes, fresh)))
        lists = (self.positions, self.values, self.lists, self.objects, self.singles)
        return _ENTRIES_BYTES + sum(map(sys.getsizeof, lists)) + self._measured[1]


class Tail:
    """Rows from position `first` on, at most a block of them."""

    def __init__(self, first: int, bounds: PayloadBounds) -> None:
        self.first = first
        self._bounds = bounds
        self._root = Entries((), 0)
        self._fields: dict[Path, Entries] = {}
        self._listed: list[Entries] = []
        self._unindexed: list[int] = []
        self._unread: list[int] = []

    def take(self, payload: Any, position: int) -> None:
        """Take the value of a stored payload. Positions ascend. Rows without a payload need no call."""
        # The API refuses a payload that is not a JSON object. If a log holds one all the same, its row is read for
        # every filter.
        if type(payload) is dict:
            self._take_object(self._root, payload, position, False)
        else:
            self._unread.append(position)

    def field(self, path: Path, end: int) -> FieldIndex | None:
        """Return the index of one field over the rows below position `end`; None when the field has none."""
        entries = self._fields.get(path)
        return None if entries is None else entries.index(end, self._bounds)

    def unindexed(self, end: int) -> BitMap:
        """Return the rows below `end` that hold fields without an index."""
        return bitmap_of(_before(self._unindexed, end))

    def unread(self, end: int) -> BitMap:
        """Return the rows below `end` whose payload could not be parsed."""
        return bitmap_of(_before(self._unread, end))

    def table(self, end: int) -> PayloadTable:
        """Return the index of all fields over the rows below position `end`."""
        fields = {entries.path: entries.index(end, self._bounds) for entries in self._listed[:]}
        return PayloadTable(
            fields={path: index for path, index in fields.items() if index.exists},
            unindexed=self.unindexed(end),
            unread=self.unread(end),
        )

    def memory_bytes(self) -> int:
        """Return the memory it holds."""
        return sum(entries.memory_bytes() for entries in self._listed[:]) + sys.getsizeof(self._unindexed)

    def _take_object(self, parent: Entries, payload: dict[str, Any], position: int, in_list: bool) -> None:
        """Take the fields of an object. in_list: the object lies below an element of a list."""
        children = parent.children
        for key, value in payload.items():
            entries = children.get(key) or self._admit(parent, key)
            if entries is None:
                self._leave_out(position)
                continue
            kind = type(value)
            if kind is dict:
                entries.objects.append(position)
                self._take_object(entries, value, position, in_list)
            elif kind is list:
                self._take_list(entries, value, position)
            else:
                # Append the value first: a reader counts positions.
                entries.values.append(value)
                entries.positions.append(position)
                if in_list:
                    entries.singles.append(position)

    def _take_list(self, entries: Entries, elements: list[Any], position: int) -> None:
        entries.lists.append(position)
        for element in elements:
            kind = type(element)
            if kind is dict:
                self._take_object(entries, element, position, True)
            elif kind is not list:
                entries.values.append(element)
                entries.positions.append(position)

    def _admit(self, parent: Entries, key: str) -> Entries | None:
        """Return a new field, or None when there are too many or its path is too long or too deep."""
        chars = parent.chars + len(key)
        if len(self._listed) >= self._bounds.fields or parent.depth >= MAX_DEPTH or chars > MAX_PATH_CHARS:
            return None
        entries = Entries((*parent.path, key), chars)
        parent.children[key] = entries
        self._fields[entries.path] = entries
        self._listed.append(entries)
        return entries

    def _leave_out(self, position: int) -> None:
        if not self._unindexed or self._unindexed[-1] != position:
            self._unindexed.append(position)


def _before(positions: list[int], end: int) -> list[int]:
    """Return the positions below `end`."""
    return positions[: bisect_left(positions, end)]


def _field_index(
    *, positions: list[int], values: list[Any], lists: list[int], objects: list[int], singles: list[int], bounds: PayloadBounds
) -> FieldIndex:
    kinds = _by_kind(positions, values)
    ints, opaque = _int_column(*kinds.get(int, ((), ())))
    list_rows = bitmap_of(lists)
    exists = bitmap_of(positions) | list_rows
    if objects:
        exists |= bitmap_of(objects)
    texts = kinds.get(str)
    nulls = kinds.get(type(None))
    flags = _flag_rows(*kinds.get(bool, ((), ())))
    return FieldIndex(
        exists=exists,
        lists=list_rows if lists else NO_ROWS,
        mixed=bitmap_of(singles) & list_rows if singles and lists else NO_ROWS,
        opaque=opaque,
        nulls=NO_ROWS if nulls is None else bitmap_of(nulls[0]),
        trues=flags[True],
        falses=flags[False],
        ints=ints,
        floats=_float_column(*kinds.get(float, ((), ()))),
        strings=NO_STRINGS if texts is None else strings_of(texts[1], texts[0], bounds),
    )


def _by_kind(positions: list[int], values: list[Any]) -> dict[type, tuple[Sequence[int], Sequence[Any]]]:
    """Return positions and values, by the type of the value."""
    kinds = set(map(type, values))
    if len(kinds) == 1:
        return {kinds.pop(): (positions, values)}
    split: dict[type, tuple[list[int], list[Any]]] = {kind: ([], []) for kind in kinds}
    for position, value in zip(positions, values, strict=True):
        at, held = split[type(value)]
        at.append(position)
        held.append(value)
    return dict(split)


def _int_column(positions: Sequence[int], values: Sequence[int]) -> tuple[Column, BitMap]:
    """Return the column, and the rows with an integer that does not fit into it."""
    if not values:
        return NO_INTS, NO_ROWS
    at = np.array(positions, dtype=np.uint32)
    try:
        return sorted_column(np.array(values, dtype=np.int64), at), NO_ROWS
    except OverflowError:
        fits = np.fromiter((-(2**63) <= value < 2**63 for value in values), dtype=np.bool_, count=len(values))
        column = sorted_column(np.array([value for value in values if -(2**63) <= value < 2**63], dtype=np.int64), at[fits])
        return column if len(column) else NO_INTS, bitmap_of(at[~fits].tolist())


def _float_column(positions: Sequence[int], values: Sequence[float]) -> Column:
    if not values:
        return NO_FLOATS
    held = np.array(values, dtype=np.float64)
    numbers = ~np.isnan(held)
    return sorted_column(held[numbers], np.array(positions, dtype=np.uint32)[numbers])


def _flag_rows(positions: Sequence[int], values: Sequence[bool]) -> dict[bool, BitMap]:
    if not values:
        return {True: NO_ROWS, False: NO_ROWS}
    return {flag: bitmap_of(at for at, value in zip(positions, values, strict=True) if value is flag) for flag in (True, False)}


def _value_bytes(value: Any) -> int:
    """Return the memory that only this value takes: small integers and constants are shared."""
    if value is None or value is True or value is False or (type(value) is int and -5 <= value <= 256):
        return 0
    return sys.getsizeof(value)
