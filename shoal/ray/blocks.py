"""Blocks of a dataset as points: which columns hold what, and errors that name the column and the row.

A block is an Arrow table. A long one is cut into pieces, so that its payloads are never all Python values at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow
import pyarrow.compute
from ray.data.block import BlockAccessor
from ray.data.extensions import get_arrow_extension_tensor_types

from shoal.client.arrow_values import json_value, python_values, vector_rows
from shoal.client.batch_pipeline import PointBatch
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.payload import value_from_json

PIECE_BYTES = 32 * 1024 * 1024
"""Most bytes of a piece, as Arrow holds them."""
PIECE_ROWS = 65_536

_TYPES = pyarrow.types
_PLAIN = (_TYPES.is_integer, _TYPES.is_floating, _TYPES.is_boolean, _TYPES.is_string, _TYPES.is_large_string)
"""Types whose values JSON has as they are."""

_TENSORS: Any = get_arrow_extension_tensor_types()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockColumns:
    """Which columns of a dataset hold ids, vectors and payloads.

    vector: a column, or the column of each named vector, null where a point lacks it. payload: a column of objects or
    JSON texts; several columns, which are the fields of payloads, none for an empty tuple; None: all other columns.
    """

    id: str
    vector: str | Mapping[str, str]
    payload: str | tuple[str, ...] | None

    @property
    def of_points(self) -> tuple[str, ...]:
        """Return the columns of ids and vectors."""
        return (self.id, self.vector) if isinstance(self.vector, str) else (self.id, *self.vector.values())

    def pieces_of(self, table: Any) -> Iterator[PointBatch]:
        """Yield the rows of a block piece by piece. Raises InvalidArgument that names the column and the row."""
        self.check(table.column_names)
        step = rows_at_once(table.num_rows, table.nbytes)
        for start in range(0, table.num_rows, step):
            yield self._piece(table.slice(start, step), start)

    def check(self, names: Sequence[str]) -> None:
        """Raise InvalidArgument if a column is missing or there twice."""
        listed = (self.payload,) if isinstance(self.payload, str) else self.payload or ()
        vectors = (("vector", name) for name in self.of_points[1:])
        for field, name in (("id", self.id), *vectors, *(("payload", name) for name in listed)):
            if name not in names:
                said = f"{field}: the dataset has no column {name!r} (it has: {', '.join(names)})"
                raise InvalidArgument(said, ErrorDetails(field=field))
        twice = next((name for at, name in enumerate(names) if name in names[:at]), None)
        if twice is not None:
            raise InvalidArgument(f"the dataset has several columns {twice!r}, of which one would be lost", ErrorDetails(field="payload"))

    def named(self, error: InvalidArgument, start: int) -> InvalidArgument:
        """Return an error of an upsert as one that names the column, and the row as the block counts. start: the first
        row of the piece.
        """
        fields = {"ids": self.id}
        if isinstance(self.vector, str):
            fields["vectors"] = self.vector
        else:
            fields |= {f"vectors[{name!r}]": column for name, column in self.vector.items()}
        index, column = error.details.index, fields.get(error.details.field or "")
        if error.details.field == "payloads" and isinstance(self.payload, str):
            column = self.payload
        place = "" if column is None else f"column {column!r}"
        if index is None:
            return type(error)(f"{place}: {error.message}" if place else error.message, error.details)
        row = start + index
        message = error.message.replace(f"[{index}]", f"[{row}]", 1)
        place = f"{place}, row {row} of its block" if place else f"row {row} of its block"
        return type(error)(f"{place}: {message}", dataclasses.replace(error.details, index=row))

    def _piece(self, table: Any, start: int) -> PointBatch:
        return PointBatch(
            ids=self._values(table, self.id, "ids"),
            vectors=_vectors(table, self.vector)
            if isinstance(self.vector, str)
            else {name: _vectors(table, column) for name, column in self.vector.items()},
            payloads=self._payloads(table, start),
            places=range(start, start + table.num_rows),
            total=0,
        )

    def _payloads(self, table: Any, start: int) -> list[Any] | None:
        match self.payload:
            case str(name):
                return list(_objects(self._values(table, name, "payloads"), name, start))
            case None:
                names = tuple(name for name in table.column_names if name not in self.of_points)
            case names:
                pass
        if not names:
            return None
        columns = [self._json_values(table, name) for name in names]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]

    def _json_values(self, table: Any, name: str) -> Any:
        values, kind = self._values(table, name, "payloads"), table.column(name).type
        return values if any(is_plain(kind) for is_plain in _PLAIN) else list(map(json_value, values))

    def _values(self, table: Any, name: str, field: str) -> Any:
        column = table.column(name)
        if field == "ids" and pyarrow.types.is_integer(column.type) and not column.null_count:
            return column.to_numpy()
        try:
            return python_values(pyarrow, column.combine_chunks())
        except (pyarrow.ArrowException, ValueError, OverflowError, RecursionError) as error:
            said = f"column {name!r} ({column.type}) holds values that Shoal cannot store: {error}"
            raise InvalidArgument(said, ErrorDetails(field=field)) from None


def _vectors(table: Any, name: str) -> Any:
    """Return the vectors of a column: an array (n, dim), or a list of rows in which a null is None."""
    column = table.column(name)
    if isinstance(column.type, _TENSORS):
        if column.null_count:
            return column.to_pylist()
        rows: Any = BlockAccessor.for_block(table.select([name])).to_numpy(name)
        return list(rows) if rows.dtype == object else rows
    return vector_rows(pyarrow, column.combine_chunks())


def rows_at_once(rows: int, held: int) -> int:
    """Return how many rows of a block of `held` bytes are a piece, at least one."""
    return max(1, min(PIECE_ROWS, PIECE_BYTES * rows // max(1, held)))


def _objects(values: Iterable[Any], name: str, start: int) -> Iterator[Any]:
    """Yield what the column of payloads holds: objects, JSON texts of objects, or nothing."""
    for row, value in enumerate(values, start):
        given = value
        if isinstance(given, str):
            try:
                given = value_from_json(given)
            except ValueError as error:
                raise _no_object(name, row, f"is not JSON: {error}") from None
        if given is not None and not isinstance(given, Mapping):
            raise _no_object(name, row, f"must hold objects or JSON texts of objects, not {type(given).__name__}")
        yield json_value(given)


def _no_object(name: str, row: int, what: str) -> InvalidArgument:
    return InvalidArgument(f"column {name!r}, row {row} of its block: it {what}", ErrorDetails(field="payloads", index=row))
