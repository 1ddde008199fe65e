"""Read .csv files of points: one point a line, below a line with the names of the columns.

The column of ids holds integers or texts, that of vectors a JSON list, that of payloads a JSON object or nothing. A
cell of another column is a number, `true` or `false` if it is one in JSON, else a text; an empty one is no value.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from shoal.cli.guessing import Columns
from shoal.cli.matrix_files import bad
from shoal.cli.point_files import AnyColumns, batches_of, every_line_of, named, settled
from shoal.client.batch_pipeline import PointBatch
from shoal.core.payload import value_from_json

_CELL_BYTES = 16 * 1024 * 1024
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,18})")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]{1,2})?")
_WORDS = {"true": True, "false": False}


def csv_batches(path: Path, columns: AnyColumns) -> Iterator[PointBatch]:
    """Yield the points of a .csv file in batches. path: STDIN for the standard input.

    Raises InvalidArgument that names the first line that is not a point.
    """
    cells = _cells(path)
    first = next(cells, None)
    if first is None:
        return iter(())
    found = settled(columns, {name: _guessed(cell) for name, cell in first[2].items()}, named(path))
    name = named(path)
    points = ((line, length, _values(row, found, f"{name} line {line}")) for line, length, row in chain([first], cells))
    return batches_of(path, points, found)


def _cells(path: Path) -> Iterator[tuple[int, int, dict[str, str]]]:
    """Yield the number of each line below the first one, its length, and its cells by column."""
    name, read = named(path), 0

    def lines() -> Iterator[str]:
        nonlocal read
        for _, text in every_line_of(path):
            read += len(text)
            yield text

    csv.field_size_limit(_CELL_BYTES)
    rows = csv.reader(lines(), strict=True)
    names: list[str] | None = None
    before = 0
    try:
        for row in rows:
            place = f"{name} line {rows.line_num}"
            if not row:
                continue
            if names is None:
                names = _names(row, place)
                continue
            if len(row) != len(names):
                raise bad(f"{place} has {len(row)} cells, the first line names {len(names)} columns")
            yield rows.line_num, read - before, dict(zip(names, row, strict=True))
            before = read
    except csv.Error as error:
        raise bad(f"{name} line {rows.line_num} is not CSV: {error}") from None


def _names(row: list[str], place: str) -> list[str]:
    twice = next((name for at, name in enumerate(row) if name in row[:at]), None)
    if twice is not None:
        raise bad(f"{place} names the column {twice!r} twice")
    return row


def _values(row: dict[str, str], columns: Columns, place: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, cell in row.items():
        if name == columns.id:
            values[name] = int(cell) if _INTEGER.fullmatch(cell) else cell
        elif name in columns.of_vectors or (columns.payload and name == columns.payload):
            is_needed = columns.named is None and name == columns.vector
            values[name] = _json(cell, name, place) if cell or is_needed else None
        elif cell:
            values[name] = _guessed(cell)
    return values


def _json(cell: str, name: str, place: str) -> Any:
    try:
        return value_from_json(cell)
    except ValueError as error:
        raise bad(f"{place}: column {name!r} is not JSON, such as [0.5, 1]: {error}") from None


def _guessed(cell: str) -> Any:
    if _INTEGER.fullmatch(cell):
        return int(cell)
    return float(cell) if _NUMBER.fullmatch(cell) and abs(float(cell)) < float("inf") else _WORDS.get(cell, cell)
