"""Points in columns: read a .parquet file as batches of bounded size.

Only this file knows pyarrow, which is an optional dependency.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from shoal.cli import point_files
from shoal.cli.matrix_files import AnyArray, bad, unreadable
from shoal.cli.point_files import Columns, PointBatch
from shoal.core.errors import NotInstalled
from shoal.core.payload import value_from_json
from shoal.core.vector_input import row_from_input

_OBJECT_BYTES_PER_BYTE = 2
"""Assumed size of payloads as Python objects, per byte in the file."""


def parquet_batches(path: Path, columns: Columns) -> Iterator[PointBatch]:
    """Yield the rows of a parquet file in batches.

    The payload column holds structs or JSON texts. Without a payload column, all other columns form the payload.

    Raises InvalidArgument that names the first bad row or the fault of the file; NotInstalled without pyarrow.
    """
    arrow = _pyarrow()
    _check_readable(path)
    start = 0
    try:
        with arrow.parquet.ParquetFile(path, memory_map=True, page_checksum_verification=True) as file:
            names, total = list(file.schema_arrow.names), file.metadata.num_rows
            check_columns(names, columns, path)
            for piece in file.iter_batches(batch_size=_rows_at_once(file.metadata)):
                given = {name: _column(arrow, piece.column(at), name, columns, path, start) for at, name in enumerate(names)}
                yield batch_of_columns(given, columns, path, start, total)
                start += piece.num_rows
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise bad(f"{path}: rows from {start} on cannot be read, the file is damaged: {error}") from None


def check_columns(names: Sequence[str], columns: Columns, path: Path) -> None:
    """Check the column names of a file.

    Raises InvalidArgument when the id or vector column is missing, when two columns have the same name, or when there
    are other columns beside the payload column.
    """
    for column in (columns.id, columns.vector):
        if column not in names:
            raise bad(f"{path} has no column {column!r} (it has: {', '.join(names)})")
    twice = next((name for at, name in enumerate(names) if name in names[:at]), None)
    if twice is not None:
        raise bad(f"{path} has several columns {twice!r}: one of them would be lost, give them different names")
    others = [name for name in names if name not in (columns.id, columns.vector, columns.payload)]
    if columns.payload in names and others:
        raise bad(f"{path} has column {others[0]!r} beside {columns.payload!r}: --payload '' takes every other column as payload")


def batch_of_columns(given: dict[str, Any], columns: Columns, path: Path, start: int, total: int) -> PointBatch:
    """Return the points of some rows, the first of which is row `start` of the file.

    given: values by column name; vectors as an array (n, dim) or as lists. Raises InvalidArgument that names the first
    bad row.
    """
    rest = dict(given)
    ids, vectors = rest.pop(columns.id), rest.pop(columns.vector)
    return PointBatch(
        ids=ids,
        vectors=_matrix(vectors, columns.vector, path, start),
        payloads=_payloads(rest, len(ids), columns, path, start),
        places=range(start, start + len(ids)),
        total=total,
    )


def _matrix(vectors: AnyArray | list[Any], column: str, path: Path, start: int) -> AnyArray:
    if isinstance(vectors, np.ndarray):
        return vectors
    made: list[AnyArray] = []
    for row, value in enumerate(vectors, start):
        try:
            vector = row_from_input(value)
        except ValueError as error:
            raise bad(f"{path} row {row}: column {column!r} {error}") from None
        if made and len(vector) != len(made[0]):
            raise bad(f"{path} row {row}: its vector has {len(vector)} numbers, row {start} has {len(made[0])}")
        made.append(vector)
    return np.stack(made)


def _payloads(rest: dict[str, list[Any]], count: int, columns: Columns, path: Path, start: int) -> list[Any] | None:
    if columns.payload and columns.payload in rest:
        return [_payload(value, f"{path} row {start + at}", columns.payload) for at, value in enumerate(rest[columns.payload])]
    if not rest:
        return None
    return [{name: _json_value(values[at]) for name, values in rest.items()} for at in range(count)]


def _payload(value: Any, place: str, column: str) -> Any:
    if isinstance(value, str):
        try:
            value = value_from_json(value)
        except ValueError as error:
            raise bad(f"{place}: column {column!r} is not JSON: {error}") from None
    else:
        value = _json_value(value)
    if value is not None and not isinstance(value, dict):
        raise bad(f"{place}: column {column!r} must hold objects or null, not {type(value).__name__} (--payload names it)")
    return value


def _json_value(value: Any) -> Any:
    """Return the value with dates, times and durations as ISO 8601 texts.

    Other values that JSON lacks are refused later, by an error that names the row.
    """
    if isinstance(value, dict):
        return {key: _json_value(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_value(each) for each in value]
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    return iso_duration(value) if isinstance(value, datetime.timedelta) else value


def iso_duration(value: datetime.timedelta) -> str:
    """Return a duration as ISO 8601 text, such as P1DT2H3M4.5S."""
    left = abs(value)
    minutes, seconds = divmod(left.seconds, 60)
    fraction = f".{left.microseconds:06}".rstrip("0") if left.microseconds else ""
    days = f"{left.days}D" if left.days else ""
    return f"{'-' if value < left else ''}P{days}T{minutes // 60}H{minutes % 60}M{seconds}{fraction}S"


def _column(arrow: ModuleType, column: Any, name: str, columns: Columns, path: Path, start: int) -> Any:
    """Return the values of a column: vectors as _vectors returns them, others as Python values.

    Raises InvalidArgument that names the column, if Python has no value for what it holds.
    """
    try:
        return _vectors(arrow, column) if name == columns.vector else _values(arrow, column)
    except (arrow.ArrowException, ValueError, OverflowError, RecursionError) as error:
        raise bad(f"{path}: rows from {start} on: column {name!r} ({column.type}) holds values that JSON lacks: {error}") from None


def _vectors(arrow: ModuleType, column: Any) -> Any:
    """Return an array (n, dim), if all rows are lists of numbers of one length.

    Else return the rows as lists, so that a later error can name the first bad row.
    """
    types, kind = arrow.types, column.type
    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    if is_list and not column.null_count and (types.is_floating(kind.value_type) or types.is_integer(kind.value_type)):
        values, lengths = column.flatten(), arrow.compute.list_value_length(column).unique()
        if not values.null_count and len(lengths) == 1 and lengths[0].as_py():
            return values.to_numpy(zero_copy_only=False).reshape(len(column), lengths[0].as_py())
    return column.to_pylist()


def _values(arrow: ModuleType, column: Any) -> Any:
    """Return Python values. Times are cut to microseconds, because Python has nothing finer."""
    kind = _to_microseconds(arrow, column.type)
    return (column if kind == column.type else column.cast(kind, safe=False)).to_pylist()


def _to_microseconds(arrow: ModuleType, kind: Any) -> Any:
    """Return the type with microseconds in place of nanoseconds, at any depth."""
    types, inner = arrow.types, partial(_to_microseconds, arrow)
    if types.is_timestamp(kind) and kind.unit == "ns":
        return arrow.timestamp("us", kind.tz)
    if types.is_time64(kind) and kind.unit == "ns":
        return arrow.time64("us")
    if types.is_duration(kind) and kind.unit == "ns":
        return arrow.duration("us")
    if types.is_struct(kind):
        return arrow.struct([field.with_type(inner(field.type)) for field in kind])
    if types.is_map(kind):
        return arrow.map_(inner(kind.key_type), inner(kind.item_type))
    if types.is_fixed_size_list(kind):
        return arrow.list_(inner(kind.value_type), kind.list_size)
    if types.is_list(kind) or types.is_large_list(kind):
        return (arrow.list_ if types.is_list(kind) else arrow.large_list)(kind.value_field.with_type(inner(kind.value_type)))
    if types.is_dictionary(kind):
        return arrow.dictionary(kind.index_type, inner(kind.value_type), kind.ordered)
    return kind


def _check_readable(path: Path) -> None:
    try:
        with path.open("rb"):
            return
    except OSError as error:
        raise unreadable(path, error) from None


def _rows_at_once(metadata: Any) -> int:
    held: int = sum(metadata.row_group(at).total_byte_size for at in range(metadata.num_row_groups))
    rows: int = max(1, metadata.num_rows)
    return max(1, min(point_files.BATCH_POINTS, point_files.BATCH_BYTES * rows // (_OBJECT_BYTES_PER_BYTE * max(1, held))))


def _pyarrow() -> ModuleType:
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.parquet
    except ImportError:
        raise NotInstalled("reading .parquet files needs pyarrow, which is not installed: pip install 'shoal[parquet]'") from None
    arrow: ModuleType = pyarrow
    return arrow
