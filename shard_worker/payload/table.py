"""The indexes of all fields over a range of rows, and what is known of fields without an index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pyroaring import BitMap

from shoal.core.filter import Path
from shoal.shard_worker.payload.field_index import NO_ROWS, FieldIndex, Test
from shoal.shard_worker.payload.matched import Matched
from shoal.shard_worker.payload.positions import bitmap_bytes

_PATH_BYTES = 200
"""Size of a path and its entry in the table, in addition to the index of its field."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PayloadTable:
    """Immutable index over some rows of a segment; positions are those of the segment.

    fields: by path. A row that is not in a field's index does not hold the field, unless the row is opaque there.
    unindexed: rows that hold fields without an index; unread: rows whose payload could not be parsed, so that nothing
    is known of them.
    """

    fields: Mapping[Path, FieldIndex]
    unindexed: BitMap
    unread: BitMap

    def match(self, test: Test) -> Matched:
        """Return the rows of this table that pass a test of one field."""
        return match_field(self.fields.get(test.path), test, self.unindexed, self.unread)

    def memory_bytes(self) -> int:
        """Return the memory it holds."""
        fields = sum(_PATH_BYTES + index.memory_bytes() for index in self.fields.values())
        return fields + sum(bitmap_bytes(bits) for bits in (self.unindexed, self.unread) if bits is not NO_ROWS)


def match_field(index: FieldIndex | None, test: Test, unindexed: BitMap, unread: BitMap) -> Matched:
    """Return the rows that pass a test of a field with this index; None: the field has no index here."""
    matched = Matched(sure=BitMap(), unsure=unindexed.copy()) if index is None else index.match(test)
    return Matched(sure=matched.sure, unsure=matched.unsure | unread) if unread else matched
