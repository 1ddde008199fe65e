"""The payload index of a sealed segment: one immutable table, made from other indexes or from payloads, in one file.

Several tables are merged without reading a payload again: numpy keeps, drops and renumbers rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from shoal.core.errors import DataLoss, Internal
from shoal.core.filter import Filter
from shoal.core.filter import Path as FieldPath
from shoal.core.points import IdArray
from shoal.core.turns import FREE, Turn
from shoal.shard_worker.payload.columns import NO_FLOATS, NO_INTS, merge_columns
from shoal.shard_worker.payload.evaluate import evaluate
from shoal.shard_worker.payload.field_index import NO_ROWS, FieldIndex
from shoal.shard_worker.payload.growing import BLOCK_ROWS, GrowingPart, GrowingPayloads
from shoal.shard_worker.payload.matched import Matched, PayloadBounds, PayloadPart
from shoal.shard_worker.payload.payload_file import decode_payloads, encode_payloads
from shoal.shard_worker.payload.positions import Mapping, moved
from shoal.shard_worker.payload.table import PayloadTable
from shoal.shard_worker.payload.words import merge_strings


class SealedPayloads:
    """Index of `rows` rows. Immutable, safe in any thread."""

    def __init__(self, *, table: PayloadTable, rows: int, bounds: PayloadBounds) -> None:
        self.bounds = bounds
        self._table = table
        self._rows = rows
        self._memory_bytes = table.memory_bytes()

    @classmethod
    def build(cls, sources: Sequence[tuple[PayloadPart, npt.NDArray[np.int64]]]) -> SealedPayloads:
        """Build the index of the rows at `positions` (m,) of each source, one source after the other. Reads no payload.

        The sources are parts from this package, all made with the same bounds; each position is given once. Raises
        Internal for any other part.
        """
        pieces: list[Piece] = []
        bounds = PayloadBounds()
        rows = 0
        for part, positions in sources:
            bounds, tables = _tables(part)
            mapping = row_mapping(len(part), positions, rows)
            pieces.extend((table, mapping) for table in tables)
            rows += len(positions)
        return cls(table=merge_tables(pieces, bounds), rows=rows, bounds=bounds)

    @classmethod
    def from_payloads(cls, payloads: Iterable[bytes | None], bounds: PayloadBounds) -> SealedPayloads:
        """Build the index of rows with these payloads: JSON objects (UTF-8), None for none. A generator will do."""
        growing = GrowingPayloads(bounds)
        for block in _blocks(payloads):
            growing.append(block, len(block))
        return cls.build([(growing.part(), np.arange(len(growing), dtype=np.int64))])

    @classmethod
    def read(cls, path: Path) -> SealedPayloads:
        """Read the index from a file whose hash the caller has verified.

        Raises DataLoss when it cannot be parsed or contradicts itself, OSError when it cannot be read.
        """
        try:
            table, rows, bounds = decode_payloads(path.read_bytes())
        except DataLoss as error:
            raise DataLoss(f"payload index {path.name}: {error.message}") from error
        return cls(table=table, rows=rows, bounds=bounds)

    def write(self, path: Path) -> None:
        """Write the index to `path`; the caller syncs and hashes the file. Raises OSError of the file."""
        with path.open("wb") as file:
            file.writelines(encode_payloads(self._table, self._rows, self.bounds))

    def __len__(self) -> int:
        return self._rows

    def match(self, filter: Filter, ids: IdArray, turn: Turn = FREE) -> Matched:
        """Match as PayloadPart.match does."""
        return evaluate(filter, self._table.match, ids[: self._rows], turn)

    def tables(self) -> tuple[PayloadTable, ...]:
        """Return the indexes of all its rows."""
        return (self._table,)

    def memory_bytes(self) -> int:
        """Return the memory it holds."""
        return self._memory_bytes


def _tables(part: PayloadPart) -> tuple[PayloadBounds, tuple[PayloadTable, ...]]:
    if isinstance(part, (SealedPayloads, GrowingPart)):
        return part.bounds, part.tables()
    raise Internal(f"a payload index cannot be built from a {type(part).__name__}")


def _blocks(payloads: Iterable[bytes | None]) -> Iterator[tuple[bytes | None, ...]]:
    coming = iter(payloads)
    while block := tuple(islice(coming, BLOCK_ROWS)):
        yield block


Piece = tuple[PayloadTable, Mapping]
"""A table with the new positions of its rows."""


def row_mapping(rows: int, positions: npt.NDArray[np.int64], first: int) -> Mapping:
    """Return new positions (rows,) when the rows at `positions` (m,) become first, first + 1, ... in this order."""
    mapping = np.full(rows, -1, dtype=np.int64)
    mapping[positions] = np.arange(first, first + len(positions), dtype=np.int64)
    return mapping


def merge_tables(pieces: Sequence[Piece], bounds: PayloadBounds) -> PayloadTable:
    """Return one table of all rows that are kept. Beyond the bound, the fields with the fewest rows lose their
    index."""
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


def _merged_field(path: FieldPath, pieces: Sequence[Piece], bounds: PayloadBounds) -> FieldIndex:
    held = [(index, mapping) for table, mapping in pieces if (index := table.fields.get(path)) is not None]
    # Where a table has no index of this field, rows with unindexed fields may hold this field.
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
    """Return all rows of `sets`; the shared empty set when there are none."""
    filled = [bits for bits in sets if bits]
    if not filled:
        return NO_ROWS
    union = BitMap.union(*filled)
    union.run_optimize()
    return union
