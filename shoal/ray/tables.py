"""Points as Arrow tables, always of the same columns and types."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow
from ray.data.extensions import ArrowTensorArray

from shoal.client.results import Point
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.named_vectors import NamedVector
from shoal.core.shown import shown

IdKind = Literal["int64", "string"]

ID, VECTOR, PAYLOAD = "id", "vector", "payload"
_PAYLOAD_BYTES = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class PointTables:
    """Makes tables of points. ids: type of the column `id`; dim: of the column `vector`, None for no such column;
    payload: whether there is a column `payload`; columns: name and Arrow type of each field of payloads; vectors: named
    ones, each with a column of its own.
    """

    ids: IdKind
    dim: int | None
    payload: bool
    columns: tuple[tuple[str, Any], ...]
    vectors: tuple[NamedVector, ...] = ()

    @property
    def needs_payloads(self) -> bool:
        """Return whether payloads must be read."""
        return self.payload or bool(self.columns)

    @property
    def needs_vectors(self) -> bool:
        """Return whether vectors must be read."""
        return self.dim is not None or bool(self.vectors)

    @property
    def row_bytes(self) -> int:
        """Return about how many bytes a row takes."""
        return 16 + 4 * ((self.dim or 0) + sum(each.dim for each in self.vectors)) + _PAYLOAD_BYTES * (self.payload + len(self.columns))

    @property
    def schema(self) -> Any:
        """Return the Arrow schema of every table."""
        return self.table_of([]).schema

    def table_of(self, points: Sequence[Point]) -> Any:
        """Return a table of the points. Raises InvalidArgument that names the point and the column at fault."""
        columns: dict[str, Any] = {ID: self._ids(points)}
        if self.dim is not None:
            columns[VECTOR] = _tensors(points, self.dim)
        for vector in self.vectors:
            columns[column_of(vector)] = _lists(points, vector)
        if self.payload:
            columns[PAYLOAD] = pyarrow.array(map(_text, points), pyarrow.string())
        for name, kind in self.columns:
            columns[name] = _field(points, name, kind)
        return pyarrow.table(columns)

    def _ids(self, points: Sequence[Point]) -> Any:
        if self.ids == "string":
            return pyarrow.array([str(point.id) for point in points], pyarrow.string())
        text = next((point.id for point in points if isinstance(point.id, str)), None)
        if text is not None:
            raise InvalidArgument(f"the id {shown(text)} is a string: pass ids='string'", ErrorDetails(field="ids"))
        return pyarrow.array([point.id for point in points], pyarrow.int64())


def column_of(vector: NamedVector) -> str:
    """Return the name of the column of a named vector."""
    return f"{VECTOR}.{vector.name}" if vector.name in (ID, PAYLOAD) else vector.name


def check_columns(columns: Any, *, with_payload: bool) -> None:
    """Raise InvalidArgument unless `columns` is None or a dict of names and Arrow types."""
    if columns is None:
        return
    if not isinstance(columns, Mapping) or not all(isinstance(kind, pyarrow.DataType) for kind in columns.values()):
        said = "columns must be a dict of names and Arrow types, such as {'label': pyarrow.int64()}"
        raise InvalidArgument(f"{said}, not {shown(columns)}", ErrorDetails(field="columns"))
    taken = next((name for name in columns if not isinstance(name, str) or name in (ID, VECTOR)), None)
    if taken is not None:
        raise InvalidArgument(f"columns names {shown(taken)}, which is no name of a field, or is taken", ErrorDetails(field="columns"))
    if not with_payload:
        raise InvalidArgument("columns are fields of payloads, and with_payload is False", ErrorDetails(field="columns"))


def check_not_taken(columns: Mapping[str, Any] | None, vectors: Sequence[NamedVector]) -> None:
    """Raise InvalidArgument if a field of payloads is to have the column of a named vector."""
    taken = next((each for each in vectors if column_of(each) in (columns or {})), None)
    if taken is not None:
        said = f"columns names {column_of(taken)!r}, which is the column of a vector: leave it out, or pass with_vectors=False"
        raise InvalidArgument(said, ErrorDetails(field="columns"))


def _tensors(points: Sequence[Point], dim: int) -> Any:
    # An array of no tensors has no type of its own, so that of one tensor is taken.
    rows = np.stack([point.vector for point in points if point.vector is not None]) if points else np.zeros((1, dim), np.float32)
    return ArrowTensorArray.from_numpy(rows).slice(0, len(points))


def _lists(points: Sequence[Point], vector: NamedVector) -> Any:
    """Return a column of lists (dim,) float32, null where a point lacks the vector."""
    rows = np.zeros((len(points), vector.dim), np.float32)
    lacking = np.ones(len(points), bool)
    for at, point in enumerate(points):
        if point.vector is not None and vector.name in point.vector:
            rows[at], lacking[at] = point.vector[vector.name], False
    return pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(rows.ravel()), vector.dim, mask=pyarrow.array(lacking))


def _text(point: Point) -> str | None:
    return None if point.payload is None else json.dumps(point.payload, ensure_ascii=False)


def _field(points: Sequence[Point], name: str, kind: Any) -> Any:
    values = [(point.payload or {}).get(name) for point in points]
    try:
        return pyarrow.array(values, kind)
    except (pyarrow.ArrowException, TypeError, ValueError, OverflowError):
        for point, value in zip(points, values, strict=True):
            try:
                pyarrow.array([value], kind)
            except (pyarrow.ArrowException, TypeError, ValueError, OverflowError):
                said = f"column {name!r}: the point {shown(point.id)} has {shown(value)}, which is no {kind}"
                raise InvalidArgument(said, ErrorDetails(field="columns")) from None
        raise
