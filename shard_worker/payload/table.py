"""The indexes of all fields over a range of rows, and what is known of fields without one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pyroaring import BitMap

from shoal.core.filter import Path
from shoal.shard_worker.payload.field_index import NO_ROWS, FieldIndex, Test
from shoal.shard_worker.payload.matched import Matched
from shoal.shard_worker.payload.positions import bitmap_bytes

_PATH_BYTES = 200
"""Of a path and its place in the table, beside its field's index."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PayloadTable:
    """Immutable index over some rows of a segment; positions are those of the segment.

    fields: by path; a row without a field that is here does not hold it, unless the field calls it opaque. unindexed:
    rows that hold fields which are not here; unread: rows whose payload could not be parsed, of which nothing is known.
    """

    fields: Mapping[Path, FieldIndex]
    unindexed: BitMap
    unread: BitMap

    def match(self, test: Test) -> Matched:
        """Rows of this table that pass a test of one field."""
        return match_field(self.fields.get(test.path), test, self.unindexed, self.unread)

    def memory_bytes(self) -> int:
        """Memory it holds."""
        fields = sum(_PATH_BYTES + index.memory_bytes() for index in self.fields.values())
        return fields + sum(bitmap_bytes(bits) for bits in (self.unindexed, self.unread) if bits is not NO_ROWS)


def match_field(index: FieldIndex | None, test: Test, unindexed: BitMap, unread: BitMap) -> Matched:
    """Rows that pass a test of a field with this index; None: it has none here."""
    matched = Matched(sure=BitMap(), unsure=unindexed.copy()) if index is None else index.match(test)
    return Matched(sure=matched.sure, unsure=matched.unsure | unread) if unread else matched
