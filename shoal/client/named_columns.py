"""Columns of named vectors: parts of them, several joined, and what each point has. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from shoal.core.collection import CollectionSpec
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.metric import Metric
from shoal.core.named_vectors import NamedVector, VectorColumn
from shoal.core.points import Matrix, PointColumns, check_dim, check_nonzero

Columns = Mapping[str, VectorColumn]
Vector = npt.NDArray[np.float32]
"""(dim,)"""

_NONE = VectorColumn(vectors=np.empty((0, 1), dtype=np.float32), positions=np.empty(0, dtype=np.intp))


def within(columns: Columns, start: int, end: int) -> dict[str, VectorColumn]:
    """Return the vectors of the points [start, end) as float32. Those of float32 are not copied.

    A name that no point of the call has stays, with no vectors of the shape (0, 1), since nobody knows the dimension:
    the router says whether the collection has it.
    """
    return {name: _part(column, start, end) if column.vectors.shape[1] else _NONE for name, column in columns.items()}


def _part(column: VectorColumn, start: int, end: int) -> VectorColumn:
    if column.positions is None:
        return VectorColumn(vectors=column.vectors[start:end].astype(np.float32, copy=False))
    first, last = np.searchsorted(column.positions, (start, end)).tolist()
    vectors = column.vectors[first:last].astype(np.float32, copy=False)
    if last - first == end - start:
        return VectorColumn(vectors=vectors)
    return VectorColumn(vectors=vectors, positions=column.positions[first:last] - start)


def bytes_of_row(columns: Columns) -> int:
    """Return the bytes that shards need for these vectors of a point, whether it has them or not (ADR 36)."""
    dims: list[int] = [column.vectors.shape[1] for column in columns.values()]
    return 4 * (1 + sum(dims))


def dims_of(columns: Columns) -> dict[str, int]:
    """Return the dimension of each vector that a point has."""
    return {name: column.vectors.shape[1] for name, column in columns.items() if len(column.vectors)}


def joined(parts: Sequence[tuple[int, Columns]]) -> dict[str, VectorColumn]:
    """Return the vectors of points in several parts as one. parts: number of points, and their vectors, whose
    dimensions agree.
    """
    names = dict.fromkeys(name for _, columns in parts for name in columns)
    return {name: _joined([(count, columns.get(name)) for count, columns in parts]) for name in names}


def _joined(parts: Sequence[tuple[int, VectorColumn | None]]) -> VectorColumn:
    vectors: list[Matrix] = []
    positions: list[npt.NDArray[np.intp]] = []
    start = 0
    for count, column in parts:
        if column is not None and len(column.vectors):
            vectors.append(column.vectors)
            positions.append(start + (np.arange(count) if column.positions is None else column.positions))
        start += count
    if not vectors:
        return VectorColumn(vectors=np.empty((0, 0), dtype=np.float32), positions=np.empty(0, dtype=np.intp))
    together = np.concatenate(vectors)
    return VectorColumn(vectors=together, positions=None if len(together) == start else np.concatenate(positions))


def by_point(columns: Columns, count: int) -> list[dict[str, Vector]]:
    """Return for each of `count` points its vectors by name, with the names that it has."""
    made: list[dict[str, Vector]] = [{} for _ in range(count)]
    for name, column in columns.items():
        owners = made if column.positions is None else [made[at] for at in column.positions.tolist()]
        for owner, vector in zip(owners, column.vectors, strict=False):
            owner[name] = vector
    return made


def check_fits(points: PointColumns, spec: CollectionSpec) -> None:
    """Raise InvalidArgument unless these are vectors of points of the collection: with its names, if it has some, of
    its dimensions, and for cosine not zero.
    """
    if points.named is None:
        if spec.vectors:
            names = ", ".join(each.name for each in spec.vectors)
            _refuse(f"collection {spec.name!r} has several vectors, give them by name: {names}")
        _check_column("vectors", points.vectors, None, spec.vector_of(""))
        return
    if not spec.vectors:
        _refuse(f"collection {spec.name!r} has one vector of {spec.dim} dimensions without a name: give this, not vectors by name")
    for name, column in points.named.items():
        _check_column(f"vectors[{name!r}]", column.vectors, column.positions, spec.vector_of(name))


def _refuse(message: str) -> NoReturn:
    raise InvalidArgument(message, ErrorDetails(field="vectors"))


def _check_column(field: str, vectors: Matrix, positions: npt.NDArray[Any] | None, vector: NamedVector) -> None:
    if positions is not None and not len(vectors):
        return
    check_dim(vectors, vector.dim, field=field, owner=f"vector {vector.name!r}" if vector.name else "the collection")
    if vector.metric is Metric.COSINE:
        check_nonzero(vectors, field=field, positions=positions)
