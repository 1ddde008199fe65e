"""Vectors of the rows of a file, of one or of several columns, as an upsert takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from shoal.cli.guessing import Columns
from shoal.cli.matrix_files import AnyArray, bad
from shoal.core.vector_input import row_from_input

RowVectors = list[AnyArray | None]
"""The vectors of a row, in the order of the columns; None where it lacks one, which only a named vector may be."""


def vector_of(value: Any, column: str, place: str) -> AnyArray:
    """Return a vector (dim,) float64. Raises InvalidArgument that names the place and the column."""
    try:
        return row_from_input(value).astype(np.float64)
    except ValueError as error:
        raise bad(f"{place}: column {column!r} {error}") from None


def taken_vectors(given: dict[str, Any], columns: Columns, place: str) -> RowVectors:
    """Take the vectors out of the values of a row. Raises InvalidArgument that names the place."""
    if columns.named is None:
        return [vector_of(given.pop(columns.vector), columns.vector, place)]
    values = [(column, given.pop(column, None)) for column in columns.named.values()]
    return [None if value is None else vector_of(value, column, place) for column, value in values]


def joined_vectors(rows: Sequence[RowVectors], columns: Columns) -> Any:
    """Return the vectors of rows, each of which fits those before it: a matrix, or of named vectors by name a matrix,
    or a list with None where a row lacks one.
    """
    parts = [list(part) for part in zip(*rows, strict=True)]
    if columns.named is None:
        return np.stack(parts[0])
    return {name: _stacked(part) for name, part in zip(columns.named, parts, strict=True)}


def _stacked(part: RowVectors) -> Any:
    return part if any(row is None for row in part) else np.stack([row for row in part if row is not None])


class Lengths:
    """Checks that the vectors of a column are as long as those before."""

    def __init__(self, columns: Columns) -> None:
        self._columns = [columns.vector] if columns.named is None else list(columns.named.values())
        self._named = columns.named is not None
        self._known: list[int | None] = [None] * len(self._columns)

    def check(self, vectors: RowVectors, place: str) -> None:
        """Raise InvalidArgument that names the place, if a vector has another length than the one before it."""
        for at, vector in enumerate(vectors):
            before = self._known[at]
            if vector is not None and before is not None and len(vector) != before:
                whose = f"its vector in column {self._columns[at]!r}" if self._named else "its vector"
                raise bad(f"{place}: {whose} has {len(vector)} numbers, the one before has {before}")
            self._known[at] = before if vector is None else len(vector)
