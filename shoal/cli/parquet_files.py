"""Points in columns: read a .parquet file as batches of bounded size.

pyarrow is an optional dependency, imported when it is needed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from shoal.cli import output, point_files
from shoal.cli.guessing import Columns
from shoal.cli.matrix_files import AnyArray, bad, unreadable
from shoal.cli.point_files import AnyColumns, rows_to_see, settled
from shoal.client.arrow_values import json_value, python_values, vector_rows
from shoal.client.batch_pipeline import PointBatch
from shoal.core.errors import NotInstalled
from shoal.core.payload import value_from_json
from shoal.core.vector_input import row_from_input

_OBJECT_BYTES_PER_BYTE = 2
"""Assumed size of payloads as Python objects, per byte in the file."""


def parquet_batches(path: Path, columns: AnyColumns) -> Iterator[PointBatch]:
    """Yield the rows of a parquet file in batches.

    The payload column holds structs or JSON texts. Without a payload column, all other columns form the payload. A null
    in the column of a named vector says that the point lacks it.

    Raises InvalidArgument that names the first bad row or the fault of the file; NotInstalled without pyarrow.
    """
    arrow = pyarrow_or_refuse()
    check_readable(path)
    start = 0
    try:
        with arrow.parquet.ParquetFile(path, memory_map=True, page_checksum_verification=True) as file:
            names, total = list(file.schema_arrow.names), file.metadata.num_rows
            found = settled(columns, _first_values(arrow, file, names, rows_to_see(columns)), str(path))
            found = check_columns(names, found, path)
            for piece in file.iter_batches(batch_size=_rows_at_once(file.metadata)):
                given = {name: _column(arrow, piece.column(at), name, found, path, start) for at, name in enumerate(names)}
                yield batch_of_columns(given, found, path, start, total)
                start += piece.num_rows
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise bad(f"{path}: rows from {start} on cannot be read, the file is damaged: {error}") from None


def _first_values(arrow: ModuleType, file: Any, names: Sequence[str], rows: int) -> dict[str, Any]:
    """Return the first value of each column in the first rows, None for one that Python has no value for."""
    piece: Any = next(file.iter_batches(batch_size=rows), None)
    row: dict[str, Any] = {}
    for at, name in enumerate(names if piece is not None and piece.num_rows else ()):
        try:
            row[name] = next((value for value in python_values(arrow, piece.column(at)) if value is not None), None)
        except (arrow.ArrowException, ValueError, OverflowError, RecursionError):
            row[name] = None
    return row


def check_columns(names: Sequence[str], columns: Columns, path: Path) -> Columns:
    """Check the column names of a file, and return the columns that it has: a named vector may be absent.

    Raises InvalidArgument when the id or vector column is missing, when two columns have the same name, or when there
    are other columns beside the payload column.
    """
    for column in (columns.id,) if columns.named is not None else (columns.id, columns.vector):
        if column not in names:
            raise bad(f"{path} has no column {column!r} (it has: {', '.join(names)})")
    twice = next((name for at, name in enumerate(names) if name in names[:at]), None)
    if twice is not None:
        raise bad(f"{path} has several columns {twice!r}: one of them would be lost, give them different names")
    others = [name for name in names if name not in (columns.id, *columns.of_vectors, columns.payload)]
    if columns.payload in names and others:
        raise bad(f"{path} has column {others[0]!r} beside {columns.payload!r}: --payload '' takes every other column as payload")
    return columns if columns.named is None else _present(names, columns, columns.named, path)


def _present(names: Sequence[str], columns: Columns, named: Mapping[str, str], path: Path) -> Columns:
    absent = [name for name, column in named.items() if column not in names]
    if absent:
        output.note(f"{path} has no column for the vector {' and '.join(map(repr, absent))}")
    return dataclasses.replace(columns, named={name: column for name, column in named.items() if column in names})


def batch_of_columns(given: dict[str, Any], columns: Columns, path: Path, start: int, total: int) -> PointBatch:
    """Return the points of some rows, the first of which is row `start` of the file.

    given: values by column name; vectors as an array (n, dim) or as lists. Raises InvalidArgument that names the first
    bad row.
    """
    rest = dict(given)
    ids, vectors = rest.pop(columns.id), {column: rest.pop(column) for column in columns.of_vectors}
    return PointBatch(
        ids=ids,
        vectors=_matrix(vectors[columns.vector], columns.vector, path, start)
        if columns.named is None
        else {name: _rows(vectors[column], column, path, start) for name, column in columns.named.items()},
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


def _rows(vectors: AnyArray | list[Any], column: str, path: Path, start: int) -> Any:
    """Return the vectors of a name: a matrix, or a list with None where a row lacks one. Raises as _matrix does."""
    if isinstance(vectors, np.ndarray) or all(value is not None for value in vectors):
        return _matrix(vectors, column, path, start)
    there = [at for at, value in enumerate(vectors) if value is not None]
    rows: list[AnyArray | None] = [None] * len(vectors)
    for at in there:
        vector = _matrix([vectors[at]], column, path, start + at)[0]
        first = rows[there[0]]
        if first is not None and len(vector) != len(first):
            raise bad(f"{path} row {start + at}: its vector has {len(vector)} numbers, row {start + there[0]} has {len(first)}")
        rows[at] = vector
    return rows


def _payloads(rest: dict[str, list[Any]], count: int, columns: Columns, path: Path, start: int) -> list[Any] | None:
    if columns.payload and columns.payload in rest:
        return [_payload(value, f"{path} row {start + at}", columns.payload) for at, value in enumerate(rest[columns.payload])]
    if not rest:
        return None
    return [{name: json_value(values[at]) for name, values in rest.items()} for at in range(count)]


def _payload(value: Any, place: str, column: str) -> Any:
    if isinstance(value, str):
        try:
            value = value_from_json(value)
        except ValueError as error:
            raise bad(f"{place}: column {column!r} is not JSON: {error}") from None
    else:
        value = json_value(value)
    if value is not None and not isinstance(value, dict):
        raise bad(f"{place}: column {column!r} must hold objects or null, not {type(value).__name__} (--payload names it)")
    return value


def _column(arrow: ModuleType, column: Any, name: str, columns: Columns, path: Path, start: int) -> Any:
    """Return the values of a column: vectors as vector_rows returns them, others as Python values.

    Raises InvalidArgument that names the column, if Python has no value for what it holds.
    """
    try:
        if columns.named is None or name not in columns.of_vectors:
            return vector_rows(arrow, column) if name in columns.of_vectors else python_values(arrow, column)
        return _rows_with_nulls(arrow, column) if column.null_count else vector_rows(arrow, column)
    except (arrow.ArrowException, ValueError, OverflowError, RecursionError) as error:
        raise bad(f"{path}: rows from {start} on: column {name!r} ({column.type}) holds values that JSON lacks: {error}") from None


def _rows_with_nulls(arrow: ModuleType, column: Any) -> list[Any]:
    """Return the vectors of a column, None where it has a null."""
    rows = iter(vector_rows(arrow, column.drop_null()))
    return [next(rows) if is_there else None for is_there in column.is_valid().to_pylist()]


def check_readable(path: Path) -> None:
    """Raise InvalidArgument for a file that the operating system cannot open."""
    try:
        with path.open("rb"):
            return
    except OSError as error:
        raise unreadable(path, error) from None


def _rows_at_once(metadata: Any) -> int:
    held: int = sum(metadata.row_group(at).total_byte_size for at in range(metadata.num_row_groups))
    rows: int = max(1, metadata.num_rows)
    return max(1, min(point_files.BATCH_POINTS, point_files.BATCH_BYTES * rows // (_OBJECT_BYTES_PER_BYTE * max(1, held))))


def pyarrow_or_refuse(doing: str = "reading") -> ModuleType:
    """Return pyarrow with its parts. doing: what needs it. Raises NotInstalled."""
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.parquet
    except ImportError:
        raise NotInstalled(f"{doing} .parquet files needs pyarrow, which is not installed: pip install 'shoal[parquet]'") from None
    arrow: ModuleType = pyarrow
    return arrow
