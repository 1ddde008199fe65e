"""One table of several: rows are kept, left out and renumbered by numpy, without reading a payload again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from shoal.core.filter import Path
from shoal.shard_worker.payload.columns import NO_FLOATS, NO_INTS, merge_columns
from shoal.shard_worker.payload.field_index import NO_ROWS, FieldIndex
from shoal.shard_worker.payload.matched import PayloadBounds
from shoal.shard_worker.payload.positions import Mapping, moved
from shoal.shard_worker.payload.table import PayloadTable
from shoal.shard_worker.payload.words import merge_strings

Piece = tuple[PayloadTable, Mapping]
"""A table with the new positions of its rows."""


def row_mapping(rows: int, positions: npt.NDArray[np.int64], first: int) -> Mapping:
    """New positions (rows,) when the rows at `positions` (m,) become first, first + 1, ... in that order."""
    mapping = np.full(rows, -1, dtype=np.int64)
    mapping[positions] = np.arange(first, first + len(positions), dtype=np.int64)
    return mapping


def merge_tables(pieces: Sequence[Piece], bounds: PayloadBounds) -> PayloadTable:
    """One table of all rows that are kept. Fields beyond the bound lose their index, those of the fewest rows first."""
    paths = {path for table, _ in pieces for path in table.fields}
    fields = {path: merged for path in sorted(paths) if (merged := _merged_field(path, pieces, bounds)).exists}
    ordered = sorted(fields, key=lambda path: -len(fields[path].exists))
    unindexed = [moved(table.unindexed, mapping) for table, mapping in pieces]
    unindexed += [fields[path].exists | fields[path].opaque for path in ordered[bounds.fields :]]
    return PayloadTable(
        fields={path: fields[path] for path in ordered[: bounds.fields]},
        unindexed=_union(unindexed),
        unread=_union([moved(table.unread, mapping) for table, mapping in pieces]),
    )


def _merged_field(path: Path, pieces: Sequence[Piece], bounds: PayloadBounds) -> FieldIndex:
    held = [(index, mapping) for table, mapping in pieces if (index := table.fields.get(path)) is not None]
    # Where the field has no index, rows that hold fields without one perhaps hold this one.
    strangers = [moved(table.unindexed, mapping) for table, mapping in pieces if path not in table.fields]
    return FieldIndex(
        exists=_moved([(index.exists, mapping) for index, mapping in held]),
        lists=_moved([(index.lists, mapping) for index, mapping in held]),
        mixed=_moved([(index.mixed, mapping) for index, mapping in held]),
        opaque=_union([_moved([(index.opaque, mapping) for index, mapping in held]), *strangers]),
        nulls=_moved([(index.nulls, mapping) for index, mapping in held]),
        trues=_moved([(index.trues, mapping) for index, mapping in held]),
        falses=_moved([(index.falses, mapping) for index, mapping in held]),
        ints=merge_columns([(index.ints, mapping) for index, mapping in held], NO_INTS),
        floats=merge_columns([(index.floats, mapping) for index, mapping in held], NO_FLOATS),
        strings=merge_strings([(index.strings, mapping) for index, mapping in held], bounds),
    )


def _moved(pieces: Sequence[tuple[BitMap, Mapping]]) -> BitMap:
    return _union([moved(bits, mapping) for bits, mapping in pieces])


def _union(sets: Sequence[BitMap]) -> BitMap:
    """All rows of `sets`, as the shared empty set when there are none."""
    filled = [bits for bits in sets if bits]
    if not filled:
        return NO_ROWS
    union = BitMap.union(*filled)
    union.run_optimize()
    return union
