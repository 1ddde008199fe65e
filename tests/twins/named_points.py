"""Points with named vectors in plain words: a point has a dictionary from name to vector in the place of its vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from shoal.core.collection import CollectionSpec
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.named_vectors import NamedVector, VectorColumn

NamedRow = dict[str, np.ndarray]


def rows_of(spec: CollectionSpec, vectors: Any, named: Mapping[str, VectorColumn] | None, count: int) -> list[Any]:
    """Return what each of `count` points holds: a vector, or a dictionary of them. Raises what a router raises."""
    if named is None:
        if spec.vectors:
            names = ", ".join(each.name for each in spec.vectors)
            raise InvalidArgument(
                f"collection {spec.name!r} has several vectors, give them by name: {names}", ErrorDetails(field="vectors")
            )
        _check_dim("vectors", vectors.shape[1], spec.dim, "the collection")
        return [row.copy() for row in vectors]
    if not spec.vectors:
        told = f"collection {spec.name!r} has one vector of {spec.dim} dimensions without a name"
        raise InvalidArgument(told, ErrorDetails(field="vectors"))
    rows: list[NamedRow] = [{} for _ in range(count)]
    for name, column in named.items():
        wanted = spec.vector_of(name).dim
        positions = range(count) if column.positions is None else column.positions.tolist()
        for at, vector in zip(positions, column.vectors, strict=True):
            _check_dim(f"vectors[{name!r}]", len(vector), wanted, f"vector {name!r}")
            rows[at][name] = vector.copy()
    return rows


def columns_of(rows: Sequence[NamedRow], vectors: Sequence[NamedVector]) -> dict[str, VectorColumn]:
    """Return the vectors of points by name, as a router answers them: all that the collection has, also those that no
    point has.
    """
    columns = {}
    for vector in vectors:
        having = [at for at, row in enumerate(rows) if vector.name in row]
        matrix = np.array([rows[at][vector.name] for at in having], np.float32).reshape(-1, vector.dim)
        positions = None if len(having) == len(rows) else np.array(having, dtype=np.intp)
        columns[vector.name] = VectorColumn(vectors=matrix, positions=positions)
    return columns


def vector_named(row: Any, name: str) -> np.ndarray | None:
    """Return a vector of a point, None if it lacks it. name: "" for the one without a name."""
    vector: np.ndarray | None = row.get(name) if isinstance(row, dict) else row
    return vector


def _check_dim(field: str, given: int, wanted: int, owner: str) -> None:
    if given != wanted:
        raise InvalidArgument(f"{field} have dimension {given}, {owner} has {wanted}", ErrorDetails(field=field, index=0))
