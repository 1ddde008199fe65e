"""The index of one field: which rows hold which values.

It answers every test of that field, exactly or with "read the row".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from pyroaring import BitMap

from shoal.core.filter import Contains, Exists, In, Prefix, Range, Scalar
from shoal.shard_worker.payload.columns import NO_FLOATS, NO_INTS, Column, Number, float_operands, int_operands, within
from shoal.shard_worker.payload.matched import Matched
from shoal.shard_worker.payload.positions import Positions, bitmap, bitmap_bytes, join_positions
from shoal.shard_worker.payload.words import NO_STRINGS, Strings

Test = In | Range | Exists | Contains | Prefix
"""A condition on one field."""

_OBJECT_BYTES = 200
"""Size of the Python objects of one index."""

NO_ROWS = BitMap()
"""The empty set, shared by everything that is empty; never changed."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FieldIndex:
    """What the rows hold in one field. Bitmaps are never changed.

    exists: rows with the field; lists: rows where it is a list; mixed: rows that hold the field more than once, below
    elements of a list, both as a list and as a single value; opaque: rows with a value, or perhaps the field itself,
    that is not in this index.
    """

    exists: BitMap
    lists: BitMap = NO_ROWS
    mixed: BitMap = NO_ROWS
    opaque: BitMap = NO_ROWS
    nulls: BitMap = NO_ROWS
    trues: BitMap = NO_ROWS
    falses: BitMap = NO_ROWS
    ints: Column = NO_INTS
    floats: Column = NO_FLOATS
    strings: Strings = NO_STRINGS

    def match(self, test: Test) -> Matched:
        """Return the rows that pass a test of this field."""
        match test:
            case In():
                return self._equal(test.values)
            case Range():
                return self._within(test)
            case Exists():
                return Matched(sure=self.exists.copy(), unsure=self.opaque - self.exists)
            case Prefix():
                return self._matched([self.strings.words.beginning(test.text)], [self.strings.hashes.positions])
            case Contains(value=str() as text):
                return self._matched([self.strings.words.holding(text)], [self.strings.hashes.positions])
            case Contains():
                return self._listing(test.value)

    def memory_bytes(self) -> int:
        """Return the memory it holds."""
        held = [getattr(self, field.name) for field in fields(self)]
        bits = sum(bitmap_bytes(each) for each in held if isinstance(each, BitMap) and each is not NO_ROWS)
        columns = sum(each.memory_bytes() for each in (self.ints, self.floats, self.strings.hashes) if len(each))
        words = self.strings.words.memory_bytes() if self.strings.words.texts else 0
        return _OBJECT_BYTES + bits + columns + words

    def _equal(self, values: Sequence[Scalar]) -> Matched:
        numbers, texts, bits = _by_kind(values, nulls=self.nulls, trues=self.trues, falses=self.falses)
        found: list[Positions] = []
        if numbers and len(self.ints):
            found.append(self.ints.equal(int_operands(numbers)))
        if numbers and len(self.floats):
            found.append(self.floats.equal(float_operands(numbers)))
        if not texts:
            return self._matched(found, (), bits)
        found.append(self.strings.words.equal(texts))
        return self._matched(found, [self.strings.hashed(texts)], bits)

    def _within(self, bounds: Range) -> Matched:
        if any(isinstance(bound, str) for bound in (bounds.gt, bounds.gte, bounds.lt, bounds.lte)):
            return self._matched([self.strings.words.within(bounds)], [self.strings.hashes.positions])
        return self._matched([within(self.ints, bounds), within(self.floats, bounds)], ())

    def _listing(self, value: Scalar) -> Matched:
        """Return the rows where the field is a list that has the value (not a string) as an element."""
        equal = self._equal((value,))
        listed = equal.sure & self.lists
        # A mixed row has several values, and the index does not tell which of them was found.
        return Matched(sure=listed - self.mixed, unsure=equal.unsure | (listed & self.mixed))

    def _matched(self, found: Sequence[Positions], perhaps: Sequence[Positions], bits: Sequence[BitMap] = ()) -> Matched:
        sure = bitmap(join_positions(found))
        for each in bits:
            sure |= each
        unsure = bitmap(join_positions(perhaps))
        unsure |= self.opaque
        unsure -= sure
        return Matched(sure=sure, unsure=unsure)


def _by_kind(values: Sequence[Scalar], *, nulls: BitMap, trues: BitMap, falses: BitMap) -> tuple[list[Number], list[str], list[BitMap]]:
    """Return the numbers and the strings among `values`, and the bitmaps of the other values."""
    numbers: list[Number] = []
    texts: list[str] = []
    bits: list[BitMap] = []
    for value in values:
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, bool):
            bits.append(trues if value else falses)
        elif value is None:
            bits.append(nulls)
        else:
            numbers.append(value)
    return numbers, texts, bits
