"""The file of a sealed payload index: a magic number, a JSON head with the size of every section, then the sections.

    8 bytes  b"SHOALPI1"        8 bytes  length of the head (little-endian)        head        sections

Sections are little-endian arrays. Sets of rows are stored as half-open runs; strings as UTF-8, one after the other,
with their lengths. The caller has verified the hash of the bytes. Still, everything that is read is checked, so that no
index leads beyond an array. Uses neither pickle nor the format of a library.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from shoal.core.errors import DataLoss
from shoal.shard_worker.payload.columns import NO_FLOATS, NO_HASHES, NO_INTS, Column
from shoal.shard_worker.payload.field_index import NO_ROWS, FieldIndex
from shoal.shard_worker.payload.matched import PayloadBounds
from shoal.shard_worker.payload.positions import Positions, bitmap, positions_of, ranges
from shoal.shard_worker.payload.table import PayloadTable
from shoal.shard_worker.payload.words import NO_STRINGS, NO_WORDS, Strings, Words

MAGIC = b"SHOALPI1"
_HEAD_AT = len(MAGIC) + 8
_MAX_ROWS = 2**32


def encode_payloads(table: PayloadTable, rows: int, bounds: PayloadBounds) -> Iterator[bytes]:
    """Yield the pieces of the file, in order."""
    sections = [*_set_sections(table.unindexed), *_set_sections(table.unread)]
    for index in table.fields.values():
        sections += _field_sections(index)
    head = {
        "rows": rows,
        "bounds": asdict(bounds),
        "paths": [list(path) for path in table.fields],
        "sizes": [len(section) for section in sections],
    }
    text = json.dumps(head).encode("ascii")
    yield MAGIC + len(text).to_bytes(8, "little")
    yield text
    yield from sections


def decode_payloads(data: bytes) -> tuple[PayloadTable, int, PayloadBounds]:
    """Return the table, its number of rows and its bounds. Raises DataLoss for data that cannot be parsed or
    contradicts itself."""
    try:
        return _decoded(data)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataLoss(f"it cannot be parsed: {error}") from error


def _decoded(data: bytes) -> tuple[PayloadTable, int, PayloadBounds]:
    if data[: len(MAGIC)] != MAGIC:
        raise DataLoss(f"it begins with {data[: len(MAGIC)]!r}, not with {MAGIC!r}")
    start = _HEAD_AT + int.from_bytes(data[len(MAGIC) : _HEAD_AT], "little")
    head = json.loads(data[_HEAD_AT:start])
    rows, bounds = head["rows"], PayloadBounds(**head["bounds"])
    if type(rows) is not int or not 0 <= rows < _MAX_ROWS:
        raise DataLoss(f"it has {rows!r} rows")
    sections = _Sections(data, start, head["sizes"], rows)
    unindexed, unread = sections.rows_set(), sections.rows_set()
    paths = [tuple(str(key) for key in path) for path in head["paths"]]
    fields = {path: _read_field(sections) for path in paths}
    if len(fields) != len(paths):
        raise DataLoss("it names a field twice")
    sections.end()
    return PayloadTable(fields=fields, unindexed=unindexed, unread=unread), rows, bounds


def _field_sections(index: FieldIndex) -> list[bytes]:
    sets = (index.exists, index.lists, index.mixed, index.opaque, index.nulls, index.trues, index.falses)
    sections = [section for bits in sets for section in _set_sections(bits)]
    for column in (index.ints, index.floats, index.strings.hashes):
        sections += [_little(column.values), _little(column.positions)]
    words = index.strings.words
    encoded = [text.encode("utf-8", "surrogatepass") for text in words.texts]
    lengths = np.array([len(text) for text in encoded], dtype=np.uint32)
    return [*sections, b"".join(encoded), _little(lengths), _little(words.offsets), _little(words.positions)]


def _read_field(sections: _Sections) -> FieldIndex:
    exists, lists, mixed, opaque, nulls, trues, falses = (sections.rows_set() for _ in range(7))
    ints, floats, hashes = sections.column(NO_INTS), sections.column(NO_FLOATS), sections.column(NO_HASHES)
    words = sections.words()
    return FieldIndex(
        exists=exists,
        lists=lists,
        mixed=mixed,
        opaque=opaque,
        nulls=nulls,
        trues=trues,
        falses=falses,
        ints=ints,
        floats=floats,
        strings=NO_STRINGS if words is NO_WORDS and hashes is NO_HASHES else Strings(words=words, hashes=hashes),
    )


class _Sections:
    """Reads the sections of a file, one after the other, and checks each."""

    def __init__(self, data: bytes, start: int, sizes: list[int], rows: int) -> None:
        self._data = data
        self._at = start
        self._sizes = iter(sizes)
        self._rows = rows

    def rows_set(self) -> BitMap:
        """Read a set of rows."""
        starts, ends = self._array("<u4").astype(np.int64), self._array("<u4").astype(np.int64)
        _require(len(starts) == len(ends) and _ascending(np.stack([starts, ends], axis=1).ravel()), "runs of rows are out of order")
        _require(not len(ends) or int(ends[-1]) <= self._rows, f"a set holds rows beyond {self._rows}")
        if not len(starts):
            return NO_ROWS
        bits = bitmap(ranges(starts, ends).astype(np.uint32))
        bits.run_optimize()
        return bits

    def column(self, empty: Column) -> Column:
        """Read a sorted column of the type of `empty`."""
        values, positions = self._array(empty.values.dtype.newbyteorder("<").str), self._positions()
        _require(len(values) == len(positions), f"a column has {len(values)} values in {len(positions)} rows")
        _require(bool((values[1:] >= values[:-1]).all()), "a column is out of order")
        return Column(values=values, positions=positions) if len(values) else empty

    def words(self) -> Words:
        """Read the strings that are kept themselves."""
        text, lengths = self._take(), self._array("<u4").astype(np.int64)
        offsets, positions = self._array("<i8"), self._positions()
        ends = np.cumsum(lengths)
        _require((int(ends[-1]) if len(ends) else 0) == len(text), f"strings do not fill {len(text)} bytes")
        texts = tuple(
            text[start:end].decode("utf-8", "surrogatepass") for start, end in zip((ends - lengths).tolist(), ends.tolist(), strict=True)
        )
        _require(all(first < second for first, second in pairwise(texts)), "strings are out of order")
        _require(len(offsets) == len(texts) + 1 and offsets[0] == 0 and _ascending(offsets), "rows of strings are out of order")
        _require(int(offsets[-1]) == len(positions), f"strings have {int(offsets[-1])} rows, {len(positions)} are there")
        return Words(texts=texts, offsets=offsets, positions=positions) if texts else NO_WORDS

    def end(self) -> None:
        """Check that nothing is left."""
        _require(next(self._sizes, None) is None and self._at == len(self._data), f"it has {len(self._data)} bytes, {self._at} are used")

    def _positions(self) -> Positions:
        positions: Positions = self._array("<u4")
        _require(not len(positions) or int(positions.max()) < self._rows, f"a value is in a row beyond {self._rows}")
        return positions

    def _array(self, dtype: str) -> npt.NDArray[Any]:
        return np.frombuffer(self._take(), dtype=dtype).astype(np.dtype(dtype).newbyteorder("="))

    def _take(self) -> bytes:
        size = next(self._sizes, None)
        if type(size) is not int or size < 0 or self._at + size > len(self._data):
            raise DataLoss(f"a section of {size!r} bytes at {self._at} does not fit into {len(self._data)}")
        self._at += size
        return self._data[self._at - size : self._at]


def _set_sections(bits: BitMap) -> list[bytes]:
    """Return two sections: the first rows of the runs, and the row after the last of each run."""
    positions = positions_of(bits).astype(np.int64)
    breaks = np.flatnonzero(np.diff(positions) != 1)
    first = np.concatenate([positions[:1], positions[breaks + 1]])
    last = np.concatenate([positions[breaks], positions[-1:]])
    return [first.astype("<u4").tobytes(), (last + 1).astype("<u4").tobytes()]


def _little(values: npt.NDArray[Any]) -> bytes:
    return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()


def _ascending(values: npt.NDArray[np.int64]) -> bool:
    return bool((np.diff(values) > 0).all())


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise DataLoss(otherwise)
